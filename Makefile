# Two commands do everything: `make serve` and `make test`. Both install what they need, pinned by hash, into .venv.
# `make serve` runs the sources as a wheel has them: the hot path compiled, where there is a C compiler.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
CHECKED := src tests bench hatch_build.py
COMPILED := $(CURDIR)/build/compiled
# Four at a time, file by file, long ones first (tests/conftest.py): half of the suite's time is spent waiting.
SPREAD := -n 4 --dist loadfile --no-loadscope-reorder

.DELETE_ON_ERROR:
.PHONY: help serve test lint types layers unit compiled soak bench prices docs pins clean

help: ## Say what there is.
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

serve: build/compiled/done ## Run the gateway on http://127.0.0.1:8080 (ARGS="--port 9000" to change that).
	@PYTHONPATH=$(COMPILED) exec $(BIN)/gatehouse serve $(ARGS)

test: .venv/dev lint types layers unit compiled ## Everything CI runs.

lint: .venv/dev
	$(BIN)/ruff check $(CHECKED)
	$(BIN)/ruff format --check $(CHECKED)

types: .venv/dev
	$(BIN)/mypy

layers: .venv/dev
	$(BIN)/lint-imports

# Tests start hundreds of processes, and what they import is not to be compiled in each of them.
unit compiled soak: export PYTHONDONTWRITEBYTECODE :=

unit: .venv/dev ## The test suite alone (ARGS="-k name" to choose).
	$(BIN)/python -m pytest $(SPREAD) -m 'not soak and not alone' $(ARGS)
	$(BIN)/python -m pytest tests/crash -m 'alone and not soak' $(ARGS) || [ $$? = 5 ]  # 5: none is chosen by ARGS

compiled: .venv/dev build/compiled/done ## What is compiled, tested again as it is served.
	PYTHONPATH=$(COMPILED) $(BIN)/python -m pytest $(SPREAD) tests/dialects tests/gateway tests/http tests/journal tests/pipeline \
	  tests/pricing tests/routing tests/upstream tests/worker $(ARGS)

soak: .venv/dev ## The long runs that the suite has a short version of.
	$(BIN)/python -m pytest -m soak --timeout 3600 $(ARGS)

bench: .venv/dev build/compiled/done ## Measure; needs nginx and wrk from the system (ARGS="--quick" for a minute).
	PYTHONPATH=$(COMPILED) $(BIN)/python -m bench $(ARGS)

prices: .venv/dev ## Compile the packaged price list anew.
	$(BIN)/python -m gatehouse.pricing.compile

docs: .venv/dev ## Write the generated pages of docs/.
	$(BIN)/python -m gatehouse.config.document > docs/configuration.md

pins: ## Resolve the requirement files anew (needs uv).
	uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	  --extra build -o requirements/runtime.txt
	uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	  --extra build --extra dev -c requirements/runtime.txt -o requirements/dev.txt

clean: ## Remove everything that was installed or built.
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache bench/results

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Gatehouse needs Python 3.11 or newer; set PYTHON=/path/to/python3")'
	$(PYTHON) -m venv .venv

.venv/runtime: requirements/runtime.txt pyproject.toml | .venv/bin/python
	$(PIP) install --quiet --require-hashes --requirement requirements/runtime.txt
	$(PIP) install --quiet --no-build-isolation --no-deps --editable .
	$(BIN)/python -m compileall -q src
	@touch $@

.venv/dev: requirements/dev.txt .venv/runtime
	$(PIP) install --quiet --require-hashes --requirement requirements/dev.txt
	@touch $@

build/compiled/done: .venv/runtime hatch_build.py pyproject.toml $(shell find src -name '*.py' -o -name '*.json' -o -name '*.yaml')
	@echo "compiling the hot path: a minute, once"
	@rm -rf build/compiled build/wheel
	@mkdir -p build
	@$(BIN)/python -m hatchling build -t wheel -d build/wheel > build/wheel.log || { cat build/wheel.log; exit 1; }
	@$(PIP) install --quiet --no-deps --target build/compiled build/wheel/*.whl
	@touch $@
