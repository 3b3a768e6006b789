"""An audit from the index to its page: look at every file, draw the findings, write and print them."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from omegaconf import DictConfig

from bloodcell.common.console import counted, progress_bar
from bloodcell.common.files import write_csv, write_json, write_text
from bloodcell.studies.audit.findings import LEVELS, Audited, Finding, readable
from bloodcell.studies.audit.findings_page import findings_page

if TYPE_CHECKING:  # torch takes seconds to import: --help and config errors must not wait for it
    from bloodcell.data.datamodule import CellImages
    from bloodcell.data.index import IntArray, StrArray
    from bloodcell.studies.audit.inspection import Look


def run_audit(cfg: DictConfig, out: Path) -> list[Finding]:
    """Audit a data set and write the page.

    Args:
        cfg: The composed config (``conf/audit.yaml``).
        out: Folder for ``audit.html``, ``audit.json`` and ``groups.csv``.

    Returns:
        The findings, worst first; without a leak that was waived.

    Raises:
        InputError: If the data cannot be found or split.
    """
    from bloodcell.config.instantiate import build

    data: CellImages = build(cfg.data, "data")
    others: list[str] = []
    data.look_up(others)
    seen = _look_at_all(data, others)
    findings = _all_findings(seen)
    waived = bool(cfg.audit.allow_leak) and findings[0].level == "leak"
    content = {
        "data": readable(str(data.index.root)),
        "protocol": data.split.protocol,
        "caveat": data.split.caveat,
        "images": {name: int((seen.side == name).sum()) for name in ("train", "validation", "test")},
        "groups_known": seen.known,
        "leak_waived": waived,
        "findings": [{"level": one.level, "title": one.title, "says": one.says, **one.numbers} for one in findings],
    }
    write_json(out / "audit.json", content)
    write_text(out / "audit.html", findings_page(content, findings, seen))
    files = [str(file) for file in data.index.file[seen.rows]]
    # A name that is no text fits into no table; training refuses such a file.
    named = [(file, str(group)) for file, group in zip(files, seen.group, strict=True) if readable(file) == file]
    write_csv(out / "groups.csv", ["file", "group"], sorted(named))
    _print_findings(findings, waived)
    if not seen.known:
        table = out / "groups.csv"
        print(f"groups:  {table}; data.protocol=grouped data.table={table} keeps copies together")
    print(f"page:    {out / 'audit.html'}\nnumbers: {out / 'audit.json'}", flush=True)
    return [one for one in findings if not (waived and one.level == "leak")]


def _look_at_all(data: "CellImages", others: list[str]) -> Audited:
    from bloodcell.studies.audit.duplicates import copies, joined
    from bloodcell.studies.audit.inspection import inspect

    split, workers = data.split, os.cpu_count() or 1
    parts = {"train": split.train, "validation": split.val if split.choice else split.val[:0], "test": split.test}
    rows = np.concatenate(list(parts.values()))
    side = np.repeat(list(parts), [len(part) for part in parts.values()])
    print(f"looking at {counted(len(rows), 'file')} below {readable(str(data.index.root))}", flush=True)
    with progress_bar() as progress:

        def steps(what: str, total: int) -> Callable[[], None]:
            task = progress.add_task(what, total=total)
            return lambda: progress.advance(task)

        looks = inspect(data.index, rows, workers, steps("looking at files", len(rows)))
        named = _named(data, rows, looks)
        # Groups that a user names say what belongs together; whether more does is to be seen.
        asked = np.arange(len(rows)) if not data.groups_complete else np.flatnonzero(named == "")
        pairs = copies(data.index, rows, looks, asked, workers, steps)
    return Audited(data, rows, side, looks, joined(named, looks, pairs), named, pairs, others)


def _named(data: "CellImages", rows: "IntArray", looks: "Sequence[Look]") -> "StrArray":
    """Groups known beforehand; the lineage table knows nothing of a file with other bytes than it saw."""
    if data.lineage is None:
        return data.index.group[rows]
    images = data.lineage.images
    files = [images.get(str(file)) for file in data.index.file[rows]]
    changed = [file is not None and file.sha256 != look.sha256 for file, look in zip(files, looks, strict=True)]
    return np.where(changed, "", data.index.group[rows])


def _all_findings(seen: Audited) -> list[Finding]:
    """One of each check, worst first."""
    from bloodcell.studies.audit import class_checks, copy_checks, file_checks, split_checks

    checks = (
        split_checks.overlap,
        file_checks.broken,
        split_checks.validation,
        file_checks.as_published,
        copy_checks.same_bytes_across,
        copy_checks.conflicting_labels,
        copy_checks.near_copies,
        class_checks.give_aways,
        class_checks.balance,
        file_checks.shapes,
        file_checks.cut_off,
    )
    return sorted((check(seen) for check in checks), key=lambda one: LEVELS.index(one.level))


def _print_findings(findings: Sequence[Finding], waived: bool) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    colours = {"leak": "bold red", "broken": "bold red", "look": "yellow", "known": "cyan", "fine": "green"}
    table = Table("", "question", "answer", title="audit", title_justify="left", show_lines=True)
    for one in findings:
        table.add_row(f"[{colours[one.level]}]{one.level}[/]", one.title, escape(one.says))
    Console().print(table)
    if waived:
        print("the overlap between test and training data is WAIVED by audit.allow_leak=true")
