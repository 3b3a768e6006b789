"""A run beside other processes: how its threads wait, and that it changes no bit."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from bloodcell.training import sharing
from tests.helpers import TINY, same

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere torch brings other OpenMP libraries")
NEEDS_TWO = pytest.mark.skipif(
    sys.platform == "linux" and len(os.sched_getaffinity(0)) < 2, reason="one processor: no thread waits for another"
)


def python(*words: str, **variables: str) -> str:
    """What a Python with two threads prints, with these variables and no other word on how threads wait."""
    env = {key: value for key, value in os.environ.items() if key not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    env |= {"OMP_NUM_THREADS": "2", **variables}
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, env=env, check=True).stdout


@pytest.mark.parametrize(
    ("processors", "others", "crowded"),
    [(2, 0.0, False), (2, 0.1, False), (2, 0.5, True), (2, 1.0, True), (8, 5.0, False), (8, 6.5, True)],
)
def test_threads_wait_asleep_if_others_need_the_processors(
    processors: int, others: float, crowded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    now = 100.0
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(sharing, "_processors", lambda: set(range(processors)))
    monkeypatch.setattr(sharing, "_keep_on", lambda *_: None)
    monkeypatch.setattr(sharing, "_used", lambda _: (now * (others + 1.5), now * 1.5))
    monkeypatch.setattr(sharing, "time", SimpleNamespace(monotonic=lambda: now))
    shared = sharing.ShareProcessor()
    shared.setup(None, None, "fit")
    now += 0.5
    shared.look()
    assert not shared.teams, "too early to say"
    now += 1.5
    shared.look()
    assert 2 + len(shared.teams) > processors if crowded else not shared.teams
    others = 0.0
    now += 6
    shared.look()
    assert not shared.teams, "alone again"
    assert shared.crowded == (0.25 if crowded else 0)


# Prints on how many processors each of the two busiest threads may be: alone, beside a busy process, and afterwards.
PLACES = """
import os, subprocess, sys, threading, time, torch
from bloodcell.training import sharing
values = torch.zeros(2**20)
def work(seconds):
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        values.add_(1)
def places():
    busiest = sorted(sharing._threads(), key=sharing._seconds_of)[-2:]
    found = [os.sched_getaffinity(thread) for thread in busiest]
    return len(found[0]), len(found[1]), len(found[0] | found[1])
shared = sharing.ShareProcessor()
shared.setup(None, None, "fit")
work(0.5)
alone = places()
busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
work(1.5)
shared.look()
later = []
thread = threading.Thread(target=lambda: later.append(threading.get_native_id()) or time.sleep(3))
thread.start()
beside = places()
busy.kill()
shared.teardown(None, None, "fit")
print(*alone, *beside, *places(), len(os.sched_getaffinity(later[0])))
"""


@pytest.mark.slow
@pytest.mark.skipif(
    sys.platform == "linux" and len(os.sched_getaffinity(0)) != 2, reason="a team of as many threads as processors"
)
def test_beside_a_busy_process_each_thread_has_a_processor_of_its_own() -> None:
    assert python("-c", PLACES).split() == ["2", "2", "2", "1", "1", "2", "2", "2", "2", "2"]


# Prints how often threads slept in 200 loops with a pause of 0.3 ms after each: as it is, beside a busy process as far
# as the class has it, and afterwards.
SLEEPS = """
import resource, subprocess, sys, time, torch
from bloodcell.training.sharing import ShareProcessor
values = torch.zeros(2**18)
def sleeps():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw
    for _ in range(200):
        values.add_(1)
        end = time.perf_counter() + 3e-4
        while time.perf_counter() < end:
            pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw - before
shared = ShareProcessor()
shared.setup(None, None, "fit")
before = sleeps()
busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
time.sleep(1.5)
shared.look()
beside = sleeps()
busy.kill()
shared.teardown(None, None, "fit")
print(before, beside, sleeps())
"""


@pytest.mark.slow
@NEEDS_TWO
def test_beside_a_busy_process_threads_sleep_when_they_wait() -> None:
    before, beside, after = map(int, python("-c", SLEEPS).split())
    assert beside >= 190, "a sleep a loop"
    assert max(before, after) < beside / 2


@pytest.mark.slow
@NEEDS_TWO
def test_the_users_word_stands() -> None:
    chosen = map(int, python("-c", SLEEPS, GOMP_SPINCOUNT="10000000").split())
    assert max(chosen) < 100
    assert min(map(int, python("-c", SLEEPS, OMP_WAIT_POLICY="PASSIVE").split())) >= 190


# Changes the way of waiting with every batch.
RESTLESS = """
import itertools, sys
from bloodcell.train import main
from bloodcell.training import sharing
use = itertools.accumulate(itertools.cycle([0, 1e6]))
sharing.LOOK_EVERY = 0
sharing._used = lambda processors: (next(use), 0)
sys.argv[0] = "train"
main()
"""


@pytest.mark.slow
def test_the_way_of_waiting_changes_no_bit_and_is_recorded(cells: Path) -> None:
    ways: dict[str, dict[str, str]] = {
        "adaptive": {},
        "restless": {},
        "passive": {"OMP_WAIT_POLICY": "PASSIVE"},
        "long": {"GOMP_SPINCOUNT": "300000"},
    }
    for name, way in ways.items():
        program = ["-c", RESTLESS] if name == "restless" else ["-m", "bloodcell.train"]
        words = [*TINY, f"data.root={cells}", "data.image_size=[64,64]", f"hydra.run.dir={name}"]
        said = python(*program, *words, **way)
        (line,) = [one for one in said.splitlines() if one.startswith("math: ")]
        assert line.endswith("2 threads" + "".join(f", {key}={value}" for key, value in way.items()))
        manifest = json.loads(Path(name, "manifest.json").read_text())
        assert way.items() <= manifest["hardware"].items()
        assert ("GOMP_SPINCOUNT" in manifest["hardware"]) == ("GOMP_SPINCOUNT" in way)
        assert not way or manifest["crowded"] is None
        assert same(Path("adaptive"), Path(name))
    assert 0 < json.loads(Path("restless", "manifest.json").read_text())["crowded"] < 1
