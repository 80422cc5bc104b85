# `make help` lists the targets. README.md and CONTRIBUTING.md say when to use them.
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
PYTHON ?= python3
STAMP := .venv/.installed
# Compiled modules are stored, also where an image forbids it: else each process compiles torch anew.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help setup demo test ui docs lint lock clean
.DEFAULT_GOAL := help

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-6s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP)  ## the environment in .venv: once, and again when requirements.lock changes (3 to 10 minutes, 8 GB)

# Exactly the locked set, nothing resolved anew. Python compiles a module when it is first imported; to compile all of
# them here takes a minute or more, and most are never imported.
$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' || { \
	  echo "Radalign needs Python 3.11 to 3.14, which $(PYTHON) is not: make $(MAKECMDGOALS) PYTHON=/path/to/python3.13"; \
	  exit 1; }
	@echo "Setting up .venv: about $$(grep -c '==' requirements.lock) packages, 3 GB to fetch, 3 to 10 minutes."
	@$(PYTHON) -m venv $$([ "$$(.venv/bin/python -V 2>&1)" = "$$($(PYTHON) -V)" ] || echo --clear) .venv
	@.venv/bin/python -m pip install --disable-pip-version-check --no-deps --no-compile --progress-bar off \
	  -r requirements.lock | while read -r line; do case "$$line" in \
	      Collecting*|Processing*|Requirement*) ((++count % 25)) || echo "  $$count packages fetched" ;; \
	      Installing*) echo "  All are fetched. Unpacking them takes one to five minutes." ;; \
	    esac; done
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@
	@echo "The environment is ready: . ./activate"

demo: setup  ## the whole pipeline on simulated images, and its results
	. ./activate && radalign pretrain medklip

# A process more than there are cores, as many tests wait for processes that they start. The tests of a file stay
# together because they share what they computed, and long files begin first.
WORKERS ?= $(shell expr $$(nproc) + 1)
test: setup  ## all tests
	.venv/bin/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

ui: setup  ## Dagster and MLflow in the browser, on this machine only
	. ./activate && python -m pipelines.ui

docs: setup  ## the documentation as a site: build/docs/index.html
	.venv/bin/sphinx-build --quiet --fail-on-warning --keep-going docs build/docs
	@echo "The site is built: build/docs/index.html"

lint: setup  ## style and types
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy .

# uv is needed here only: pip install uv
lock:  ## resolve the dependencies again, after a change of pyproject.toml
	uv pip compile --universal --python-version 3.11 --extra dev --extra docs --extra serve --extra onnx --extra ray \
	  --extra kubernetes --extra postgres --group scispacy --no-header \
	  --no-emit-index-url --custom-compile-command "make lock" pyproject.toml -o requirements.lock

# What was computed (var/) stays.
clean:  ## remove the environment and the caches
	rm -rf .venv build *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
