"""InputError: something the user can fix, printed as one line. Pruned: an early stop, not an error."""


class InputError(ValueError):
    """Something the user gave cannot be used: a folder, a file, an override, a value.

    The commands print it as one line and exit with 1; every other exception is a fault of this
    project and keeps its traceback.

    Args:
        where: The key or path that is wrong, as the user knows it (``data.root=/x``).
        expected: What would have been accepted.
        got: What came instead.
        fix: What to type or do now, as an imperative.
    """

    def __init__(self, where: str, *, expected: str, got: str, fix: str) -> None:
        line = f"{where}: expected {expected}, got {got}; {fix}"
        line = " ".join(line.split())
        # A name in a stranger's file may hold what a terminal obeys.
        super().__init__("".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in line))


class Pruned(Exception):  # noqa: N818 (an early stop, not an error)
    """A training that was ended because it lags behind others."""
