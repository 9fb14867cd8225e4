# Every target does first what it depends on: on a fresh machine `make serve` and `make test` suffice.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# One thread: with every core busy, a second one makes small models many times slower.
ENV := HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false
CONFIG ?= example_configs/demo.yaml
PORT ?= 8000

.PHONY: setup serve test test-all check bench evaluate conformance clean

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

# Two workers, whatever the machine has: the tests are sized for two cores.
PYTEST := $(ENV) $(BIN)/python -m pytest -q --numprocesses 2 --dist worksteal --durations 10

# What a person waits for: few random examples, and no test that starts processes.
test: setup
	$(PYTEST) -m "not slow"

# Everything: all random examples, servers, Ray, benchmarks, lm-evaluation-harness.
test-all: setup .evaluation/.ready
	$(PYTEST) --hypothesis-profile thorough

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy --strict gac
	$(MAKE) test-all

bench: setup
	$(ENV) $(BIN)/python -m benchmarks

evaluate: setup
	$(ENV) $(BIN)/python -m demo.evaluate --part test

# Real clients and public suites, from an environment of their own: it sees the packages of $(VENV),
# so that torch is not installed twice, and changes none of them.
CLIENTS := .conformance
SITE := import site; print(site.getsitepackages()[0])
$(CLIENTS)/.ready: $(VENV)/.ready conformance/requirements.txt
	test -x $(CLIENTS)/bin/python || $(PYTHON) -m venv $(CLIENTS)
	$(BIN)/python -c "$(SITE)" > "$$($(CLIENTS)/bin/python -c "$(SITE)")/serving.pth"
	$(CLIENTS)/bin/python -m pip install --quiet --disable-pip-version-check -r conformance/requirements.txt
	touch $@

conformance: $(CLIENTS)/.ready
	$(ENV) $(CLIENTS)/bin/python -m conformance $(PARTS)

# lm-evaluation-harness, which tests run: kept apart likewise, as its packages make others slow to start.
HARNESS := .evaluation
$(HARNESS)/.ready: $(VENV)/.ready requirements-eval.txt
	test -x $(HARNESS)/bin/python || $(PYTHON) -m venv $(HARNESS)
	$(BIN)/python -c "$(SITE)" > "$$($(HARNESS)/bin/python -c "$(SITE)")/serving.pth"
	$(HARNESS)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-eval.txt
	touch $@

clean:
	rm -rf $(VENV) $(CLIENTS) $(HARNESS) .mypy_cache .pytest_cache .ruff_cache .hypothesis
