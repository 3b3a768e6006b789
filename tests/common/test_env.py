"""Where the cache is, also for users without a home."""

import pwd
from pathlib import Path
from typing import Never

import pytest

from bloodcell.common.env import cache_dir
from bloodcell.common.errors import InputError


def nobody(*_: object) -> Never:
    raise KeyError("uid not found")


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in `docker run --user 12345`: no HOME, and no entry in passwd."""
    for name in ("HOME", "XDG_CACHE_HOME", "BLOODCELL_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    monkeypatch.setattr(pwd, "getpwnam", nobody)


@pytest.mark.usefixtures("homeless")
@pytest.mark.parametrize("typed", [None, "~/cache", "~somebody/cache"])
def test_without_a_home_the_cache_asks_for_a_place(typed: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if typed is not None:
        monkeypatch.setenv("BLOODCELL_CACHE", typed)
    with pytest.raises(InputError, match="set BLOODCELL_CACHE=/a/folder that can be written to"):
        cache_dir()


@pytest.mark.usefixtures("homeless")
def test_without_a_home_a_named_cache_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLOODCELL_CACHE", str(tmp_path))
    assert cache_dir() == tmp_path
    monkeypatch.delenv("BLOODCELL_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_dir() == tmp_path / "xdg" / "bloodcell"
