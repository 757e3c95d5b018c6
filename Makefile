# make demo   install into .venv and run the demo workload
# make test   install into .venv and run the tests
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INPUTS := setup.cfg pyproject.toml constraints.txt

.PHONY: demo test lint types contracts clean

demo: $(VENV)/.installed
	$(BIN)/pimsim run workloads/demo.yaml --results results/demo

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest -q -n auto --dist loadfile

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev
	$(BIN)/mypy

contracts: $(VENV)/.installed-dev
	$(BIN)/lint-imports

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "pimsim needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(BIN)/python $(INPUTS)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .
	touch $@

$(VENV)/.installed-test: $(BIN)/python $(INPUTS)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[test]'
	touch $(VENV)/.installed $@

$(VENV)/.installed-dev: $(BIN)/python $(INPUTS)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[test,dev]'
	touch $(VENV)/.installed $(VENV)/.installed-test $@

clean:
	rm -rf $(VENV) build *.egg-info
