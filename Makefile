# featx: `make demo` shows everything, `make test` checks everything.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test lint type-check contracts tests coverage bench clean help

help:  ## List what can be made.
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/:/' | column -t -s:

demo: $(VENV)/.installed  ## The whole main job on drawn X-rays, in a few minutes.
	$(BIN)/featx demo

test: lint type-check contracts tests  ## Lint, types, import contracts and all tests.

lint: $(VENV)/.installed-dev  ## Style and formatting.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

type-check: $(VENV)/.installed-dev  ## Types, strictly.
	$(BIN)/mypy

contracts: $(VENV)/.installed-dev  ## Which room may import which.
	$(BIN)/lint-imports

tests: $(VENV)/.installed-dev  ## All tests, two processes.
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --durations=10

coverage: $(VENV)/.installed-dev  ## All tests, and which lines they ran; takes a third longer.
	$(BIN)/coverage erase
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --cov --cov-report=term --durations=10

bench: $(VENV)/.installed-dev  ## The benchmarks: make bench DATA=chest_xray CACHE=embeddings
	@test -n "$(DATA)" -a -n "$(CACHE)" || \
		{ echo "Usage: make bench DATA=FOLDER_OF_IMAGES CACHE=EMBEDDINGS_OF_THEM" >&2; exit 2; }
	$(BIN)/python benchmarks/data.py $(DATA)
	$(BIN)/python benchmarks/extract.py $(DATA)
	$(BIN)/python benchmarks/study.py $(DATA)
	$(BIN)/python benchmarks/scale.py $(DATA)
	$(BIN)/python benchmarks/compression.py $(CACHE)
	$(BIN)/python benchmarks/local.py $(CACHE)
	$(BIN)/python benchmarks/epochs.py $(CACHE)
	$(BIN)/python benchmarks/tune.py $(CACHE)

clean:  ## Remove the environment and what tools left.
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .coverage* htmlcov demo-output

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "featx needs Python 3.11 or newer; run: make PYTHON=python3.12 ..." >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(BIN)/python pyproject.toml constraints.txt
	$(INSTALL) -e .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(INSTALL) -e '.[dev]'
	touch $@
