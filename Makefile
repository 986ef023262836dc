# featx: `make demo` shows everything, `make test` checks everything.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Two test processes, so one thread in each: more of them would only wait for one another.
PYTEST := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTEROP_THREADS=1 \
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --durations=10
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt
# One line a stage: what is done, and the seconds that it took. All that it printed, if it failed.
STAGE := @run() { printf '%s ... ' "$$1"; shift; start=$$(date +%s); \
	said=$$("$$@" 2>&1) && echo "$$(($$(date +%s) - start)) s" || \
	{ code=$$?; echo failed; printf '%s\n' "$$said" >&2; exit $$code; }; }; run

STEPS := installation lint type-check contracts docs tests
# What `make test` leaves out, and all but what takes hours.
LONG := -m 'long and not torture'
ALL := -m 'not torture'
MINIMUM := .venv-minimum

.PHONY: demo test test-all installation lint type-check contracts tests long-tests coverage torture minimum audit \
	bench docs clean help

help:  ## List what can be made.
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/:/' | column -t -s:

demo: $(VENV)/.installed  ## The whole main job on drawn X-rays, in a few minutes.
	@$(BIN)/featx demo

test:  ## Lint, types, import contracts, the site, the tests; and where the time went.
	@took=""; for step in $(STEPS); do \
		start=$$(date +%s); $(MAKE) --no-print-directory $$step || exit 1; \
		took="$$took$$(printf '  %-12s %5d s' $$step $$(($$(date +%s) - start)))\n"; \
	done; printf "Where the time went\n$$took"

test-all: test long-tests  ## The same, and the tests that take long.

installation: $(VENV)/.installed-dev

lint: $(VENV)/.installed-dev  ## Style and formatting.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@test ! -x $(BIN)/hadolint || $(BIN)/hadolint Dockerfile

type-check: $(VENV)/.installed-dev  ## Types, strictly.
	$(BIN)/mypy

contracts: $(VENV)/.installed-dev  ## Which room may import which.
	$(BIN)/lint-imports

tests: $(VENV)/.installed-dev  ## The tests that take no long time, two processes.
	$(PYTEST)

long-tests: $(VENV)/.installed-dev  ## The tests that `make test` leaves out because they take long.
	$(PYTEST) $(LONG)

coverage: $(VENV)/.installed-dev  ## All tests, and which lines they ran; takes a third longer.
	$(BIN)/coverage erase
	$(PYTEST) $(ALL) --cov --cov-report=term

torture: $(VENV)/.installed-dev minimum  ## The long form of the tests that try to break featx.
	$(PYTEST) -m torture --timeout=3600

minimum: $(BIN)/python  ## Tests on the lowest versions that pyproject.toml allows, in an environment of their own.
	$(BIN)/python -m venv --clear $(MINIMUM)
	$(BIN)/python tests/minimum.py pyproject.toml > $(MINIMUM)/constraints.txt
	$(MINIMUM)/bin/python -m pip install --quiet --disable-pip-version-check -c $(MINIMUM)/constraints.txt \
		-e '.[dask,dicom,dicomnet,onnx]' httpx hypothesis pytest pytest-timeout pytest-xdist
	$(subst $(BIN),$(MINIMUM)/bin,$(PYTEST)) $(ALL) tests/cache tests/cli tests/featx

audit: $(VENV)/.installed-dev  ## Known vulnerabilities of the pinned versions, where pip-audit can reach its data.
	.ci/audit $(BIN)/pip-audit

bench: $(VENV)/.installed-dev  ## The benchmarks; needs DATA=FOLDER_OF_IMAGES CACHE=EMBEDDINGS_OF_THEM
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

docs: $(VENV)/.installed-docs  ## The site, in site/; warnings are errors.
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "site/index.html"

clean:  ## Remove the environment and what tools left.
	rm -rf $(VENV) $(MINIMUM) .mypy_cache .ruff_cache .pytest_cache .coverage* htmlcov demo-output site

# A stage that failed or was interrupted is done again.
.DELETE_ON_ERROR:

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "featx needs Python 3.11 or newer; run: make PYTHON=python3.12 ..." >&2; exit 2; }
	$(STAGE) 'Making the environment $(VENV)' $(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(BIN)/python pyproject.toml constraints.txt
	$(STAGE) 'Installing featx and what it needs (a few minutes)' $(INSTALL) -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(STAGE) 'Installing what the tests need' $(INSTALL) -e '.[dev]'
	@touch $@ $(VENV)/.installed-docs

$(VENV)/.installed-docs: $(VENV)/.installed
	$(STAGE) 'Installing what the site needs' $(INSTALL) -e '.[docs]'
	@touch $@
