"""What data are, in 64 digits: a hash over the names and bytes of their files."""

import hashlib
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from bloodcell.errors import InputError


def fingerprint(files: Iterable[Path | str], root: Path) -> str:
    """Hash files so that a change of any name or byte shows, whatever the order.

    Args:
        files: Paths below ``root``, absolute or relative to it.
        root: Folder that the names are relative to.

    Returns:
        SHA-256 over the sorted lines ``path-with-slashes sha256-of-bytes``, in hexadecimal digits.

    Raises:
        InputError: If a file cannot be read.
    """
    return fingerprint_of(digests(files, root))


def fingerprint_of(found: Mapping[str, str]) -> str:
    """The fingerprint of files whose digests are known already."""
    return hashlib.sha256("".join(f"{name} {found[name]}\n" for name in sorted(found)).encode()).hexdigest()


def digests(files: Iterable[Path | str], root: Path) -> dict[str, str]:
    """Hash each file.

    Args:
        files: Paths below ``root``, absolute or relative to it.
        root: Folder that the names are relative to.

    Returns:
        SHA-256 in hexadecimal digits by path with slashes, sorted by path.

    Raises:
        InputError: If a file cannot be read.
    """
    names = sorted((root / file).relative_to(root).as_posix() for file in files)
    with ThreadPoolExecutor() as pool, progress_bar() as progress:  # reading and hashing release Python's lock
        found = pool.map(lambda name: _digest(root / name), names)
        try:
            pairs = zip(names, found, strict=True)
            return dict(progress.track(pairs, total=len(names), description="hashing images"))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(
            str(path),
            expected="a file that can be read",
            got=error.strerror or type(error).__name__,
            fix="replace the file",
        ) from error


def progress_bar() -> Progress:
    """A bar with the time left; it goes away at the end and leaves logs without it alone."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    return Progress(*columns, console=Console(stderr=True), transient=True)
