"""How fast a training is beside other processes, by how its threads wait for each other."""

import os
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bloodcell.common.files import read_csv
from bloodcell.model.weights import digest_of_weights, read_checkpoint
from bloodcell.studies.bench.programs import TRAIN, failed

IMAGES, EPOCHS, SIDE = 1280, 3, 64
OTHERS = (0, 1, 3)
AS_IT_IS, AWAKE, ASLEEP = "as it is", "threads awake", "threads asleep"
# GNU's OpenMP library looks 300,000 times by itself; said in words, this project leaves it alone.
POLICIES = {AS_IT_IS: {}, AWAKE: {"GOMP_SPINCOUNT": "300000"}, ASLEEP: {"OMP_WAIT_POLICY": "PASSIVE"}}
CHOSEN = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")


def beside_others(root: Path, rounds: int, place: Path) -> dict[str, Any]:
    """Train a small net beside processes that do nothing but count, in each way of waiting.

    Args:
        root: Folder with ``train``, ``val`` and ``test``.
        rounds: Times that each is measured; threads that stay awake beside others, once, as it takes minutes.
        place: Where trainings may write.

    Returns:
        ``rows``, each with ``others``, ``policy``, ``images_per_s`` (median of all epochs but the first of each
        training), and its share of ``alone``, the speed with threads awake and no other process; ``fair``, the share
        that as many threads get where all that want a processor get as much; ``idle``, the ratio of this project's own
        way to threads awake on an idle machine, with its range over rounds; and ``same_bits``, whether all
        trainings ended with the same weights.
    """
    found: dict[tuple[int, str], list[list[float]]] = defaultdict(list)
    weights = set()
    for number in range(rounds):
        for others in OTHERS:
            with busy(others):
                for policy in POLICIES:
                    if policy == AWAKE and others and number:
                        continue
                    run_dir = place / f"beside-{number}-{others}-{policy.replace(' ', '-')}"
                    found[others, policy].append(_epochs(root, policy, run_dir))
                    weights.add(_weights(run_dir))
    alone = _median(found[0, AWAKE])
    idle = [
        statistics.median(one) / statistics.median(other)
        for one, other in zip(found[0, AS_IT_IS], found[0, AWAKE], strict=True)
    ]
    threads = os.cpu_count() or 1
    return {
        "rows": [
            {
                "others": others,
                "policy": policy,
                "images_per_s": round(_median(epochs), 1),
                "share": round(_median(epochs) / alone, 3),
                "fair": round(threads / (threads + others), 3),
            }
            for (others, policy), epochs in found.items()
        ],
        "idle": {"median": round(statistics.median(idle), 3), "min": round(min(idle), 3), "max": round(max(idle), 3)},
        "same_bits": len(weights) == 1,
        "rounds": rounds,
    }


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """Keep so many processes busy meanwhile."""
    started = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def _epochs(root: Path, policy: str, run_dir: Path) -> list[float]:
    """Train in one way of waiting; return images a second of every epoch but the first."""
    words = [
        *("data=folder", f"data.root='{root}'", f"data.image_size=[{SIDE},{SIDE}]", "model=small_cnn", "report=null"),
        *(f"trainer.max_epochs={EPOCHS}", "trainer.precision=auto", "name=bench", f"hydra.run.dir='{run_dir}'"),
    ]
    env = {key: value for key, value in os.environ.items() if key not in CHOSEN} | POLICIES[policy]
    done = subprocess.run([*TRAIN, *words], capture_output=True, text=True, check=False, env=env)
    if done.returncode:
        raise failed("bloodcell.train", done.stderr)
    return [IMAGES / float(line["seconds"]) for line in read_csv(run_dir / "metrics.csv")][1:]


def _weights(run_dir: Path) -> str:
    """Hash the weights that a training ended with."""
    path = run_dir / "checkpoints" / "last.ckpt"
    return digest_of_weights(read_checkpoint(path, str(path))["state_dict"])


def _median(rounds: list[list[float]]) -> float:
    return statistics.median(speed for epochs in rounds for speed in epochs)
