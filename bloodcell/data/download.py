"""Getting the Kaggle set of blood cells: download, archive or folder; and checking that it is complete."""

import argparse
import os
import queue
import shutil
import stat
import sys
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

from rich.console import Console
from rich.table import Table

from bloodcell.data.fingerprint import fingerprint, progress_bar
from bloodcell.errors import InputError

HANDLE = "paultimothymooney/blood-cells"
PAGE = f"https://www.kaggle.com/datasets/{HANDLE}"
BY_HAND = (
    f"download it by hand from {PAGE}, then type `make data FROM=/path/to/archive.zip` "
    "or set BLOODCELL_DATA=/path/to/folder"
)
# Where kagglehub sends its requests; only asked whether it answers.
ENDPOINT = "https://api.kaggle.com"
# Longest silence of the server in the middle of a download, in seconds.
STALL_S = 30.0

NAME = "blood-cells"
IMAGES = "dataset2-master/dataset2-master/images"
ORIGINALS = "dataset-master/dataset-master/JPEGImages"
SUBSETS = ("TRAIN", "TEST", "TEST_SIMPLE")
CLASSES = ("EOSINOPHIL", "LYMPHOCYTE", "MONOCYTE", "NEUTROPHIL")
SUFFIXES = frozenset({".jpeg", ".jpg", ".png"})
# The real archive has 13,248 files of 140 MB together; a zip bomb has far more of either.
MAX_FILES = 50_000
MAX_BYTES = 2 * 1024**3

HELP = f"""\
Without SOURCE: what BLOODCELL_DATA names or the cache holds is checked; else the set is downloaded
(about 110 MB, no Kaggle account needed) into $BLOODCELL_CACHE, by default ~/.cache/bloodcell.

  python -m bloodcell.data.download                           download, or check what is there
  python -m bloodcell.data.download ~/Downloads/archive.zip   extract an archive into the cache
  python -m bloodcell.data.download /data/blood-cells         use a folder where it is (linked, not copied)

The archive is at {PAGE}
"""


@dataclass(frozen=True)
class Known:
    """What a complete set is known to hold.

    Attributes:
        counts: Images in each ``SUBSET/CLASS``.
        originals: Micrographs in ``dataset-master/dataset-master/JPEGImages``.
        fingerprint: :func:`fingerprint` of all images in ``counts``.
    """

    counts: Mapping[str, int]
    originals: int
    fingerprint: str


# The fingerprint is of the files in the two upstream repositories that the Kaggle set was made from.
# Nobody has compared Kaggle's own files byte by byte, so another fingerprint is a note and no error.
KAGGLE = Known(
    counts={
        f"{subset}/{name}": number
        for subset, numbers in zip(
            SUBSETS, ((2497, 2483, 2478, 2499), (623, 620, 620, 624), (13, 6, 4, 48)), strict=True
        )
        for name, number in zip(CLASSES, numbers, strict=True)
    },
    originals=367,
    fingerprint="c77b3c043a09aa5647509232a18f7aa3252b4282eef43faca9943e6b965e1d40",
)


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


def cache_dir() -> Path:
    """Where this project keeps what can be got again: ``$BLOODCELL_CACHE``, else below ``~/.cache``."""
    own = os.environ.get("BLOODCELL_CACHE")
    if own:
        return Path(own).expanduser().absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser().absolute() / "bloodcell"


def find_images(root: Path) -> Path:
    """Find the folder that holds ``TRAIN`` and ``TEST``.

    Args:
        root: The Kaggle root, ``dataset2-master`` (either one), or ``images`` itself.

    Returns:
        The ``images`` folder.

    Raises:
        InputError: If it is at none of these places.
    """
    return _require_images(root, str(root))


def locate(root: str | Path | None) -> Path | None:
    """Look for the real set: the given root, else ``BLOODCELL_DATA``, else the cache.

    Args:
        root: What the user named, any folder that :func:`find_images` takes; ``None`` for nothing.

    Returns:
        The first of them that is there; ``None`` if nothing was named and the cache has no set.

    Raises:
        InputError: If a named place, or what stands in the cache, does not hold the images: a set that
            the user believes to be in use is never silently passed over.
    """
    variable = os.environ.get("BLOODCELL_DATA")
    cached = cache_dir() / NAME
    if root:
        place, where = Path(root).expanduser(), f"data.root={root}"
    elif variable:
        place, where = Path(variable).expanduser(), f"BLOODCELL_DATA={variable}"
    elif cached.exists() or cached.is_symlink():  # a dangling link does not "exist"
        place, where = cached, str(cached)
    else:
        return None
    _require_images(place, where)
    return place


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
    if source is not None and not Path(source).expanduser().is_file():
        _require_images(Path(source).expanduser(), str(source))
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


def count_images(images: Path, known: Known, where: str) -> dict[str, int]:
    """Count the images of each ``SUBSET/CLASS``.

    Args:
        images: The folder from :func:`find_images`.
        known: What a complete set holds.
        where: How to name the set in an error.

    Returns:
        The counts; they are the known ones.

    Raises:
        InputError: Naming each folder with another count, and the originals if some but not all are there.
    """
    places = {folder: images / folder for folder in known.counts}
    wanted = dict(known.counts)
    originals = originals_of(images)
    if originals.is_dir():  # training does not need them, so they may be missing altogether
        places["JPEGImages"], wanted["JPEGImages"] = originals, known.originals
    counts = {folder: len(images_in(place)) for folder, place in places.items()}
    wrong = [folder for folder in wanted if counts[folder] != wanted[folder]]
    if wrong:
        raise InputError(
            where,
            expected=", ".join(f"{wanted[folder]} images in {folder}" for folder in wrong),
            got=", ".join(_amount(counts[folder], places[folder]) for folder in wrong),
            fix=f"get the complete set: {BY_HAND}",
        )
    return {folder: counts[folder] for folder in known.counts}


def _images_below(root: Path) -> Path | None:
    for below in ("", "images", "dataset2-master/images", IMAGES):
        images = root / below
        if (images / "TRAIN").is_dir() and (images / "TEST").is_dir():
            return images
    return None


def _require_images(root: Path, where: str) -> Path:
    images = _images_below(root)
    if images is None:
        looked = "no TRAIN and TEST there, in images, in dataset2-master/images or in " + IMAGES
        missing = f"a link to {root.readlink()}, which is gone" if root.is_symlink() else "no such folder"
        raise InputError(
            where,
            expected=f"the folder of the Kaggle set {HANDLE}",
            got=looked if root.is_dir() else "a file" if root.is_file() else missing,
            fix=f"correct the path, or {BY_HAND}",
        )
    return images


def images_in(folder: Path) -> list[Path]:
    """Images of one folder; macOS leaves companions called ``._name`` in archives."""
    if not folder.is_dir():
        return []
    return [path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.name[0] != "."]


def originals_of(images: Path) -> Path:
    """The micrographs, if ``images`` stands where Kaggle's tree has it."""
    above = images.absolute().parents
    return above[min(2, len(above) - 1)] / ORIGINALS


def _amount(number: int, folder: Path) -> str:
    return str(number) if folder.is_dir() else "no such folder"


def _real_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


@contextmanager
def _staging(cache: Path) -> Iterator[Path]:
    """A folder beside the target, so that a rename suffices at the end; gone whatever happens."""
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
    path = Path(source).expanduser()
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
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, OSError) as error:
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
        if name.anchor or ".." in name.parts or kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
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


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m bloodcell.data.download",
        description="Get the Kaggle set of blood cells and check that it is complete.",
        epilog=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", nargs="?", metavar="SOURCE", help="archive.zip or a folder")
    parser.add_argument(
        "--timeout",
        type=float,
        default=10.0,
        metavar="SECONDS",
        help="how long to wait for an answer (default: 10)",
    )
    words = parser.parse_args()
    if not words.timeout > 0:
        parser.error(f"--timeout: expected a positive number of seconds, got {words.timeout}")
    from bloodcell.cli import run_command  # here, so that reading data does not need the commands

    try:
        run_command(lambda: _get_and_check(words.source, words.timeout))
    except KeyboardInterrupt:
        print("interrupted; nothing half-finished was kept", file=sys.stderr)
        raise SystemExit(130) from None


def _get_and_check(source: str | None, timeout_s: float, known: Known = KAGGLE) -> None:
    target = cache_dir() / NAME
    kept = source is not None and _real_folder(target)
    variable = os.environ.get("BLOODCELL_DATA")
    root = locate(None) if source is None and variable else fetch(source, timeout_s, known)
    assert root is not None  # a named place is there, or an error
    report = check(find_images(root), known)
    _print_report(report, known)
    if kept:
        print(f"note: the cache had the set already, so {source} was not used; remove {target} to use it")
    if source is not None and variable:
        print(f"note: training reads BLOODCELL_DATA={variable}, not the cache; unset it to use the cache")
    print('next: make train ARGS="data=blood_cells"')


def _print_report(report: Report, known: Known) -> None:
    classes = list(dict.fromkeys(folder.partition("/")[2] for folder in report.counts))
    table = Table("", *classes, "all")
    for subset in dict.fromkeys(folder.partition("/")[0] for folder in report.counts):
        numbers = [report.counts[f"{subset}/{name}"] for name in classes]
        table.add_row(subset, *(f"{number:,}" for number in (*numbers, sum(numbers))))
    Console().print(table)
    originals = "not there (training does not need them)" if report.originals is None else f"{report.originals}"
    print(f"original micrographs: {originals}")
    verdict = "as expected" if report.as_known else f"another one than the expected {known.fingerprint[:12]}..."
    print(f"fingerprint: {report.fingerprint[:12]}..., {verdict} ({report.images_per_s:,.0f} images/s)")
    if not report.as_known:
        print(
            "note: the counts are right, but some bytes or names differ from the copy that the results here "
            "were made with; that may be another packing of the same set, so training goes ahead"
        )
    print(f"images: {report.images}")


if __name__ == "__main__":
    main()
