"""Files of a run directory are read within bounds: one line each, and the table of the others goes on."""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bloodcell.common.errors import InputError
from bloodcell.common.files import CSV_BYTES, JSON_BYTES, YAML_BYTES, read_csv, read_json, read_yaml

BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30))
MERGES = "a0: &a0 {k: x}\n" + "".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 30))
YAML = {
    "aliases": BOMB,
    "merges": MERGES,
    "an alias in itself": "a: &a [*a]\n",
    "a scalar with an alias": "a: &a x\nb: *a\n",
    "deep lists": "[" * 100_000,
    "deep mappings": "{a: " * 100_000,
    "deep blocks": "- " * 100_000,
    "deeper than any config": "a: " + "[" * 40 + "]" * 40,
    "a long number": "a: " + "1:" * 100_000 + "1\n",
    "many values": "[" + "x, " * 30_000 + "]",
    "large": "#" * (YAML_BYTES + 1),
    "a tag": "a: !!python/object/apply:os.system ['true']\n",
    "a tag that does not fit": "a: !!int [x]\n",
    "a key that cannot be one": "? [a]\n: b\n",
    "two documents": "a: 1\n---\nb: 2\n",
    "other bytes": b"\xff\xfe\x00",
    "no YAML": "a: [\n",
}
JSON = {
    "deep lists": "[" * 200_000,
    "deep mappings": '{"a":' * 200_000,
    "a long number": '{"a": ' + "1" * 100_000 + "}",
    "large": '{"a": "' + "x" * JSON_BYTES + '"}',
    "a list": "[1]",
    "a number": "5",
    "nothing": "",
    "other bytes": b"\xff\xfe\x00",
    "a part": '{"state": "o',
}
CSV = {
    "a long cell": "a,b\n" + "x" * 200_000 + ",1\n",
    "a long row": "a,b\n1,2,3\n",
    "a short row": "a,b\n1\n",
    "a quote without end": 'a,b\n"1,2\n',
    "other bytes": b"a,b\n\xff\xfe\x00,1\n",
}


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("fault", YAML)
def test_yaml(tmp_path: Path, fault: str) -> None:
    with pytest.raises(InputError, match=r"bad\.yaml: expected .*, got .*; "):
        read_yaml(write(tmp_path / "bad.yaml", YAML[fault]))


@pytest.mark.parametrize("fault", JSON)
def test_json(tmp_path: Path, fault: str) -> None:
    with pytest.raises(InputError, match=r"bad\.json: expected .*, got .*; "):
        read_json(write(tmp_path / "bad.json", JSON[fault]))


@pytest.mark.parametrize("fault", CSV)
def test_csv(tmp_path: Path, fault: str) -> None:
    with pytest.raises(InputError, match=r"bad\.csv: expected .*, got .*; "):
        read_csv(write(tmp_path / "bad.csv", CSV[fault]))


def test_a_table_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "bad.csv").open("wb") as file:
        file.truncate(CSV_BYTES + 1)  # a hole: it takes no room
    with pytest.raises(InputError, match="got more"):
        read_csv(tmp_path / "bad.csv")


@pytest.mark.parametrize("read", [read_yaml, read_json, read_csv])
def test_what_is_no_file(tmp_path: Path, read: Callable[[Path], object]) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zeros").symlink_to("/dev/zero")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "zeros", "folder"):
        with pytest.raises(InputError, match="expected a file, got something else"):
            read(tmp_path / name)


def test_what_is_there_is_read(tmp_path: Path) -> None:
    assert read_yaml(write(tmp_path / "a", "a: [1, x]\n")) == {"a": [1, "x"]}
    assert read_yaml(write(tmp_path / "b", "")) is None
    assert read_json(write(tmp_path / "c", '{"a": [1, "x"]}')) == {"a": [1, "x"]}
    assert read_csv(write(tmp_path / "d", 'a,b\n1,"x\ny"\n')) == [{"a": "1", "b": "x\ny"}]
    assert read_csv(tmp_path / "nowhere") == []


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (".hydra/config.yaml", YAML["aliases"]),
        (".hydra/config.yaml", YAML["merges"]),
        (".hydra/overrides.yaml", YAML["deep lists"]),
        (".hydra/overrides.yaml", YAML["a tag"]),
        ("metrics.json", JSON["deep lists"]),
        ("metrics.json", JSON["a list"]),
        ("manifest.json", JSON["large"]),
        ("status.json", JSON["deep mappings"]),
        ("status.json", JSON["a number"]),
        ("status.json", '{"state": ["ok"]}'),
    ],
)
def test_one_bad_folder_is_one_line_of_the_table(
    finished: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    name: str,
    content: str,
) -> None:
    from bloodcell import runs

    for each in ("good", "bad"):
        shutil.copytree(finished, tmp_path / "all" / each)
    write(tmp_path / "all" / "bad" / name, content)
    monkeypatch.setattr(sys, "argv", ["runs", str(tmp_path / "all"), "--each", "--csv", "table.csv"])
    runs.main()
    table = (tmp_path / "table.csv").read_text()
    assert "good" in table
    if name == "status.json":  # it is a run that failed, and the table says why
        assert "its status.json cannot be read" in table
        return
    (line,) = [line for line in caplog.messages if str(tmp_path / "all" / "bad") in line]
    assert name.rpartition("/")[2] in line
    assert "\n" not in line
