# Every target does first what it depends on: on a fresh machine `make serve` and `make test` suffice.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# One thread: with every core busy, a second one makes small models many times slower.
ENV := HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false
CONFIG ?= example_configs/demo.yaml
PORT ?= 8000

.PHONY: setup serve test check test-core test-rest bench evaluate clean

PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

setup: $(VENV)/.ready

# What serving needs, and no more.
$(VENV)/.serving: requirements.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) -r requirements.txt
	touch $@

# What tests, checks and benchmarks need, too.
$(VENV)/.ready: $(VENV)/.serving requirements-dev.txt
	$(PIP) -r requirements.txt -r requirements-dev.txt
	touch $@

serve: $(VENV)/.serving
	OMP_NUM_THREADS=1 $(BIN)/python gac_api_server.py --config-path $(CONFIG) --port $(PORT)

test: setup
	$(ENV) $(BIN)/python -m pytest -q

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy --strict gac
	$(ENV) $(BIN)/python -m pytest -q tests/test_architecture.py
	$(MAKE) --jobs 2 --output-sync=target test-core test-rest

# The tests in two halves, which take about as long: `check` runs them side by side.
CORE := tests/decoding tests/engine tests/equalities tests/vocabulary

test-core:
	$(ENV) $(BIN)/python -m pytest -q --hypothesis-profile=thorough $(CORE)

test-rest:
	$(ENV) $(BIN)/python -m pytest -q --hypothesis-profile=thorough tests $(CORE:%=--ignore %) --ignore tests/test_architecture.py

bench: setup
	$(ENV) $(BIN)/python -m benchmarks

evaluate: setup
	$(ENV) $(BIN)/python -m demo.evaluate --part test

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis
