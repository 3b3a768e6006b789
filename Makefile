# Every target is one line that a user could type; ARGS="..." are Hydra overrides.
# `make setup` makes .venv once; every target that needs it depends on it by itself.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
ARGS ?=
TORCH ?=
LOCK ?= $(if $(PIP_CONSTRAINT),no,yes)
FROM ?=
EXP ?=
RUN ?=
SWEEP ?= lr
IMAGES ?=
RUNS ?= runs
MODEL ?=
A ?=
B ?=
PORT ?= 6006
LOGDIR ?= runs

.DEFAULT_GOAL := help
.PHONY: help setup quickstart data train sweep search audit bench compare evaluate predict explain count export demo net doubts ladder readings keras lineage crops transfer simulate notebooks test-faults reproduce report runs tensorboard lint format lock test test-all clean

help:
	@awk -F ':.*## ' '/^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@printf '\nARGS are Hydra overrides, KEY=VALUE; `make train ARGS=--help` lists them all. Without make it is the same:\n'
	@printf '.venv/bin/bloodcell-train data=blood_cells optim.lr=3e-4 (likewise bloodcell-runs, bloodcell-compare, ...).\n'

##@ Start
setup: $(READY)  ## Install into .venv, once; TORCH=cpu leaves CUDA out, PYTHON=python3.12, LOCK=no takes newer packages
	@printf '\nInstalled in $(VENV). Type next:\n'
	@printf '  make quickstart   train a small net for three minutes and see what comes out\n'
	@printf '  make help         list everything else\n'

# The packages are those of requirements.lock, checked by their hashes. torch and torchvision are not in it, for the
# right build depends on the machine: one that the base Python has is kept by letting .venv see it; TORCH=cpu, or any
# words for pip (TORCH="torch==2.9.1 torchvision==0.24.1"), chooses one; else pip takes the newest. With
# PIP_CONSTRAINT, which pip honours by itself, or LOCK=no pip chooses every version.
HAS_TORCH = import torch, torchvision; assert tuple(map(int, torch.__version__.split(".")[:2])) >= (2, 6)
LOCK_FAILED = echo "error: pip could not install requirements.lock (see above); type make setup LOCK=no" >&2; exit 1
$(READY): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; v = sys.version_info; (3, 11) <= v < (3, 14) or sys.exit(f"error: expected Python 3.11 to 3.13, got {v.major}.{v.minor}; type make setup PYTHON=python3.12")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $$($(PYTHON) -c '$(HAS_TORCH)' 2>/dev/null && echo --system-site-packages) $(VENV)
	@echo "Installing into $(VENV): a few minutes, most of them for torch where it is not there yet."
	$(if $(TORCH),$(BIN)/python -m pip install $(if $(filter cpu,$(TORCH)),torch torchvision --index-url https://download.pytorch.org/whl/cpu,$(TORCH)))
	$(if $(filter-out no,$(LOCK)),$(BIN)/python -m pip install --require-hashes --no-deps -r requirements.lock || { $(LOCK_FAILED); })
	$(BIN)/python -m pip install -e ".[all,dev]"
	@touch $(READY)

quickstart: $(READY)  ## Train a small net for three minutes, test it, and say where its figures are
	$(BIN)/python -m bloodcell.train experiment=quickstart $(ARGS)

data: $(READY)  ## Get the real images; FROM=archive.zip (or a folder) takes yours instead of a download
	$(BIN)/python -m bloodcell.download $(if $(FROM),"$(FROM)")

##@ One run
train: $(READY)  ## Train a net; ARGS="data=blood_cells model=paper_cnn optim.lr=3e-4"
	$(BIN)/python -m bloodcell.train $(ARGS)

evaluate: $(READY)  ## Test the net of a finished run again; RUN=runs/... ARGS="data.root=/other/folder"
	$(BIN)/python -m bloodcell.evaluate $(RUN) $(ARGS)

predict: $(READY)  ## Answer for new pictures; IMAGES=folder (or a zip, a glob) MODEL=runs/... ARGS="--out table.csv"
	$(BIN)/python -m bloodcell.predict $(IMAGES) $(if $(MODEL),--model "$(MODEL)") $(ARGS)

explain: $(READY)  ## Show what answers rest on, with two numbers that tell; IMAGES=folder ARGS="--method occlusion"
	$(BIN)/python -m bloodcell.explain $(IMAGES) $(if $(MODEL),--model "$(MODEL)") $(ARGS)

count: $(READY)  ## Count the cells of each class in pictures, with intervals; IMAGES=folder MODEL=runs/...
	$(BIN)/python -m bloodcell.count $(IMAGES) $(if $(MODEL),--model "$(MODEL)") $(ARGS)

export: $(READY)  ## Make one file of a run, with a card and with doubt; RUN=runs/... ARGS="--to onnx"
	$(BIN)/python -m bloodcell.export $(RUN) $(ARGS)

demo: $(READY)  ## Make a page to drop pictures on, runs/demo.html: one file, no server; MODEL=net.safetensors
	$(BIN)/python -m bloodcell.demo $(if $(MODEL),--model "$(MODEL)") $(ARGS)

net: $(READY)  ## Train the net of the package again, measure it and write its card; ARGS="--set red=/folder", 20 minutes
	$(BIN)/python -m bloodcell.train -m experiment=shipped data.protocol=grouped data.fold=0,1,2,3,4 hydra.sweep.dir=runs/shipped/folds
	$(BIN)/python -m bloodcell.train -m experiment=shipped data.protocol=everything hydra.sweep.dir=runs/shipped/all
	$(BIN)/python -m bloodcell.doubts runs/shipped/folds --out results/doubt $(ARGS)
	$(BIN)/python -m bloodcell.export runs/shipped/all/*/ --folds runs/shipped/folds --doubts results/doubt/doubt.json --out bloodcell/nets/cells.safetensors
	$(BIN)/python -m bloodcell.explain --folds runs/shipped/folds --out results/explain
	$(BIN)/python -m bloodcell.export runs/shipped/folds --to onnx --out results/export/onnx.json
	$(BIN)/python -m bloodcell.report

##@ Many runs
sweep: $(READY)  ## Run the grid of conf/sweep/lr.yaml, or of another; SWEEP=folds ARGS="experiment=quickstart"
	$(BIN)/python -m bloodcell.train sweep=$(SWEEP) $(ARGS)

search: $(READY)  ## Let Optuna find a setting by validation; ARGS="experiment=quickstart --trials 30"
	$(BIN)/python -m bloodcell.search $(ARGS)

tensorboard: $(READY)  ## Watch all runs at http://localhost:6006; LOGDIR=runs/quickstart PORT=6007
	$(BIN)/tensorboard --logdir "$(LOGDIR)" --port $(PORT) --reload_multifile=true

runs: $(READY)  ## List the runs of a folder, with means and intervals; ARGS="runs/quickstart-sweep --compare"
	$(BIN)/python -m bloodcell.runs $(ARGS)

compare: $(READY)  ## Test whether two nets differ on the same photographs; A=runs/... B=runs/...
	$(BIN)/python -m bloodcell.compare $(A) $(B)

reproduce: $(READY)  ## Run an experiment or a run again and compare the numbers; EXP=quickstart or RUN=runs/...
	$(BIN)/python -m bloodcell.reproduce $(EXP) $(if $(RUN),--run "$(RUN)") $(ARGS)

##@ The data and the claim
audit: $(READY)  ## Look for leaks, duplicates and give-aways; ARGS="data=folder data.root=/path/to/images"
	$(BIN)/python -m bloodcell.audit $(ARGS)

lineage: $(READY)  ## Find the photograph that each image was made from (six minutes); ARGS=--check only compares
	$(BIN)/python -m bloodcell.lineage $(ARGS)

ladder: $(READY)  ## Train one net under every split, from the published number to the honest one (over an hour)
	$(BIN)/python -m bloodcell.ladder $(ARGS)

readings: $(READY)  ## Find which readings of the paper's recipe train at all: 17 with three seeds each (hours on two cores)
	while read -r words; do \
	  $(BIN)/python -m bloodcell.train sweep=readings $$words hydra.sweep.dir=runs/readings $(ARGS) || exit 1; \
	done < bloodcell/studies/paper/readings.txt

keras: $(READY)  ## Train the paper's recipe in Keras under both splits (hours on two cores); needs pip install -e ".[bench]"
	$(BIN)/python -m bloodcell.keras $(ARGS)

crops: $(READY)  ## Measure the cell finder, or set nets on crops side by side; ARGS="arms NAME=runs/... ..."
	$(BIN)/python -m bloodcell.crops $(or $(ARGS),finder)

transfer: $(READY)  ## Test nets of each laboratory on the others' cells, with none to 100 of these labelled; ARGS="trainer=gpu"
	$(BIN)/python -m bloodcell.transfer $(ARGS)

doubts: $(READY)  ## Measure what the nets of a cross-validation doubt; RUN=runs/shipped/folds ARGS="--set red=/folder"
	$(BIN)/python -m bloodcell.doubts $(RUN) $(ARGS)

simulate: $(READY)  ## Measure by simulation how often the printed intervals hold the true value
	$(BIN)/python -m bloodcell.simulate $(ARGS)

report: $(READY)  ## Write the reproduction and the ladder as one page, from results/
	$(BIN)/python -m bloodcell.report $(ARGS)

notebooks: $(READY)  ## Run the notebooks on RUN=runs/... RUNS=runs/a-sweep IMAGES=folder; notebooks/rendered keeps them
	mkdir -p notebooks/rendered
	for name in notebooks/*.py; do \
	  copy="notebooks/rendered/$$(basename "$${name%.py}").ipynb"; \
	  $(BIN)/jupytext --quiet --to ipynb --output "$$copy" "$$name" && \
	  RUN="$(abspath $(RUN))" SWEEP="$(abspath $(RUNS))" PICTURES="$(abspath $(IMAGES))" $(BIN)/jupyter-execute --NotebookClient.record_timing=False --inplace "$$copy" \
	  || exit 1; done

##@ The code
lint: $(READY)  ## Check with ruff, codespell and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/mypy

format: $(READY)  ## Let ruff correct and format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: $(READY)  ## Run the fast tests (about three minutes on two idle cores)
	$(BIN)/python -m pytest -n auto --dist worksteal -m "not slow"

test-all: $(READY)  ## Run all tests (some 25 minutes on two idle cores)
	$(BIN)/python -m pytest -n auto --dist worksteal

test-faults: $(READY)  ## Run the tests of faults alone: kills, full disks, files from strangers
	$(BIN)/python -m pytest -n auto --dist worksteal tests/faults

bench: $(READY)  ## Time an epoch beside plain PyTorch, Keras (installs it) and the machine's ceiling, when idle
	$(BIN)/python -m pip install -e ".[bench]"
	$(BIN)/python -m bloodcell.bench $(ARGS)

# The head of the file stays; without -o, uv takes the newest versions and not those of the file before.
lock:  ## Take the newest versions into requirements.lock (needs uv)
	@command -v uv >/dev/null || { echo "error: expected uv, got none; type python3 -m pip install uv" >&2; exit 1; }
	{ grep '^#' requirements.lock && uv pip compile pyproject.toml --extra all --extra dev --universal \
	  --python-version 3.11 --generate-hashes --excludes <(printf 'torch\ntorchvision\n') --no-header --no-annotate \
	  --no-emit-index-url --no-emit-find-links; } > requirements.lock.new
	mv requirements.lock.new requirements.lock

clean:  ## Remove caches; runs/ and .venv stay
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist *.egg-info
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
