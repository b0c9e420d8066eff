# Everything is installed into .venv, from this project's own files. The targets that people need are demo and test.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: demo test lint bench-memory proof clean

demo: $(VENV)/.demo
	$(BIN)/penstock demo

test: $(VENV)/.test
	$(BIN)/python -m pytest

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Memory and time of every format on EVENTS generated events; prints the peak of each whole process.
bench-memory: $(VENV)/.test
	$(BIN)/python bench/memory.py $(if $(EVENTS),--events $(EVENTS)) $(ARGS)

# The fault sweeps at their full size.
proof: $(VENV)/.test
	PENSTOCK_PROOF=full $(BIN)/python -m pytest tests/faults -s

clean:
	rm -rf $(VENV) penstock-demo bench/work

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(VENV)/bin/python pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check -e .
	touch $@

$(VENV)/.test: $(VENV)/bin/python pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[test]'
	touch $@
