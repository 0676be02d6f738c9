# Each target does its own set-up: python3, make and git are all that it needs.

.DEFAULT_GOAL := help
PYTHON ?= python3
RUN := PATH="$(CURDIR)/.venv/bin:$$PATH" PYTHONUNBUFFERED=1

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.venv: requirements.txt
	@echo "setting up .venv"
	@$(PYTHON) -m venv .venv
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check uv
	@$(RUN) uv pip sync --quiet --require-hashes requirements.txt
	@touch .venv

.PHONY: demo
demo: .venv ## Bake the defaults, start them, and tell the address
	@$(RUN) python -m tests.demo

.PHONY: demo-stop
demo-stop: .venv ## Stop what `make demo` started
	@$(RUN) python -m tests.demo --stop

.PHONY: test
test: .venv ## Run every test: bake, boot, break, browse
	@$(RUN) python -m pytest --numprocesses=2 --dist=loadscope tests

.PHONY: test-all
test-all: .venv ## The same of every combination of choices, for hours; CI takes a pairwise set
	@$(RUN) python -m pytest --numprocesses=2 --dist=loadscope tests --all

.PHONY: check
check: .venv ## Run the tests that need no Docker
	@$(RUN) ruff check .
	@$(RUN) ruff format --check .
	@$(RUN) python -m pytest --numprocesses=auto tests/bake

.PHONY: bench
bench: .venv ## Measure: bake, image, start, rebuild; what each server costs
	@$(RUN) python -m bench.sizes
	@$(RUN) python -m bench.servers

.PHONY: locks
locks: .venv ## Make the locks again, after a change of dependencies
	@$(RUN) python -m tests.locks
