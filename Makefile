# The commands of the book; `make` alone explains them.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help book test test-plain lint reproduce study env browser clean

BIN := .venv/bin
INSTALLED := .venv/.installed
RENDERED := _build/.rendered
PAGES := $(shell find book tools/book tools/plots -type f -not -path '*/vendor/*' \
	-not -path '*/__pycache__/*' -not -path '*/.*' 2>/dev/null) $(wildcard artifacts/book/failed.json)
JOBS ?= 2
COMPARE = $(BIN)/python -m pytest --nbval --nbval-sanitize-with tests/nbval-sanitize.cfg \
	-n $(JOBS) --dist loadscope book
PLAIN = $(BIN)/python -m tools.book.plain
NUMBERS = -m numbers $(shell grep -rl --include='*.py' mark.numbers tests)

# Threads that wait must not burn the cores of those that work. Kernels and tests get one thread
# each, so that sums keep their order and numbers repeat.
export OMP_WAIT_POLICY := PASSIVE
book test test-plain: export OMP_NUM_THREADS := 1

help:  ## show this list
	@echo 'Epsilon-VAE, a map of checkpoint behaviour, as an executable book.'
	@echo
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo 'Start with: make book. The first command creates .venv (2.2 GB, about two minutes).'

book: $(INSTALLED)  ## run every chapter and render the book into _build/html (10 minutes at most)
	@echo '→ chapters'
	@failed=0; $(BIN)/python -m epsvae book run --jobs $(JOBS) || failed=$$?; \
	$(MAKE) --no-print-directory $(RENDERED); \
	echo '→ open _build/html/index.html'; \
	exit $$failed

test: $(INSTALLED) browser $(RENDERED)  ## lint, unit tests, every chapter compared twice, every page opened
	@$(MAKE) --no-print-directory lint
	@echo '→ tests of the package and of the rendered pages'
	@$(BIN)/python -m pytest -n $(JOBS) --dist loadscope
	@echo '→ every code cell of the book, compared with its stored output'
	@$(COMPARE)
	@$(MAKE) --no-print-directory test-plain

test-plain: $(INSTALLED)  ## the same comparisons as on a processor without vector units
	@echo '→ tests that compare numbers, without vector units'
	@$(PLAIN) $(BIN)/python -m pytest -n $(JOBS) --dist loadscope $(NUMBERS)
	@echo '→ every code cell of the book, without vector units'
	@$(PLAIN) $(COMPARE)

lint: $(INSTALLED)  ## style, formatting and types
	@echo '→ style, formatting, types'
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy

reproduce: $(INSTALLED)  ## from nothing to the full-scale results (half an hour to an hour; resumes)
	@$(BIN)/python -m epsvae reproduce

study: $(INSTALLED)  ## after reproduce: all rows three times, then on 512 new runs, ablations, scaling (hours; resumes)
	@$(BIN)/python -m epsvae study

env: $(INSTALLED)  ## create or update .venv

clean:  ## remove the rendered book and the caches; libraries in artifacts/ stay
	rm -rf _build book/_static/vendor artifacts/book .pytest_cache .mypy_cache .ruff_cache \
		.hypothesis .coverage htmlcov

$(RENDERED): $(INSTALLED) _config.yml _toc.yml $(PAGES)
	@echo '→ pages'
	@rm -rf _build
	@$(BIN)/python -m epsvae book assets
	@$(BIN)/jupyter-book build . -W --keep-going -n -q
	@touch $@

$(INSTALLED): pyproject.toml requirements.lock
	@fits='import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))'; \
	for python in $${PYTHON:-} python3.11 python3.12 python3.13 python3 python none; do \
		if "$$python" -c "$$fits" 2>/dev/null; then break; fi; \
	done; \
	if [ "$$python" = none ]; then \
		echo 'error: expected Python 3.11 or newer with venv, found none of that kind.' >&2; \
		echo 'Install it (Debian: apt-get install python3-venv), or name it: make PYTHON=…' >&2; \
		exit 1; \
	fi; \
	echo "→ environment (.venv, $$($$python --version))"; \
	[ -x $(BIN)/pip ] || "$$python" -m venv --clear .venv
	@$(BIN)/python -m pip install --disable-pip-version-check --no-input \
		--constraint requirements.lock --editable '.[dev]' \
		| awk '/^Collecting/ && ++n % 25 == 0 {print "  " n " packages"; fflush()} \
			/^Installing collected/ {print "  installing"; fflush()}'
	@touch $@

browser:
	@for name in "$${CHROMIUM:-}" chromium chromium-browser google-chrome google-chrome-stable; do \
		if [ -n "$$name" ] && command -v "$$name" >/dev/null; then exit 0; fi; \
	done; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo '→ browser (apt-get install chromium)'; \
		export DEBIAN_FRONTEND=noninteractive; \
		apt-get update -qq && apt-get install -qq -y --no-install-recommends chromium >/dev/null; \
	else \
		echo 'error: the tests open the book in Chromium or Chrome, and found neither.' >&2; \
		echo 'Install one (Debian: apt-get install chromium), or set CHROMIUM=/path/to/it.' >&2; \
		exit 1; \
	fi
