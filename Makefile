# `make demo` and `make test` are all that a fresh machine needs: they make a virtual environment and install what they use.

VENV ?= .venv
EXTRAS ?= test
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := $(VENV)/bin
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable

.PHONY: demo test site lint format clean

# A worked and checked solution of a GRU, in the terminal and as a page.
demo: $(VENV)/.demo
	$(BIN)/derive solve gru 'dh[t]/dh[t-1]' dL/dU_z --check
	$(BIN)/derive solve gru --check -o gru.html
	@echo "The whole solution, as a page: gru.html"

# Every test; those that need an absent program are skipped, and say so.  PYTEST holds options for pytest.
test: $(VENV)/.test
	$(BIN)/python -m pytest $(PYTEST)

# Every document and every system as a page, in site/; only what changed is made again.
site: $(VENV)/.docs
	$(BIN)/python build_docs.py

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(VENV)/.demo: $(VENV)/bin/python pyproject.toml
	$(INSTALL) '.[autograd]'
	@touch $@

$(VENV)/.docs: $(VENV)/bin/python pyproject.toml
	$(INSTALL) '.[docs]'
	@touch $@

$(VENV)/.test: $(VENV)/bin/python pyproject.toml
	$(INSTALL) '.[$(EXTRAS)]'
	@touch $@

$(VENV)/.dev: $(VENV)/bin/python pyproject.toml
	$(INSTALL) '.[dev]'
	@touch $@

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "derive needs Python 3.11 or newer, and none was found" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

clean:
	rm -rf $(VENV) site build *.egg-info .pytest_cache .mypy_cache .ruff_cache
