"""What a run says before it begins."""

from pathlib import Path

import numpy as np
import pytest

from bloodcell.data.describe import DataDescription
from bloodcell.data.seen import Seen
from bloodcell.training.printout import announce


def test_a_leak_is_said_once_in_a_sweep_and_in_every_run_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    none = np.zeros(0, np.int64)
    counts = {"train": 1, "val": 1, "test": 1}
    about = DataDescription(
        source="images",
        synthetic=False,
        picture=None,
        root="/here",
        fingerprint="",
        fingerprint_beside=None,
        protocol="random",
        caveat="the weights are chosen by the test images",
        images=counts,
        classes={"A": 3},
        training_images={"A": 1},
        passed_over=(),
        shared_groups=2,
        test_groups=3,
        learnt_images=None,
        inherited=False,
        seen=Seen(none, none),
    )
    for job, times in ((True, 1), (False, 2)):
        for _ in range(2):
            announce(about, Path("run"), "32-true", job=job)
        said = capsys.readouterr().out
        assert said.count("WARNING: protocol random leaks: ") == times
        assert said.count("note: the weights are chosen") == times
