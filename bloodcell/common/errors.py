"""InputError: something the user can fix, printed as one line. Pruned and Diverged: a training that ended early."""

import errno
import math
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

NO_PLACE = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO),
    # A file where a folder is to be, a folder where a file is to be, a name that leads round or is too long.
    *(errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG),
)
# Functions of Python that make a folder.
FOLDERS = ("mkdir", "makedirs")
NO_FILES = (errno.EMFILE, errno.ENFILE)
# Of torch, CUDA, Python, and the loader of libraries.
NO_MEMORY = ("can't allocate memory", "out of memory", "can't start new thread", "failed to map segment")
# Controls, ends of lines, halves of letters, and what turns the direction of a text.
UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
Rule = tuple[str, object, bool, str]  # a key, its value, whether that is good, what is expected


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
        super().__init__(printable(" ".join(line.split())))

    def __reduce__(self) -> tuple[Any, ...]:
        """Say how it is made again in another process: of its line, not of the parts of it."""
        return _made_again, (type(self), self.args, self.__dict__)


@contextmanager
def holding(where: str, expected: str, fix: str) -> Iterator[None]:
    """Make one line of what is missing, or of another kind, in content that may come from anybody.

    Args:
        where: The file or folder that holds it.
        expected: What it should hold.
        fix: What to type or do now.

    Raises:
        InputError: For a lookup, a type or a value that goes wrong in the block.
    """
    try:
        yield
    except InputError:
        raise
    except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError, RecursionError) as error:
        raise InputError(where, expected=expected, got=repr(error)[:80], fix=fix) from error


def printable(text: str) -> str:
    """Replace in a text from anybody's file what a terminal obeys and does not show; line ends too."""
    return UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def _made_again(kind: type[InputError], line: tuple[str], parts: dict[str, Any]) -> InputError:
    error = kind.__new__(kind, *line)
    error.__dict__.update(parts)
    return error


def check_rules(rules: Iterable[Rule]) -> None:
    """Stop at the first value that breaks its rule.

    Raises:
        InputError: Naming the key.
    """
    for key, value, good, expected in rules:
        if not good:
            raise InputError(key, expected=expected, got=repr(value), fix=f"set {key}=...")


def is_whole(value: object, least: float = -math.inf, most: float = math.inf) -> bool:
    """Tell whether a value is a whole number between two others, both included."""
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def is_number(value: object, least: float = -math.inf, most: float = math.inf) -> bool:
    """Tell whether a value is a finite number between two others, both included."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= sys.float_info.max and least <= value <= most  # a whole number may be larger than any float


def limit_of(error: BaseException) -> InputError | None:
    """Say in one line what the machine lacks: room, memory, open files, a right; ``None`` if it is something else."""
    number = error.errno if isinstance(error, OSError) else None
    if number in NO_FILES:
        return InputError(
            "this machine", expected="more open files", got=str(error), fix="allow them by ulimit -n 4096"
        )
    lacks_memory = isinstance(error, MemoryError) or number == errno.ENOMEM
    if lacks_memory or (
        isinstance(error, RuntimeError | ImportError) and any(word in str(error) for word in NO_MEMORY)
    ):
        fix = "free some, or take smaller images (data.image_size) or fewer at once (data.batch_size)"
        said = str(error).split("\n", 1)[0][:150] or type(error).__name__
        return InputError("this machine", expected="more memory", got=said, fix=fix)
    if isinstance(error, RecursionError):
        expected, fix = "at most some hundred folders or values within each other", "move what is deep elsewhere"
        return InputError("what was given", expected=expected, got="more", fix=fix)
    if isinstance(error, OSError) and (number in NO_PLACE or (number == errno.ENOENT and _of_a_folder(error))):
        where = str(error.filename or "this machine")
        got = error.strerror or type(error).__name__
        return InputError(where, expected="a place to read and write", got=got, fix="make room, or name another place")
    return None


def _of_a_folder(error: OSError) -> bool:
    """Tell whether a folder could not be made, as none can in /proc, or the one that we are in is gone."""
    if error.filename is None:  # of what is asked for without a name, only that folder can be missing
        return True
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    return place is not None and place.tb_frame.f_code.co_name in FOLDERS


class Pruned(Exception):  # noqa: N818 (an early stop, not an error)
    """A training that was ended because it lags behind others."""


class Diverged(InputError):  # noqa: N818 (likewise)
    """A training that was ended because its loss or its weights stopped being finite numbers.

    Args:
        epoch: Epochs that were trained before, all well.
        what: What is not finite, and where.
        checkpoint: Path of the last good checkpoint; ``None`` if no epoch ended well.
    """

    def __init__(self, epoch: int, what: str, checkpoint: str | None) -> None:
        self.epoch, self.checkpoint = epoch, checkpoint
        super().__init__(
            f"epoch {epoch + 1}",
            expected="a finite loss",
            got=what,
            fix="lower optim.lr, or clip gradients by trainer.gradient_clip_val=1"
            + (f"; the last good checkpoint is {checkpoint}" if checkpoint else ""),
        )
