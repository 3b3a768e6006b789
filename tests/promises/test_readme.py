"""What the READMEs name is there: links, make targets, commands, files, choices of conf, imports."""

import argparse
import importlib
import re
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from bloodcell.common.env import CHECKOUT, CONF
from bloodcell.config.compose import arranged, composed, options_of, parsed
from tests.helpers import metrics_of
from tests.pages import PAGES, TODAY, commands_of, name_of, words_of

TARGETS = re.findall(r"^([a-z-]+):", (CHECKOUT / "Makefile").read_text(), re.MULTILINE)
SCRIPTS = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["scripts"]


each_page = pytest.mark.parametrize("page", PAGES, ids=name_of)
each_page_of_today = pytest.mark.parametrize("page", TODAY, ids=name_of)


def code_of(text: str) -> str:
    """Code blocks without their comments, and code spans, a line each."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
    return re.sub(r"(^|\s)#.*", "", "\n".join(blocks)) + "\n" + "\n".join(spans)


def anchors_of(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    heads = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def test_the_readme_is_a_page() -> None:
    assert len((CHECKOUT / "README.md").read_text().splitlines()) <= 155


def test_every_room_that_the_readme_links_has_a_page() -> None:
    linked = re.findall(r"\]\(([\w/]+/README\.md)\)", (CHECKOUT / "README.md").read_text())
    assert {name_of(page) for page in PAGES if page.name == "README.md"} <= {*linked, "README.md"}


@each_page
def test_links_resolve(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if re.match(r"https?:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors_of(target), link


@each_page_of_today
def test_commands_exist(page: Path) -> None:
    code = code_of(page.read_text())
    for words in re.findall(r"^make ((?:[a-z-]+ ?)+)", code, re.MULTILINE):
        assert set(words.split()) <= set(TARGETS), words
    for module in re.findall(r"-m (bloodcell[\w.]*)", code):
        path = CHECKOUT / f"{module.replace('.', '/')}.py"
        assert path.is_file(), module
        assert '__name__ == "__main__"' in path.read_text(), module
    assert set(re.findall(r"\bbloodcell-\w+", code)) <= set(SCRIPTS)


@each_page_of_today
def test_files_exist(page: Path) -> None:
    """A path is below the checkout or the page; a name in a row of the map is in the room of that row."""
    for line in page.read_text().splitlines():
        room = re.match(r"\| \[?`([a-z]+)/(?:\*\.py)?`", line)
        homes = [CHECKOUT, page.parent]
        if room:
            homes = [CHECKOUT / room[1], CHECKOUT / "bloodcell" / room[1]]
        for span in re.findall(r"`([\w./-]+\.(?:py|yaml|j2))`", line):
            assert "my_" in span or any((home / span).is_file() for home in homes), span  # my_ is of an example


@each_page_of_today
def test_choices_exist(page: Path) -> None:
    groups = "data|model|optim/scheduler|optim|trainer|experiment|sweep|SWEEP"
    for group, choices in re.findall(rf"(?<![\w.])({groups})=([\w|]+)", code_of(page.read_text()).replace("\\|", "|")):
        for choice in choices.split("|"):
            assert (CONF / group.lower() / f"{choice}.yaml").is_file(), f"{group}={choice}"


@each_page_of_today
def test_imports_work(page: Path) -> None:
    for module, names in re.findall(r"^from (bloodcell[\w.]*) import (.+)$", page.read_text(), re.MULTILINE):
        loaded = importlib.import_module(module)
        assert all(hasattr(loaded, name.strip()) for name in names.split(",")), module


@pytest.mark.slow
def test_the_examples_of_a_net_and_a_data_set_train(
    train: Callable[..., Path], cells: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bloodcell.model import nets

    text = (CONF / "README.md").read_text()
    net, data = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    source = ModuleType("bloodcell.data.sources.my_cells")
    monkeypatch.setitem(sys.modules, source.__name__, source)
    exec(data, source.__dict__)
    monkeypatch.setattr(nets, "my_net", None, raising=False)
    exec(net, nets.__dict__)
    for name, content in re.findall(r"^```yaml\n# conf/(\w+/my_\w+\.yaml)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        (tmp_path / "conf" / name).parent.mkdir(parents=True)
        (tmp_path / "conf" / name).write_text(content)
    words = ("data=my_cells", f"data.root={cells}", "data.image_size=[32,32]", "model=my_net", "model.width=4")
    run = train("trainer.max_epochs=1", base=("--config-dir", str(tmp_path / "conf"), *words))
    assert metrics_of(run)["protocol"] == "folder"


class UnderstoodError(Exception):
    """Raised where a command would begin to work."""


def first_of(word: str) -> str:
    """An override, with the first value of a grid."""
    one = parsed(word)
    return f"{one.key_or_group}={next(one.sweep_iterator())}" if one.is_sweep_override() else word


def and_no_more(read: Callable[..., object]) -> Callable[..., None]:
    """Read the command line and stop there."""

    def understood(*words: object) -> None:
        read(*words)
        raise UnderstoodError

    return understood


@each_page_of_today
def test_every_command_is_understood_as_it_is_typed(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("parse_args", "parse_intermixed_args"):
        monkeypatch.setattr(argparse.ArgumentParser, name, and_no_more(getattr(argparse.ArgumentParser, name)))
    for name, *words in filter(None, map(words_of, commands_of(page))):
        if name in ("train", "audit"):
            composed([first_of(word) for word in arranged(words) if word not in options_of(words)])
            continue
        monkeypatch.setattr(sys, "argv", [name, *words])
        with pytest.raises(UnderstoodError):
            importlib.import_module(f"bloodcell.{name}").main()
