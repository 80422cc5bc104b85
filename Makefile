# make setup | demo | test | ui | lint | lock | clean          (README.md says what each is for)
SHELL := /bin/bash
PYTHON ?= python3
STAMP := .venv/.installed

.PHONY: setup demo test ui lint lock clean

setup: $(STAMP)

# Exactly the locked set, nothing resolved anew; done once, and again when the lock changes.
$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' \
	  || { echo "Radalign needs Python 3.11 or 3.12: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements.lock
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

demo: setup
	. ./activate && radalign pretrain medklip && radalign results

# Two processes; the tests of a file stay together because they share what they computed.
test: setup
	.venv/bin/python -m pytest -n 2 --dist loadfile

ui: setup
	. ./activate && python -m pipelines.ui

lint: setup
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy .

# uv is needed here only: pip install uv
lock:
	uv pip compile --universal --python-version 3.11 --extra dev --no-header --no-emit-index-url \
	  --custom-compile-command "make lock" pyproject.toml -o requirements.lock

# The environment and the caches; what was computed (var/) stays.
clean:
	rm -rf .venv build *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
