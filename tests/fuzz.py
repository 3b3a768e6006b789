"""Trials of files from strangers: seeded, each within a limit of time, and what may come of them."""

import io
import logging
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any
from unittest.mock import patch

import pytest

from bloodcell.common.errors import InputError
from bloodcell.evidence import figures as _figures  # noqa: F401  (Matplotlib makes a folder in the home, once)

LIMIT_S = 60  # of one trial: an idle machine needs a hundredth of it
Trial = Callable[[random.Random], object]
STARTS = {"os.system", "os.exec", "os.posix_spawn", "os.spawn", "subprocess.Popen", "socket.connect", "socket.bind"}
CHANGES = {"os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate", "shutil.rmtree"}
OURS = ("git", "uname", "lscpu")  # programs that bloodcell and its libraries start by themselves
DEEP: Any = []
for _ in range(40):
    DEEP = [DEEP]
ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 3, 10**30, -(10**400), 0.5, 1e308, -1e-320, float("nan"), float("inf")),
    *("", "x", "x" * 30_000, "../../x", "/etc/passwd", "/dev/zero", "~", ".", "\x1b[31m", "=1+1", "\u2028", "\ud800"),
    *("${seed}", "${data}", "${oc.env:HOME}", "${report}${report}", "???", "2026-01-01", "1e3", "nan", "ok", "running"),
    *("bloodcell.model.nets.small_cnn", "os.system", "lightning.pytorch.LightningModule.load_from_checkpoint"),
    *([], {}, [1, 2], ["x"], [[]], {"a": 1}, {"": {}}, {"_target_": "os.system", "command": "true"}, [None] * 3, DEEP),
)


class TooLong(BaseException):
    """No end within the limit: it hangs."""


class Broken(BaseException):
    """Something was started, or written elsewhere: code from the file ran."""


_allowed: str | None = None  # the folder that may be written to; None while nothing is watched


def _watch(event: str, values: tuple[Any, ...]) -> None:
    if _allowed is None:
        return
    if event in STARTS and not (event == "subprocess.Popen" and Path(str(values[0])).name in OURS):
        raise Broken(f"{event} {values}")
    writes = event == "open" and bool(values[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC))
    if writes or event in CHANGES:
        changed = (
            values[1:2] if event in ("os.link", "os.symlink") else values[:2] if event == "os.rename" else values[:1]
        )
        for path in [os.path.abspath(os.fsdecode(one)) for one in changed if isinstance(one, str | bytes)]:  # noqa: PTH100 (resolves no links)
            if not path.startswith((_allowed, "/dev/", "/proc/")) and "__pycache__" not in path:
                raise Broken(f"{event} {path}")


sys.addaudithook(_watch)


@contextmanager
def watched(allowed: Path, limit_s: int = LIMIT_S) -> Iterator[None]:
    """Stop what takes longer than the limit, starts a program, connects, or writes outside of a folder."""
    global _allowed

    def ring(_: int, frame: FrameType | None) -> None:
        raise TooLong("".join(traceback.format_stack(frame, 4)))

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(limit_s)
    _allowed = tempfile.tempdir = str(allowed)
    try:
        yield
    finally:
        _allowed = tempfile.tempdir = None
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def sample(quick: int, full: int, size: int) -> list[Any]:
    """Numbers of trials for ``parametrize``: the first ones for the fast tests, all others in parts for the slow."""
    parts = [range(first, min(first + size, full)) for first in range(quick, full, size)]
    named = [pytest.param(part, marks=pytest.mark.slow, id=f"{part.start}-{part.stop}") for part in parts]
    return [pytest.param(range(quick), id=f"0-{quick}"), *named]


def tried(trial: Trial, numbers: Sequence[int], allowed: Path) -> Counter[object]:
    """Do trials, each with its own seed, and count what came of them; all that went wrong is told together."""
    outcomes: Counter[object] = Counter()
    wrong: dict[str, list[int]] = {}
    for number in numbers:
        try:
            with watched(allowed):
                outcomes[trial(random.Random(number))] += 1
        except (KeyboardInterrupt, pytest.fail.Exception):
            raise
        except BaseException as error:
            where = traceback.extract_tb(error.__traceback__)
            ours = [one for one in where if "/bloodcell/" in one.filename] or where
            what = re.sub(r"/tmp/[^ ]+", "...", str(error))[:300]
            said = f"{type(error).__name__}: {what} at {ours[-1].filename}:{ours[-1].lineno}"
            wrong.setdefault(said, []).append(number)
    lines = [f"trials {seeds[:8]} ({len(seeds)}): {said}" for said, seeds in wrong.items()]
    assert not wrong, "\n".join(lines)
    return outcomes


def typed(command: ModuleType, *words: object) -> str:
    """Type a command in this process.

    Returns:
        Its one line of error; ``""`` if it ended well.

    Raises:
        AssertionError: If it ended with 1 and said something else than one line.
    """
    out, err = io.StringIO(), io.StringIO()
    code: Any = 0
    with patch.object(sys, "argv", [command.__name__, *map(str, words)]), redirect_stdout(out), redirect_stderr(err):
        try:
            command.main()
        except SystemExit as stopped:
            code = stopped.code
        finally:
            logging.getLogger().handlers.clear()  # Hydra's, which write into a run directory
    lines = [line for line in err.getvalue().splitlines() if line.startswith("error: ")]
    if code in (0, None):
        assert not lines, lines
        return ""
    assert code == 1, (code, err.getvalue()[-500:])
    if not lines and "could not be read (column reason)" in out.getvalue():
        return "unreadable"
    assert len(lines) == 1, err.getvalue()[-500:]
    assert re.fullmatch(r"error: .*expected .*, got .*", lines[0]), lines[0]
    assert lines[0].isprintable(), lines[0]
    return lines[0]


def copied_run(run: Path, to: Path) -> Path:
    """A copy of a run directory; its large files are the same ones under another name."""
    to.mkdir(parents=True)
    for path in run.rglob("*"):
        if path.is_file() and path.name != ".lock":
            (to / path.relative_to(run)).parent.mkdir(parents=True, exist_ok=True)
            large = path.stat().st_size > 20_000 and path.suffix != ".ckpt"
            (os.link if large else shutil.copyfile)(path, to / path.relative_to(run))
    return to


def refused(open_it: Callable[[], Any], path: Path) -> Any:
    """What a file is opened as; ``None`` if it is refused in one line that names it."""
    try:
        return open_it()
    except InputError as error:
        if not str(error).startswith(f"{path}: expected"):
            raise
        return None


def damaged(rng: random.Random, content: bytes) -> bytes:
    """Damage bytes as disks, networks and strangers do."""
    found = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        at = rng.randrange(len(found) + 1)
        length = min(rng.choice((1, 2, 4, 16, 256, 4096)), len(found) - at)
        match rng.randrange(7):
            case 0:
                del found[at:]  # it ends early
            case 1:
                found[at : at + length] = rng.randbytes(length)
            case 2:
                found[at : at + length] = bytes(length)
            case 3:
                del found[at : at + length]
            case 4:
                found[at:at] = found[at : at + length] or b"\xff"
            case 5:
                found += rng.randbytes(rng.choice((1, 100, 5000)))
            case _ if at < len(found):
                found[at] ^= 1 << rng.randrange(8)
    return bytes(found)


def strange(rng: random.Random, tree: Any) -> Any:
    """A copy of nested mappings and lists in which a few values are others, or gone, or under another name."""
    found = tree
    for _ in range(rng.choice((1, 1, 2, 4))):
        found = _strange(rng, found, 0.15)
    return found


def _strange(rng: random.Random, node: Any, here: float) -> Any:
    """Go down to one value; on the way, now and then stop."""
    if not isinstance(node, dict | list) or not node or rng.random() < here:
        return rng.choice(ODD)
    keys: list[Any] = list(node) if isinstance(node, dict) else list(range(len(node)))
    key, changed = rng.choice(keys), node.copy()
    match rng.randrange(6):
        case 0:
            del changed[key]
        case 1 if isinstance(changed, dict):
            changed[rng.choice(("x", "_target_", "_args_", "a.b", "", "\x1b[2J", "="))] = changed.pop(key)
        case _:
            changed[key] = _strange(rng, node[key], here)
    return changed
