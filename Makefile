# Every target sets up what it needs; the second time that takes no time.
PYTHON ?= python3.11
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.installed
ARGS   ?=

# containers set it, and then each of the many processes of a run, of the tests too, would compile the code for itself;
# without it what is imported is compiled once, so that pip need not compile all that is installed
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup assets run test lint types bench clean

help: ## Show the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

$(READY): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "make: $(PYTHON) not found; install Python 3.11 or say make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@# the pip that comes with Python 3.11 reads indexes half as fast
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --upgrade pip
	$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --editable '.[dev]'
	@touch $@

setup: $(READY) ## Make .venv and install the project with pinned versions

assets: $(READY) ## Fetch and convert the models and images that need no hub (once, into the cache)
	@$(BIN)/python -m coin_lightning assets

run: assets ## Train MoELoRA through CoIN-mini's eight tasks and write the report (ARGS="..." adds overrides)
	$(BIN)/python -m coin_lightning +experiment=moelora_llava $(ARGS)

test: assets ## Run all tests, a process per core (ARGS="..." goes to pytest)
	$(BIN)/python -m pytest -m "not gpu" -n auto --maxprocesses 8 --dist loadfile --no-loadscope-reorder $(ARGS)

lint: $(READY) ## Check style
	$(BIN)/python -m ruff check src tests experiments

types: $(READY) ## Check types
	$(BIN)/python -m mypy

bench: assets ## Measure speed against the usual tools (JSON in experiments/benchmarks/results)
	$(BIN)/python experiments/benchmarks/run_all.py $(ARGS)

clean: ## Remove the virtual environment and tool caches; runs and the shared cache stay
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache build dist
