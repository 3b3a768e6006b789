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
# # Doubt, and what an answer rests on
#
# The net of the package answers for pictures, says where it doubts, and shows what its answers rest on. `PICTURES`
# names a picture, a folder or a zip; by default they are rendered smears. `NET` names another net or run.
#
# Research only: this is not a medical device. Open it as a notebook with
# `jupytext --to ipynb notebooks/04_doubt_and_explain.py`, or read [a copy with its
# pictures](rendered/04_doubt_and_explain.ipynb).

# %%
# %matplotlib inline
import os
import tempfile
import warnings
from pathlib import Path

import numpy as np
from IPython.display import Markdown, display
from PIL import Image

import bloodcell
from bloodcell.data.decode import open_picture
from bloodcell.data.synthetic.write import write_smears
from bloodcell.evidence.pages import markdown_table
from bloodcell.prediction.explaining import explained
from bloodcell.prediction.nearest import in_words

warnings.filterwarnings("ignore", ".*IProgress.*")  # Captum's bars have no place in a notebook
net = bloodcell.load(os.environ.get("NET"))
pictures = os.environ.get("PICTURES")
if pictures is None:
    pictures = str(Path(tempfile.mkdtemp()) / "smears")
    write_smears(Path(pictures), {"test": 1}, seed=0)
card = net.trained.card.about
print("for:", card.get("for"))
value, low, high, groups = card.get("metrics", {}).get("balanced_acc") or [float("nan")] * 4
print(f"balanced accuracy on held-out photographs: {value:.3f} ({low:.3f} to {high:.3f}, {groups} field groups)")

# %% [markdown]
# ## Answers
# A row a cell. `doubt` is 1 at the threshold that 5 % of held-out cells exceed; `possible` holds the true class of a
# cell of each class nine times in ten.

# %%
cells = net.predict(pictures)
header = ["picture", "class", "probability", "doubt", "reason", "possible"]
rows = [
    [
        Path(cell.file).name,
        cell.name,
        f"{max(cell.probabilities.values(), default=0):.2f}",
        f"{cell.doubt or 0:.2f}",
        cell.reason,
        " ".join(cell.possible),
    ]
    for cell in cells
]
display(Markdown(markdown_table(header, rows)))

# %% [markdown]
# ## What is no cell
# Noise looks like nothing that was learnt, however sure the probabilities are.

# %%
noise = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
for cell in net.predict(noise)[:1]:
    print(cell.name or "no white cell found", cell.probabilities, "doubt", cell.doubt, cell.reason)

# %% [markdown]
# ## What an answer rests on
# Three methods, each with two numbers: the share of the attribution in the cell's box (against the share of the area),
# and how alike the map is to that of a net with random weights. Over all held-out photographs:
# `results/explain/explain.md`.

# %%
first = next((cell for cell in cells if cell.box is not None), None)
image = open_picture(first.file) if first else Image.fromarray(noise)
for method in ("gradcam", "integrated_gradients", "occlusion"):
    for one in list(explained(net, image, "picture", method))[:1]:
        share, chance, alike = (np.nan if number is None else number for number in (one.share, one.chance, one.alike))
        inside = f"{share:.2f} of the attribution in the box of the cell, {chance:.2f} of the area"
        print(f"{method}: {one.answer}; {inside}; alike {alike:+.2f}")
        print("nearest learnt cells:", in_words(one.nearest))
        display(one.drawn)
