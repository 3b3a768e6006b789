"""Errors that a user can fix."""

import pickle

from bloodcell.common.errors import Diverged, InputError


def test_they_come_back_from_another_process_as_they_were() -> None:
    for error in (
        InputError("data.root=/x", expected="a folder", got="none", fix="check the path"),
        Diverged(3, "a loss of nan", "checkpoints/last.ckpt"),
    ):
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again), again.__dict__) == (type(error), str(error), error.__dict__)
