"""The wheel, in an environment outside the checkout."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from bloodcell.common.env import CHECKOUT
from tests.helpers import TINY, same

pytestmark = pytest.mark.slow


def call(*command: str | Path, cwd: Path) -> str:
    """What a command prints, run without a way to this checkout."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYTEST"))}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def files(folder: str) -> set[str]:
    """The files of a folder of the checkout."""
    paths = (path for path in (CHECKOUT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(CHECKOUT).as_posix() for path in paths}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("hatchling")
    built = tmp_path_factory.mktemp("wheel")
    how = ("--no-deps", "--no-build-isolation", "--no-index", "--quiet")
    call(sys.executable, "-m", "pip", "wheel", *how, "--wheel-dir", built, CHECKOUT, cwd=built)
    (found,) = built.glob("bloodcell-*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ``bin`` of an environment with the wheel, which finds all other packages where these tests do."""
    home = tmp_path_factory.mktemp("environment")
    call(sys.executable, "-m", "venv", "--without-pip", home, cwd=home)
    place = Path(
        call(home / "bin" / "python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=home).strip()
    )
    pip = (sys.executable, "-m", "pip", "--python", home / "bin" / "python")
    call(*pip, "install", "--no-deps", "--no-index", "--quiet", wheel, cwd=home)
    # A folder conf that another package left in site-packages is not ours.
    (place / "conf").mkdir()
    (place / "conf" / "train.yaml").write_text("broken: [")
    others = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    (place / "others.pth").write_text("\n".join(others))
    return home / "bin"


def test_wheel_holds_the_package_and_its_configs_and_nothing_else(wheel: Path) -> None:
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert names == files("bloodcell") | {f"bloodcell/{name}" for name in files("conf")}
    assert "bloodcell/py.typed" in names


def test_wheel_trains_outside_the_checkout(installed: Path, cells: Path, finished: Path, tmp_path: Path) -> None:
    where = call(installed / "python", "-c", "import bloodcell; print(bloodcell.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(installed.parent)
    call(installed / "python", "-m", "bloodcell.train", *TINY, f"data.root={cells}", "seed=3", cwd=tmp_path)
    (run,) = tmp_path.glob("runs/tiny/*")
    assert same(run, finished), "the same bits as in the checkout"
    assert run.name in call(installed / "bloodcell-runs", "runs", "--each", cwd=tmp_path)


def test_every_entry_point_says_what_it_is_for(installed: Path, tmp_path: Path) -> None:
    commands = sorted(installed.glob("bloodcell-*"))
    assert len(commands) >= 12
    for command in commands:
        assert call(command, "--help", cwd=tmp_path), command.name
