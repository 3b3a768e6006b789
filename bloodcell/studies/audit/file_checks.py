"""What the files are: whether they can be decoded, are as published, are alike, and show a whole cell."""

from collections import Counter

import numpy as np

from bloodcell.studies.audit.findings import EXAMPLES, Audited, Finding, first_of


def broken(seen: Audited) -> Finding:
    """Look for files that training would stop at: they cannot be decoded, or are no images."""
    bad = {str(seen.data.index.file[row]): look.error for row, look in zip(seen.rows, seen.looks, strict=True)}
    bad = {file: error for file, error in bad.items() if error}
    bad |= dict.fromkeys(seen.others, "no image by its ending")
    title = "Can every file be decoded?"
    if not bad:
        return Finding("fine", title, f"Yes, all {len(seen.looks):,}.", "", {"files": bad})
    says = f"No, {len(bad):,} cannot: {first_of([f'{file} ({error})' for file, error in bad.items()])}."
    todo = "Training would stop at them: replace them, or move them elsewhere."
    return Finding("broken", title, says, todo, {"files": bad})


def as_published(seen: Audited) -> Finding:
    """Check whether the images are those that the lineage table was made from."""
    title = "Are these the images that the lineage table knows?"
    if (lineage := seen.data.lineage) is None:
        return Finding("known", title, "There is no table for this folder.", "", {})
    images, index = lineage.images, seen.data.index
    present = set(index.file.tolist())
    missing = [file for file in images if file not in present]
    found = {str(index.file[row]): look for row, look in zip(seen.rows, seen.looks, strict=True)}
    changed = [file for file, look in found.items() if file in images and look.sha256 != images[file].sha256]
    strange = [file for file in found if file not in images and not file.startswith("ORIGINAL/")]
    numbers = {"missing": missing, "changed": changed, "not_in_table": strange}
    if not (missing or changed or strange):
        return Finding("fine", title, f"Yes, by SHA-256 ({len(found):,} looked at), and none is missing.", "", numbers)
    words = {"are missing": missing, "have other bytes": changed, "are not in it": strange}
    said = "; ".join(f"{len(files):,} {what}: {first_of(files)}" for what, files in words.items() if files)
    todo = "Get the published set again (make data), or register this copy (make lineage) and set data.lineage."
    return Finding("look", title, f"No: {said}.", todo, numbers)


def shapes(seen: Audited) -> Finding:
    """Look for images of another size or format than most."""
    kinds = Counter((*look.shape, look.mode) for look in seen.looks if not look.error)
    words = [f"{number:,} of {width}x{height} {mode}" for (width, height, mode), number in kinds.most_common(8)]
    numbers = {"kinds": [[*kind, number] for kind, number in kinds.most_common()]}
    title = "Are all images of one size and format?"
    if len(kinds) <= 1:
        return Finding("fine", title, f"Yes: {', '.join(words) or 'none'}.", "", numbers)
    usual = kinds.most_common(1)[0][0]
    whole = [(int(row), look) for row, look in zip(seen.rows, seen.looks, strict=True) if not look.error]
    odd = [row for row, look in whole if (*look.shape, look.mode) != usual]
    todo = "Training resizes all and reads RGB: shapes are squeezed, transparency is white, 16 bits become 8."
    return Finding("look", title, f"No: {', '.join(words)}.", todo, numbers, [[row] for row in odd[:EXAMPLES]])


def cut_off(seen: Audited) -> Finding:
    """Look for white cells that lie outside the frame, where their place is known."""
    title = "Are cells cut off by the frame?"
    if (lineage := seen.data.lineage) is None:
        return Finding("known", title, "Not known: no table says where the cells are.", "", {})
    images = lineage.images
    inside = {
        int(row): images[name].cell_inside for row in seen.rows if (name := str(seen.data.index.file[row])) in images
    }
    less = sorted((row for row, share in inside.items() if share < 0.5), key=lambda row: inside[row])
    gone = sum(share == 0 for share in inside.values())
    unknown = sum(np.isnan(share) for share in inside.values())
    numbers = {"less_than_half": len(less), "none_at_all": gone, "place_unknown": int(unknown)}
    says = (
        f"{len(less):,} images show less than half of the white cell, {gone:,} none of it; "
        f"for {unknown:,} it is not known."
    )
    todo = "The label of such an image is that of a cell that it does not show."
    return Finding(
        "look" if less else "fine", title, says, todo if less else "", numbers, [[row] for row in less[:EXAMPLES]]
    )
