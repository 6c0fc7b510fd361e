# `make demo` and `make test` do all their set-up themselves, on a fresh machine too.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
DEMO   ?= runs/demo

.PHONY: setup demo demo-smoke test test-app test-slow lint format clean

setup: $(VENV)/.installed

# torch comes first and alone, so that the CPU wheel lying on disk (pip's find-links) is taken
# and nothing later replaces it with a build that pulls gigabytes of CUDA.
$(VENV)/.installed: setup.cfg constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,hub,wandb]'
	touch $@

demo: setup
	$(BIN)/parvideo demo --out $(DEMO)

# The demo's whole path at its smallest size: every stage, nothing worth looking at.
demo-smoke: setup
	rm -rf runs/demo-smoke
	$(BIN)/parvideo demo --preset smoke --out runs/demo-smoke

# The page of `parvideo app` in a headless browser; Chromium has to be there.
test-app: setup
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[app]' playwright
	$(BIN)/python -m pytest tests/app

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	$(BIN)/python -m pytest

test-slow: setup
	$(BIN)/python -m pytest -m slow

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build dist *.egg-info
