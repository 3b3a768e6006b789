"""Run directories that are damaged, or made to harm, through every command that opens one."""

import csv
import io
import json
import random
import shutil
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from tests.fuzz import ODD, copied_run, damaged, sample, strange, tried, typed

TRIALS = 2_000
FILES = (
    *("status.json", "manifest.json", "metrics.json", "metrics.csv", "predictions.csv"),
    *(".hydra/config.yaml", ".hydra/overrides.yaml"),
)
COMMANDS = ("runs", "diff", "save", "compare", "predict", "export", "evaluate", "reproduce", "train")
WEIGHTS = (32, 12, 12, 22, 8, 5, 5, 2, 2)
TABLES = ("--each", "--compare", "--sort=seed", "--where=seed=3", "--over=optim.lr", "--csv=t.csv", "--markdown=t.md")


def other_table(rng: random.Random, text: str) -> str:
    """A table with other cells, rows and columns."""
    rows = list(csv.reader(io.StringIO(text)))
    for _ in range(rng.choice((1, 1, 3))):
        row = rng.choice(rows)
        match rng.randrange(4):
            case 0:
                row[rng.randrange(len(row)) if row else 0 :] = [str(rng.choice(ODD)).replace("\ud800", "")]
            case 1:
                rows.remove(row)
                rows = rows or [[]]
            case 2:
                rows.append(row)
            case _ if row:
                row[rng.randrange(len(row))] = str(rng.choice(ODD)).replace("\ud800", "")
    written = io.StringIO()
    csv.writer(written).writerows(rows)
    return written.getvalue()


def spoil(rng: random.Random, run: Path) -> str:
    """Change a file or two of a run; returns the last of them."""
    for _ in range(rng.choice((1, 1, 2))):
        name = rng.choice(FILES)
        path = run / name
        if not path.is_file() or path.is_symlink():
            continue
        text, how = path.read_text(errors="replace"), rng.randrange(12)
        path.unlink()
        if how == 0:
            continue  # it is gone
        if how == 1:
            path.mkdir()
        elif how == 2:
            path.symlink_to(rng.choice(("/etc/passwd", "/dev/zero", "/", "nowhere", path.name)))
        elif how < 6:
            path.write_bytes(damaged(rng, text.encode()))
        elif path.suffix == ".csv":
            path.write_text(other_table(rng, text))
        elif path.suffix == ".json":
            path.write_text(json.dumps(strange(rng, json.loads(text) if _whole(text) else {})))
        else:
            path.write_text(yaml.safe_dump(strange(rng, yaml.safe_load(text) if _whole(text) else {})))
    return name


def _whole(text: str) -> bool:
    try:
        return yaml.safe_load(text) is not None
    except (yaml.YAMLError, ValueError):
        return False


@pytest.mark.parametrize("numbers", sample(12, TRIALS, 497))
def test_run_directories(finished: Path, cells: Path, tmp_path: Path, numbers: range) -> None:
    """The table of runs goes on with the others; every other command is refused in one line, or works."""
    root = tmp_path / "all"
    good = copied_run(finished, root / "good")
    before = contents(good)

    def trial(rng: random.Random) -> str:
        for left in set(root.iterdir()) - {good}:
            if left.is_dir() and not left.is_symlink():
                shutil.rmtree(left)
            else:
                left.unlink()
        bad = copied_run(finished, root / "bad")
        spoil(rng, bad)
        name = rng.choices(COMMANDS, WEIGHTS)[0]
        words: dict[str, list[object]] = {
            "runs": [root, *rng.sample(TABLES, 3), *rng.choice(([f"--html={root}/t.html"], [], [], []))],
            "diff": ["--diff", good, bad],
            "save": [root, f"--save={root}/kept"],
            "compare": [good, bad],
            "predict": [cells / "test" / "MONOCYTE", "--model", bad, "--out", root / "out.csv"],
            "export": [bad, "--out", root / "net.safetensors"],
            "evaluate": [bad],
            "reproduce": ["--run", bad],
            "train": [f"ckpt_path={bad}", "trainer.max_epochs=3"],
        }
        said = typed(import_module(f"bloodcell.{'runs' if name in ('diff', 'save') else name}"), *words[name])
        if name == "runs":
            assert not said or "--" in said, said  # the good one is there, whatever the other is
        return f"{name} {said.partition(' ')[0]}"

    assert tried(trial, numbers, tmp_path)
    assert contents(good) == before


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
