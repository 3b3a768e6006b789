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
# # The data and their lineage
#
# The Kaggle set has 12,515 images, and they show 348 photographs. Which image was made from which photograph, and which
# photographs show the same part of the slide, stands in three small tables of the package: this notebook reads them. It
# shows pictures where the set is at hand (`BLOODCELL_DATA`, or `make data`), and needs none for the rest.
#
# Open it as a notebook with `jupytext --to ipynb notebooks/02_data_and_lineage.py`, or read
# [a copy with its pictures](rendered/02_data_and_lineage.ipynb).

# %%
# %matplotlib inline
from collections import Counter

import numpy as np
from IPython.display import display
from PIL import Image

from bloodcell.data.decode import open_picture
from bloodcell.data.kaggle import find_images, locate, originals_of
from bloodcell.data.lineage_table import across_split, conflicts, read_lineage
from bloodcell.evidence.figures import image_grid

lineage = read_lineage()
root = locate(None)
images = find_images(root) if root else None
print("the images are at hand" if images else "no images at hand: pictures are left out")

# %% [markdown]
# ## Copies: many images, few photographs
# A split of images at random puts copies of one photograph on both sides.

# %%
copies = Counter(row.micrograph for row in lineage.images.values() if row.micrograph)
print(f"{len(lineage.images):,} images, {sum(copies.values()):,} of them placed, show {len(copies)} photographs")
print(f"copies of one photograph: {min(copies.values())} to {max(copies.values())}")
for subset in ("TRAIN", "TEST", "TEST_SIMPLE"):
    rows = [row for row in lineage.images.values() if row.subset == subset]
    print(f"{subset:12} {len(rows):6,} images of {len({row.micrograph for row in rows})} photographs")

# %% [markdown]
# ## Photographs of a class: what there is to learn from
# The copies are balanced, about 3,000 a class. The photographs are not.

# %%
photographs = Counter(row.label for row in lineage.published.values())
balanced = Counter(row.label for row in lineage.images.values() if row.subset in ("TRAIN", "TEST"))
for name in sorted(photographs):
    print(f"{name:12} {photographs[name]:4} photographs, {balanced[name]:,} copies")

# %% [markdown]
# ## Field groups: photographs that overlap
# The same part of the slide was photographed twice or more. A *field group* is all that hangs together this way: the
# independent unit of every split and every interval here.

# %%
groups = Counter(row.group for row in lineage.published.values())
print(f"{len(lineage.published)} photographs in {len(groups)} field groups; sizes: {dict(Counter(groups.values()))}")
print(f"{len(lineage.pairs)} pairs overlap, {len(across_split(lineage))} of them across TRAIN and TEST")
for pair in conflicts(lineage):
    print("one cell with two labels:", *pair[:2])

# %% [markdown]
# ## One photograph and some of its copies

# %%
if images:
    number, _ = copies.most_common(1)[0]
    files = [row.file for row in lineage.images.values() if row.micrograph == number][:3]
    original = open_picture(originals_of(images) / f"BloodImage_{int(number):05d}.jpg").resize((320, 240))
    shown = [original, *(open_picture(images / file) for file in files)]
    captions = [f"photograph {number}", *(file.split("/")[-1] for file in files)]
    display(image_grid([np.asarray(one) for one in shown], captions, f"photograph {number} and copies of it"))

# %% [markdown]
# ## Two photographs of one field

# %%
if images:
    pair = max(lineage.pairs, key=lambda one: one.overlap)
    both = [open_picture(originals_of(images) / f"BloodImage_{int(name):05d}.jpg") for name in pair[:2]]
    beside = Image.new("RGB", (both[0].width * 2 + 8, both[0].height), "white")
    for place, one in enumerate(both):
        beside.paste(one, (place * (both[0].width + 8), 0))
    print(f"photographs {pair[0]} and {pair[1]} share {pair.overlap:.0%}")
    display(beside.resize((beside.width // 2, beside.height // 2)))
