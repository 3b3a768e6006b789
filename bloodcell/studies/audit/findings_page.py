"""The page of an audit: each finding with the pictures that it is about."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bloodcell.common.errors import InputError
from bloodcell.evidence.pages import STYLE, data_uri
from bloodcell.studies.audit.findings import Audited, Finding, readable

TEMPLATE = Path(__file__).with_name("audit.html.j2")
THUMBNAIL = 200  # pixels of the longer side


def findings_page(content: dict[str, Any], findings: Sequence[Finding], seen: Audited) -> str:
    """Write one HTML page that needs no other file; names from files are escaped.

    Args:
        content: Of ``audit.json``.
        findings: Worst first.
        seen: Where the pictures are.
    """
    from jinja2 import Environment, StrictUndefined

    index = seen.data.index
    shown = [
        [[(_thumbnail(index.where(row)), readable(str(index.file[row]))) for row in rows] for rows in one.examples]
        for one in findings
    ]
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(style=STYLE, content=content, findings=list(zip(findings, shown, strict=True)))


def _thumbnail(path: Path) -> str:
    """A small JPEG as a data URI; nothing for a file that cannot be decoded."""
    from bloodcell.data.decode import open_picture

    try:
        small = open_picture(path)
    except InputError:  # the finding says so elsewhere
        return ""
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    packed = io.BytesIO()
    small.save(packed, "JPEG", quality=80)
    return data_uri(packed.getvalue(), "image/jpeg")
