# make demo      install into .venv and run the main job on Grunfeld's firms
# make zoo       the site of the zoo, in site/
# make test      the quick tier: format, lint, types, contracts, tests (under 5 minutes)
# make test-all  everything: also sampling tests and the notebooks (under 25 minutes)
# make notebooks run the notebooks and keep their executed copies in docs/notebooks

SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test test-all check lint kernels format docs zoo notebooks constraints clean

demo: $(STAMP)
	$(BIN)/hlm run grunfeld-slopes

test: lint kernels
	$(BIN)/python -m pytest -m "not slow" -n auto --dist worksteal

test-all: test
	$(BIN)/python -m pytest -m slow -n auto --dist worksteal
	$(BIN)/python -m pytest -n auto --nbmake notebooks --nbmake-timeout=900 -p no:randomly -o filterwarnings=default

lint: $(STAMP)
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

# Compiled functions are kept on disk. Two processes make them here, each a half: the workers of the
# tests would each make all of them.
kernels: $(STAMP)
	@for model in dyestuff penicillin; do \
	  ($(BIN)/hlm fit $$model --engine nuts && $(BIN)/hlm fit $$model --engine gibbs) > /dev/null & \
	  started="$$started $$!"; \
	done; for one in $$started; do wait $$one || exit 1; done

format: $(STAMP)
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

# The reference, from the docstrings.
docs: $(STAMP)
	$(BIN)/python scripts/api_reference.py

# The site of the zoo, in site/.
zoo: $(STAMP)
	$(BIN)/hlm zoo build --force

# Set HLM_DATA to the folder of nels.csv to have the lecture's own numbers in 02.
notebooks: $(STAMP)
	$(BIN)/python scripts/execute_notebooks.py

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
