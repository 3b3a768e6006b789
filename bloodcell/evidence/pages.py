"""The bits that pages are made of: their style, Markdown tables, pictures inside, Markdown as HTML."""

import base64
import mimetypes
import re
from collections.abc import Sequence
from html import escape
from pathlib import Path

from bloodcell.common.errors import printable
from bloodcell.common.files import is_inside, read_bytes

STYLE = """
body { font: 16px/1.55 system-ui, sans-serif; max-width: 980px; margin: 2em auto; padding: 0 1em; color: #222 }
h1, h2, h3 { line-height: 1.25 } h2 { margin-top: 2em; border-bottom: 1px solid #ddd }
table { border-collapse: collapse; margin: 1em 0; font-size: 14px; display: block; overflow-x: auto }
td, th { padding: .35em .7em; vertical-align: top }
tr { border-bottom: 1px solid #e4e4e4 } th { text-align: left }
img { max-width: 100% } code { background: #f3f0f5; overflow-wrap: anywhere }
"""


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]], numbers_from: int | None = None) -> str:
    """Write a table in Markdown.

    Args:
        header: Names of the columns.
        rows: Cells, as Markdown.
        numbers_from: First of the columns that hold numbers, to be aligned on the right; ``None`` if none does.

    Returns:
        Its lines, without a line end after the last.
    """
    right = len(header) if numbers_from is None else numbers_from
    marks = ["---" if column < right else "---:" for column in range(len(header))]
    return "\n".join(f"| {' | '.join(line)} |" for line in (header, marks, *rows))


# What LaTeX would take for an instruction; a backslash first, as the others bring some in.
LATEX = {"\\": r"\textbackslash{}", **{one: rf"\{one}" for one in "&%$#_{}"}, "~": r"\textasciitilde{}"}
LATEX |= {"^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}"}


def latex_table(header: Sequence[str], rows: Sequence[Sequence[str]], caption: str) -> str:
    """Write a table in LaTeX, as of the package booktabs.

    Args:
        header: Names of the columns.
        rows: Cells, as plain text.
        caption: Below it, as plain text.

    Returns:
        Its lines, without a line end after the last.
    """

    def plain(text: str) -> str:
        return "".join(LATEX.get(letter, letter) for letter in text)

    lines = [" & ".join(map(plain, line)) + r" \\" for line in (header, *rows)]
    top = [r"\begin{table}", r"\centering", rf"\begin{{tabular}}{{{'l' * len(header)}}}", r"\toprule", lines[0]]
    end = [r"\bottomrule", r"\end{tabular}", rf"\caption{{{plain(caption)}}}", r"\end{table}"]
    return "\n".join([*top, r"\midrule", *lines[1:], *end])


def html_page(markdown: str, folder: Path | None, way: str) -> str:
    """Write Markdown as one HTML page with its pictures inside.

    Args:
        markdown: The text; raw HTML in it is shown, not obeyed, and so is what a terminal would obey.
        folder: Where its pictures are; ``None`` if it has none. What it names elsewhere is not read: a text of anybody
            could name a secret.
        way: How its links lead there from the page.
    """
    from markdown_it import MarkdownIt

    markdown = "\n".join(map(printable, markdown.split("\n")))
    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(markdown)

    def inside(found: re.Match[str]) -> str:
        path = (folder or Path()) / found[1]
        if folder is None or not is_inside(folder, path):
            return 'src=""'
        return f'src="{data_uri(read_bytes(path), mimetypes.guess_type(path.name)[0] or "image/png")}"'

    body = re.sub(r'src="([^":]+)"', inside, body)
    body = re.sub(r'href="(?!https?:)([^"]+)"', rf'href="{way}/\1"', body)
    title = escape(markdown.splitlines()[0].lstrip("# "))
    phone = '<meta name="viewport" content="width=device-width, initial-scale=1">'
    head = f'<meta charset="utf-8">{phone}<title>{title}</title><style>{STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{body}</body></html>\n'


def data_uri(content: bytes, kind: str) -> str:
    """Put a picture into an address, for a page that needs no other file.

    Args:
        content: The picture file.
        kind: Its type, as ``image/png``.
    """
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
