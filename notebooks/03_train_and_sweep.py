# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Train, sweep, and read what came out
#
# A command trains a run and leaves a directory; a sweep leaves a folder of them. Notebooks read those. Type first
#
# ```bash
# make sweep SWEEP=lr ARGS="experiment=quickstart seed=0,1"      # learning rates, two seeds each
# ```
#
# and give the folder with `SWEEP=runs/quickstart-sweep`; by default all runs below `runs/` are read.
#
# Open it as a notebook with `jupytext --to ipynb notebooks/03_train_and_sweep.py`, or read
# [a copy with its pictures](rendered/03_train_and_sweep.ipynb).

# %%
# %matplotlib inline
import os
from pathlib import Path

from IPython.display import Markdown, display

from bloodcell.common.files import read_csv
from bloodcell.evidence.figures import curves
from bloodcell.evidence.pages import markdown_table
from bloodcell.tracking.query import choose_order, monitored_by, sort_settings
from bloodcell.tracking.reader import read_runs
from bloodcell.tracking.settings import split_settings
from bloodcell.tracking.sheet_files import sheets_as_markdown
from bloodcell.tracking.sheets import settings_sheet

runs = read_runs(Path(os.environ.get("SWEEP", "../runs" if Path("../runs").is_dir() else "runs")))
print(len(runs), "runs:", *sorted({run.state for run in runs}))

# %% [markdown]
# ## The runs, as they were typed

# %%
header = ["run", "typed", "state", "images", "seconds"]
rows = [
    [
        run.path.name,
        " ".join(f"{key}={value}" for key, value in run.overrides.items())[-60:],
        run.state,
        str(run.part("data").get("images", {}).get("train", "")),
        f"{run.manifest.get('wall_seconds', float('nan')):.0f}",
    ]
    for run in runs
]
display(Markdown(markdown_table(header, rows)))

# %% [markdown]
# ## Settings, over seeds and folds
# Choose by validation, report the test: the best of many tests is too good by chance.

# %%
order = choose_order(runs, None)
settings = sort_settings(split_settings(runs), order)
metric, _ = monitored_by(runs) or ("val/balanced_acc", True)
display(Markdown(sheets_as_markdown([settings_sheet(settings, [metric, "test/balanced_acc"], order)])))

# %% [markdown]
# ## Curves of the best setting

# %%
best = settings[0].runs[0]
epochs = read_csv(best.path / "metrics.csv")
for quantity, key in (("loss", "loss"), ("accuracy", "acc")):
    train, val = ([float(row[f"{stage}/{key}"] or "nan") for row in epochs] for stage in ("train", "val"))
    display(curves(train, val, quantity, "validation", best.path.name))
