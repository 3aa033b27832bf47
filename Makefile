# Everything a newcomer does: `make demo`, then `make test`. `make help` lists the rest.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3
# The host's steps need the standard library only: they run before anything is installed.
HOST := PYTHONPATH=. PYTHONDONTWRITEBYTECODE=1 $(PYTHON)
# The environment first, so that Pulumi's language host finds its Python; then the tools.
IN_VENV := venv=$$($(PYTHON) infra/tools/venv.py) && PATH="$$venv/bin:$$PATH" VIRTUAL_ENV="$$venv"
WITH_TOOLS := venv=$$($(PYTHON) infra/tools/venv.py) && tools=$$($(HOST) -m sealwave.infra.tools) \
	&& PATH="$$venv/bin:$$tools:$$PATH" VIRTUAL_ENV="$$venv"
# For one's own words to pytest or to the demo: `make test PYTEST="-k signing"`, `make demo DEMO=--keep`.
PYTEST ?=
DEMO ?=

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: python packages ## the whole product on this machine: three nodes, two good images, a broken one
	@$(WITH_TOOLS) sealwave lab demo $(DEMO)

.PHONY: demo-resume
demo-resume: python packages ## a rollout that is killed, and resumed from the journal in the cluster
	@$(WITH_TOOLS) sealwave lab demo --resume $(DEMO)

.PHONY: test-fast
test-fast: python ## tests that need no root, no network and no built tools (3 minutes)
	@$(IN_VENV) CI=false pytest -m "not tools and not machine" $(PYTEST)

.PHONY: test
test: python packages ## every test, real machines included: what CI runs
	@$(WITH_TOOLS) pytest --durations=15 $(PYTEST)

.PHONY: test-full
test-full: test demo-resume demo bench ## everything, before a release

.PHONY: bench
bench: python ## measure what grows with an image or a fleet
	@$(IN_VENV) python -m benchmarks

.PHONY: lint
lint: python ## style, types and the arrows between the rooms
	@$(IN_VENV) CI=false pytest tests/test_house.py $(PYTEST)

.PHONY: format
format: ## rewrite the sources in the house's format
	@$(IN_VENV) ruff format
	@$(IN_VENV) ruff check --fix

.PHONY: python
python:
	@$(PYTHON) -c 'import sys; old = sys.version_info < (3, 11); sys.exit(old and "sealwave: error: \
	this needs Python 3.11 or newer; install it and run make PYTHON=python3.11" or 0)'

.PHONY: venv
venv: ## the Python environment; prints its folder
	@$(PYTHON) infra/tools/venv.py

.PHONY: tools
tools: ## find or build Pulumi, etcd and Kubernetes' control plane; prints their folder
	@$(HOST) -m sealwave.infra.tools

.PHONY: packages
packages: ## install the Debian packages that are missing, as root where any is
	@$(HOST) -m sealwave.infra.tools packages

.PHONY: lock
lock: ## choose the newest Python packages that pyproject.toml allows
	@$(PYTHON) -m venv build/lock-venv
	@build/lock-venv/bin/pip install --quiet uv==0.13.9
	@echo '# Every Python package that sealwave and its tests run on, with its hashes. Made by `make lock`; do not edit.' \
		> requirements.lock.new
	@build/lock-venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --extra dev \
		--no-annotate --no-header pyproject.toml <(echo setuptools==80.9.0) >> requirements.lock.new
	@mv requirements.lock.new requirements.lock

.PHONY: clean
clean: ## remove images, reports and the linters' caches; locks, the lab's keys and SEALWAVE_CACHE stay
	@if [ -e build/lab/lab.json ]; then $(IN_VENV) sealwave lab down; fi
	@remove() { if [ -d "$$1" ]; then find "$$1" -mindepth 1 -maxdepth 1 "$${@:2}" -exec rm -rf {} +; fi; }; \
	remove build/lab ! -name keys; \
	remove build/images ! -name '*.lock'; \
	remove build ! -name images ! -name lab
	@rm -rf dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
