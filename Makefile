# Everything a developer runs. Needs make, python3 (3.11 or newer) and python3-venv; the rest comes from PyPI into .venv.

VENV := .venv
OLDEST := .venv-oldest
API := .venv-api
BIN := $(VENV)/bin
PYTHON ?= python3
export PYTHON

.PHONY: help demo test test-dogtag chaos lint bench conformance clean

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | awk -F'|' '{printf "%-22s%s\n", $$1, $$2}'

demo: $(VENV)/.stamp-run ## A throwaway CA and daemon, and a device enrolling (ONCE=1: then end; DIR=folder PORT=number)
	@$(BIN)/kipuka demo $(if $(DIR),--dir "$(DIR)") $(if $(PORT),--port "$(PORT)") $(if $(filter-out 0,$(ONCE)),--once)

test: $(VENV)/.stamp-test $(OLDEST)/.stamp-test $(API)/.stamp ## Unit, web, process and interop tests; unit and web again on Debian 13's versions
	$(BIN)/python -m pytest tests/unit tests/web tests/process tests/interop
	$(OLDEST)/bin/python -m pytest tests/unit tests/web

test-dogtag: $(VENV)/.stamp-test ## Bring up a real Dogtag and a clone (root; 6 minutes the first time), test against them, leave them running
	tests/dogtag/lab/lab up --second
	$(BIN)/python -m pytest tests/dogtag tests/chaos

chaos: $(VENV)/.stamp-test ## Kill kipuka and Dogtag, cut connections, count certificates (root, lab; COUNT=500 SEED=number)
	tests/dogtag/lab/lab up $(if $(findstring --pool,$(CHAOS)),--second)
	$(BIN)/python -m tests.chaos --count $(or $(COUNT),500) $(if $(SEED),--seed $(SEED)) $(CHAOS)

lint: $(VENV)/.stamp-lint ## ruff, mypy --strict, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --config-file tests/mypy.ini
	$(BIN)/lint-imports

bench: $(VENV)/.stamp-test ## Measure
	bench/run

conformance: $(VENV)/.stamp-test ## Write docs/conformance.md: which rules of the RFCs the tests cover
	$(BIN)/python -m tests.conformance > docs/conformance.md.new
	mv docs/conformance.md.new docs/conformance.md

clean: ## Remove the environments, caches and build results (not the Dogtag lab)
	rm -rf $(VENV) $(OLDEST) $(API) .build build dist *.egg-info .hypothesis .*_cache _trial_temp* docs/conformance.md.new
	find . -name __pycache__ -prune -exec rm -rf {} +
	find . -name dropin.cache -delete

# Each set of packages is installed once, and again when its list changes.
.NOTPARALLEL:
$(VENV)/.stamp-run: pyproject.toml scripts/environment
	@scripts/environment $(VENV) ""
	@touch $@
$(VENV)/.stamp-test: pyproject.toml scripts/environment
	@scripts/environment $(VENV) test
	@touch $@
$(VENV)/.stamp-lint: pyproject.toml scripts/environment constraints/lint.txt
	@scripts/environment $(VENV) lint --constraint constraints/lint.txt
	@touch $@
$(API)/.stamp: constraints/api.txt
	@$(PYTHON) -m venv $(API)
	@$(API)/bin/pip install --quiet --disable-pip-version-check --progress-bar off --requirement $<
	@touch $@
$(OLDEST)/.stamp-test: pyproject.toml scripts/environment constraints/oldest.txt
	@scripts/environment $(OLDEST) test --constraint constraints/oldest.txt
	@touch $@
