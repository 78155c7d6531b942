# Autopack's two commands on a bare machine: `make demo` and `make test`.
# They need Python 3.11, git, make and the package index; no Docker, no root, no system service.
SHELL := /bin/sh
PY := .venv/bin/python
# A throw-away PostgreSQL and Redis for what follows; it stops them afterwards and keeps the exit status.
PRIVATE_SERVICES := $(PY) manage.py services --private --
# One more than a machine's two cores: a good part of the tests waits for workers, gates and leases.
WORKERS ?= 3
PYTEST_ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint types imports checks pytest torture screenshots bench docs up clean

help: ## show the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

setup: ## make .venv and install the locked requirements (skipped while the lock is unchanged)
	@PYTHON='$(PYTHON)' sh scripts/setup.sh

demo: setup ## run a real plan over a real library and show how it goes
	$(PY) manage.py demo

up: setup ## start everything in the foreground; Ctrl-C stops it
	$(PY) manage.py up

test: setup ## everything that CI checks
	@$(MAKE) --no-print-directory -j2 static tests

# mypy uses one core for a minute, and the tests wait a good part of their time: side by side.
.PHONY: static tests
static: lint types imports
tests: setup
	$(PRIVATE_SERVICES) $(MAKE) --no-print-directory pytest

lint: setup ## style
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

types: setup ## static types
	$(PY) -m mypy .

imports: setup ## the direction of dependencies
	.venv/bin/lint-imports

# The next two run beside services: inside `make test`, or with DATABASE_URL and AUTOPACK_REDIS_URL set.
checks:
	$(PY) -W error manage.py makemigrations --check --dry-run
	$(PY) manage.py check

pytest: checks
	$(PY) -W 'ignore:Unable to activate pytest' -m slipcover -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder -m 'not torture' $(PYTEST_ARGS)

torture: setup ## the long fault campaign
	AUTOPACK_RECORD_FAULTS=yes $(PRIVATE_SERVICES) $(PY) -m pytest -m 'torture or faults' $(PYTEST_ARGS)

screenshots: setup ## draw the pictures of the admin anew (needs Chromium)
	AUTOPACK_REQUIRE_BROWSER=1 AUTOPACK_SCREENSHOTS=yes $(PRIVATE_SERVICES) $(PY) -m pytest -m browser $(PYTEST_ARGS)

bench: setup ## the benchmarks, against their floors
	$(PRIVATE_SERVICES) $(PY) -m benchmarks

docs: setup ## the documentation as a site in .autopack/site, its links checked
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict --quiet

clean: ## stop nothing, but remove this checkout's services' data, caches and environment
	@if [ -x $(PY) ]; then \
		$(PY) manage.py services --remove && \
		AUTOPACK_STATE_DIR="$${AUTOPACK_STATE_DIR:-.autopack}/demo" $(PY) manage.py services --remove; \
	fi
	rm -rf .autopack .autonomous_runs .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +
	if [ -L .venv ]; then rm .venv; else rm -rf .venv; fi
