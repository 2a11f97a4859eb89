# make demo      install into .venv and run the main job on Grunfeld's firms
# make test      the quick tier: format, lint, types, contracts, tests (under 5 minutes)
# make test-all  everything: also sampling tests and the notebooks (under 25 minutes)

SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test test-all check lint format constraints clean

demo: $(STAMP)
	$(BIN)/hlm run grunfeld-slopes

test: lint
	$(BIN)/python -m pytest -m "not slow" -n auto --dist worksteal

test-all: test
	$(BIN)/python -m pytest -m slow -n auto --dist worksteal
	$(BIN)/python -m pytest -n auto --nbmake notebooks --nbmake-timeout=900 -p no:randomly -o filterwarnings=default

lint: $(STAMP)
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP)
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

# The versions that the tests were run with; names and versions only.
constraints: $(STAMP)
	$(BIN)/python -m pip freeze --exclude-editable | grep -E '^[A-Za-z0-9_.-]+==' > constraints.txt

$(STAMP): pyproject.toml constraints.txt scripts/find-python
	@python=$$(bash scripts/find-python) && rm -rf $(VENV) && "$$python" -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --group dev --editable .
	@touch $(STAMP)

clean:
	rm -rf $(VENV) build dist
