"""A machine that lacks something, a clock that jumps, a second process: one line or the same result, nothing lost."""

import errno
import os
import resource
import shutil
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from bloodcell.common.errors import limit_of
from bloodcell.tracking.reader import read_run
from bloodcell.tracking.status import read_status
from bloodcell.training.place import BEGUN, names_in
from tests.fuzz import copied_run
from tests.helpers import TINY, lasting, metrics_of, timeless
from tests.processes import Process, run, strays

FILES, MEMORY, SIZE = resource.RLIMIT_NOFILE, resource.RLIMIT_AS, resource.RLIMIT_FSIZE


HELD: list[bytearray] = []


def limited(what: int, most: int) -> None:
    """Allow a process so many open files, bytes of a file, or bytes of memory beside what it has."""
    if what == MEMORY:
        has = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(what, (has, resource.RLIM_INFINITY))
        with suppress(MemoryError):
            while True:
                HELD.append(bytearray(500_000))  # what it has, but does not use
        most += has
    resource.setrlimit(what, (most, most))


@pytest.mark.parametrize(
    ("name", "what", "most", "said"),
    [
        ("predict", FILES, 6, "expected more open files"),
        ("predict", SIZE, 300, "expected a file that can be written, got File too large"),
        ("predict", MEMORY, 500_000, "expected more memory"),
        ("export", SIZE, 3_000, "got File too large; "),
        pytest.param("train", FILES, 12, "expected more open files", marks=pytest.mark.slow),
        pytest.param("train", FILES, 16, "expected more open files", marks=pytest.mark.slow),
        pytest.param("train", SIZE, 10_000, "expected a place to read and write", marks=pytest.mark.slow),
        pytest.param("train", MEMORY, 50_000_000, "expected more memory", marks=pytest.mark.slow),
        pytest.param("evaluate", FILES, 8, "expected more open files", marks=pytest.mark.slow),
        pytest.param("evaluate", SIZE, 10_000, "expected a place to read and write", marks=pytest.mark.slow),
        pytest.param("report", SIZE, 20_000, "expected a place to read and write", marks=pytest.mark.slow),
    ],
)
def test_a_machine_that_lacks_something_is_one_line(
    net: Path, finished: Path, cells: Path, tmp_path: Path, name: str, what: int, most: int, said: str
) -> None:
    copied_run(finished, tmp_path / "run")
    words = {
        "predict": [cells / "test", "--model", net, "--out", "out.csv"],
        "export": ["run", "--out", "new.safetensors"],
        "train": [*TINY, f"data.root={cells}", "data.cache=ram"],
        "evaluate": ["run", "data.cache=ram"],
        "report": ["--results", "results", "--html", "report.html"],
    }[name]
    if name == "report":
        shutil.copytree(Path(__file__).parent.parent.parent / "results", tmp_path / "results")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and path.name != ".lock"}
    ended = run(tmp_path, name, *words, before=partial(limited, what, most))
    assert ended.code == 1, ended.err
    assert said in ended.refused
    assert "Traceback" not in ended.err
    assert not [name for name in strays(tmp_path) if not name.endswith(".part")]  # with that one it goes on
    assert {path: path.read_bytes() for path in before} == before
    for path in tmp_path.glob("runs/*/*"):
        begun = names_in(path) <= BEGUN | {".hydra", "manifest.json"}  # it lacked it at its first files already
        assert begun or read_status(path)["state"] in ("failed", "interrupted")  # or when it was to say that it failed
    assert run(tmp_path, name, *words).code == 0, "with enough of it, it goes on"
    assert not strays(tmp_path)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left", "x/last.ckpt"), "x/last.ckpt: expected a place to read and write"),
        (OSError(errno.EROFS, "Read-only file system", "x"), "x: expected a place to read and write, got Read-only"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "expected more memory"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB\nMore"), "Tried to allocate 2 GiB; free some"),
        (MemoryError(), "expected more memory, got MemoryError"),
        (
            ImportError("x.so: failed to map segment from shared object"),
            "expected more memory, got x.so: failed to map",
        ),
    ],
)
def test_what_a_machine_lacks_is_told(error: Exception, said: str) -> None:
    assert said in str(limit_of(error))
    assert limit_of(RuntimeError("shapes")) is None
    assert limit_of(FileNotFoundError(errno.ENOENT, "No such file", "x")) is None


class Back(datetime):
    """Each look at the clock is an hour earlier."""

    looks = 0

    @classmethod
    def now(cls, tz: object = None) -> datetime:
        Back.looks += 1
        return datetime(2026, 3, 1, tzinfo=UTC if tz else None) - timedelta(hours=Back.looks)


def clock_goes_back() -> None:
    begun = time.time()
    time.time = lambda: begun - time.monotonic()  # type: ignore[assignment]
    for module in [one for name, one in sys.modules.items() if name.startswith(("bloodcell.", "hydra.core."))]:
        if getattr(module, "datetime", None) is datetime:
            module.datetime = Back


def clock_stands() -> None:
    Back.now = classmethod(lambda cls, tz=None: datetime(2026, 3, 1, tzinfo=UTC if tz else None))
    clock_goes_back()


@pytest.mark.slow
def test_a_clock_that_goes_back(cells: Path, finished: Path, tmp_path: Path) -> None:
    ended = run(tmp_path, "train", *TINY, f"data.root={cells}", "seed=3", before=clock_goes_back)
    assert ended.code == 0, ended.err
    (folder,) = tmp_path.glob("runs/*/*")
    assert folder.name.startswith("2026-02-28")
    assert lasting(folder) == lasting(finished)
    rows = [line.split(",") for line in (folder / "metrics.csv").read_text().splitlines()]
    assert all(float(row[rows[0].index("seconds")]) >= 0 for row in rows[1:])
    (folder / "manifest.json").write_text((folder / "manifest.json").read_text().replace("wall_seconds", "x"))
    assert read_run(folder).seconds == 0
    assert run(tmp_path, "evaluate", folder, before=clock_goes_back).code == 0


@pytest.mark.slow
def test_two_runs_of_one_instant(cells: Path, tmp_path: Path) -> None:
    words = ("train", *TINY, f"data.root={cells}", "trainer=smoke")
    assert run(tmp_path, *words, before=clock_stands).code == 0
    (folder,) = tmp_path.glob("runs/*/*")
    before = metrics_of(folder)
    assert "expected a new directory, got one that holds a run" in run(tmp_path, *words, before=clock_stands).refused
    assert metrics_of(folder) == before


def slow_disk() -> None:
    def wait(event: str, values: tuple[object, ...]) -> None:
        writes = event == "open" and isinstance(values[2], int) and values[2] & (os.O_WRONLY | os.O_RDWR)
        if writes or event == "os.rename":
            time.sleep(0.03)

    sys.addaudithook(wait)


@pytest.mark.slow
def test_a_slow_disk_changes_nothing(cells: Path, finished: Path, tmp_path: Path) -> None:
    ended = run(tmp_path, "train", *TINY, f"data.root={cells}", "seed=3", before=slow_disk)
    assert ended.code == 0, ended.err
    (folder,) = tmp_path.glob("runs/*/*")
    assert lasting(folder) == lasting(finished)


@pytest.mark.parametrize(
    ("name", "refused"),
    [
        ("predict", "out.csv: expected a table for one process, got a second one"),
        ("export", ""),
        pytest.param("train", "got one that another process writes to", marks=pytest.mark.slow),
        pytest.param("explain", "", marks=pytest.mark.slow),
    ],
)
def test_two_processes_that_write_to_one_place(
    net: Path, finished: Path, cells: Path, tmp_path: Path, name: str, refused: str
) -> None:
    """One is stopped in the middle of a write, the other one comes, then the first goes on."""
    words: list[object] = {
        "predict": [cells / "test", "--model", net, "--out", "out.csv"],
        "export": [finished, "--out", "new.safetensors"],
        "train": [*TINY, f"data.root={cells}", "hydra.run.dir=run"],
        "explain": [cells / "val" / "MONOCYTE", "--model", net, "--out", "maps"],
    }[name]
    (tmp_path / "alone").mkdir()
    alone = run(tmp_path / "alone", name, *words)
    first = tmp_path / "both"
    first.mkdir()
    halves = [n for n, one in enumerate(alone.writes) if "rename" in one or "out.csv" in one]
    process = Process(first, [name, *map(str, words)], (halves[-1], signal.SIGSTOP))
    stopped(process.process.pid)
    os.rename(first / ".out", first / "out"), os.rename(first / ".err", first / "err")  # noqa: PTH104
    second = run(first, name, *words)
    process.send(signal.SIGCONT)
    process.process.join(60)
    assert process.process.exitcode == 0, (first / "err").read_text()
    assert second.code == (1 if refused else 0), second.err
    assert refused in second.refused
    made = [path for path in (tmp_path / "alone").rglob("*.*") if path.suffix in (".csv", ".safetensors", ".png")]
    for path in made if name != "train" else []:
        assert timeless(first / path.relative_to(tmp_path / "alone")) == timeless(path)
    assert not strays(first)


def stopped(pid: int | None) -> None:
    """Wait until a process stands still."""
    deadline = time.monotonic() + 60
    while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_folder_that_cannot_be_read_is_a_row(
    net: Path, cells: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures, scan = Path(shutil.copytree(cells / "test", tmp_path / "pictures")), os.scandir

    def refusing(path: Path) -> object:
        if Path(path).name == "MONOCYTE":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refusing)
    from bloodcell.prediction.inputs import find_pictures

    found: dict[str, Callable[[], bytes]] = {one.name: one.read for one in find_pictures([str(pictures)])}
    assert len(found) == 17
    with pytest.raises(ValueError, match="a folder that cannot be read: Permission denied"):
        found[(pictures / "MONOCYTE").as_posix()]()
