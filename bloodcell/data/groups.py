"""Groups: what is copies of one another, or shows the same part of the slide, belongs together."""

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from bloodcell.common.errors import InputError
from bloodcell.data.index import Index


def groups(names: Sequence[str], pairs: Sequence[tuple[str, str]]) -> Mapping[str, str]:
    """Join what is linked, directly or through others.

    Args:
        names: All members.
        pairs: Those that are linked.

    Returns:
        The group of each member, called after its first member in the order of ``names``.
    """
    number = {name: position for position, name in enumerate(names)}
    ends = np.array([[number[one], number[other]] for one, other in pairs], dtype=np.int64).reshape(-1, 2)
    links = coo_matrix((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(len(names), len(names)))
    _, component = connected_components(links, directed=False)
    first: dict[int, str] = {}
    return {name: first.setdefault(int(part), name) for name, part in zip(names, component, strict=True)}


def with_groups(index: Index, table: Path | None, pattern: str | None) -> Index:
    """Give the images of a folder their groups: patients, slides, fields, whatever is independent.

    Args:
        index: The table of images.
        table: CSV with the columns ``file`` (relative to the root, with slashes) and ``group``; ``None`` for none.
        pattern: Regular expression whose first bracket is the group, searched in ``file``; ``None`` for none.

    Returns:
        The index with groups, or as it was if neither is given.

    Raises:
        InputError: If an image is left without a group.
    """
    if table is not None:
        known = _read_groups(table)
        group, where = [known.get(str(file), "") for file in index.file], str(table)
    elif pattern is not None:
        group, where = [_first_bracket(pattern, str(file)) for file in index.file], f"data.group_pattern={pattern}"
    else:
        return index
    without = [str(file) for file, name in zip(index.file, group, strict=True) if not name]
    if without:
        raise InputError(
            where,
            expected="a group for every image",
            got=f"none for {without[0]}" + (f" and {len(without) - 1:,} more" if len(without) > 1 else ""),
            fix="add the missing lines" if table else "correct the pattern",
        )
    return replace(index, group=np.array(group))


def _read_groups(table: Path) -> Mapping[str, str]:
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            rows = [(row["file"], (row["group"] or "").strip()) for row in csv.DictReader(file)]
        found: dict[str, str] = {}
        for name, group in rows:
            if found.setdefault(name, group) != group:
                raise ValueError(f"{name} in the groups {found[name]} and {group}")
        return found
    except (OSError, KeyError, ValueError, csv.Error) as error:
        raise InputError(
            str(table),
            expected="a CSV with the columns file and group",
            got=f"{type(error).__name__}: {error}",
            fix="correct the table",
        ) from error


def _first_bracket(pattern: str, file: str) -> str:
    try:
        found = re.search(pattern, file)
        return (found[1] or "") if found else ""
    except (re.error, IndexError) as error:
        raise InputError(
            f"data.group_pattern={pattern}",
            expected="a regular expression with brackets around the group, as 'patient([0-9]+)'",
            got=str(error),
            fix="correct it",
        ) from error
