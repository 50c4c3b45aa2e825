# Everything a developer types. `make help` lists it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup demo up test lint format bench bench-matrix lock

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

setup: $(STAMP) ## create .venv with everything (idempotent)

$(STAMP): pyproject.toml requirements.txt requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "GenPulse needs Python 3.11 or newer; try: make setup PYTHON=python3.12"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing (the first time this takes a minute) ..."
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(STAMP)

demo: setup ## set up, start, really generate, show the files
	@$(BIN)/python manager.py demo

up: setup ## start the server and stay (= .venv/bin/python manager.py start-all)
	@$(BIN)/python manager.py start-all

test: setup lint ## the whole test suite
	@$(BIN)/python -m pytest

lint: setup ## format check, linter, types, layers
	@$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/pyright && $(BIN)/lint-imports --no-logo 2>/dev/null

bench: setup ## measure speed and cost on this machine (some ten minutes; needs wrk), print a table
	@$(BIN)/python -m bench

format: setup ## format and fix what can be fixed
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

bench-matrix: setup ## the queue's behaviour matrix (ADR 0003) on both databases, about 10 minutes
	@$(BIN)/python -m bench.queue_matrix --database sqlite
	@$(BIN)/python -m bench.queue_matrix --database postgresql

lock: setup ## pin all dependencies with hashes from pyproject.toml
	@$(BIN)/python scripts/lock.py
