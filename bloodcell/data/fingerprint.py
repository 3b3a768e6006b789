"""SHA-256 fingerprints of data sets, with a cache of file digests."""

import contextlib
import hashlib
import json
import os
import stat
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bloodcell.common.console import progress_bar
from bloodcell.common.errors import NO_FILES, InputError
from bloodcell.common.files import write_text
from bloodcell.data.decode import MAX_BYTES

# File systems note times in steps of up to two seconds.
SETTLED_NS = 2_000_000_000


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
    """Compute the fingerprint of files whose digests are known."""
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


def remembered_digests(files: Iterable[str], root: Path, memory: Path) -> dict[str, str]:
    """Hash each file, except those that were hashed before and have not changed since.

    Args:
        files: Paths below ``root``, relative to it, with slashes.
        root: Folder that the names are relative to.
        memory: Folder for what is remembered. If it cannot be written to, nothing is.

    Returns:
        As :func:`digests`.

    Raises:
        InputError: If a file cannot be read.
    """
    path = memory / f"{hashlib.sha256(str(root.absolute()).encode()).hexdigest()[:32]}.json"
    known = _recall(path)
    states = {name: _state(f"{root}{os.sep}{name}") for name in sorted(files)}
    new = [name for name, state in states.items() if not known.get(name, "").startswith(f"{state} ")]
    if new:
        begun = time.time_ns()
        found = digests(new, root)
        for name in new:
            # What was changed just now may be changed again without a trace in its times: not to be relied on.
            settled = max(map(int, states[name].split()[1:3])) < begun - SETTLED_NS
            known[name] = f"{states[name] if settled else 'unsettled'} {found[name]}"
        with contextlib.suppress(OSError):
            write_text(path, json.dumps(known))
    return {name: known[name].rpartition(" ")[2] for name in states}


def remember_set(path: Path, files: Iterable[Path], root: Path, source: str, known_by: str, begun_ns: int) -> None:
    """Keep the name and the fingerprint of a set, with the state of each of its files and folders.

    Not if one of them was changed since the set was looked through, or just before.

    Args:
        path: Where; if it cannot be written to, nothing is kept.
        files: All that decided it.
        root: The folder that was looked through.
        source: Name of the set.
        known_by: Its fingerprint.
        begun_ns: When it began to be looked through, in nanoseconds since 1970.
    """
    below = {str(file) for file in files}
    folders = {str(folder) for file in below for folder in Path(file).parents if folder.is_relative_to(root)}
    states = {place: _state_of_place(place) for place in sorted(below | folders | {str(root)})}
    newest = max(int(moment) for state in states.values() for moment in state.split()[1:3])
    if newest < begun_ns - SETTLED_NS:
        with contextlib.suppress(OSError):
            write_text(path, json.dumps({"source": source, "fingerprint": known_by, "states": states}))


def recalled_set(path: Path) -> tuple[str, str] | None:
    """Return the name and the fingerprint of a set; ``None`` if none was kept, or a file or a folder has changed."""
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        same = all(_state_of_place(place) == state for place, state in known["states"].items())
        return (str(known["source"]), str(known["fingerprint"])) if same else None
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _state_of_place(place: str) -> str:
    return _said(os.stat(place))  # noqa: PTH116  # Paths of 100,000 files take longer to make than to look at


def _said(seen: os.stat_result) -> str:
    """Size, times of the last change of content and of attributes in ns, and inode: what git goes by as well."""
    return f"{seen.st_size} {seen.st_mtime_ns} {seen.st_ctime_ns} {seen.st_ino}"


def _recall(path: Path) -> dict[str, str]:
    """State and digest of each file that was hashed before."""
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) and all(isinstance(one, str) for one in known.values()) else {}


def _state(path: str) -> str:
    """State of an image, which is a regular file that can be read."""
    try:
        seen = os.stat(path)  # noqa: PTH116  # as above
    except OSError as error:
        raise _unreadable(Path(path), error) from error
    if not stat.S_ISREG(seen.st_mode) or seen.st_size > MAX_BYTES:
        what = f"a file of {seen.st_size:,} bytes" if stat.S_ISREG(seen.st_mode) else "a pipe, a device or a folder"
        raise InputError(
            path, expected=f"a regular file of at most {MAX_BYTES:,} bytes", got=what, fix="replace or remove it"
        )
    return _said(seen)


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> Exception:
    if error.errno in NO_FILES:
        return error  # no fault of the file
    return InputError(
        str(path),
        expected="a file that can be read",
        got=error.strerror or type(error).__name__,
        fix="replace the file",
    )
