"""The cell finder against the annotator's boxes, on copies, and on fields without a white cell."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bloodcell.common.console import progress_bar
from bloodcell.common.files import write_json, write_text
from bloodcell.data.crops.cut import crop_cell, is_crop
from bloodcell.data.crops.finder import FINDER_VERSION, FoundCell, find_cells
from bloodcell.data.decode import open_picture
from bloodcell.data.fingerprint import fingerprint_of
from bloodcell.data.kaggle import images_in, originals_of
from bloodcell.data.lineage_table import Lineage, MicrographRow, read_lineage
from bloodcell.data.micrographs import COPY_SIZE, Pixels, micrograph_files, read_cells
from bloodcell.evidence.intervals import wilson
from bloodcell.evidence.pages import markdown_table
from bloodcell.tracking.manifest import manifest
from bloodcell.tracking.save import portable

# A box that comes closer to the frame than this holds a cell that is cut by it: pixels of a photograph.
EDGE = 2.0
CROP_SIDE = 280  # pixels of a photograph
COPIES = 2  # of each photograph: they are alike
# Kinds of PBC; of each picture one cell is in the middle.
WHITE = ("basophil", "eosinophil", "ig", "lymphocyte", "monocyte", "neutrophil")
NOT_WHITE = ("erythroblast", "platelet")


class Match(NamedTuple):
    """An annotated cell and what was found of it.

    Attributes:
        photograph: Its number.
        held_out: Whether no constant of the finder was chosen on it.
        whole: Whether the frame leaves it uncut.
        found: Whether the centre of a found box lies in the annotated one.
        centre_error: Distance of the centres in widths of the annotated box; NaN if not found.
        overlap: Intersection over union of the boxes; 0 if not found.
    """

    photograph: str
    held_out: bool
    whole: bool
    found: bool
    centre_error: float
    overlap: float


def measure_finder(images: Path, red_cells: Path | None, pbc: Path | None, out: Path) -> dict[str, Any]:
    """Measure the finder and write ``finder.json``, its table ``finder.md`` and the manifest.

    Args:
        images: The folder of the Kaggle set that holds ``TRAIN`` and ``TEST``.
        red_cells: A folder of fields without white cells, or ``None``.
        pbc: The folder of PBC, whose pictures have one cell in the middle, or ``None``.
        out: Folder for the results.

    Returns:
        What was measured.
    """
    lineage = read_lineage()
    found: dict[str, Any] = {"finder": FINDER_VERSION, "photographs": photographs_scored(images, lineage)}
    found["copies"] = _on_copies(images, lineage)
    found["views"] = _on_views(images)
    if red_cells is not None:
        found["red_cells"] = _on_red_cells(red_cells)
    if pbc is not None:
        found["pbc"] = _on_pbc(pbc)
    write_json(out / "finder.json", found)
    write_text(out / "finder.md", finder_table(found))
    fingerprint = fingerprint_of({row.file: row.sha256 for row in lineage.images.values()})
    write_json(out / "manifest.json", portable(manifest({}, {"fingerprint": fingerprint})))
    return found


def finder_table(found: Mapping[str, Any]) -> str:
    """Write what was measured as Markdown.

    Args:
        found: Of ``finder.json``.
    """
    header = ["fields", "cells", "found", "recall", "centre error (median, p95)", "IoU", "precision of all boxes"]
    cells = []
    names = {"tuned_on": "photographs that it was tuned on", "held_out": "photographs of TEST's field groups"}
    for side, name in names.items():
        part = found["photographs"][side]
        for kind in ("whole", "cut"):
            one = part[kind]
            low, high = one["recall_interval"]
            error = f"{one['centre_error_median']:.3f}, {one['centre_error_p95']:.3f}"
            recall = f"{one['recall']:.3f} ({low:.3f}-{high:.3f})"
            words = [f"{name} ({part['fields']}), {kind} cells", f"{one['cells']}", f"{one['found']}", recall, error]
            cells.append([*words, f"{one['iou_mean']:.3f}", f"{part['precision']:.3f}" if kind == "whole" else ""])
    for kind in ("whole", "cut"):
        one = found["copies"][kind]
        row = [f"copies, {kind} cells", f"{one['cells']}", f"{one['found']}", f"{one['recall']:.3f}", "", ""]
        cells.append([*row, f"{found['copies']['precision']:.3f}" if kind == "whole" else ""])
    for name, one in found.get("pbc", {}).items():
        if name in WHITE:
            low, high = one["recall_interval"]
            row = [f"{one['cells']}", f"{one['found']}", f"{one['recall']:.3f} ({low:.3f}-{high:.3f})", "", ""]
            cells.append([f"PBC, {name}", *row, f"{one['precision']:.3f}"])
    said = (
        "A cell is found if the centre of a found box lies in the annotated one (in a copy: within half its width; in "
        "PBC, which has no boxes: if the box with the largest nucleus holds the middle of the picture). Errors of the "
        "centre are in widths of the annotated box; in brackets: Wilson's 95 % interval."
    )
    tail = _times(found["photographs"])
    if "red_cells" in found:
        red = found["red_cells"]
        where = ", ".join(red["where"]) or "nowhere"
        tail += f" In {red['fields']} fields of red cells of another laboratory it finds a cell in: {where}."
    for name in NOT_WHITE if "pbc" in found else ():
        one = found["pbc"][name]
        tail += f" Of PBC's {one['cells']} pictures of one {name} it takes that for a white cell in {one['found']}."
    if "views" in found:
        crops, squares = found["views"]["crops"], found["views"]["square fields"]
        tail += (
            f"\n\nTaken for a crop of one cell (`--view auto`): {crops[1]} of {crops[0]} crops of 280 pixels, "
            f"and {squares[1]} of {squares[0]} square fields, on photographs on which the rule was not chosen."
        )
    return f"{said}\n\n{markdown_table(header, cells)}{tail}\n"


def _times(photographs: Mapping[str, Any]) -> str:
    finding, decoding = photographs["cpu_ms_a_field"], photographs["cpu_ms_decoding"]
    return (
        f"\n\nIt takes {finding:.1f} ms of one core a field, and {decoding:.1f} ms to decode it: "
        f"{1000 / (finding + decoding):.0f} fields a second on one core."
    )


def is_uncut(row: MicrographRow) -> bool:
    """Tell whether the annotated cell of a photograph is not cut by its frame; without a box it is not known to be."""
    height, width = COPY_SIZE
    left, right = row.cell_x - row.cell_width / 2, row.cell_x + row.cell_width / 2
    top, bottom = row.cell_y - row.cell_height / 2, row.cell_y + row.cell_height / 2
    return min(left, top, width - right, height - bottom) * 2 > EDGE


def photographs_scored(images: Path, lineage: Lineage) -> dict[str, Any]:
    """Compare what is found in the photographs with all boxes of white cells that they have.

    Args:
        images: The folder of the Kaggle set that holds ``TRAIN`` and ``TEST``; the photographs lie beside it.
        lineage: The tables, for the field group of each.

    Returns:
        The scores of the photographs that the finder was tuned on, and of those held out.
    """
    files = micrograph_files(originals_of(images))
    test = {row.group for row in lineage.micrographs.values() if row.subset == "TEST"}
    matches: list[Match] = []
    alarms: dict[bool, list[str]] = {True: [], False: []}
    fields = {True: 0, False: 0}
    finding = decoding = 0.0
    with progress_bar() as progress:
        for number, path in progress.track(files.items(), description="photographs"):
            cells = read_cells(path.parent.parent / "Annotations" / f"{path.stem}.xml")
            boxes = [
                np.array([one.x - one.width / 2, one.y - one.height / 2, one.x + one.width / 2, one.y + one.height / 2])
                for one in cells
            ]
            if not boxes:
                continue
            held_out = lineage.micrographs[number].group in test
            begun = time.process_time()
            field = _pixels(path)
            decoded = time.process_time()
            found = find_cells(field)
            decoding, finding = decoding + decoded - begun, finding + time.process_time() - decoded
            fields[held_out] += 1
            matches += [_match(number, held_out, 2 * box, found) for box in boxes]
            alarms[held_out] += [number for one in found if not any(_inside(one, 2 * box) for box in boxes)]
    parts = {"tuned_on": False, "held_out": True}
    return {
        **{name: _summary(matches, alarms[side], fields[side], held_out=side) for name, side in parts.items()},
        "cpu_ms_a_field": round(1000 * finding / sum(fields.values()), 2),
        "cpu_ms_decoding": round(1000 * decoding / sum(fields.values()), 2),
    }


def _summary(matches: Sequence[Match], alarms: Sequence[str], fields: int, *, held_out: bool) -> dict[str, Any]:
    summary: dict[str, Any] = {"fields": fields}
    found = 0
    for name, whole in (("whole", True), ("cut", False)):
        these = [one for one in matches if one.held_out == held_out and one.whole == whole]
        hits = [one for one in these if one.found]
        found += len(hits)
        errors = [one.centre_error for one in hits]
        summary[name] = {
            "cells": len(these),
            "found": len(hits),
            "recall": len(hits) / len(these),
            "recall_interval": wilson(len(hits), len(these)),
            "centre_error_median": float(np.median(errors)),
            "centre_error_p95": float(np.percentile(errors, 95)),
            "iou_mean": float(np.mean([one.overlap for one in these])),
            "missed": [one.photograph for one in these if not one.found],
        }
    return summary | {
        "precision": found / (found + len(alarms)),
        "boxes_without_annotation": list(alarms),
    }


def _match(photograph: str, held_out: bool, box: Any, found: Sequence[FoundCell]) -> Match:
    left, top, right, bottom = box
    whole = min(left, top, 640 - right, 480 - bottom) > EDGE
    hits = [one for one in found if _inside(one, box)]
    if not hits:
        return Match(photograph, held_out, whole, False, float("nan"), 0.0)
    best = max(hits, key=lambda one: _overlap(one, box))
    dx, dy = (best.left + best.right - left - right) / 2, (best.top + best.bottom - top - bottom) / 2
    error = float(np.hypot(dx, dy) / (right - left))
    return Match(photograph, held_out, whole, True, error, _overlap(best, box))


def _inside(one: FoundCell, box: Any) -> bool:
    x, y = (one.left + one.right) / 2, (one.top + one.bottom) / 2
    return bool(box[0] <= x <= box[2] and box[1] <= y <= box[3])


def _overlap(one: FoundCell, box: Any) -> float:
    width = min(one.right, box[2]) - max(one.left, box[0])
    height = min(one.bottom, box[3]) - max(one.top, box[1])
    both = max(width, 0.0) * max(height, 0.0)
    areas = (one.right - one.left) * (one.bottom - one.top) + (box[2] - box[0]) * (box[3] - box[1])
    return float(both / (areas - both))


def _on_copies(images: Path, lineage: Lineage) -> dict[str, Any]:
    """Where on a copy the cell is, the lineage knows; how large it is there, its photograph says."""
    chosen: dict[str, list[str]] = {}
    for row in lineage.images.values():
        photograph = lineage.micrographs.get(row.micrograph)
        if row.subset != "TEST_SIMPLE" and photograph and not np.isnan(photograph.cell_x):
            chosen.setdefault(row.micrograph, []).append(row.file)
    counts = {"whole": [0, 0], "cut": [0, 0]}
    boxes = true = 0
    with progress_bar() as progress:
        for number, files in progress.track(chosen.items(), description="copies"):
            for file in sorted(files)[:COPIES]:
                row, photograph = lineage.images[file], lineage.micrographs[number]
                found = find_cells(_pixels(images / file))
                reach = max(photograph.cell_width, photograph.cell_height) / 2
                centres = [((one.left + one.right) / 2, (one.top + one.bottom) / 2) for one in found]
                near = [np.hypot(x - row.cell_x, y - row.cell_y) < reach for x, y in centres]
                kind = counts["whole" if row.cell_inside > 0.99 else "cut"]
                kind[0] += 1
                kind[1] += any(near)
                boxes, true = boxes + len(found), true + sum(near)
    return {
        **{name: {"cells": n, "found": hits, "recall": hits / n} for name, (n, hits) in counts.items()},
        "boxes_a_copy": boxes / sum(n for n, _ in counts.values()),
        "precision": true / max(boxes, 1),
    }


def _on_red_cells(folder: Path) -> dict[str, Any]:
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in {".jpg", ".jpeg", ".png"})
    found = {path.name: len(find_cells(_pixels(path))) for path in files}
    return {
        "fields": len(found),
        "boxes_a_field": sum(found.values()) / len(found),
        "where": {name: number for name, number in found.items() if number},
    }


def _on_pbc(folder: Path) -> dict[str, Any]:
    """How often the cell with the largest nucleus is the one in the middle, and which share of all boxes hold it."""
    found: dict[str, Any] = {}
    with progress_bar() as progress:
        for name in progress.track((*WHITE, *NOT_WHITE), description="PBC"):
            first, boxes, holding = [], 0, 0
            for path in images_in(folder / name):
                field = _pixels(path)
                middle = np.array([field.shape[1], field.shape[0]]) / 2
                held = [_holds(one, middle) for one in find_cells(field)]
                first.append(bool(held) and held[0])
                boxes, holding = boxes + len(held), holding + sum(held)
            found[name] = {
                "cells": len(first),
                "found": sum(first),
                "recall": sum(first) / len(first),
                "recall_interval": wilson(sum(first), len(first)),
                "precision": holding / max(boxes, 1),
            }
    return found


def _holds(one: FoundCell, place: Any) -> bool:
    return bool(one.left <= place[0] <= one.right and one.top <= place[1] <= one.bottom)


def _on_views(images: Path) -> dict[str, Any]:
    """How often crops of cells are known for what they are, and how often square fields are taken for crops.

    The constants of :func:`bloodcell.data.crops.cut.is_crop` were chosen on every second photograph; this is the rest.
    """
    taken: dict[str, list[bool]] = {"crops": [], "square fields": []}
    with progress_bar() as progress:
        for path in progress.track(list(micrograph_files(originals_of(images)).values())[1::2], description="views"):
            field = _pixels(path)
            height, width = field.shape[:2]
            crops = [crop_cell(field, box, CROP_SIDE) for box in find_cells(field)]
            squares = [field[:, x : x + height] for x in (0, (width - height) // 2, width - height)]
            for name, pictures in (("crops", crops), ("square fields", squares)):
                taken[name] += [is_crop(one, find_cells(one)) for one in pictures]
    return {name: [len(each), sum(each), *wilson(sum(each), len(each))] for name, each in taken.items()}


def _pixels(path: Path) -> Pixels:
    return np.asarray(open_picture(path))
