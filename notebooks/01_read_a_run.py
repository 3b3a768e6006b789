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
# # Read a run
#
# Opens a run directory and shows its curves, its confusion matrix and its worst mistakes.
# `RUN` names it; by default it is the newest finished one below `runs/`.
#
# Open it as a notebook with `jupytext --to ipynb notebooks/01_read_a_run.py`, or read
# [a copy with its pictures](rendered/01_read_a_run.ipynb).

# %%
# %matplotlib inline
import json
import os
from io import BytesIO
from pathlib import Path

import numpy as np
from IPython.display import Image as Picture
from IPython.display import display
from PIL import Image

from bloodcell.common.files import read_csv
from bloodcell.evidence.figures import confusion_matrix, curves
from bloodcell.evidence.scores import intervals_of
from bloodcell.tracking.predictions import read_predictions
from bloodcell.tracking.save import portable

runs = Path(os.environ.get("RUNS", "../runs" if Path("../runs").is_dir() else "runs"))
finished = [path.parent for path in runs.rglob("metrics.json") if (path.parent / "predictions.csv").is_file()]
run = Path(os.environ["RUN"]) if "RUN" in os.environ else max(finished, key=lambda path: path.stat().st_mtime)
run.name

# %% [markdown]
# ## What it is
# The manifest says how the run came to be; the caveat says what its numbers are not.

# %%
manifest = json.loads((run / "manifest.json").read_text())
metrics = json.loads((run / "metrics.json").read_text())
print("command: ", " ".join(portable(manifest)["command"]))
print("data:    ", metrics["data"], manifest["data"]["images"])
print("protocol:", metrics["protocol"])
print("caveat:  ", metrics["caveat"] or "none")
print("tested:  ", metrics["checkpoint"], "checkpoint, epoch", metrics["epoch"])

# %% [markdown]
# ## Curves

# %%
epochs = read_csv(run / "metrics.csv")
for quantity, key in (("loss", "loss"), ("accuracy", "acc")):
    train, val = ([float(row[f"{stage}/{key}"] or "nan") for row in epochs] for stage in ("train", "val"))
    display(curves(train, val, quantity, "validation", metrics["data"]))

# %% [markdown]
# ## Confusion matrix, counted again from the predictions

# %%
predictions = read_predictions(run)
tested = predictions.of_view(str(predictions.view[0]))  # what was reported; below it the same cells as originals
confusion = np.zeros((len(tested.classes), len(tested.classes)), dtype=np.int64)
np.add.at(confusion, (tested.correct, tested.predicted), 1)
display(confusion_matrix(confusion, tested.classes, metrics["data"]))
for name, one in intervals_of(tested.correct, tested.predicted, tested.group, tested.classes).items():
    print(f"{name:20} {one.value:.3f}  ({one.low:.3f} to {one.high:.3f}, {one.groups} field groups)")

# %% [markdown]
# ## The worst mistakes

# %%
drawn = Image.open(run / "figures" / "mistakes.png").convert("RGB")
drawn.thumbnail((1000, 1000))
drawn.save(packed := BytesIO(), "JPEG")  # photographs: a fifth of the PNG
display(Picture(packed.getvalue()))
