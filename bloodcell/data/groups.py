"""Groups: what is copies of one another, or shows the same part of the slide, belongs together."""

import re
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from bloodcell.common.errors import InputError
from bloodcell.data.index import Index

PATIENCE_S = 10  # for a pattern: of 100,000 names an honest one needs a tenth of a second


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


@contextmanager
def _within(seconds: float) -> Iterator[None]:
    """Stop what takes the processor for longer by a signal, which a search for a pattern heeds; in the main thread.

    Not on Windows, which has no such signal.
    """

    def stop(*_: object) -> None:
        raise TimeoutError

    if threading.current_thread() is not threading.main_thread() or sys.platform == "win32":
        yield
        return
    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def groups_by_pattern(index: Index, pattern: str) -> dict[str, str]:
    """Find the group of each file in its path.

    Args:
        index: The table of images.
        pattern: Regular expression whose first bracket is the group, searched in ``file``.

    Raises:
        InputError: If that takes without end, as of brackets that repeat what is repeated.
    """
    try:
        with _within(PATIENCE_S):
            found = {file: re.search(pattern, file) for file in index.file.tolist()}
    except TimeoutError as error:
        raise InputError(
            f"data.group_pattern={pattern}",
            expected=f"a pattern that is searched in all names within {PATIENCE_S} s",
            got="one that tries more and more ways",
            fix="repeat nothing that is repeated already, as (a+)+",
        ) from error
    return {file: (one[1] or "") if one else "" for file, one in found.items()}
