# Every target makes the environment it needs; `make` alone lists them. Needs make, a POSIX shell and Python >= 3.11.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup run demo notebook test soak bench lint lock clean

PYTHON ?=
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
UV := $(BIN)/uv
COMPILE := $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--custom-compile-command "make lock"

export UV_PYTHON_DOWNLOADS := never

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' Makefile
	@printf '%s\n' '' '  ARGS="..." passes arguments on, as in: make test ARGS="-k bars -x"' \
		'  PYTHON=/path/to/python chooses the interpreter of a new .venv (make clean first, to change it)'

setup: $(READY) ## make .venv as the locks say; every other target does it when it has to
	@echo "ready: $(VENV), $$($(BIN)/python --version)"

run: $(READY) ## run everything until Ctrl-C: simulated venues, collector, jobs, pages, Prefect
	@$(BIN)/movers up $(ARGS)

demo: $(READY) ## replay a recording into data/replay and show its movers, in one go
	@$(BIN)/movers demo $(ARGS)

notebook: $(READY) ## open the notebooks in JupyterLab
	@$(BIN)/jupyter lab notebooks $(ARGS)

test: $(READY) ## run the tests, without the soak ones; under ten minutes
	@$(BIN)/python -m pytest -m "not soak" -n auto --maxprocesses 4 --dist loadfile $(ARGS)

soak: $(READY) ## run all tests, with many more examples for each property
	@MOVERS_PROFILE=soak $(BIN)/python -m pytest $(ARGS)

bench: $(READY) ## measure speed and memory beside the yardsticks
	@$(BIN)/python -m benchmarks $(ARGS)

lint: $(READY) ## check style, format, types and the floors of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

lock: $(READY) ## resolve pyproject.toml again; ARGS=--upgrade takes newer versions
	$(COMPILE) $(ARGS) --group pyproject.toml:installer -o requirements-uv.lock
	$(COMPILE) $(ARGS) pyproject.toml --extra test --extra notebooks --group build -o requirements.lock

clean: ## remove .venv and what tools left; data/ stays
	rm -rf $(VENV) build dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# An environment that exists is brought up to date in place, which takes seconds.
$(READY): requirements.lock requirements-uv.lock pyproject.toml
	@$(BIN)/python -c '' 2>/dev/null || { \
		python=$$(PYTHON='$(PYTHON)' sh scripts/find-python.sh) || exit 1; \
		echo "setup 1/4: $(VENV) with $$("$$python" --version) at $$python"; \
		"$$python" -m venv --clear $(VENV); }
	@echo "setup 2/4: uv, which installs the rest"
	@$(BIN)/python -c 'import pip' 2>/dev/null || $(BIN)/python -m ensurepip >/dev/null
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-uv.lock
	@echo "setup 3/4: the packages of requirements.lock, each checked against its hash"
	@$(UV) pip sync --python $(BIN)/python --require-hashes requirements-uv.lock requirements.lock
	@echo "setup 4/4: this project"
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@
