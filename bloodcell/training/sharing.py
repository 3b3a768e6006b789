"""How the threads of a run wait for each other: awake while it is alone on the machine, asleep while it is not."""

import os
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback

from bloodcell.common.env import waiting

LOOK_EVERY = 1.0  # seconds
NOISE = 0.2  # processors that a machine without other work uses at most


class ShareProcessor(Callback):
    """Has threads that wait for others sleep soon, as long as other processes need the processors.

    At the end of every loop that torch shares out, a thread waits for the others. GNU's OpenMP library, which torch
    brings on Linux, lets it look 300,000 times (8 ms) before it sleeps. That is fastest on an idle machine. On a busy
    one, the threads that wait take the processors from the one that they wait for, and training all but stands still;
    there it is best to look 100 times, which would cost an idle machine a tenth of its speed. And where a team has as
    many threads as there are processors, each is kept on one of its own: the system knows nothing of teams, and often
    puts two of them on one processor, where one waits for the other.

    The library reads its variables once, when it is loaded. But it looks 100 times only "if there are more OpenMP
    threads than available CPUs" (its manual, on GOMP_SPINCOUNT), and counts them as it goes. So while others are busy,
    further threads of this process each keep a team that does nothing. The results are the same bits either way. What
    the training thread starts meanwhile stays on its processor, as children do.

    Nothing is done where the user has chosen (``OMP_WAIT_POLICY``, ``GOMP_SPINCOUNT``), where there is one thread, and
    on macOS and Windows. Torch brings other OpenMP libraries there, of LLVM and Intel: by LLVM's source a thread
    offers its processor to others while it waits, or sleeps at once (Apple's processors). Neither was measured.
    """

    def __init__(self) -> None:
        self.threads, self.processors = torch.get_num_threads(), _processors()
        self.able = 1 < self.threads <= len(self.processors) and not waiting()
        self.teams: list[threading.Thread] = []
        self.over = threading.Event()
        self.looked, self.used = 0.0, (0.0, 0.0)
        self.seconds = {False: 0.0, True: 0.0}

    @property
    def crowded(self) -> float | None:
        """Share of the time in which others needed the processors; ``None`` if nobody looked."""
        total = sum(self.seconds.values())
        return round(self.seconds[True] / total, 3) if total else None

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Start to look."""
        if self.able:
            self.looked, self.used = time.monotonic(), _used(self.processors)

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Give the threads back."""
        self.wait(short=False)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Give the threads back."""
        self.wait(short=False)

    def on_train_batch_end(self, *_: object, **__: object) -> None:
        """Look around."""
        self.look()

    def on_validation_batch_end(self, *_: object, **__: object) -> None:
        """Look around."""
        self.look()

    def on_test_batch_end(self, *_: object, **__: object) -> None:
        """Look around."""
        self.look()

    def look(self) -> None:
        """See once a second whether others need the processors, and wait accordingly."""
        took = time.monotonic() - self.looked
        if not self.able or took < LOOK_EVERY:
            return
        before, self.used = self.used, _used(self.processors)
        self.looked += took
        everyone, ours = (now - then for now, then in zip(self.used, before, strict=True))
        crowded = (everyone - ours) / took + self.threads > len(self.processors) + NOISE
        self.seconds[crowded] += took
        self.wait(short=crowded)
        if crowded and self.threads == len(self.processors):
            self.bind()

    def wait(self, *, short: bool) -> None:
        """Start the threads that keep teams, or let them end."""
        if short == bool(self.teams):
            return
        if short:
            missing = max(0, len(self.processors) - self.threads) + 1  # OpenMP threads, beside the one that has a team
            self.over = threading.Event()
            count = -(-missing // (self.threads - 1))
            self.teams = [threading.Thread(target=_keep_team, args=(self.over,), daemon=True) for _ in range(count)]
            for thread in self.teams:
                thread.start()
        else:
            self.over.set()
            for thread in self.teams:
                thread.join()
            self.teams = []
            for one in _threads():  # those too that were started by one that was bound
                _keep_on(one, self.processors)

    def bind(self) -> None:
        """Give each thread of the team a processor of its own: this one, and those that have worked most."""
        this = threading.get_native_id()
        others = sorted(_threads() - {this}, key=_seconds_of, reverse=True)
        for thread, processor in zip([this, *others], sorted(self.processors), strict=False):
            _keep_on(thread, {processor})


def used_by_others(seconds: float) -> tuple[float, int]:
    """Measure how many of the processors that this process may use others need.

    Args:
        seconds: How long to look.

    Returns:
        Processors in use, and how many there are; 0 in use where the system does not say (not on Linux).
    """
    processors = _processors()
    if not processors:
        return 0.0, os.cpu_count() or 1
    before, begun = _used(processors), time.monotonic()
    time.sleep(seconds)
    everyone, ours = (now - then for now, then in zip(_used(processors), before, strict=True))
    return max(0.0, everyone - ours) / (time.monotonic() - begun), len(processors)


def _threads() -> set[int]:
    return {int(path.name) for path in Path("/proc/self/task").iterdir()}


def _seconds_of(thread: int) -> float:
    """Seconds of a processor that a thread of this process has used; 0 if it has ended."""
    try:
        words = Path(f"/proc/self/task/{thread}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2]
    except OSError:
        return 0.0
    return sum(map(int, words.split()[11:13])) / os.sysconf("SC_CLK_TCK")


def _keep_on(thread: int, processors: set[int]) -> None:
    with suppress(OSError):  # it has ended
        os.sched_setaffinity(thread, processors)


def _keep_team(over: threading.Event) -> None:
    torch.ones(torch.get_num_threads() * 2**16).add_(1)  # large enough to be shared out to every thread
    over.wait()


def _processors() -> set[int]:
    return os.sched_getaffinity(0) if sys.platform == "linux" else set()


def _used(processors: set[int]) -> tuple[float, float]:
    """Seconds of these processors that anybody has used so far, and that this process has."""
    names = {f"cpu{number}" for number in processors}
    lines = [line.split() for line in Path("/proc/stat").read_text(encoding="ascii").splitlines()]
    # user, nice and system; idle and waiting for a disk left out; interrupts and what the host gave to others
    ticks = sum(int(line[at]) for line in lines if line[0] in names for at in (1, 2, 3, 6, 7, 8))
    return ticks / os.sysconf("SC_CLK_TCK"), time.process_time()
