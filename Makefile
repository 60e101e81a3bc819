# Every command a person needs; `make help` lists them. Targets that need an environment make it first, once.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
WORKERS ?= 2
TYPESCRIPT := clients/typescript
PIP_INSTALL := $(BIN)/python -m pip install --quiet --prefer-binary --disable-pip-version-check

# One thread a library in each test process: more only fight over the cores.
ONE_THREAD := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1
PYTEST := $(ONE_THREAD) $(BIN)/python -m pytest -n $(WORKERS)

##@ Start here

.PHONY: help
help: ## List these commands
	@awk 'BEGIN {FS = ":.*## "} \
	  /^##@/ {printf "\n%s\n", substr($$0, 5)} \
	  /^[a-z][a-z-]*:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: install ## Train, evaluate and serve a synthetic world (SERVE=0: do not serve, DATA=DIR: real data)
	$(BIN)/nextreel demo $(if $(DATA),--data "$(DATA)") $(if $(filter 0,$(SERVE)),--no-serve)

.PHONY: test
test: install-dev install-clients ## Run the fast tests and the examples in docstrings
	$(PYTEST) -m "not slow"

##@ Installation

.PHONY: install
install: $(VENV)/.train ## Make .venv with all that training and serving need

.PHONY: install-dev
install-dev: $(VENV)/.dev ## The same, and the tools of tests and checks

$(VENV)/bin/python:
	@echo "Making $(VENV) with $(PYTHON)"
	$(PYTHON) -m venv $(VENV)

$(VENV)/.train: pyproject.toml | $(VENV)/bin/python
	@echo "Installing nextreel[train] (about two minutes the first time)"
	$(PIP_INSTALL) -e '.[train]'
	@touch $@

# What the dev environment holds is a superset: installing it satisfies `install` too.
$(VENV)/.dev: pyproject.toml | $(VENV)/bin/python
	@echo "Installing nextreel[dev] (about two minutes the first time)"
	$(PIP_INSTALL) -e '.[dev]'
	@touch $(VENV)/.train $@

# Where there is no npm, the tests that need it are left out.
.PHONY: install-clients
install-clients: ## Install the pinned packages of the TypeScript client where there is npm
	@command -v npm >/dev/null || exit 0; $(MAKE) --no-print-directory $(TYPESCRIPT)/node_modules/.package-lock.json

$(TYPESCRIPT)/node_modules/.package-lock.json: $(TYPESCRIPT)/package-lock.json
	npm ci --prefix $(TYPESCRIPT) --silent --no-audit --no-fund
	@touch $@

##@ Tests

.PHONY: test-fast
test-fast: install-dev install-clients ## Stop at the first failing test, those that failed last time first
	$(PYTEST) -m "not slow" --exitfirst --failed-first

.PHONY: test-cov
test-cov: install-dev install-clients ## Run the fast tests and report the lines they miss
	$(PYTEST) -m "not slow" --cov --cov-report=term --cov-report=html

.PHONY: test-all
test-all: install-dev install-clients ## Run every test, the slow ones too
	$(PYTEST)

SLATES ?= 1000000
SEED ?= 0
CASES ?= 200

.PHONY: fuzz
fuzz: install-dev ## Have a million random lists judged, and every operation sent drawn requests (half an hour; SLATES=, SEED=, WORKERS=, CASES=)
	CASES=$(CASES) $(PYTEST) tests/serving/test_contract.py
	$(ONE_THREAD) $(BIN)/python -m tests.fuzz --slates $(SLATES) --seed $(SEED) --workers $(WORKERS)

##@ Quality

.PHONY: check
check: lint format-check types layers security audit ## Everything that is checked before a merge, except the tests

.PHONY: lint
lint: install-dev ## Look for mistakes with ruff
	$(BIN)/ruff check .

.PHONY: format
format: install-dev ## Format the code and repair what ruff can repair
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: format-check
format-check: install-dev ## Fail where `make format` would change a file
	$(BIN)/ruff format --check .

.PHONY: types
types: install-dev ## Check the types with mypy --strict
	$(BIN)/mypy $(wildcard src tests benchmarks scripts)

.PHONY: layers
layers: install-dev ## Check that imports go downward only
	$(BIN)/lint-imports

.PHONY: security
security: install-dev ## Look for insecure code with bandit
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive src

.PHONY: audit
audit: install-dev ## Look for known vulnerabilities in what is installed (STRICT=1: fail where nobody could be asked)
	$(BIN)/python scripts/audit.py $(if $(filter 1,$(STRICT)),--strict)

.PHONY: pre-commit
pre-commit: install-dev ## Run the pre-commit hooks on all files (install them: .venv/bin/pre-commit install)
	$(BIN)/pre-commit run --all-files

.PHONY: clients
clients: install-dev install-clients ## Write the OpenAPI document and generate the TypeScript client from it
	$(BIN)/nextreel openapi > $(TYPESCRIPT)/openapi.json
	npm run --prefix $(TYPESCRIPT) --silent generate

##@ Running

HOME_DIR ?= var
HOST ?= 127.0.0.1
PORT ?= 8000
DATA_DIR ?= $(if $(NEXTREEL_DATA),$(NEXTREEL_DATA)/ml-1m,data/ml-1m)

.PHONY: serve
serve: install ## Serve the promoted release (HOST=, PORT=, HOME_DIR=)
	$(BIN)/nextreel serve --home "$(HOME_DIR)" --host "$(HOST)" --port "$(PORT)"

.PHONY: train-movielens
train-movielens: install ## Train a release on MovieLens-1M (DATA_DIR=, fetched when it is not there)
	@[[ -d "$(DATA_DIR)" ]] || $(BIN)/nextreel data fetch ml-1m --to "$(DATA_DIR)"
	$(BIN)/nextreel train --data "$(DATA_DIR)" --home "$(HOME_DIR)"

.PHONY: evaluate
evaluate: install ## Evaluate on MovieLens-1M against the baselines (DATA_DIR=)
	@[[ -d "$(DATA_DIR)" ]] || $(BIN)/nextreel data fetch ml-1m --to "$(DATA_DIR)"
	$(BIN)/nextreel evaluate --data "$(DATA_DIR)" --protocol frozen

SEEDS ?= 42 43 44

.PHONY: bench
bench: install ## Measure all on MovieLens-1M into benchmarks/results, quote it in the docs (three hours; DATA_DIR=, SEEDS=)
	@[[ -d "$(DATA_DIR)" ]] || $(BIN)/nextreel data fetch ml-1m --to "$(DATA_DIR)"
	$(BIN)/nextreel evaluate --data "$(DATA_DIR)" --protocol frozen $(addprefix --seed ,$(SEEDS)) --report benchmarks/results/movielens
	$(BIN)/nextreel evaluate --data "$(DATA_DIR)" --protocol live --every 5 $(addprefix --seed ,$(SEEDS)) --report benchmarks/results/movielens
	$(BIN)/nextreel evaluate --data "$(DATA_DIR)" --protocol leave-last-out --source two_tower $(addprefix --seed ,$(SEEDS)) --report benchmarks/results/movielens
	$(BIN)/python benchmarks/withheld.py --data "$(DATA_DIR)"
	$(BIN)/python benchmarks/withheld.py --data "$(DATA_DIR)" --protocol leave-last-out
	$(BIN)/python benchmarks/curve.py --data "$(DATA_DIR)"
	$(BIN)/python benchmarks/curve.py --data "$(DATA_DIR)" --test
	$(BIN)/python benchmarks/training.py --data "$(DATA_DIR)" --home "$(HOME_DIR)/bench"
	$(BIN)/python benchmarks/latency.py --home "$(HOME_DIR)/bench"
	$(BIN)/python benchmarks/cold_start.py --home "$(HOME_DIR)/bench"
	$(BIN)/python benchmarks/lambda_cold_start.py --home "$(HOME_DIR)/bench"
	$(BIN)/python benchmarks/swap.py --home "$(HOME_DIR)/bench"
	$(BIN)/python benchmarks/uploads.py --home "$(HOME_DIR)/bench"
	$(BIN)/python benchmarks/summary.py
	$(BIN)/python benchmarks/quote.py

.PHONY: bench-exposures
bench-exposures: install-dev ## Measure all rankers on what people were shown (an hour; EXPOSURES_DIR=, a folder of KuaiRand-Pure)
	$(BIN)/python benchmarks/kuairand.py --data "$(EXPOSURES_DIR)"
	$(BIN)/nextreel data import kuairand-pure "$(EXPOSURES_DIR)" --out "$(HOME_DIR)/kuairand"
	$(BIN)/nextreel evaluate --data "$(HOME_DIR)/kuairand" --protocol exposures $(addprefix --seed ,$(SEEDS)) --report benchmarks/results/kuairand
	$(BIN)/python benchmarks/quote.py

.PHONY: bench-towers
bench-towers: install ## Measure the large towers, and new videos by their content alone (an hour; DATA_DIR=)
	$(BIN)/python benchmarks/towers.py --data "$(DATA_DIR)" --preset research
	$(BIN)/python benchmarks/cold_videos.py
	$(BIN)/python benchmarks/quote.py

.PHONY: bench-data
bench-data: install ## Measure how data scale to 10 million interactions (half an hour, 5 GB of disk; DATA_DIR=)
	$(BIN)/python benchmarks/data_scale.py --data "$(DATA_DIR)" --interactions 1000000 10000000
	$(BIN)/python benchmarks/quote.py

.PHONY: process-data
process-data: install ## Make rows to train on (DATA_DIR=, OUT=processed)
	$(BIN)/nextreel process --data-dir "$(DATA_DIR)" --out "$(or $(OUT),processed)"

.PHONY: clean
clean: ## Remove caches, coverage and build output; .venv and var stay
	rm -rf .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage .coverage.* \
	  coverage.xml htmlcov build dist catboost_info
	find src tests -type d -name __pycache__ -prune -exec rm -rf {} +
