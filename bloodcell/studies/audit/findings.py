"""What an audit hands on: what was looked at, and what was found."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:  # torch takes seconds to import: --help and config errors must not wait for it
    from bloodcell.data.datamodule import CellImages
    from bloodcell.data.index import IntArray, StrArray
    from bloodcell.studies.audit.inspection import Look

# Worst first. A leak or a broken file makes the command exit with 1.
LEVELS = ("leak", "broken", "look", "known", "fine")
# Pictures or pairs of pictures shown with a finding.
EXAMPLES = 6


class Finding(NamedTuple):
    """One thing that was looked for.

    Attributes:
        level: One of ``LEVELS``.
        title: What was looked for.
        says: What was found, with numbers.
        todo: What it means and what to do.
        numbers: The same for ``audit.json``.
        examples: Rows of the index to show, side by side.
    """

    level: str
    title: str
    says: str
    todo: str
    numbers: dict[str, Any]
    examples: Sequence[Sequence[int]] = ()


class Audited(NamedTuple):
    """What the findings are drawn from.

    Attributes:
        data: Index and split.
        rows: Rows of the index that were looked at: those that the split uses.
        side: ``train``, ``validation`` or ``test`` of each.
        looks: Of each.
        group: Group of each: what has one name, the same bytes or is a copy, directly or through others.
        named: Group of each that was known before; ``""`` where none was.
        pairs: Positions of near duplicates that were found among images whose copies are not known.
        others: Files in class folders that are no images.
    """

    data: "CellImages"
    rows: "IntArray"
    side: "StrArray"
    looks: list["Look"]
    group: "StrArray"
    named: "StrArray"
    pairs: list[tuple[int, int]]
    others: list[str]

    @property
    def known(self) -> bool:
        """Whether the group of every image was known before."""
        return bool((self.named != "").all())


def first_of(files: Sequence[str]) -> str:
    """Name the first few of some files, and how many more there are."""
    return ", ".join(map(readable, files[:5])) + (f" and {len(files) - 5:,} more" if len(files) > 5 else "")


def readable(name: str) -> str:
    """Escape control characters and broken encodings in a name from a stranger's disk, so that it can be shown."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in name)
