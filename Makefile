# Coach: one command for each thing a person wants. `make help` lists them.

PYTHON ?= python3
WORKSPACE ?= workspace
SEEDS ?= 0
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install -c constraints.txt

export HF_HUB_DISABLE_TELEMETRY = 1
export GRADIO_ANALYTICS_ENABLED = False
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.DEFAULT_GOAL := help
.PHONY: help app demo install test lint bench clean

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed: run make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 2; }
	@echo "creating $(VENV)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.app: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing what the app needs (about 2 GB on disk; a few minutes the first time)"
	@$(PIP) -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.app
	@echo "installing what the tests need"
	@$(PIP) --quiet -e '.[dev,postgres]'
	@touch $@

app: $(VENV)/.app ## serve the app on http://127.0.0.1:7860 (MODEL=a hub id or folder; WORKSPACE=folder)
	@$(BIN)/python -m labeler serve --workspace $(WORKSPACE) $(if $(MODEL),--model $(MODEL))

demo: WORKSPACE := $(if $(filter file default,$(origin WORKSPACE)),workspace/demo-$(shell date +%m%d-%H%M%S),$(WORKSPACE))
demo: $(VENV)/.app ## the whole loop with simulated annotators: a table and an HTML report (SEEDS="0 1 2")
	@$(BIN)/python -m grpo loop --workspace $(WORKSPACE) --seeds $(SEEDS)

install: $(VENV)/.dev ## everything, for development

test: $(VENV)/.dev ## run the tests, three files at a time (TESTS=tests/data for some)
	@PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder $(TESTS)

lint: $(VENV)/.dev ## ruff and mypy
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

bench: $(VENV)/.dev ## run what is measured (over an hour; OUT=file keeps the labeler's table)
	@OMP_NUM_THREADS=2 $(BIN)/python -m tests.benchmarks.speed
	@OMP_NUM_THREADS=2 $(BIN)/python -m tests.benchmarks.quality
	@OMP_NUM_THREADS=1 $(BIN)/python -m tests.benchmarks.reward
	@OMP_NUM_THREADS=1 $(BIN)/python -m reward_model benchmark reward
	@OMP_NUM_THREADS=1 $(BIN)/python -m tests.benchmarks.intervals
	@OMP_NUM_THREADS=1 $(BIN)/python -m tests.benchmarks.diagnosis
	@OMP_NUM_THREADS=2 $(BIN)/python -m tests.benchmarks.labeler $(if $(OUT),--out $(OUT))

clean: ## remove the environment and caches; workspaces stay
	@rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
