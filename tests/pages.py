"""The READMEs and the commands in them."""

import re
import shlex
import subprocess
from pathlib import Path

from bloodcell.common.env import CHECKOUT

PAGES = sorted(
    path
    for pattern in ("*.md", "results/*.md", "bloodcell/**/*.md", "conf/**/*.md")
    for path in CHECKOUT.glob(pattern)
    if ".venv" not in path.parts
)
# A changelog names what was there once.
TODAY = [path for path in PAGES if path.name != "CHANGELOG.md"]


def name_of(page: Path) -> str:
    return page.relative_to(CHECKOUT).as_posix()


def commands_of(page: Path) -> list[str]:
    """Every line of a code block that runs make or one of our modules."""
    blocks = re.findall(r"^```bash\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    typed = [line.strip() for line in "\n".join(blocks).splitlines()]
    return [line for line in typed if re.match(r"make [a-z-]+( |$)|python -m bloodcell\.", line)]


def words_of(line: str) -> list[str]:
    """The module and words that a command ends up with: a shell and make have read the line and done nothing."""
    if line.startswith("make "):
        dry = line.replace("make ", "make --dry-run ", 1)
        done = subprocess.run(["bash", "-c", dry], cwd=CHECKOUT, capture_output=True, text=True)
        assert done.returncode == 0, (line, done.stderr)
        line = next((one for one in done.stdout.splitlines()[::-1] if "-m bloodcell." in one), "")
    words = shlex.split(line.partition("-m bloodcell.")[2], comments=True)
    return [word for word in words if word != "..."]  # of an example: and so on
