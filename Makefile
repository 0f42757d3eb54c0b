# `make test` on a fresh machine needs Python 3.11 or later with venv and pip, nothing else.
PYTHON ?= python3
VENV := .venv
STAMP := $(VENV)/.installed

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_ROOT_USER_ACTION := ignore

.DEFAULT_GOAL := help
.PHONY: help setup demo test clean

help:
	@echo "make setup   the tool and its development tools in $(VENV)"
	@echo "make demo    the main job, end to end, on an embedded Postgres"
	@echo "make test    lint, types, generated files and tests"
	@echo "make clean   stop the embedded server, remove everything that can be made again"

setup: $(STAMP)

# Made anew when the dependencies may have changed. The stamp comes last, so that an installation
# that broke off is tried again.
$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "codered-spec needs Python 3.11 or later, but $(PYTHON) is" \
	        "$$($(PYTHON) --version 2>&1 | head -n 1). Name another one: make PYTHON=/path/to/python" >&2; \
	    exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --editable '.[dev]'
	@touch $@

demo: setup
	$(VENV)/bin/nox -s demo

test: setup
	$(VENV)/bin/nox

clean:
	@if [ -x $(VENV)/bin/codered-spec ] && [ -d .codered ]; then $(VENV)/bin/codered-spec db stop; fi
	rm -rf $(VENV) .nox .codered .mypy_cache .ruff_cache .pytest_cache .import_linter_cache \
	    .hypothesis build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
