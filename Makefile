# Every target is one line that a user could type; ARGS="..." are Hydra overrides.
# `make setup` makes .venv once; every target that needs it depends on it by itself.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
ARGS ?=
TORCH ?=
FROM ?=
EXP ?=
RUN ?=
SWEEP ?= lr
A ?=
B ?=
PORT ?= 6006

.DEFAULT_GOAL := help
.PHONY: help setup quickstart data train sweep search audit bench compare evaluate ladder lineage reproduce report runs tensorboard lint format test test-all clean

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY)  ## Make .venv and install everything (once); TORCH=cpu for a build without CUDA

# A torch that the base Python already has is kept by letting .venv see it; TORCH=cpu, or any words for
# pip (TORCH="torch==2.9.1 torchvision==0.24.1"), chooses one; PIP_CONSTRAINT is honoured by pip itself.
HAS_TORCH = import torch, torchvision; assert tuple(map(int, torch.__version__.split(".")[:2])) >= (2, 6)
$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; (3, 11) <= v < (3, 14) or sys.exit(f"error: expected Python 3.11 to 3.13, got {v.major}.{v.minor}; type make setup PYTHON=python3.12")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $$($(PYTHON) -c '$(HAS_TORCH)' 2>/dev/null && echo --system-site-packages) $(VENV)
	$(if $(TORCH),$(BIN)/python -m pip install $(if $(filter cpu,$(TORCH)),torch torchvision --index-url https://download.pytorch.org/whl/cpu,$(TORCH)))
	$(BIN)/python -m pip install --quiet -e ".[data,lineage,parallel,slurm,search,dev]"
	@touch $(READY)

quickstart: $(READY)  ## Train for a few minutes and show what comes out
	$(BIN)/python -m bloodcell.train experiment=quickstart $(ARGS)

data: $(READY)  ## Get the real images; FROM=/path/to/archive.zip or folder instead of a download
	$(BIN)/python -m bloodcell.download $(if $(FROM),"$(FROM)")

train: $(READY)  ## Train; ARGS="data=blood_cells model=paper_cnn optim.lr=3e-4"
	$(BIN)/python -m bloodcell.train $(ARGS)

sweep: $(READY)  ## Run the grid in conf/sweep/$(SWEEP).yaml; SWEEP=lr ARGS="..."
	$(BIN)/python -m bloodcell.train sweep=$(SWEEP) $(ARGS)

search: $(READY)  ## Let Optuna look for the best setting by validation; ARGS="experiment=quickstart --trials 30"
	$(BIN)/python -m bloodcell.search $(ARGS)

evaluate: $(READY)  ## Test a finished run again; RUN=runs/... ARGS="data.root=/other/folder"
	$(BIN)/python -m bloodcell.evaluate $(RUN) $(ARGS)

audit: $(READY)  ## Look for leaks, duplicates and give-aways; ARGS="data=folder data.root=/path/to/images"
	$(BIN)/python -m bloodcell.audit $(ARGS)

compare: $(READY)  ## Test whether two models differ on the same photographs; A=runs/... B=runs/...
	$(BIN)/python -m bloodcell.compare $(A) $(B)

ladder: $(READY)  ## From the published number to the honest one: every split, all else equal (about an hour)
	$(BIN)/python -m bloodcell.ladder $(ARGS)

bench: $(READY)  ## Time a training epoch beside plain PyTorch, Keras and the machine's ceiling; needs an idle machine
	$(BIN)/python -m pip install --quiet -e ".[bench]"
	$(BIN)/python -m bloodcell.bench $(ARGS)

lineage: $(READY)  ## Recover which photograph each image was made from, into runs/lineage; ARGS=--check compares only
	$(BIN)/python -m bloodcell.lineage $(ARGS)

reproduce: $(READY)  ## Run again and compare: an experiment with results/ (EXP=quickstart), or one run (RUN=runs/...)
	$(BIN)/python -m bloodcell.reproduce $(EXP) $(if $(RUN),--run "$(RUN)") $(ARGS)

report: $(READY)  ## The reproduction and the ladder as one page, from results/
	$(BIN)/python -m bloodcell.report $(ARGS)

runs: $(READY)  ## Every run below a folder: settings, intervals, comparisons; ARGS="runs/lr-sweep --compare"
	$(BIN)/python -m bloodcell.runs $(ARGS)

tensorboard: $(READY)  ## Watch all runs at http://localhost:6006 (PORT=... for another port)
	$(BIN)/tensorboard --logdir runs --port $(PORT) --reload_multifile=true

lint: $(READY)  ## ruff (lint and format) and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)  ## Let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: $(READY)  ## The fast tests (3 to 4 minutes on two cores)
	$(BIN)/python -m pytest -n auto --dist worksteal -m "not slow"

test-all: $(READY)  ## All tests
	$(BIN)/python -m pytest -n auto --dist worksteal

clean:  ## Remove caches; runs/ and .venv stay
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist *.egg-info
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
