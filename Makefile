# make test   everything: style, types, every Python, the built package, and a real remote
# make demo   the main job, shown step by step
# make lint   style and types only
# make clean  removes what the others made

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
# Pythons installed by pyenv are found without its shims.
export PATH := $(PATH):$(subst $(eval) ,:,$(wildcard $(HOME)/.pyenv/versions/*/bin))
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help test demo lint clean

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

$(VENV)/bin/python:
	@$(PYTHON) -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 10))' \
	    || { echo "Python 3.10 or newer with venv is needed: apt install python3-venv, or make PYTHON=..."; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/bin/tox: | $(VENV)/bin/python
	$(VENV)/bin/pip install --quiet 'tox>=4.24'

test: $(VENV)/bin/tox
	@mkdir -p .tox
	@status=0; \
	$(VENV)/bin/tox run-parallel --parallel 3 --parallel-no-spinner $(TOXARGS) 2>&1 | tee .tox/test.log || status=$$?; \
	$(VENV)/bin/python tests/summary.py .tox/test.log; \
	exit $$status

lint: $(VENV)/bin/tox
	$(VENV)/bin/tox run -e lint,mypy

demo: | $(VENV)/bin/python
	@rm -rf build  # what a former build left would be installed too
	$(VENV)/bin/pip install --quiet .
	$(VENV)/bin/python -m tests.integration.demo

clean:
	rm -rf .tox .mypy_cache .ruff_cache .hypothesis build dist *.egg-info _trial_temp*
	find remotedocker tests twisted -name __pycache__ -prune -exec rm -rf {} +
