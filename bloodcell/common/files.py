"""Small files: written so that a reader sees the old or the new content, never a part; read within bounds."""

import csv
import json
import math
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from io import StringIO
from pathlib import Path
from typing import IO, Any

import yaml

from bloodcell.common.errors import NO_FILES, InputError

if sys.platform != "win32":
    import fcntl

# What is read may come from anybody. No file of a run is a tenth as large, none but a table has long values.
JSON_BYTES, YAML_BYTES, CSV_BYTES = 4_000_000, 1_000_000, 64_000_000
YAML_NODES, YAML_DEPTH, YAML_LETTERS = 20_000, 32, 20_000
# What a spreadsheet takes for the start of a formula, or looks behind.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
MOST_LISTED = 1_000  # tables of predictions in a folder of results
# Where names stand for devices and for what processes have open; and the folder of files among them.
SYSTEM, SHARED_MEMORY = ("/dev", "/proc", "/sys"), "/dev/shm"
LINKS = 40  # links that lead to each other
HALF = "halfdone"  # how the name of a file ends that is being written
# libyaml where PyYAML was built with it: ten times as fast. A safe loader, both of them.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Write a file of any size beside its place, and put it there once it is whole.

    Args:
        path: Where the file is to be; its folder is made.

    Yields:
        A file that is open for writing bytes. If the block raises, nothing is left of it.
    """
    check_file_place(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, beside = _beside(path)
    try:
        with os.fdopen(os.dup(handle), "wb") as file:
            yield file
        beside.chmod(0o644)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    finally:
        os.close(handle)  # not before: it holds the name


def check_file_place(path: Path) -> None:
    """Stop if a file cannot be put at a path without harm: a device that is replaced is gone for everybody.

    Raises:
        InputError: If there is a folder, a device, a pipe, or a link to where the system keeps these, as /dev/stdout.
    """
    if _of_the_system(path):
        raise InputError(str(path), expected="a place for a file", got="one of the system", fix="give another place")
    if path.exists() and not path.is_file():
        got = "a folder" if path.is_dir() else "a device or a pipe"
        raise InputError(str(path), expected="a place for a file", got=got, fix="give another place")


def _of_the_system(path: Path) -> bool:
    """Tell whether a name lies in a folder of devices or processes, or is a link that leads through one."""
    for _ in range(LINKS):
        folder = Path(os.path.realpath(path.parent))
        if any(folder.is_relative_to(place) for place in SYSTEM) and not folder.is_relative_to(SHARED_MEMORY):
            return True
        if not path.is_symlink():
            return False
        path = path.parent / path.readlink()
    return True


def _beside(path: Path) -> tuple[int, Path]:
    """Open a file beside the place of another: what a killed process left of it goes; other processes keep theirs."""
    name = path.with_name(f".{path.name}.{HALF}")
    try:
        remove_left(name)
        handle = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        if held(handle, name):
            return handle, name
        os.close(handle)
        name.unlink(missing_ok=True)
    except OSError:  # another process is at it, or the file system has no locks
        pass
    handle, own = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    return handle, Path(own)


def remove_left(name: Path) -> None:
    """Remove what a killed process was writing under a name, if it is there and no process is writing it."""
    try:
        handle = os.open(name, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except FileNotFoundError:
        return
    try:
        if held(handle, name):
            name.unlink()
    finally:
        os.close(handle)


def held(handle: int, path: Path) -> bool:
    """Lock an open file until it is closed, and tell whether this worked and it still is the one of that name.

    The system lets go of it when the process ends, however it ends. Windows has no such locks, and refuses to remove
    an open file instead.
    """
    try:
        if sys.platform != "win32":
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(handle), path.lstat())
    except OSError:
        return False


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8."""
    write_bytes(path, text.encode("utf-8", "backslashreplace"))  # names of files need not be UTF-8


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file."""
    with replacing(path) as file:
        file.write(content)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a mapping as indented JSON; what is no finite number becomes ``null``, as JSON has no word for it."""
    write_text(path, json.dumps(_finite(content), indent=2, sort_keys=False, allow_nan=False) + "\n")


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def listed(entries: Any, most: int = MOST_LISTED) -> list[Any]:
    """Give back a list from a file of anybody's, each entry of which costs a second.

    Raises:
        ValueError: If it is none, or longer than any that is written here.
    """
    if not isinstance(entries, list) or not 0 < len(entries) <= most:
        raise ValueError(f"a list of {len(entries) if isinstance(entries, list) else 'another kind'}")
    return entries


def is_inside(folder: Path, path: Path) -> bool:
    """Tell whether a path leads into a folder."""
    place, holds = (os.path.realpath(one) for one in (path, folder))  # links in a circle are an error to `resolve`
    return Path(place).is_relative_to(holds)


def below(folder: Path, name: str) -> Path:
    """Find a file that a list in a folder names; the list may come from anybody.

    Raises:
        InputError: If it leads out of the folder.
    """
    path = folder / name
    if not is_inside(folder, path):
        raise InputError(str(path), expected="a file of that folder", got="one elsewhere", fix="make the folder again")
    return path


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds a mapping.

    Raises:
        InputError: If it holds something else, or is no file to be read whole.
    """
    try:
        content: object = json.loads(_text(path, JSON_BYTES))
    except (ValueError, RecursionError) as error:
        raise _unreadable(path, "JSON", error) from error
    if not isinstance(content, dict):
        raise _unreadable(path, "a JSON mapping", type(content).__name__)
    return content


def read_yaml(path: Path) -> Any:
    """Read a YAML file of plain values.

    Raises:
        InputError: If it is larger or deeper than any that is written here, or has aliases: a few lines of them stand
            for more than memory holds.
    """
    try:
        loader = _LOADER(_text(path, YAML_BYTES))
        try:
            node = loader.get_single_node()
            _check_nodes(path, node)
            return loader.construct_document(node) if node is not None else None
        finally:
            loader.dispose()
    except InputError:
        raise
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise _unreadable(path, "YAML", error) from error  # TypeError, AttributeError: tags on what they do not fit


def _check_nodes(path: Path, root: yaml.Node | None) -> None:
    seen: set[int] = set()
    waiting = [(root, 0)] if root is not None else []
    while waiting:
        node, depth = waiting.pop()
        if id(node) in seen:
            raise _unreadable(path, "YAML without aliases", "an alias")
        seen.add(id(node))
        if depth > YAML_DEPTH or len(seen) > YAML_NODES:
            raise _unreadable(path, f"YAML of at most {YAML_NODES:,} values, {YAML_DEPTH} deep", "more")
        if isinstance(node, yaml.MappingNode):
            waiting += [(part, depth + 1) for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            waiting += [(part, depth + 1) for part in node.value]
        elif len(node.value) > YAML_LETTERS:
            raise _unreadable(path, f"values of at most {YAML_LETTERS:,} letters", f"{len(node.value):,}")


def read_text(path: Path) -> str:
    """Read a text file in UTF-8.

    Raises:
        InputError: If it is no file, as a pipe that never ends, no text, or larger than any that is written here.
    """
    try:
        return _text(path, CSV_BYTES)
    except UnicodeDecodeError as error:
        raise _unreadable(path, "text in UTF-8", error) from error


def read_bytes(path: Path) -> bytes:
    """Read a small file.

    Raises:
        InputError: If it is no file, as a pipe that never ends, or larger than any that is written here.
    """
    return _bytes(path, CSV_BYTES)


def _text(path: Path, most: int) -> str:
    return _bytes(path, most).decode("utf-8")


def _bytes(path: Path, most: int) -> bytes:
    """Read a file whole, unless it is larger than ``most`` bytes or no file at all."""
    try:
        if path.exists() and not path.is_file():
            raise _unreadable(path, "a file", "something else")
        with path.open("rb") as file:
            content = file.read(most + 1)
    except OSError as error:
        if error.errno in NO_FILES:
            raise  # no fault of the file
        raise _unreadable(path, "a file that can be read", error.strerror or error) from error
    if len(content) > most:
        raise _unreadable(path, f"at most {most:,} bytes", "more")
    return content


def _unreadable(path: Path, expected: str, got: object) -> InputError:
    if isinstance(got, InputError):
        return got
    if isinstance(got, RecursionError):
        got = "values nested too deep"
    return InputError(str(path), expected=expected, got=str(got)[:150], fix="put back the file as it was written")


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table as CSV; a text that a spreadsheet would take for a formula is quoted."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([quoted_cell(cell) for cell in row] for row in (header, *rows))
    write_text(path, text.getvalue())


def quoted_cell(cell: object) -> object:
    """Quote a text that a spreadsheet would take for a formula; numbers stay as they are."""
    if isinstance(cell, str) and cell.lstrip("'").startswith(FORMULA):
        with suppress(ValueError):
            float(cell)
            return cell
        return f"'{cell}"
    return cell


def as_found(cell: str) -> str:
    """Give the text that was quoted as a cell."""
    return cell[1:] if cell.startswith("'") and cell.lstrip("'").startswith(FORMULA) else cell


def read_csv(path: Path) -> list[dict[str, str]]:
    """Read a table as one dictionary per row; no rows if there is no such file.

    Raises:
        InputError: If it is no table: rows of another length than the header, or larger than any that is written here.
    """
    if not path.exists():
        return []
    try:
        rows = list(csv.DictReader(StringIO(_text(path, CSV_BYTES), newline=""), strict=True))
    except (ValueError, csv.Error) as error:
        raise _unreadable(path, "CSV", error) from error
    for number, row in enumerate(rows, start=1):
        if None in row or None in row.values():
            raise _unreadable(path, "as many cells in each row as in the header", f"others in row {number:,}")
    return [{as_found(name): as_found(cell) for name, cell in row.items()} for row in rows]
