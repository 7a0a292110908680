# Each target makes what it needs; the environment is .venv, from requirements.lock.
PYTHON ?= python3
TRIALS ?= 25
WORLDS ?= 3000
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help demo test check format bench soak lock wheel clean

help: ## what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.venv/installed: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("adsyncd needs Python 3.11 or newer, $(PYTHON) is " + sys.version) if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --requirement requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: .venv/installed ## mock platform, OpenBao and three tenants on this machine
	$(BIN)/adsyncd demo

check: .venv/installed ## format, lint, types and import contracts
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

test: check ## everything that CI runs: checks and all tests
	$(BIN)/pytest

format: .venv/installed ## rewrite the code in the house's format
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

bench: .venv/installed ## measure, side by side with peers; results in benchmarks/results/
	$(BIN)/python -m benchmarks

soak: .venv/installed ## break it again and again, TRIALS times by each fault, in WORLDS simulated; docs/reliability.md says what came of it
	ADSYNCD_TRIALS=$(TRIALS) $(BIN)/pytest -s tests/process/test_chaos.py
	ADSYNCD_WORLDS=$(WORLDS) $(BIN)/pytest tests/simulation/test_simulation.py

lock: .venv/installed ## resolve the newest allowed versions into requirements.lock
	$(BIN)/pip-compile --quiet --upgrade --strip-extras --allow-unsafe --all-extras --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-header --no-annotate --generate-hashes --output-file requirements.lock pyproject.toml

wheel: .venv/installed ## build dist/*.whl
	$(BIN)/python -m build --wheel --no-isolation

clean: ## remove what was built
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
