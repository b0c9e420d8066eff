# Everything is installed into .venv, from this project's own files. The targets that people need are demo and test.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
# The benchmark's peers have an environment of their own, so that none of them enters the product's.
BENCH_VENV ?= .venv-bench

.PHONY: demo test lint bench bench-memory proof clean

demo: $(VENV)/.demo
	$(BIN)/penstock demo

test: $(VENV)/.test
	$(BIN)/python -m pytest

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Side by side with other tools on EVENTS generated events, 5,000,000 by default; the report goes to docs/benchmarks.
# ARGS=--quick only proves that it runs, with the peers that are installed already.
bench: $(VENV)/.test $(if $(findstring --quick,$(ARGS)),,$(BENCH_VENV)/.peers)
	$(BIN)/python bench/compare.py --peer-python $(BENCH_VENV)/bin/python $(if $(EVENTS),--events $(EVENTS)) $(ARGS)

# Memory and time of every format on EVENTS generated events; prints the peak of each whole process.
bench-memory: $(VENV)/.test
	$(BIN)/python bench/memory.py $(if $(EVENTS),--events $(EVENTS)) $(ARGS)

# The fault sweeps at their full size.
proof: $(VENV)/.test
	PENSTOCK_PROOF=full $(BIN)/python -m pytest tests/faults -s

clean:
	rm -rf $(VENV) $(BENCH_VENV) penstock-demo bench/work build src/penstock/pipeline/_native*.so

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

NATIVE = pyproject.toml $(wildcard native/*)

$(VENV)/.demo: $(VENV)/bin/python $(NATIVE)
	$(BIN)/pip install --quiet --disable-pip-version-check -e .
	touch $@

$(VENV)/.test: $(VENV)/bin/python $(NATIVE)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[test]'
	touch $@

$(BENCH_VENV)/.peers: bench/requirements.txt
	$(PYTHON) -m venv $(BENCH_VENV)
	$(BENCH_VENV)/bin/pip install --quiet --disable-pip-version-check -r bench/requirements.txt
	touch $@
