# Every target does its own set-up (scripts/setup.sh) and is quick the second time.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
# mariadbd lies in /usr/sbin, which is not on a Debian user's path
export PATH := $(CURDIR)/.venv/bin:$(PATH):/usr/sbin:/sbin
VENV_PYTHON := .venv/bin/python
# the tests of one file by one worker, in order, so that they share their servers; all of Airflow's by one (conftest.py)
TWO_AT_A_TIME = --numprocesses=2 --dist=loadfile --no-loadscope-reorder
SHELL_SCRIPTS = $(shell grep -lE '^\#!(/usr/bin/env |/bin/)(ba)?sh' $$(find scripts .ci -type f))

.PHONY: help
help:
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

.PHONY: demo
demo: ## back up, damage and restore a small SPOQ Plus in a real Airflow (DEMO_EXIT=1 ends it by itself)
	@scripts/setup.sh base
	@$(VENV_PYTHON) scripts/demo.py

.PHONY: up
up: ## start the containers of docker-compose.yaml, what is missing is made first; DEMO=1 adds a site to try
	@DEMO="$(DEMO)" scripts/stack.sh up

.PHONY: down
down: ## end the containers; a running dump may end first, volumes stay
	@scripts/stack.sh down

.PHONY: test
test: ## run all tests: unit, DAG, integration (real servers) and e2e (real Airflow); ARGS='-k name' picks some
	@scripts/setup.sh test
	@$(VENV_PYTHON) -m pytest $(TWO_AT_A_TIME) $(ARGS)

.PHONY: test-stack
test-stack: ## build the image and run the containers for real: backup, restore, recovery test, and what is killed meanwhile
	@scripts/setup.sh base
	@$(VENV_PYTHON) -m pytest --override-ini=norecursedirs= tests/stack $(ARGS)

.PHONY: lint
lint: ## check style, types, direction of imports, shell scripts and the generated documents
	@scripts/setup.sh lint
	ruff check .
	ruff format --check .
	mypy
	lint-imports --no-cache
	for script in $(SHELL_SCRIPTS); do bash -n "$$script"; done
	shellcheck $(SHELL_SCRIPTS)
	$(VENV_PYTHON) scripts/dag_docs.py --check

.PHONY: bench
bench: ## compare backup and restore with other ways on the same data (also as build/bench.json)
	@scripts/setup.sh bench
	@PYTHONPATH=scripts $(VENV_PYTHON) -m bench $(ARGS)

.PHONY: docs
docs: ## write docs/DAGS.md from the DAGs
	@scripts/setup.sh lint
	@$(VENV_PYTHON) scripts/dag_docs.py

.PHONY: screenshots
screenshots: ## take the pictures of the Airflow UI in docs/images anew
	@scripts/setup.sh test
	@$(VENV_PYTHON) scripts/screenshots.py

.PHONY: requirements
requirements: ## pin what requirements.in names into requirements.txt; ARGS=--upgrade takes the newest versions
	@scripts/setup.sh lint
	@uv pip compile --quiet --universal --python-version 3.10 --generate-hashes \
	    --custom-compile-command 'make requirements' $(ARGS) requirements.in -o requirements.txt
	@uv pip compile --quiet --universal --python-version 3.10 --generate-hashes --constraint requirements.txt \
	    --custom-compile-command 'make requirements' requirements-core.in -o requirements-core.txt
	@for set in build requirements; do \
	    uv pip compile --quiet --no-deps --generate-hashes --python-version 3.11 --constraint requirements.txt \
	        --custom-compile-command 'make requirements' $(ARGS) include/docker/$$set.in -o include/docker/$$set.txt; \
	done
	@scripts/setup.sh lint

.PHONY: clean
clean: ## remove what these commands made: .venv, build and caches (installed system packages stay)
	@rm -rf .venv build .mypy_cache .ruff_cache .pytest_cache .hypothesis plugins/*.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
