# The Citadel. `make` lists what there is; everything that a target needs, it installs into .venv by itself.
.DEFAULT_GOAL := help
SHELL := /bin/sh
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: .venv/demo ## the whole system on one machine: 2,000 renewals, 30 days in a minute (KEEP=1 leaves it running)
	@$(BIN)/citadel demo $(if $(TARGET),--target $(TARGET)) $(if $(KEEP),--keep) $(DEMO)

.PHONY: up
up: .venv/demo ## the stack in Docker containers, with your settings (SIMULATOR=1: with a simulated Stripe)
	@$(BIN)/python -m console.compose up $(if $(SIMULATOR),--simulator)

.PHONY: down
down: .venv/demo ## stop those containers (SIMULATOR=1 the simulated ones; VOLUMES=1 removes the database, too)
	@$(BIN)/python -m console.compose down $(if $(SIMULATOR),--simulator) $(if $(VOLUMES),--volumes)

.PHONY: key
key: .venv/demo ## a key for the API of the stack in containers (NAME=dashboard)
	@$(BIN)/python -m console.compose key $(if $(SIMULATOR),--simulator) "$(or $(NAME),dashboard)"

.PHONY: up-local
up-local: .venv/demo ## the four services without Docker, with your settings (.env) and an embedded PostgreSQL
	@$(BIN)/citadel up

.PHONY: test
test: .venv/dev ## every test that needs no Docker
	$(BIN)/pytest -n $(or $(JOBS),2) --dist loadgroup --ignore tests/compose $(TEST)

.PHONY: test-compose
test-compose: .venv/dev ## the tests of the containers; skipped where no Docker engine answers
	$(BIN)/pytest tests/compose $(TEST)

.PHONY: chaos
chaos: .venv/dev ## crash tests: kills, stops and cuts (CHAOS_SECONDS=180, SEED=n; QUICK=1; MUTANTS=1: broken builds)
	@$(BIN)/python -m tests.chaos $(if $(QUICK),--seconds 20 --merchants 3) $(if $(MUTANTS),--mutants) $(CHAOS)

.PHONY: explore
explore: .venv/dev ## random worlds of months, held against the bank's book (SECONDS=180, WORLDS=n, SEED=n; MUTANTS=1)
	@$(BIN)/python -m tests.explorer $(if $(MUTANTS),--mutants) $(EXPLORE)

.PHONY: check
check: .venv/dev ## format, lint, types, architecture, migrations
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/squawk --config .squawk.toml shared/migrations/versions/*.up.sql

.PHONY: bench
bench: .venv/bench ## the queue and the intake beside their peers and the limit (QUICK=1: under 3 minutes)
	$(BIN)/python -m benchmarks $(if $(QUICK),--quick) $(BENCH)

.PHONY: worlds
worlds: .venv/demo ## the default policy in the shipped and 200 random worlds, and the bound (FAILURES=, RANDOM=, SEED=)
	@$(BIN)/citadel simulate --seed 21 --failures $(or $(FAILURES),10000) \
	  $(patsubst console/evaluation/worlds/shipped/%.json,--world %,$(wildcard console/evaluation/worlds/shipped/*.json))
	@$(BIN)/citadel simulate --random-worlds $(or $(RANDOM),200) --seed $(or $(SEED),2000) --failures 1500
	@$(BIN)/citadel bound

.PHONY: format
format: .venv/dev ## format the code and mend what the linter can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

LOCK := $(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
	--no-header --no-emit-index-url --quiet

.PHONY: lock
lock: .venv/dev ## write requirements/*.txt anew from pyproject.toml
	$(LOCK) --upgrade -o requirements/base.txt
	$(LOCK) --upgrade -c requirements/base.txt --extra embedded --extra simulator -o requirements/demo.txt
	$(LOCK) --upgrade -c requirements/demo.txt --extra embedded --extra simulator --extra dev -o requirements/dev.txt
	$(LOCK) --upgrade -c requirements/dev.txt --extra embedded --extra simulator --extra bench -o requirements/bench.txt

.PHONY: clean
clean: ## remove what the targets above made (.venv, .citadel, caches)
	rm -rf .venv .citadel .mypy_cache .ruff_cache .pytest_cache .hypothesis .schemathesis build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The virtual environment. A stamp per requirements file: installing again only when the file has changed.
.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "The Citadel needs Python 3.11 or later; $(PYTHON) is $$($(PYTHON) --version 2>&1). Try: make PYTHON=python3.12 …" >&2; exit 1; }
	@$(PYTHON) -m venv .venv

INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# The project itself. setuptools warns about every editable install; the warning is of no use here.
INSTALL_PROJECT := PYTHONWARNINGS=ignore $(INSTALL) --no-deps --no-build-isolation -e .

.venv/demo: requirements/demo.txt pyproject.toml | .venv/bin/python
	@echo "installing $< into .venv"
	@$(INSTALL) --require-hashes -r $<
	@$(INSTALL_PROJECT)
	@touch $@

.venv/bench: requirements/bench.txt pyproject.toml | .venv/bin/python
	@echo "installing $< into .venv"
	@$(INSTALL) --require-hashes -r $<
	@$(INSTALL_PROJECT)
	@touch $@ .venv/demo

.venv/dev: requirements/dev.txt pyproject.toml | .venv/bin/python
	@echo "installing $< into .venv"
	@$(INSTALL) --require-hashes -r $<
	@$(INSTALL_PROJECT)
	@touch $@ .venv/demo
