"""Groups: what is copies of one another, or shows the same part of the slide, belongs together."""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components


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
