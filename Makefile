# On a fresh Debian or Ubuntu machine `make demo` and `make test` each set up all that they need; the second time is quick.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
DEMO_ARGS ?=
TEST_ARGS ?=
BENCH_ARGS ?=

# A real part that is missing makes tests skip with the reason; in CI none may be missing.
REQUIRED := $(if $(filter true 1,$(CI)),1,0)

.PHONY: help setup system rig demo test lint bench clean

help: ## This list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-7s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(INSTALLED) system rig ## Everything that the others need: environment, system packages, Triton rig

demo: $(INSTALLED) rig ## A real Triton, a day's load in minutes, the control plane scaling it (DEMO_ARGS="--duration 150 --json")
	@$(BIN)/controlplane demo $(DEMO_ARGS)

test: $(INSTALLED) system ## All tests; says at its end what was skipped and why (TEST_ARGS="tests/unit -k name")
	@$(MAKE) rig || [ $(REQUIRED) = 0 ]
ifeq ($(strip $(TEST_ARGS)),)
	@$(BIN)/python -m pytest -n 3 --dist loadfile --ignore tests/e2e
	@$(BIN)/python -m pytest -n 3 --no-loadscope-reorder --durations=10 --durations-min=5 tests/e2e
else
	@$(BIN)/python -m pytest $(TEST_ARGS)
endif

lint: $(INSTALLED) ## Format, style, types and layers
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: $(INSTALLED) rig ## Figures, each beside its bound in the same run (BENCH_ARGS="--quick --json")
	@$(BIN)/python -m bench $(BENCH_ARGS)

clean: ## Removes the environment and what runs left behind (the rig stays in its cache folder)
	rm -rf $(VENV) out build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

system:
	@REQUIRED=$(REQUIRED) scripts/system-packages cc postgresql prometheus alertmanager chromium

rig: $(INSTALLED)
	@$(BIN)/python -m controlplane.demo.rig_setup >/dev/null

$(INSTALLED): pyproject.toml constraints.txt
	@REQUIRED=1 scripts/system-packages python
	@$(BIN)/python -c '' 2>/dev/null || "$$(scripts/find-python)" -m venv --clear $(VENV)
	@echo "installing into $(VENV)" >&2
	@# grafana-client brings a fork of urllib3 that would overwrite it; told so when built, it keeps to a name of its own
	@URLLIB3_NO_OVERRIDE=1 $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
	  --no-binary urllib3-future -e '.[postgres,grafana,sim,dev]'
	@touch $@
