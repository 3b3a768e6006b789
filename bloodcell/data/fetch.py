"""Get the Kaggle set from a download, an archive or a folder, and check that it is complete."""

import os
import queue
import shutil
import stat
import tempfile
import threading
import time
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any

from bloodcell.common.console import progress_bar
from bloodcell.common.env import cache_dir, path_of
from bloodcell.common.errors import InputError
from bloodcell.data.fingerprint import fingerprint
from bloodcell.data.kaggle import (
    BY_HAND,
    HANDLE,
    KAGGLE,
    NAME,
    Known,
    _images_below,
    _require_images,
    count_images,
    images_in,
    originals_of,
)

# Where kagglehub sends its requests; only asked whether it answers.
ENDPOINT = "https://api.kaggle.com"
# Longest silence of the server in the middle of a download, in seconds.
STALL_S = 30.0

# The real archive has 13,248 files of 140 MB together; a zip bomb has far more of either.
MAX_FILES = 50_000
MAX_BYTES = 2 * 1024**3


@dataclass(frozen=True)
class Report:
    """What :func:`check` found in a complete set.

    Attributes:
        images: The folder that holds ``TRAIN`` and ``TEST``.
        counts: Images in each ``SUBSET/CLASS``.
        originals: Micrographs; ``None`` if they are not beside the images.
        fingerprint: SHA-256 in hexadecimal digits, see :func:`fingerprint`.
        as_known: Whether the fingerprint is the known one.
        images_per_s: Images hashed in a second.
    """

    images: Path
    counts: Mapping[str, int]
    originals: int | None
    fingerprint: str
    as_known: bool
    images_per_s: float


def fetch(source: Path | str | None, timeout_s: float, known: Known = KAGGLE) -> Path:
    """Put the set into the cache, all of it or nothing.

    A set that is in the cache already is kept, whatever the source; only a link to a folder is replaced.

    Args:
        source: ``None`` to download from Kaggle; a ``.zip`` to extract; a folder to link to.
        timeout_s: Seconds within which the server must answer, before anything is downloaded.
        known: What a complete set holds.

    Returns:
        ``cache_dir() / "blood-cells"``.

    Raises:
        InputError: If the set cannot be had, or is not complete.
    """
    target = cache_dir() / NAME
    if source is not None and not path_of(source).is_file():
        _require_images(path_of(source), str(source))
    if (_real_folder(target) or source is None) and target.exists():
        count_images(_require_images(target, str(target)), known, f"{target} (remove it to get the set anew)")
        return target
    if source is None:
        _wait_for_answer(timeout_s)
    with _staging(target.parent) as staging:
        content = _obtain(source, staging)
        where = f"download of {HANDLE}" if source is None else str(source)
        count_images(_require_images(content, where), known, where)
        _publish(content, target)
    return target


def check(images: Path, known: Known = KAGGLE) -> Report:
    """Count and hash a set.

    Args:
        images: The folder from :func:`find_images`.
        known: What a complete set holds.

    Returns:
        What was found; other bytes than the known ones are reported, not refused.

    Raises:
        InputError: If a folder does not hold as many images as it should.
    """
    counts = count_images(images, known, str(images))
    files = [path for folder in counts for path in images_in(images / folder)]
    started = time.perf_counter()
    found = fingerprint(files, images)
    rate = len(files) / (time.perf_counter() - started)
    originals = len(images_in(originals_of(images))) or None
    return Report(images, counts, originals, found, found == known.fingerprint, rate)


def _real_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


@contextmanager
def _staging(cache: Path) -> Iterator[Path]:
    """Make a folder beside the target, so that a rename completes it; removed in every case."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{NAME}-", dir=cache))
    except OSError as error:
        raise InputError(
            str(cache),
            expected="a folder to write to",
            got=_cause(error),
            fix="set BLOODCELL_CACHE=/other/folder",
        ) from error
    try:
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _obtain(source: Path | str | None, staging: Path) -> Path:
    """The set inside ``staging``, or a link there to where it is."""
    if source is None:
        content = _unwrapped(_kaggle_download(staging))
        # In Kaggle's own notebooks the set is mounted elsewhere and only the path comes back.
        return content if content.is_relative_to(staging) else _link(content, staging)
    path = path_of(source)
    if path.is_file():
        return _unwrapped(_extract(path, staging / "archive"))
    return _link(path, staging)


def _link(folder: Path, staging: Path) -> Path:
    link = staging / "link"
    try:
        link.symlink_to(folder.resolve(), target_is_directory=True)
    except OSError as error:  # Windows allows links to few
        raise InputError(
            str(folder),
            expected="that a link to it can be made",
            got=_cause(error),
            fix=f"set BLOODCELL_DATA={folder} instead",
        ) from error
    return link


def _unwrapped(folder: Path) -> Path:
    """Step into a folder that somebody packed around the set."""
    inner = sorted(path for path in folder.iterdir() if path.is_dir())
    return next((place for place in (folder, *inner) if _images_below(place)), folder)


def _publish(content: Path, target: Path) -> None:
    if target.is_symlink():
        target.unlink(missing_ok=True)
    try:
        content.rename(target)
    except OSError:
        # Another process was faster, and what it put there was counted as well.
        if not target.is_dir():
            raise


def _extract(archive: Path, into: Path) -> Path:
    """Extract a zip that may be damaged or hostile."""
    try:
        with zipfile.ZipFile(archive) as opened, progress_bar() as progress:
            members = opened.infolist()
            _refuse_hostile(archive, members)
            into.mkdir()
            for member in progress.track(members, description="extracting"):
                opened.extract(member, into)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, OSError, UnicodeDecodeError) as error:
        raise InputError(
            str(archive),
            expected="a complete .zip archive, and room to extract it",
            got=_cause(error),
            fix=BY_HAND,
        ) from error
    return into


def _refuse_hostile(archive: Path, members: list[zipfile.ZipInfo]) -> None:
    """Raise on names that lead elsewhere, links, and zip bombs; ``zipfile`` stops at the sizes declared."""
    size = sum(member.file_size for member in members)
    got = ""
    if len(members) > MAX_FILES or size > MAX_BYTES:
        got = f"{len(members)} files of {size} bytes"
    for member in members:
        # Windows' rules know both kinds of slashes, and drives.
        name = PureWindowsPath(member.filename)
        kind = stat.S_IFMT(member.external_attr >> 16)
        if not name.parts or name.anchor or ".." in name.parts or kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
            got = f"the entry {member.filename!r}"
    if got:
        raise InputError(
            str(archive),
            expected=f"plain files below one folder, at most {MAX_FILES} and {MAX_BYTES} bytes",
            got=got,
            fix=f"do not trust this archive; {BY_HAND}",
        )


def _wait_for_answer(timeout_s: float) -> None:
    """Raise unless Kaggle answers at all, by the proxies and certificates that kagglehub will use.

    In a thread, for nothing limits how long the system may take to look up a name.
    """
    _require_kagglehub()
    import requests

    answer: queue.Queue[Exception | None] = queue.Queue()

    def ask() -> None:
        try:
            requests.head(ENDPOINT, timeout=timeout_s)
            answer.put(None)
        except Exception as error:  # whatever it is, it is said in the thread that waits
            answer.put(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        error = answer.get(timeout=timeout_s)
    except queue.Empty:
        error = TimeoutError(f"no answer within {timeout_s:g} s")
    if error is not None:
        raise _download_failed(error) from error


def _kaggle_download(into: Path) -> Path:
    """Download with kagglehub, which prints a bar of its own and extracts the archive without one."""
    import kagglehub

    try:
        with _kagglehub_cache(into), _impatient_requests(STALL_S):
            return Path(kagglehub.dataset_download(HANDLE))
    except Exception as error:  # a dozen unrelated types: of requests, zipfile, its own, ValueError
        raise _download_failed(error) from error


def _require_kagglehub() -> None:
    try:
        import kagglehub  # noqa: F401  (only whether it is there)
    except ImportError as error:
        raise InputError(
            f"download of {HANDLE}",
            expected="the package kagglehub",
            got=_cause(error),
            fix=f"type `make setup` or `pip install kagglehub`, or {BY_HAND}",
        ) from error


@contextmanager
def _kagglehub_cache(folder: Path) -> Iterator[None]:
    """Let kagglehub work in a folder that goes away by itself if the download is interrupted."""
    before = os.environ.get("KAGGLEHUB_CACHE")
    os.environ["KAGGLEHUB_CACHE"] = str(folder)
    try:
        yield
    finally:
        del os.environ["KAGGLEHUB_CACHE"]
        if before is not None:
            os.environ["KAGGLEHUB_CACHE"] = before


@contextmanager
def _impatient_requests(seconds: float) -> Iterator[None]:
    """Give requests without a timeout one: kagglehub would wait for a stalled server for ever."""
    import requests

    send = requests.Session.send

    def impatient(*args: Any, **options: Any) -> requests.Response:
        if options.get("timeout") is None:
            options["timeout"] = seconds
        return send(*args, **options)

    requests.Session.send = impatient  # type: ignore[method-assign]  # for the call only
    try:
        yield
    finally:
        requests.Session.send = send  # type: ignore[method-assign]  # for the call only


def _download_failed(error: Exception) -> InputError:
    return InputError(f"download of {HANDLE}", expected=f"the data set from {ENDPOINT}", got=_cause(error), fix=BY_HAND)


def _cause(error: BaseException) -> str:
    """The innermost error in a few words; requests wraps "Connection refused" three times."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}"
