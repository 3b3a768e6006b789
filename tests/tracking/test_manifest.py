"""What a manifest says of git: the commit of this package, never that of a repository around it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bloodcell.common.env import PACKAGE

ASK = "import json; from bloodcell.tracking.manifest import manifest; print(json.dumps(manifest({}, {})['git']))"


def git(where: Path, *words: str) -> str:
    own = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main"]
    return subprocess.run(["git", *own, *words], cwd=where, check=True, capture_output=True, text=True).stdout.strip()


def installed(where: Path) -> Path:
    """The package in a folder, as far as a manifest needs it."""
    for room in ("common", "tracking"):
        shutil.copytree(PACKAGE / room, where / "bloodcell" / room, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PACKAGE / "__init__.py", where / "bloodcell")
    return where


def said(where: Path) -> dict[str, object]:
    environment = {**os.environ, "PYTHONPATH": str(where), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", ASK], cwd=where, env=environment, check=True, capture_output=True, text=True
    )
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Somebody's repository with one commit."""
    git(tmp_path, "init", "-q")
    (tmp_path / ".gitignore").write_text(".venv\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "mine")
    return tmp_path


UNKNOWN = {"commit": None, "dirty": None}


@pytest.mark.parametrize("place", [".venv/lib/site-packages", "vendor", "."])
def test_a_repository_around_the_package_is_not_its_own(project: Path, place: str) -> None:
    assert said(installed(project / place)) == UNKNOWN


def test_a_copy_that_is_part_of_another_project_is_not_a_checkout(project: Path) -> None:
    where = installed(project / "vendor")
    git(project, "add", ".")
    git(project, "commit", "-qm", "theirs")
    assert said(where) == UNKNOWN


def test_without_a_repository_nothing_is_known(tmp_path: Path) -> None:
    assert said(installed(tmp_path)) == UNKNOWN


def test_a_checkout_is_known_by_its_commit_and_whether_it_was_changed(project: Path) -> None:
    where = installed(project)
    git(project, "add", ".")
    git(project, "commit", "-qm", "the package")
    assert said(where) == {"commit": git(project, "rev-parse", "HEAD"), "dirty": False}
    (where / "notes.txt").write_text("of no account")
    assert said(where)["dirty"] is False
    new = where / "bloodcell" / "new.py"
    new.write_text("")
    assert said(where)["dirty"] is True, "a file that git does not know yet"
    new.unlink()
    with (where / "bloodcell" / "__init__.py").open("a") as file:
        file.write("\n")
    assert said(where)["dirty"] is True
