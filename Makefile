# make install   the environment .venv, with everything in it
# make demo      train on drawn shapes, evaluate, write pictures
# make test      the gate and the tests
# make docs      the documentation as a site, in site/
# make audit     known vulnerabilities of what is installed, where the index answers
# make lowest    the tests with the oldest versions that are allowed
PYTHON ?= python3
# For instance --system-site-packages, to use a torch that is already there.
VENV_ARGS ?=
BIN := .venv/bin

.PHONY: install demo test docs audit lowest check format clean

install: .venv/.installed

.venv/.installed: setup.py $(wildcard requirements/*)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	  echo 'error: mmfrcnn needs Python 3.10 or later;' \
	       'name one: make install PYTHON=python3.11' >&2; exit 2; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV_ARGS) .venv || { \
	  rm -rf .venv; \
	  echo 'error: $(PYTHON) cannot make a virtual environment;' \
	       'on Debian and Ubuntu: sudo apt install python3-venv' >&2; exit 2; }
	$(BIN)/python requirements/install.py
	@# The gate before each commit, unless this checkout has hooks of its own.
	@if [ -e .git ] && ! git config core.hooksPath >/dev/null; then \
	  git config core.hooksPath .githooks; fi
	@touch $@

demo: install
	$(BIN)/python tools/demo.py

test: install
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

docs: .venv/.docs
	$(BIN)/python -m mkdocs build --strict --config-file docs/mkdocs/mkdocs.yml

.venv/.docs: .venv/.installed requirements/docs.txt
	$(BIN)/pip install --requirement requirements/docs.txt
	@touch $@

audit: install
	.ci/audit

lowest:
	.ci/lowest

check: install
	PATH="$(CURDIR)/$(BIN):$$PATH" .ci/check

format: install
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

clean:
	rm -rf .venv .venv-* build site .mypy_cache .pytest_cache .ruff_cache projects/*.egg-info
	find . -name __pycache__ -prune -exec rm -rf {} +
