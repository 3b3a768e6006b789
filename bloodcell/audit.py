"""Look for what makes a number worth less than it seems: ``python -m bloodcell.audit [data=...] [KEY=VALUE]``."""

import base64
import io
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
import numpy as np
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from bloodcell.cli import CONF, fail, run_command
from bloodcell.errors import InputError
from bloodcell.files import write_json, write_text
from bloodcell.findings import Audited, Finding, look_for_all, readable

if TYPE_CHECKING:  # torch takes seconds to import: --help and config errors must not wait for it
    from bloodcell.data.datamodule import BloodCells
    from bloodcell.data.index import IntArray, StrArray
    from bloodcell.data.inspection import Look

TEMPLATE = Path(__file__).with_name("audit.html.j2")
THUMBNAIL = 200


def audit(cfg: DictConfig, out: Path) -> list[Finding]:
    """Audit a data set and write the page.

    Args:
        cfg: The composed config (``conf/audit.yaml``).
        out: Folder for ``audit.html`` and ``audit.json``.

    Returns:
        The findings, worst first; without a leak that was waived.

    Raises:
        InputError: If the data cannot be found or split.
    """
    from bloodcell.build import build

    data: BloodCells = build(cfg.data, "data")
    others: list[str] = []
    data.find(others)
    findings = look_for_all(seen := _look(data, others))
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
    write_text(out / "audit.html", page(content, findings, seen))
    _print(findings, waived)
    print(f"page:    {out / 'audit.html'}\nnumbers: {out / 'audit.json'}", flush=True)
    return [one for one in findings if not (waived and one.level == "leak")]


def _look(data: "BloodCells", others: list[str]) -> Audited:
    from bloodcell.data.duplicates import copies, joined
    from bloodcell.data.fingerprint import progress_bar
    from bloodcell.data.inspection import inspect

    split, workers = data.split, os.cpu_count() or 1
    parts = {"train": split.train, "validation": split.val if split.choice else split.val[:0], "test": split.test}
    rows = np.concatenate(list(parts.values()))
    side = np.repeat(list(parts), [len(part) for part in parts.values()])
    with progress_bar() as progress:

        def steps(what: str, total: int) -> Callable[[], None]:
            task = progress.add_task(what, total=total)
            return lambda: progress.advance(task)

        looks = inspect(data.index, rows, workers, steps("looking at files", len(rows)))
        named = _named(data, rows, looks)
        # Groups that a user names say what belongs together; that nothing else does is to be seen.
        asked = np.arange(len(rows)) if data.source == "folder" else np.flatnonzero(named == "")
        pairs = copies(data.index, rows, looks, asked, workers, steps)
    return Audited(data, rows, side, looks, joined(named, looks, pairs), named, pairs, others)


def _named(data: "BloodCells", rows: "IntArray", looks: "Sequence[Look]") -> "StrArray":
    """Groups known beforehand; the lineage table knows nothing of a file with other bytes than it saw."""
    if data.source != "blood_cells":
        return data.index.group[rows]
    from bloodcell.data.lineage import read_lineage

    images = read_lineage(data.tables).images
    files = [images.get(str(file)) for file in data.index.file[rows]]
    changed = [file is not None and file.sha256 != look.sha256 for file, look in zip(files, looks, strict=True)]
    return np.where(changed, "", data.index.group[rows])


def page(content: dict[str, Any], findings: Sequence[Finding], seen: Audited) -> str:
    """One HTML page that needs no other file; names from files are escaped."""
    from jinja2 import Environment, StrictUndefined

    index = seen.data.index
    shown = [
        [[(_thumbnail(index.path(row)), readable(str(index.file[row]))) for row in rows] for rows in one.examples]
        for one in findings
    ]
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(content=content, findings=list(zip(findings, shown, strict=True)))


def _thumbnail(path: Path) -> str:
    """A small JPEG as a data URI; nothing for a file that cannot be decoded."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            small = image.convert("RGB")
            small.thumbnail((THUMBNAIL, THUMBNAIL))
    except Exception:  # decoders raise what they like; the finding says so elsewhere
        return ""
    packed = io.BytesIO()
    small.save(packed, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(packed.getvalue()).decode()


def _print(findings: Sequence[Finding], waived: bool) -> None:
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


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="audit")
def job(cfg: DictConfig) -> None:
    """One audit."""
    findings = audit(cfg, Path(HydraConfig.get().runtime.output_dir))
    for one in findings:
        if one.level in ("leak", "broken"):
            wanted = "no group on two sides" if one.level == "leak" else "files that can be decoded"
            fix = "split by group, or waive it with audit.allow_leak=true" if one.level == "leak" else "see the page"
            fail(InputError("audit", expected=wanted, got=one.says.removesuffix("."), fix=fix))


def main() -> None:
    """The command."""
    run_command(job)


if __name__ == "__main__":
    main()
