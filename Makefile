# Everything runs in .venv, which `setup` makes once and keeps up to date with pyproject.toml and constraints.txt.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DOCS_STAMP := $(VENV)/.installed-docs
CONFIG ?= agents/configs/cartpole.yaml
ARGS ?=
export TF_CPP_MIN_LOG_LEVEL ?= 3

.PHONY: setup train test test-all reliability lint benchmark package docs
.DEFAULT_GOAL := test

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(None if v >= (3, 11) else f"rlsample needs Python 3.11 or newer. Received: {v.major}.{v.minor}. Try make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $(STAMP)

train: setup
	@$(BIN)/python -m scripts.train $(CONFIG) $(ARGS)

test: setup
	@$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow and not reliability" $(ARGS)

test-all: setup
	@$(BIN)/python -m pytest -n 2 --dist loadfile -m "not reliability" $(ARGS)

reliability: setup
	@$(BIN)/python -m pytest -m reliability tests/reliability $(ARGS)

lint: setup
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

benchmark: setup
	@$(BIN)/python -m scripts.benchmark $(ARGS)

package: setup
	@$(BIN)/python -m scripts.package $(ARGS)

docs: $(DOCS_STAMP)
	@$(BIN)/python -m sphinx --fail-on-warning --keep-going --nitpicky --builder html docs docs/_build/html $(ARGS)
	@$(BIN)/python -m scripts.site.links docs/_build/html

$(DOCS_STAMP): $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[docs]'
	@touch $(DOCS_STAMP)
