# Everything happens in .venv; `make help` lists the targets.
#
#   PYTHON       the interpreter that .venv is made with (3.11 or newer)
#   TORCH_FLAGS  extra pip options for torch alone, such as the --index-url of a CPU or CUDA build
#   PIP_FLAGS    extra pip options for everything
#   ARGS         options for `make test` (pytest's) and `make bench`: make test ARGS='-k color -x'

PYTHON ?= python3
TORCH_FLAGS ?=
PIP_FLAGS ?=
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install $(PIP_FLAGS) -c constraints.txt

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo test lint bench check-speed clean

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 20

setup: $(VENV)/.installed  ## make .venv and install the package into it, editable

# Marker files: a step is done again only when what it depends on has changed.
$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	    || { echo "vsr needs Python 3.11 or newer: make PYTHON=python3.12 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

# torch comes first and by itself, so that TORCH_FLAGS can choose its build without touching where
# the other packages come from.
$(VENV)/.torch: constraints.txt | $(VENV)/.made
	$(PIP) $(TORCH_FLAGS) torch
	@touch $@

# The C++ engine is part of the installation.
$(VENV)/.installed: pyproject.toml hatch_build.py vsr/native_build.py $(wildcard native/* native/*/* native/*/*/*) $(VENV)/.torch
	$(PIP) -e '.[dev]'
	@touch $@

demo: setup  ## make a short clip, upscale it, write a side-by-side picture
	$(BIN)/python tools/demo.py

test: setup  ## run the tests
	$(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

lint: setup  ## check style, types and the floors between modules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

bench: setup  ## measure frames per second on this machine
	$(BIN)/python benchmarks/speed.py $(ARGS)

check-speed: setup  ## fail if the network has become slower against its baseline
	$(BIN)/python benchmarks/check_speed.py

clean:  ## remove what was built here, .venv included
	rm -rf $(VENV) build dist demo .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	rm -f vsr/engine/native/libvsr_*.so vsr/engine/native/build.json vsr/models/trunk_native/libvsr_*.so \
	    vsr/models/trunk_native/build.json
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
