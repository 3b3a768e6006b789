"""Archives, studies and tables that are damaged, or made to harm: refused in one line, or read as they were meant."""

import csv
import gzip
import io
import random
import shutil
import sqlite3
import sys
import zipfile
from importlib import import_module
from pathlib import Path

import pytest

from bloodcell.common.errors import InputError
from bloodcell.data.fetch import fetch
from bloodcell.data.kaggle import Known
from bloodcell.data.lineage_table import IMAGES, MICROGRAPHS, PAIRS, SHIPPED, read_lineage
from bloodcell.data.sources.folder import Folder
from tests.fuzz import ODD, damaged, refused, sample, tried, typed
from tests.helpers import KAGGLE_CLASSES, TINY, write_cells, write_groups

ARCHIVES, TABLES, STUDIES = 2_000, 900, 100
NAMES = (
    "../x.png",
    "/tmp/x.png",
    "C:\\x.png",
    "a/../../x.png",
    "\\\\host\\x.png",
    "x\x00.png",
    "\x1b[2J.png",
    "",
    "/",
    "CON",
)


def packed(rng: random.Random, whole: bytes) -> bytes:
    """An archive like another one with an entry that leads elsewhere, lies about itself, or is packed otherwise."""
    written = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(whole)) as old, zipfile.ZipFile(written, "w") as new:
        chosen = rng.choice(old.namelist())
        for part in old.infolist():
            content = old.read(part)
            if part.filename == chosen:
                how = rng.randrange(5)
                part.filename = rng.choice(NAMES) if how == 0 else part.filename
                part.external_attr = (
                    rng.choice((0o120777, 0o020666, 0o010666)) << 16 if how == 1 else part.external_attr
                )
                part.compress_type = rng.choice((8, 12, 14)) if how == 2 else part.compress_type
                part.flag_bits |= rng.choice((1, 0x20, 0x40)) if how == 3 else 0
                content = bytes(3_000_000) if how == 4 else content
            new.writestr(part, content)
    return written.getvalue()


@pytest.fixture(scope="module")
def kaggle(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A small set as Kaggle packs it."""
    root = write_cells(
        tmp_path_factory.mktemp("kaggle") / "images", ("TRAIN", "TEST", "TEST_SIMPLE"), 1, KAGGLE_CLASSES
    )
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as new:
        for path in sorted(root.rglob("*.png")):
            new.write(path, f"dataset2-master/dataset2-master/images/{path.relative_to(root)}".replace(".png", ".jpeg"))
    return written.getvalue()


@pytest.mark.parametrize("numbers", sample(60, ARCHIVES, 485))
def test_archives(kaggle: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, numbers: range) -> None:
    """What is extracted is whole, and nothing lies outside of the cache."""
    cache, path = tmp_path / "inner" / "cache", tmp_path / "inner" / "set.zip"
    monkeypatch.setenv("BLOODCELL_CACHE", str(cache))
    known = Known({f"{part}/{name}": 1 for part in ("TRAIN", "TEST", "TEST_SIMPLE") for name in KAGGLE_CLASSES}, 0, "")

    def trial(rng: random.Random) -> str:
        shutil.rmtree(cache, ignore_errors=True)
        cache.mkdir(parents=True)
        path.write_bytes(damaged(rng, kaggle) if rng.random() < 0.5 else packed(rng, kaggle))
        before = sorted(tmp_path.rglob("*"))
        found = refused(lambda: fetch(path, 1.0, known), path)
        if found is None:
            assert sorted(tmp_path.rglob("*")) == before, "something was left"
        shutil.rmtree(cache)
        assert [one.name for one in path.parent.iterdir()] == ["set.zip"]
        return "refused" if found is None else "extracted"

    assert set(tried(trial, numbers, tmp_path)) == {"refused", "extracted"}


@pytest.mark.parametrize("numbers", sample(5, ARCHIVES // 20, 95))
def test_archives_to_answer_for(kaggle: bytes, finished: Path, tmp_path: Path, numbers: range) -> None:
    path = tmp_path / "set.zip"

    def trial(rng: random.Random) -> str:
        path.write_bytes(damaged(rng, kaggle) if rng.random() < 0.5 else packed(rng, kaggle))
        words = [path, "--model", finished, "--out", tmp_path / "out.csv"]
        return typed(import_module("bloodcell.predict"), *words).partition(" ")[0]

    assert tried(trial, numbers, tmp_path)


def other_cells(rng: random.Random, text: str) -> bytes:
    """A table with damage in its bytes, or with other cells, rows and columns."""
    if rng.random() < 0.4:
        return damaged(rng, text.encode())
    rows = list(csv.reader(io.StringIO(text)))
    for _ in range(rng.choice((1, 1, 5))):
        row = rng.choice(rows[: rng.choice((1, len(rows)))])
        if rng.random() < 0.2:
            rows.append(list(row))
        elif row and rng.random() < 0.2:
            row.pop()
        elif row:
            row[rng.randrange(len(row))] = str(rng.choice((*ODD, *row)))
    written = io.StringIO()
    csv.writer(written, delimiter=rng.choice(",,,;\t")).writerows(rows)
    return written.getvalue().encode(errors="surrogatepass")


@pytest.mark.parametrize("numbers", sample(60, TABLES, 420))
def test_tables(tmp_path: Path, numbers: range) -> None:
    """``groups.csv`` and ``data.table`` are read as meant, so that every image has one group and class, or refused."""
    root = write_groups(write_cells(tmp_path / "set", ("",), 4), lambda number: f"p{number // 2}")
    groups = (root / "groups.csv").read_text()
    lines = [f"{line},{line.partition('/')[0]}" for line in groups.splitlines()[1:]]
    table = "\n".join(["file,group,class", *lines, ""])

    def trial(rng: random.Random) -> str:
        kind = rng.choice(("groups.csv", "table.csv"))
        path = root / kind
        (root / "groups.csv").write_text(groups)
        path.write_bytes(other_cells(rng, groups if kind == "groups.csv" else table))
        data = Folder(str(root), table="table.csv" if kind == "table.csv" else None)
        try:
            data.look_up()
        except InputError as error:
            return f"{kind} refused" if "expected" in str(error) else str(error)
        assert len(data.index) == 12 or kind == "table.csv"
        assert (data.index.label >= 0).all()
        return f"{kind} read"

    assert tried(trial, numbers, tmp_path)


@pytest.mark.parametrize("numbers", sample(4, TABLES // 10, 86))
def test_lineage_tables(tmp_path: Path, numbers: range) -> None:
    whole = {name: (SHIPPED / name).read_bytes() for name in (IMAGES, MICROGRAPHS, PAIRS)}
    lines = {}
    for name, content in whole.items():
        lines[name] = (gzip.decompress(content) if name.endswith(".gz") else content).decode().splitlines()[:400]

    def trial(rng: random.Random) -> str:
        bad = rng.choice(list(whole))
        for name, content in whole.items():
            text = other_cells(rng, "\n".join(lines[name]) + "\n")
            changed = gzip.compress(text, 1) if name.endswith(".gz") else text
            changed = damaged(rng, changed) if rng.random() < 0.3 else changed
            (tmp_path / name).write_bytes(changed if name == bad else content)
        read_lineage.cache_clear()
        found = refused(lambda: read_lineage(tmp_path), tmp_path / bad)
        return f"{bad} {'refused' if found is None else 'read'}"

    assert tried(trial, numbers, tmp_path)
    read_lineage.cache_clear()


@pytest.fixture(scope="module")
def searched(cells: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the study of a search of two trials and its runs."""
    from bloodcell import search

    where = tmp_path_factory.mktemp("searched")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(where)
        patch.setattr(sys, "argv", ["search", *search_words(cells), "--trials", "2"])
        search.main()
    return where


def search_words(cells: Path) -> list[str]:
    return [*TINY, "trainer=smoke", f"data.root={cells}", "optim.lr=interval(0.001,0.1)"]


def other_study(rng: random.Random, path: Path) -> None:
    """Damage a study in its bytes, or in its rows."""
    if rng.random() < 0.5:
        path.write_bytes(damaged(rng, path.read_bytes()))
        return
    with sqlite3.connect(path) as base:
        tables = [name for (name,) in base.execute("SELECT name FROM sqlite_master WHERE type='table'")]
        for _ in range(rng.choice((1, 2, 5))):
            name = rng.choice([*tables, "trials"])
            columns = [row[1] for row in base.execute(f"PRAGMA table_info({name})")] or ["x"]
            value = rng.choice([one for one in ODD if isinstance(one, str | float | None) and one != "\ud800"])
            how = rng.randrange(5)
            try:
                if how == 0:
                    base.execute(f"DROP TABLE {name}")
                elif how == 1:
                    base.execute(f"DELETE FROM {name}")
                else:
                    base.execute(f"UPDATE {name} SET {rng.choice(columns)} = ?", (value,))
            except sqlite3.Error:
                continue  # gone, or against a rule of the table
    base.close()


@pytest.mark.parametrize("numbers", sample(4, STUDIES, 48))
def test_studies(searched: Path, cells: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, numbers: range) -> None:
    """What was searched already needs no more training: the search ends with its table, or in one line."""

    def trial(rng: random.Random) -> str:
        where = Path(shutil.copytree(searched, tmp_path / f"s{rng.random()}"))
        monkeypatch.chdir(where)
        (study,) = where.rglob("study.db")
        other_study(rng, study)
        said = typed(import_module("bloodcell.search"), *search_words(cells), "--trials", "2")
        monkeypatch.chdir(tmp_path)
        shutil.rmtree(where)
        return said.partition(" ")[0]

    assert tried(trial, numbers, tmp_path)
