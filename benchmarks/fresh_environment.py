"""Does a logged model load and answer in an environment that holds only what its requirements name?

    python -m benchmarks.fresh_environment <model folder>     # thickets-data/mlartifacts/models/m-.../artifacts

Makes a virtual environment in a temporary folder, installs the model's own requirements.txt with uv (found like every
package: UV_INDEX_URL, UV_FIND_LINKS and so on), loads the model there and answers its input example.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

_ASK = """
import json, sys
import mlflow
model = mlflow.pyfunc.load_model(sys.argv[1])
answer = model.predict(model.input_example)
import importlib.metadata as metadata
absent = [name for name in ("thickets", "prefect", "duckdb", "polars", "mlflow") if name not in
          {each.metadata["Name"].lower() for each in metadata.distributions()}]
print(json.dumps({"answer": json.loads(answer.to_json(orient="records")) if hasattr(answer, "to_json") else answer,
                  "packages": len(list(metadata.distributions())), "not installed": absent}))
"""


def main(model: Path) -> None:
    """Install the requirements, load the model, answer its input example; print the answer and the times."""
    with tempfile.TemporaryDirectory() as scratch:
        python = Path(scratch) / "venv" / "bin" / "python"
        uv = Path(sys.executable).with_name("uv")
        started = time.monotonic()
        _run(str(uv), "venv", "--quiet", "--python", sys.executable, str(python.parents[1]))
        install = ("pip", "install", "--quiet", "--python", str(python), "-r", str(model / "requirements.txt"))
        # PyPI's PyTorch brings gigabytes of CUDA, and what is asked here is asked on the CPU.
        backend = {} if os.environ.get("UV_FIND_LINKS") else {"UV_TORCH_BACKEND": "cpu"}
        _run(str(uv), *install, **backend)
        installed = time.monotonic()
        # Neither our own packages nor the current folder may help.
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        done = subprocess.run(
            [str(python), "-c", _ASK, str(model.resolve())],
            cwd=scratch,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            sys.exit(done.stderr)
        answered = time.monotonic()
    found = json.loads(done.stdout.splitlines()[-1])
    seconds = {"install_s": round(installed - started), "load_and_answer_s": round(answered - installed)}
    print(json.dumps(found | seconds))


def _run(*command: str, **variables: str) -> None:
    subprocess.run(command, check=True, env=os.environ | variables)


if __name__ == "__main__":
    if len(sys.argv) != 2 or not (Path(sys.argv[1]) / "MLmodel").is_file():
        sys.exit("usage: python -m benchmarks.fresh_environment <folder of a logged model>")
    main(Path(sys.argv[1]))
