# Each target does its own set-up, which needs python3, make and git.

.DEFAULT_GOAL := help
PYTHON ?= python3
RUN := PATH="$(CURDIR)/.venv/bin:$$PATH" PYTHONUNBUFFERED=1
COLUMN ?= uvicorn-single-sqlite-compose

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.venv: requirements.txt
	@echo "setting up .venv"
	@$(PYTHON) -m venv .venv
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check uv
	@$(RUN) uv pip sync --quiet --require-hashes requirements.txt
	@touch .venv

.PHONY: demo
demo: .venv ## Bake the defaults, start the project and print its address
	@$(RUN) python -m tests.demo

.PHONY: demo-stop
demo-stop: .venv ## Stop and remove what `make demo` started
	@$(RUN) python -m tests.demo --stop

.PHONY: test
test: .venv ## Run all tests: bake, boot, faults, browser
	@$(RUN) python -m pytest --numprocesses=2 --dist=loadscope tests

.PHONY: test-column
test-column: .venv ## Boot one column of the grid: COLUMN=uvicorn-single-sqlite-compose
	@$(RUN) python -m pytest -k "$(COLUMN)" tests/boot tests/grid

.PHONY: test-browser
test-browser: .venv ## Run the tests in a browser
	@$(RUN) python -m pytest tests/browse

.PHONY: test-all
test-all: .venv ## Run all tests for every combination of choices, which takes hours
	@$(RUN) python -m pytest --numprocesses=2 --dist=loadscope tests --all

.PHONY: lint
lint: .venv ## Run the checks of .pre-commit-config.yaml for all files
	@$(RUN) ruff check .
	@$(RUN) ruff format --check .

.PHONY: check
check: lint ## Run lint, and the tests that need no Docker
	@$(RUN) python -m pytest --numprocesses=auto tests/bake

.PHONY: bench
bench: .venv ## Measure bake, image, start and rebuild, and the cost of each server
	@$(RUN) python -m bench.sizes
	@$(RUN) python -m bench.servers

.PHONY: locks
locks: .venv ## Write the locks, after a change of dependencies
	@$(RUN) python -m tests.locks
