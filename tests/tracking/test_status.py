"""The state of a run: one answer, whatever its directory holds."""

import json
import shutil
from pathlib import Path

import pytest

from bloodcell.runs import print_runs, read_runs
from bloodcell.tracking.reader import read_run
from bloodcell.tracking.settings import split_settings
from bloodcell.tracking.status import STATES, claim, read_status, write_status

UNREADABLE = {"state": "failed", "error": "its status.json cannot be read"}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[1, 2]",
        b"null",
        b'"ok"',
        b"NaN",
        b'{"weather": "fine"}',
        b'{"state": null}',
        b'{"state": ["ok"]}',
        b'{"state": "done"}',
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b'{"state": ' + b"9" * 10_000 + b"}",
    ],
    ids=lambda content: content[:12],
)
def test_what_is_no_status_is_a_failed_run(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "status.json").write_bytes(content)
    assert read_status(tmp_path) == read_status(tmp_path, ours=True) == UNREADABLE
    run = read_run(tmp_path)
    assert (run.state, run.why) == (UNREADABLE["state"], UNREADABLE["error"])


def test_a_folder_in_its_place_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "status.json").mkdir()
    assert read_status(tmp_path) == {"state": "not started"}


def test_a_finished_run_that_lost_its_numbers_is_run_again(finished: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run, ignore=shutil.ignore_patterns("tensorboard", "figures"))
    assert read_status(run)["state"] == read_run(run).state == "ok"
    (run / "metrics.json").unlink()
    status = read_status(run)
    assert (status["state"], status["error"]) == ("interrupted", "its metrics.json is gone")
    assert status["epoch"] == json.loads((run / "status.json").read_text())["epoch"]
    assert (read_run(run).state, read_run(run).why) == ("interrupted", "its metrics.json is gone")


def test_every_state_is_read_as_it_was_written(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text("{}")
    with claim(tmp_path) as ours:
        assert ours
        assert read_status(tmp_path)["state"] == "running", "a process is there, and has written nothing yet"
        for state in STATES:
            write_status(tmp_path, state, epoch=3)
            assert read_status(tmp_path)["state"] == state
            assert read_status(tmp_path, ours=True)["state"] == ("interrupted" if state == "running" else state)
    write_status(tmp_path, "running")
    assert read_status(tmp_path)["state"] == read_run(tmp_path).state == "interrupted"


def test_numbers_and_values_that_no_run_writes_are_shown_all_the_same(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, value in enumerate(("2026-01-01", "[1, 2, {a: 2026-01-01}]")):
        run = Path(shutil.copytree(finished / ".hydra", tmp_path / str(number) / ".hydra")).parent
        write_status(run, "ok", epoch=[], epochs={"of": 3})
        (run / "metrics.json").write_text(f'{{"val/acc": 0.5, "test/acc": 1{"0" * 400}, "val/loss": Infinity}}')
        (run / "manifest.json").write_text(f'{{"wall_seconds": 1{"0" * 400}, "data": {{"fingerprint": []}}}}')
        with (run / ".hydra" / "config.yaml").open("a") as config:
            config.write(f"added: {value}\n")
        assert read_run(run).metrics == {"val/acc": 0.5}
    print_runs(read_runs(tmp_path), ["val/acc"])
    assert "2 runs" in capsys.readouterr().out
    assert len(split_settings(read_runs(tmp_path))) == 2
