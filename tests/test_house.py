"""The walls of the house: which room may import which, by a walk over all imports, those inside functions too."""

import ast
from collections import defaultdict
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "bloodcell"
# What each room may import of ours. A file at the top is a command: it may import any room and no other command.
MAY_IMPORT = {
    "common": set[str](),
    "config": {"common"},
    "data": {"common"},
    "model": {"common"},
    "evidence": {"common"},
    "tracking": {"common", "evidence"},
    "training": {"common", "config", "data", "model", "evidence", "tracking"},
    "sweeps": {"common", "config", "tracking", "training"},
    "prediction": {"common", "data", "model", "evidence", "training"},
    "studies": {"common", "config", "data", "model", "evidence", "tracking", "training", "prediction"},
    "package": {"prediction"},  # bloodcell.load
}
KNOW_HYDRA = {"config", "sweeps", "command"}
FLOORS = 7


def module_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imports_of(module: str) -> set[str]:
    """Modules that a module imports anywhere in it, ours by their full name, others by that of their package."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module}: imports are absolute"
            whole = {f"{node.module}.{name.name}" for name in node.names}
            found |= {name if name in MODULES else str(node.module) for name in whole}
    return {name if name in MODULES else name.partition(".")[0] for name in found}


IMPORTS = {module: imports_of(module) for module in MODULES}


def room_of(module: str) -> str:
    parts = module.split(".")
    if len(parts) == 1:
        return "package"
    return parts[1] if parts[1] in MAY_IMPORT else "command"


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_what_its_room_may(module: str) -> None:
    room = room_of(module)
    for other in sorted(IMPORTS[module] & MODULES.keys()):
        its = room_of(other)
        if its in (room, "package") and room != "command":
            continue
        allowed = set(MAY_IMPORT) if room == "command" else MAY_IMPORT.get(room, {"common"})
        assert its in allowed, f"{module} ({room}) imports {other} ({its})"
    assert "hydra" not in IMPORTS[module] or room in KNOW_HYDRA, f"{module} imports hydra"


def test_a_file_at_the_top_is_a_command() -> None:
    for path in PACKAGE.glob("*.py"):
        if path.name != "__init__.py":
            assert path.read_text(encoding="utf-8").endswith('if __name__ == "__main__":\n    main()\n'), path


def test_there_are_at_most_seven_floors_and_no_stairs_in_a_circle() -> None:
    rooms: dict[str, set[str]] = defaultdict(set)
    for module, found in IMPORTS.items():
        rooms[room_of(module)] |= {room_of(one) for one in found & MODULES.keys()} - {room_of(module), "package"}
    floor: dict[str, int] = {}
    for room in TopologicalSorter(rooms).static_order():  # raises on a circle
        floor[room] = 1 + max((floor[below] for below in rooms[room]), default=0)
    assert max(floor.values()) <= FLOORS, floor


def test_no_modules_import_each_other_in_a_circle() -> None:
    ours = {module: found & MODULES.keys() - {module} for module, found in IMPORTS.items()}
    tuple(TopologicalSorter(ours).static_order())


def test_every_room_fits_its_sentence() -> None:
    for folder in [PACKAGE, *(PACKAGE / room for room in MAY_IMPORT if room != "package")]:
        first = ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8")))
        assert first, f"{folder.name}: what is it for?"
        assert "TODO" not in first


def test_every_module_says_what_it_is() -> None:
    for module, path in MODULES.items():
        first = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
        assert first, module
        assert "TODO" not in first, module


def test_a_file_fits_in_a_head_and_a_function_on_a_screen() -> None:
    for module, path in MODULES.items():
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 350, module
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                lines = node.end_lineno - body[0].lineno + 1 if body and node.end_lineno else 0
                assert lines <= 50, f"{module}.{node.name} has {lines} lines"


def test_a_name_means_one_thing() -> None:
    """Modules and public functions have names of their own; the same role in several studies may share one."""
    shared = {"run", "main", "epochs"}  # of a study; of a command; of a program that the bench times
    found = defaultdict(set)
    for module, path in MODULES.items():
        if path.name != "__init__.py":
            found[path.stem].add(module)
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                found[f"{node.name}()"].add(module)
    doubled = {name: sorted(places) for name, places in found.items() if len(places) > 1}
    # A command and the data set that it is about may be called alike: `lineage` is no module of data, for instance.
    assert {name for name in doubled if name.removesuffix("()") not in shared} == set(), doubled
