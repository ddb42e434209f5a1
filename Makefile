# streamkit: `make help` lists the targets. `make demo` and `make test` work as the first command on a machine with
# Python 3.11+ and make: they build .venv (with uv where it is installed, else venv and pip). A stamp file that depends
# on pyproject.toml makes the second time free.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

VENV := .venv
PY := $(VENV)/bin/python
RUNTIME := $(VENV)/.streamkit-runtime# stamp: the project is installed, with what a service needs
DEV := $(VENV)/.streamkit-dev# stamp: and with what tests and checks need
# What an installation is made from: when one of these changes it is made anew.
INSTALLED_FROM := pyproject.toml hatch_build.py $(wildcard streamkit/*/native/*.[ch] streamkit/*/*/native/*.[ch])
FAST_TIERS := unit conformance golden plan driver arch docs sim
TYPED := $(wildcard streamkit services tests/support benchmarks)

# The tests start some hundred processes, and each would compile the package anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(RUNTIME) ## Run the worked example (embedded broker, or KAFKA_BOOTSTRAP_SERVERS)
	@$(PY) -m services.bids.demo

.PHONY: test
test: lint ## Lint, then every test, on a real Kafka (it is found by itself)
	@$(PY) -m pytest -n auto

.PHONY: test-fast
test-fast: $(DEV) ## The tests of the framework that need no broker, in two minutes
	@$(PY) -m pytest -n auto --no-broker $(wildcard $(addprefix tests/,$(FAST_TIERS)))

.PHONY: golden
golden: $(DEV) ## Every golden case in every way: straight, as rows, in small batches, interleaved, crashed, rescaled
	@$(PY) -m tests.golden

.PHONY: sim
sim: $(DEV) ## Simulate drawn faults: RUNS=500 SEED=1, or REPLAY=FILE
	@$(PY) -m tests.sim $(if $(REPLAY),--replay $(REPLAY),--runs $(or $(RUNS),500) --seed $(or $(SEED),1))

.PHONY: chaos
chaos: $(DEV) ## Faults on three real brokers: MINUTES=5, SEED=1, PROTOCOL=consumer, STATIC=1
	@$(PY) -m tests.chaos.run --minutes $(or $(MINUTES),5) $(if $(SEED),--seed $(SEED)) $(if $(PROTOCOL),--protocol $(PROTOCOL)) $(if $(STATIC),--static)

.PHONY: mutants
mutants: $(DEV) ## Break each rule of exactly-once in turn: the simulator must catch every one
	@$(PY) -m tests.sim.mutants

.PHONY: sanitize
sanitize: $(DEV) ## The compiled parts under gcc's address and undefined-behaviour sanitizers
	@$(PY) -m tests.support.sanitize $(TESTS)

.PHONY: lint
lint: $(DEV) ## Style, types and the direction of imports
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy $(TYPED)
	@$(VENV)/bin/lint-imports --no-logo

.PHONY: format
format: $(DEV) ## Format, and repair what ruff can repair
	@$(PY) -m ruff check --fix .
	@$(PY) -m ruff format .

.PHONY: conformance
conformance: $(DEV) ## The embedded cluster beside a real Kafka, case by case
	@$(PY) -m tests.conformance.run

.PHONY: bench-quick
bench-quick: $(DEV) ## Throughput beside a hand-written loop, in one short run
	@$(PY) -m benchmarks.quick

.PHONY: bench
bench: $(DEV) ## Every contestant on every workload, 20 minutes: ARGS="--minutes 20 --only w1-100 --turns 3"
	@$(PY) -m benchmarks.suite $(ARGS)

.PHONY: schemas
schemas: $(DEV) ## Write the schemas of the services' topics from their models
	@$(PY) -m tests.support.schemas

.PHONY: docs
docs: $(DEV) ## Write the reference from docstrings and --help, and the tables of settings
	@$(PY) -m tests.support.reference_pages
	@$(PY) -m tests.support.settings_page
	@$(PY) -m tests.support.events_page
	@$(PY) -m tests.support.pictures

.PHONY: broker
broker: $(DEV) ## Start a real Kafka for an hour and print its address
	@$(PY) -m tests.support.broker

.PHONY: clean
clean: ## Delete caches and build output
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

# The interpreter: PYTHON if it is given, else the first of these names that answers and is new enough (a pyenv shim may
# exist and not answer). $(1) is what to install.
define install
	@if [ ! -x $(PY) ]; then \
		new_enough='import sys; sys.exit(sys.version_info < (3, 11))'; \
		for python in $(or $(PYTHON),python3 python3.13 python3.12 python3.11 python); do \
			"$$python" -c "$$new_enough" 2>/dev/null && break; python=; \
		done; \
		if command -v uv >/dev/null; then uv venv --quiet --python "$${python:->=3.11}" $(VENV); \
		elif [ -n "$$python" ]; then "$$python" -m venv $(VENV); \
		else echo "streamkit needs Python 3.11 or later: install it, or name it with make PYTHON=/path/to/python" >&2; exit 1; fi; \
	fi
	@echo "Installing streamkit into $(VENV) ..."
	@if command -v uv >/dev/null; then uv pip install --quiet --python $(PY) -e "$(1)"; \
	else $(PY) -m pip install --quiet --disable-pip-version-check -e "$(1)"; fi
	@touch $@
endef

$(RUNTIME): $(INSTALLED_FROM)
	$(call install,.)

$(DEV): $(INSTALLED_FROM)
	$(call install,.[dev])
	@touch $(RUNTIME)
