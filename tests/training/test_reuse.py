"""The images of a finished run are compared with today's, without torch while no file of them has changed."""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bloodcell.data import fingerprint
from bloodcell.training import assemble, reuse

DATA = "_target_: bloodcell.data.sources.folder.Folder\nroot: {root}\n"


@pytest.fixture
def root(cells: Path, tmp_path: Path) -> Path:
    """Images of an hour ago: what is changed now has another time, however slowly the clock of the system ticks."""
    copied = Path(shutil.copytree(cells, tmp_path / "cells"))
    for path in copied.rglob("*.png"):
        os.utime(path, (time.time() - 3600,) * 2)
    return copied


@pytest.fixture
def ask(root: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], tuple[str, str]]:
    """Asks which images a config leads to, as the next sweep would."""
    monkeypatch.setattr(fingerprint, "SETTLED_NS", 0)

    def run(words: str = "") -> tuple[str, str]:
        reuse.images_of.cache_clear()
        return reuse.images_of(DATA.format(root=root) + words)

    return run


def refuse(*_: object) -> None:
    raise AssertionError("looked through again")


def test_a_set_that_has_not_changed_is_not_looked_through_again(
    ask: Callable[[str], tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ask("")
    monkeypatch.setattr(assemble, "find_data", refuse)
    assert ask("") == first
    with pytest.raises(AssertionError, match="looked through again"):
        ask("protocol: null\n")


@pytest.mark.parametrize("change", ["other pixels", "one more", "one less", "another class"])
def test_every_change_is_seen(ask: Callable[[str], tuple[str, str]], root: Path, change: str) -> None:
    before = ask("")
    one = root / "test" / "MONOCYTE" / "_2_1.png"
    if change == "other pixels":
        shutil.copy(root / "test" / "MONOCYTE" / "_2_0.png", one)
    elif change == "one more":
        shutil.copy(one, one.with_name("new.png"))
    elif change == "one less":
        one.unlink()
    else:
        one.rename(root / "test" / "EOSINOPHIL" / "moved.png")
    after = ask("")
    assert after != before
    assert ask("") == after


def test_a_table_that_changes_is_read_again(ask: Callable[[str], tuple[str, str]], root: Path, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    files = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.png"))
    rows = [f"{file},{Path(file).parent.name}" for file in files]
    table.write_text("\n".join(["file,class", *rows]) + "\n")
    before = ask(f"table: {table}\n")
    table.write_text("\n".join(["file,class", *rows[:-1]]) + "\n")
    assert ask(f"table: {table}\n") != before


@pytest.mark.parametrize("damage", ["", "[]", '{"states": {}}', '{"source": 1, "fingerprint": 2, "states": {"/": 1}}'])
def test_a_damaged_memory_is_made_again(ask: Callable[[str], tuple[str, str]], damage: str) -> None:
    first = ask("")
    (kept,) = (reuse.cache_dir() / "sets").iterdir()
    kept.write_text(damage)
    assert ask("") == first


def test_a_sweep_remembers_its_images_for_the_next_time(
    train: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fingerprint, "SETTLED_NS", 0)
    words = ("trainer=smoke", "seed=0,1", "-m")
    train(*words)
    monkeypatch.setattr(assemble, "find_data", refuse)
    capfd.readouterr()
    train(*words)
    assert capfd.readouterr().out.count("finished before") == 2


def test_images_that_change_while_they_are_looked_through_are_not_remembered(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = sorted(root.rglob("*.png"))
    begun = files[0].stat().st_ctime_ns
    fingerprint.remember_set(tmp_path / "kept.json", files, root, "folder", "abc", begun)
    assert not (tmp_path / "kept.json").exists()
    monkeypatch.setattr(fingerprint, "SETTLED_NS", 0)
    fingerprint.remember_set(tmp_path / "kept.json", files, root, "folder", "abc", time.time_ns())
    assert fingerprint.recalled_set(tmp_path / "kept.json") == ("folder", "abc")
