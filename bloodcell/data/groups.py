"""Groups: what is copies of one another, or shows the same part of the slide, belongs together."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

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


def with_groups(index: Index, known: Mapping[str, str], where: str, fix: str) -> Index:
    """Give the images of a folder their groups: patients, slides, fields, whatever is independent.

    Args:
        index: The table of images.
        known: The group by ``file``; empty or missing where there is none.
        where: What names the groups, for the message.
        fix: What to do about an image without a group.

    Raises:
        InputError: If an image is left without a group.
    """
    group = [known.get(file, "") for file in index.file.tolist()]
    without = [file for file, name in zip(index.file.tolist(), group, strict=True) if not name]
    if without:
        raise InputError(
            where,
            expected="a group for every image",
            got=f"none for {without[0]}" + (f" and {len(without) - 1:,} more" if len(without) > 1 else ""),
            fix=fix,
        )
    return replace(index, group=np.array(group))


def groups_by_pattern(index: Index, pattern: str) -> dict[str, str]:
    """Find the group of each file in its path.

    Args:
        index: The table of images.
        pattern: Regular expression whose first bracket is the group, searched in ``file``.
    """
    found = {file: re.search(pattern, file) for file in index.file.tolist()}
    return {file: (one[1] or "") if one else "" for file, one in found.items()}
