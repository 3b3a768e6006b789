"""TODO studies/audit/page.py."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bloodcell.studies.audit.checks import Audited, Finding, readable

TEMPLATE = Path(__file__).with_name("audit.html.j2")


THUMBNAIL = 200


def page(content: dict[str, Any], findings: Sequence[Finding], seen: Audited) -> str:
    """One HTML page that needs no other file; names from files are escaped."""
    from jinja2 import Environment, StrictUndefined

    index = seen.data.index
    shown = [
        [[(_thumbnail(index.where(row)), readable(str(index.file[row]))) for row in rows] for rows in one.examples]
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
