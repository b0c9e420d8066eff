# Everything is installed into .venv, from this project's own files. The targets that people need are demo and test.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
# The benchmark's peers have an environment of their own, so that none of them enters the product's.
BENCH_VENV ?= .venv-bench

.PHONY: demo test lint bench bench-tables bench-memory sanitize fuzz proof proof-of-proofs mutants clean

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

# Tables that are no event stores, as they are and as events, beside DuckDB and our own store: ROWS of them, 5,000,000 by
# default; the report goes to docs/benchmarks. ARGS=--quick only proves that it runs.
bench-tables: $(VENV)/.test $(if $(findstring --quick,$(ARGS)),,$(BENCH_VENV)/.peers)
	$(BIN)/python bench/tables.py --peer-python $(BENCH_VENV)/bin/python $(if $(ROWS),--rows $(ROWS)) $(ARGS)

# Memory and time of every format on EVENTS generated events; prints the peak of each whole process.
bench-memory: $(VENV)/.test
	$(BIN)/python bench/memory.py $(if $(EVENTS),--events $(EVENTS)) $(ARGS)

# The native library under AddressSanitizer and UndefinedBehaviorSanitizer, with the tests that feed it.
SANITIZED = build/sanitized
SANITIZERS = -g -O1 -fsanitize=address,undefined -fno-sanitize-recover=undefined
sanitize: $(VENV)/.test
	rm -rf $(SANITIZED) && mkdir -p $(SANITIZED) && cp -r src/penstock $(SANITIZED)/
	$(CC) -std=c11 $(SANITIZERS) -fPIC -shared -pthread -fvisibility=hidden native/*.c -o $(SANITIZED)/penstock/pipeline/_native.so
	LD_PRELOAD="$$($(CC) -print-file-name=libasan.so) $$($(CC) -print-file-name=libubsan.so)" PYTHONPATH=$(SANITIZED) \
	  ASAN_OPTIONS=detect_leaks=0:verify_asan_link_order=0 $(BIN)/python -m pytest -p no:cacheprovider -s \
	  tests/unit/test_pipeline_native.py tests/unit/test_pipeline_any_columns.py tests/unit/test_pipeline_flattening.py \
	  tests/unit/test_formats_encoders.py tests/unit/test_formats_decoders.py tests/unit/test_sources_scan.py \
	  tests/unit/test_sources_cursor.py tests/unit/test_adopted_events.py tests/unit/test_adopted_payload.py \
	  tests/unit/test_storage_foreign.py tests/property/test_round_trip.py tests/property/test_filters.py \
	  tests/property/test_where.py

# The native library's functions with rows and lines made up by chance, under the same sanitizers and with memory that
# runs out, for SECONDS (60). The same SEED (0) makes up the same ones.
fuzz:
	mkdir -p build
	$(CC) -std=c11 -Wall -Wextra $(SANITIZERS) -pthread -Wl,--wrap=malloc,--wrap=calloc native/*.c native/fuzz/*.c \
	  -o build/fuzz
	build/fuzz $(or $(SECONDS),60) $(or $(SEED),0)

# The fault sweeps and the random histories at their full size (about 25 minutes on two cores), with a table at the end.
# SIZE=tenth is what CI runs, SIZE=10 ten times the full size; SEED=1 takes other samples and histories.
proof: $(VENV)/.test
	PENSTOCK_PROOF=$(or $(SIZE),full) PENSTOCK_PROOF_SEED=$(or $(SEED),0) $(BIN)/python -m pytest \
		tests/faults tests/property/test_lineage.py --ignore tests/faults/test_planted_defects.py \
		--ignore tests/faults/test_mutants.py

# Files that chance damaged, 12,500 of each format (about 20 minutes), through ingest, verify and restore in processes that
# are watched. SIZE=tenth is what CI runs; SEED=1 damages in other ways.
mutants: $(VENV)/.test
	PENSTOCK_PROOF=$(or $(SIZE),full) PENSTOCK_PROOF_SEED=$(or $(SEED),0) $(BIN)/python -m pytest -q -s \
		tests/faults/test_mutants.py

# Every planted defect has to be caught by the check that is there for it.
proof-of-proofs: $(VENV)/.test
	PENSTOCK_PROOF=full $(BIN)/python -m pytest tests/faults/test_planted_defects.py

clean:
	rm -rf $(VENV) $(BENCH_VENV) penstock-demo bench/work build src/penstock/pipeline/_native*.so

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

NATIVE = pyproject.toml setup.py $(wildcard native/*.[ch])

$(VENV)/.demo: $(VENV)/bin/python $(NATIVE)
	$(BIN)/pip install --quiet --disable-pip-version-check -e .
	touch $@

# DuckDB reads SQLite by an extension that is there for one version only: tests run it beside the DuckDB that they read with.
SCANNER = duckdb==1.5.5 duckdb-extension-sqlite-scanner==1.5.5
$(VENV)/.scanner: $(VENV)/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check --upgrade --target $(VENV)/scanner $(SCANNER)
	touch $@

$(VENV)/.test: $(VENV)/bin/python $(VENV)/.scanner $(NATIVE)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[test]'
	touch $@

$(BENCH_VENV)/.peers: bench/requirements.txt
	$(PYTHON) -m venv $(BENCH_VENV)
	$(BENCH_VENV)/bin/pip install --quiet --disable-pip-version-check -r bench/requirements.txt
	touch $@
