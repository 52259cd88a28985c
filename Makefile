# Every target sets up its own .venv first, so each works on a fresh machine with Python >= 3.11.
# ARGS passes arguments on: make demo ARGS="--once --leads 30"
# WORKERS is how many test files run at once, each worker with a server of its own: make test WORKERS=1.
# Two for a core, because most tests wait; and no more than four, because some measure.

PYTHON ?= python3
# Another interpreter gets an environment of its own: make test PYTHON=python3.13
VENV   := .venv$(if $(filter-out python3,$(PYTHON)),-$(notdir $(PYTHON)))
BIN    := $(VENV)/bin
USABLE := $(VENV)/.usable
READY  := $(VENV)/.ready
BENCH  := $(VENV)/.bench-ready
PAGES  := $(VENV)/.docs-ready
OTHERS := $(VENV)/.examples-ready
ARGS   ?=
CORES  := $(shell nproc 2>/dev/null || echo 2)
WORKERS ?= $(if $(filter 1,$(CORES)),2,4)
FEWER := $(if $(filter 1,$(WORKERS)),1,3)
BY_FILE := --dist loadfile --no-loadscope-reorder
# The tests of a file are no family here, and some take minutes: each goes to the next who is free.
SPREAD := -n $(FEWER) --dist loadgroup --no-loadscope-reorder
LOCK   := --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --custom-compile-command "make constraints"

# Or every worker would compile all tests and all of their libraries anew, each time.
unexport PYTHONDONTWRITEBYTECODE

# uv takes a tenth of the CPU that pip takes, which compiles all that it installs. It does not read pip's settings:
# where an index was set for pip, and where uv fails, pip does the work.
INSTALL = install() { { ! $(BIN)/python -m pip config list | grep -qE "[.](no-)?index" && \
  $(BIN)/python -m pip install --quiet "uv>=0.5" && $(BIN)/uv pip install --quiet --python $(BIN)/python --editable "$$1"; } || \
  $(BIN)/python -m pip install --quiet --editable "$$1"; }; install

.PHONY: interpreter demo run test quick check redis bench chaos soak money packages constraints manifests pictures reference docs format clean
.DEFAULT_GOAL := test

# The interpreter itself: what pyenv puts on the PATH answers only for the versions that are switched on.
FIND_PYTHON = found=; for each in "$(PYTHON)" $(HOME)/.pyenv/versions/*/bin/"$(PYTHON)"; do \
  "$$each" -c '' 2>/dev/null && found="$$each" && break; done; \
  [ -n "$$found" ] || { echo "$(PYTHON) is not installed" >&2; exit 1; }

interpreter:
	@$(FIND_PYTHON)

$(BIN)/python:
	@echo "Creating $(VENV). With what is installed into it, this takes about a minute."
	@$(FIND_PYTHON); exec "$$found" -m venv $(VENV)

$(USABLE): pyproject.toml | $(BIN)/python
	@echo "Installing enricher with what it needs into $(VENV)."
	@$(INSTALL) ".[embedded]"
	@touch $@

$(READY): pyproject.toml | $(BIN)/python
	@echo "Installing enricher with what its tests need into $(VENV)."
	@$(INSTALL) ".[embedded,test]"
	@touch $@ $(USABLE)

demo: $(USABLE)
	$(BIN)/enricher demo $(ARGS)

run: $(USABLE)
	$(BIN)/enricher run $(ARGS)

test: $(READY)
	$(BIN)/python -m pytest -n $(WORKERS) $(BY_FILE) $(ARGS)

# For whoever changes something: the pure rules and the store, without processes and pages, without what takes seconds, and
# with a quarter of the examples that properties are tried on. It hardly waits, so each further worker only costs its start.
quick: $(READY)
	$(BIN)/python -m pytest -n $(FEWER) $(BY_FILE) -m "not slow" --hypothesis-profile=quick tests/unit tests/integration $(ARGS)

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m pytest -q tests/test_layers.py tests/test_docs.py

$(BENCH): $(READY)
	@$(INSTALL) ".[embedded,test,bench]"
	@touch $@

$(OTHERS): $(READY)
	@$(INSTALL) ".[embedded,test,examples]"
	@touch $@

$(PAGES): $(USABLE)
	@$(INSTALL) ".[embedded,docs]"
	@touch $@

redis:
	@command -v redis-server >/dev/null || { [ "$$(id -u)" = 0 ] && apt-get -qq update && \
	  apt-get -qq install -y redis-server; } || { echo "make bench needs redis-server: install it"; exit 1; }

bench: $(BENCH) redis
	$(BIN)/python -m tests.benchmarks $(ARGS)

chaos: $(READY)
	$(BIN)/python -m pytest $(SPREAD) -m chaos tests/chaos $(ARGS)
	$(if $(ARGS),,$(BIN)/python -m pytest $(SPREAD) -m hypothesis --hypothesis-profile=thorough tests/unit tests/integration)

soak: $(READY)
	$(BIN)/python -m pytest -m soak -s tests/chaos $(ARGS)

money: $(READY)
	$(BIN)/python -m pytest -m money -rP tests/chaos $(ARGS)

packages: $(OTHERS)
	$(BIN)/python -m pytest -m packages -rP tests/packages $(ARGS)

# What the image installs, to the hash: for every machine and Python that it may be built for. ARGS=--upgrade for newer ones.
constraints: $(READY)
	$(BIN)/python -m pip install --quiet "uv>=0.5"
	$(BIN)/uv pip compile --quiet $(LOCK) pyproject.toml --output-file deploy/constraints.txt $(ARGS)
	echo "setuptools>=77" | $(BIN)/uv pip compile --quiet $(LOCK) - --output-file deploy/build-constraints.txt $(ARGS)

# The rules of deploy/prometheus as the Prometheus operator wants them.
manifests:
	@for name in recording alerts; do \
	  { printf '# A copy of deploy/prometheus/%s.yml, made by `make manifests`.\n' $$name; \
	    printf 'apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nmetadata:\n  name: enricher-%s\nspec:\n' $$name; \
	    sed 's/^\(.\)/  \1/' deploy/prometheus/$$name.yml; } > deploy/kubernetes/prometheus-operator/$$name.yaml; done

# Settings, commands, series, events and the schema, from the code into docs/reference.
reference: $(READY)
	$(BIN)/python -m tests.reference

# What people read, as a site in site/; a broken link fails. ARGS=serve shows it while it is written.
docs: $(PAGES)
	$(BIN)/zensical $(if $(ARGS),$(ARGS),build --clean --strict)

pictures: $(READY)
	$(BIN)/python -m tests.deploy $(ARGS)

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) build dist site .cache *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage
