"""Commands in processes that may be killed; cheap, as they are forked from one that has trained before."""

import io
import multiprocessing
import os
import random
import re
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from multiprocessing.forkserver import ensure_running
from pathlib import Path
from typing import Any
from unittest.mock import patch

from bloodcell.common.env import CHECKOUT

FORKING = multiprocessing.get_context("forkserver")
# What the commands import, and import only when they run.
COMMANDS = ("count", "evaluate", "explain", "export", "predict", "report", "search", "train", "studies.paper.run")
PARTS = ("prediction.explaining", "prediction.handing_on", "training.assemble", "training.checks", "training.artefacts")
FORKING.set_forkserver_preload([*(f"bloodcell.{name}" for name in (*COMMANDS, *PARTS)), "tests.warmed"])
LIMIT_S = 120
Before = Callable[[], object] | None
WRITES = ("open", "os.rename", "os.remove", "os.mkdir", "os.truncate", "sqlite3.connect")


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        code: Exit code; negative for the signal that killed it.
        out: What it printed.
        err: What it printed on stderr.
        seconds: It took.
        writes: Paths that it opened to write, made, renamed or removed, in their order.
    """

    code: int
    out: str
    err: str
    seconds: float
    writes: list[str]

    @property
    def refused(self) -> str:
        """Its one line of error; ``""`` if there is none."""
        lines = [line for line in self.err.splitlines() if line.startswith("error: ")]
        assert len(lines) < 2, self.err
        return lines[0] if lines else ""


class Process:
    """A command that runs; ``words`` are as typed, the first is its name.

    Args:
        folder: Where it works; its cache is in ``cache`` there.
        words: The command and its arguments.
        stop: Number of the write before which it sends itself a signal, and that signal.
        before: Called in the process first.
    """

    def __init__(
        self, folder: Path, words: Sequence[str], stop: tuple[int, int] | None = None, before: Before = None
    ) -> None:
        self.folder = folder
        self.begun = time.monotonic()
        self.process = FORKING.Process(target=_run, args=(str(folder), list(map(str, words)), stop, before))
        with patch.dict(os.environ, {"PYTHONPATH": str(CHECKOUT)}):  # where the process to fork from finds the tests
            ensure_running()
        self.process.start()

    def send(self, number: int) -> None:
        """Send a signal."""
        if self.process.pid is not None and self.process.is_alive():
            os.kill(self.process.pid, number)

    def end(self) -> Ended:
        """Wait for it."""
        self.process.join(LIMIT_S)
        seconds = time.monotonic() - self.begun
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
            raise AssertionError(f"no end after {LIMIT_S} s: {(self.folder / '.err').read_text()[-2000:]}")
        kept = [self.folder / name for name in (".out", ".err", ".writes")]  # none yet, if it was killed at once
        out, err, writes = (path.read_text(errors="replace") if path.exists() else "" for path in kept)
        return Ended(self.process.exitcode or 0, out, err, seconds, writes.splitlines())


def run(folder: Path, *words: object, before: Before = None) -> Ended:
    """Run a command to its end."""
    return Process(folder, [str(word) for word in words], before=before).end()


def _run(folder: str, words: list[str], stop: tuple[int, int] | None, before: Before) -> None:
    os.chdir(folder)
    os.environ["BLOODCELL_CACHE"] = str(Path(folder) / "cache")
    os.environ.pop("BLOODCELL_DATA", None)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    streams = []
    for number, name in ((1, ".out"), (2, ".err")):
        handle = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, number)
        streams.append(io.TextIOWrapper(os.fdopen(number, "wb", closefd=False), line_buffering=True))
    sys.stdout, sys.stderr = streams
    _watch(folder, stop)
    code = 0
    try:
        if before is not None:
            before()
        sys.argv = words
        import_module(f"bloodcell.{words[0]}").main()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except KeyboardInterrupt:
        code = 130
    except BaseException:
        import traceback

        traceback.print_exc()
        code = 70
    for stream in streams:
        stream.flush()
    os._exit(code)


def _watch(folder: str, stop: tuple[int, int] | None) -> None:
    """Keep a list of writes, and send the signal before the one that is meant."""
    kept = os.open(".writes", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    count, own = 0, os.getpid()

    def hook(event: str, values: tuple[Any, ...]) -> None:
        nonlocal count
        if event not in WRITES or os.getpid() != own:
            return
        if event == "open" and not (isinstance(values[2], int) and values[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)):
            return
        path = os.path.abspath(os.fsdecode(values[0])) if isinstance(values[0], str | bytes) else ""  # noqa: PTH100
        if not path.startswith(folder):
            return
        if stop is not None and count == stop[0]:
            os.kill(own, stop[1])
        count += 1
        os.write(kept, f"{event} {path}\n".encode())

    sys.addaudithook(hook)


def strays(folder: Path) -> list[str]:
    """Files that were being written when a process died."""
    pattern = re.compile(r"\..+\.(\w{8}|part)|.*\.tmp|tmp.*")
    return [str(one.relative_to(folder)) for one in folder.rglob("*") if pattern.fullmatch(one.name)]


def killed(
    rng: random.Random, folder: Path, words: Sequence[str], whole: Ended, number: int, among: str = ""
) -> tuple[Ended, str]:
    """Run a command and send it a signal at a random moment: before one of its writes, or after a time.

    Args:
        rng: Chooses.
        folder: Where it works.
        words: The command.
        whole: How it ended undisturbed, as a measure.
        number: Of the signal.
        among: What the paths of the writes hold before which it may be; ``""`` for all, and for times.

    Returns:
        How it ended, and when it was stopped in words.
    """
    if among or rng.random() < 0.5:
        at = rng.choice([n for n, one in enumerate(whole.writes) if among in one])
        when = f"write {at} of {len(whole.writes)}, {whole.writes[at].replace(str(folder.parent), '')}"
        return Process(folder, words, (at, number)).end(), when
    share = rng.random()
    process = Process(folder, words)
    process.process.join(share * whole.seconds)
    process.send(number)
    return process.end(), f"after {share:.2f} of {whole.seconds:.1f} s"
