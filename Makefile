# `make help` lists what there is. Every target is safe to repeat, and to run again after a kill.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
STACK ?= lab
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

# Tests that only preview: each has a project of its own, so all cores can have their part.
PREVIEWS := tests/integration/test_policies.py tests/integration/test_own_stacks.py
# They look at the machine as a whole: no other hosts beside them.
LABS := tests/integration/test_lab.py tests/integration/test_lab_network.py
# Each file has hosts of its own. The longest first, so that both cores end at about the same time.
LONGEST := tests/e2e/test_roles.py tests/e2e/test_3_models.py
E2E := -v --durations=25 -n 2 --dist loadfile --no-loadscope-reorder $(LONGEST) $(filter-out $(LONGEST),$(wildcard tests/e2e/test_*.py))
# Beside one another, the longest after the first, which fails within seconds.
LINTERS := lint-code lint-ansible lint-types lint-yaml lint-imports lint-references

.PHONY: help setup setup-test up down preview chat test unit integration e2e e2e-rare lint $(LINTERS) format docs bench role lock clean

help: ## This list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

setup: ## Python environment, Pulumi engine, Debian packages
	@tools/setup/setup.sh

setup-test:
	@tools/setup/setup.sh test

up: setup ## Take STACK (default: lab) up, and ask it for a streamed completion
	@slipway up $(STACK)

down: ## Throw all lab hosts and their stacks away: no process, mount, network device or rule stays
	@if [ -x $(BIN)/slipway ]; then slipway down; else echo "nothing was set up from this checkout; run make setup first"; fi

preview: setup ## What would change on STACK, hosts included, and which policies it violates
	@eval "$$(slipway env $(STACK))" && pulumi preview --refresh --stack $(STACK) --policy-pack policies

chat: ## Ask STACK's endpoint
	@slipway chat --stack $(STACK)

test: setup-test ## Lint, and all tests: unit, integration, end-to-end on lab hosts
	@$(MAKE) --no-print-directory lint
	@pytest -n auto tests/unit $(PREVIEWS)
	@pytest -m "not rare" -n 2 --dist loadfile $(PREVIEWS:%=--ignore=%) $(LABS:%=--ignore=%) tests/integration
	@pytest $(LABS)
	@$(MAKE) --no-print-directory e2e

unit: setup ## Unit tests only, in seconds
	@pytest -n auto tests/unit

integration: setup-test ## Tests with the real engine, without hosts
	@pytest tests/integration

e2e: setup-test ## End-to-end tests on lab hosts
	@pytest -m "not rare" $(E2E)

e2e-rare: setup-test ## Tests with the engine and on hosts that take long and seldom break, which `make test` leaves out
	@pytest -m rare -n 2 --dist loadfile tests/integration
	@pytest -m rare $(E2E)

lint: setup ## ruff, mypy, import-linter, ansible-lint, yamllint; warnings are errors
	@$(MAKE) --no-print-directory --output-sync=target -j $$(nproc) $(LINTERS)

lint-code:
	@ruff check . && ruff format --check .

lint-ansible:
	@ansible-lint --offline --strict -q

lint-types:
	@mypy

lint-yaml:
	@yamllint --strict .

lint-imports:
	@lint-imports

lint-references:
	@slipway schema | diff -u docs/reference/stack.schema.json - && slipway reference | diff -u docs/reference/settings.md -
	@slipway policies docs | diff -u docs/reference/policies.md - && slipway policies schema | diff -u docs/reference/policy-config.schema.json -

format: ## Format the code
	@ruff check --fix . ; ruff format .

docs: ## Generate the references
	@slipway schema -o docs/reference/stack.schema.json && slipway reference -o docs/reference/settings.md
	@slipway policies docs -o docs/reference/policies.md && slipway policies schema -o docs/reference/policy-config.schema.json

bench: setup ## Measure; docs/benchmarks.md says what
	@python -m bench.sizing
	@python -m bench.throughput
	@python -m bench.answers
	@python -m bench.policies
	@python -m bench.filters
	@python -m bench.growth
	@python -m bench.up

role: setup ## One ROLE on the hosts of STACK, for instance: make role ROLE=nginx
	@eval "$$(slipway env $(STACK))" && pulumi up --yes --skip-preview --stack $(STACK) --target "**/$(ROLE)"

lock: ## Renew the locks of this machine's Python requirements and of the tests' clients
	@uv pip compile -q --universal --python-version 3.11 --extra dev --generate-hashes --no-emit-index-url --no-header --no-annotate pyproject.toml -o requirements.txt
	@cd tests/integration/fixtures/foreign && uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate -c ../../../../requirements.txt requirements.in -o requirements.txt
	@cd tests/integration/security && uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate requirements.in -o requirements.txt
	@cd tests/integration/cuda && uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate requirements.in -o requirements.txt
	@cd tests/integration/s3 && uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate requirements.in -o requirements.txt
	@cd tests/e2e/clients && uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate requirements.in -o requirements.txt
	@cd tests/integration/clients/aider && uv pip compile -q --universal --python-version 3.11 --no-build --generate-hashes --no-emit-index-url --no-header --no-annotate requirements.in -o requirements.txt
	@cd tests/integration/clients/node && npm install --silent --package-lock-only --ignore-scripts --omit-lockfile-registry-resolved

clean: ## Remove the Python environment of this checkout
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
