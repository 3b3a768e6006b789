"""The table of promises names tests that are there, with the number of trials that they do."""

import ast
import re
from pathlib import Path

HERE = Path(__file__).parent
TABLE = (HERE / "README.md").read_text()
ROWS = [
    line.strip("|").split("|")
    for line in TABLE.splitlines()
    if line.startswith("|") and not line.startswith(("| fault", "| ---"))
]
NAMED = re.compile(r"`(?P<file>[\w./]+\.py)::(?P<test>\w+)`")


def parsed(name: str) -> ast.Module:
    return ast.parse((HERE / name).read_text())


def numbers_of(module: ast.Module) -> dict[str, object]:
    """Constants of a module that are assigned literals, alone or several at once."""
    found: dict[str, object] = {}
    for node in module.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Tuple):
            names = [one.id for one in node.targets[0].elts if isinstance(one, ast.Name)]
            assert isinstance(node.value, ast.Tuple)
            found |= {
                name: one.value
                for name, one in zip(names, node.value.elts, strict=True)
                if isinstance(one, ast.Constant)
            }
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            found |= {one.id: node.value.value for one in node.targets if isinstance(one, ast.Name)}
    return found


def test_each_row_names_a_test_that_is_there() -> None:
    for row in ROWS:
        assert NAMED.search(row[3]), row
    for name, test in NAMED.findall(TABLE):
        assert test in {one.name for one in parsed(name).body if isinstance(one, ast.FunctionDef)}, f"{name}::{test}"


def test_each_number_of_trials_is_the_one_of_the_test() -> None:
    counted = [row for row in ROWS if "(`" in row[1]]
    assert len(counted) >= 12
    for row in counted:
        number, constant = re.fullmatch(r" ([\d,]+) \(`(\w+)`\) ", row[1]).groups()
        found = NAMED.search(row[3])
        assert numbers_of(parsed(found["file"]))[constant] == int(number.replace(",", "")), row


def test_every_test_of_trials_has_a_row() -> None:
    for path in HERE.glob("test_*.py"):
        for one in parsed(path.name).body:
            if isinstance(one, ast.FunctionDef) and "sample(" in "".join(map(ast.unparse, one.decorator_list)):
                assert f"`{path.name}::{one.name}`" in TABLE, f"{path.name}::{one.name}"
