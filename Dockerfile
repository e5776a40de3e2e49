# Thickets with vLLM, for one device:
#     docker build --tag thickets:cpu .
#     docker build --tag thickets:cuda --build-arg DEVICE=cuda .
# It runs the servers, the worker and the flow runs of compose.yaml and of deployments/work-pools.
FROM python:3.12-slim-bookworm

ARG DEVICE=cpu
SHELL ["/bin/bash", "-o", "pipefail", "-c"]

# Triton and PyTorch compile with the machine's compiler while they run; Python's headers are in this image. libnuma is
# vLLM's on the CPU.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ gcc libc6-dev libgomp1 libnuma1 \
    && rm -rf /var/lib/apt/lists/* \
    && test -f "$(python3 -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h" \
    && useradd --create-home --uid 1000 thickets \
    && install --directory --owner thickets --group thickets /srv/thickets

WORKDIR /src
COPY . .
RUN UV_NO_CACHE=1 PIP_NO_CACHE_DIR=1 deployments/install.sh "$DEVICE" /usr/local/thickets \
    && rm -rf build ./*.egg-info

# Whatever is downloaded or compiled while it runs is kept beside the home, on its volume.
ENV PATH=/usr/local/thickets/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    THICKETS_HOME=/srv/thickets \
    THICKETS_CACHE=/srv/thickets/cache/models \
    HF_HOME=/srv/thickets/cache/huggingface \
    VLLM_CACHE_ROOT=/srv/thickets/cache/vllm \
    TRITON_CACHE_DIR=/srv/thickets/cache/triton \
    XDG_CACHE_HOME=/srv/thickets/cache

USER 1000:1000
WORKDIR /srv/thickets
CMD ["thickets", "--help"]
