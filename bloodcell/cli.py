"""What the commands share at their edge: one-line errors, and resuming by directory."""

import difflib
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from hydra.errors import (
    ConfigCompositionException,
    HydraException,
    MissingConfigException,
    OverrideParseException,
)
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bloodcell.errors import InputError

# In a checkout the configs stand beside the package, in an installed wheel inside it.
_BESIDE = Path(__file__).parent.parent / "conf"
CONF = _BESIDE if _BESIDE.is_dir() else Path(__file__).parent / "conf"


def run_command(command: Callable[[], object]) -> None:
    """Run a command; what the user can mend becomes one line on stderr and exit code 1.

    ``HYDRA_FULL_ERROR=1`` shows the traceback instead.

    Args:
        command: Called without arguments.
    """
    if os.environ.get("HYDRA_FULL_ERROR") == "1":
        command()
        return
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra would print its own many lines and exit
    try:
        command()
    except (InputError, HydraException, OmegaConfBaseException) as error:
        fail(error)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        raise SystemExit(130) from None  # as a shell counts it: 128 and the number of the signal
    except ValueError as error:
        if "Config group override" not in str(error):  # Hydra's one complaint of a user that is no error of its own
            raise
        fail(InputError("GROUP=null", expected="a choice of the group", got="null", fix="write ~GROUP to go without"))
    finally:
        del os.environ["HYDRA_FULL_ERROR"]


def fail(error: Exception) -> NoReturn:
    """Print one line that says what was wrong and exit with 1."""
    line = str(error) if isinstance(error, InputError) else _hydra_line(error)
    print(f"error: {line}", file=sys.stderr)
    raise SystemExit(1)


def _hydra_line(error: Exception) -> str:
    text = str(error)
    if isinstance(error, MissingConfigException) or "Could not find" in text:
        found = re.search(r"Could not find '?([^'\s]+)'?", text)
        options = [line.strip() for line in text.split("\n") if line.startswith("\t")]
        if found:
            name = found[1].strip("'.")
            expected = f"one of {', '.join(options)}" if options else "a config file"
            return f"{name}: expected {expected}, got no such choice; see --help"
    if isinstance(error, ConfigCompositionException):
        found = re.search(r"Could not override '([^']+)'", text)
        if found:
            near = difflib.get_close_matches(found[1], _known_keys(), n=3, cutoff=0.5)
            hint = f"did you mean {' or '.join(near)}?" if near else "see --cfg job for all keys"
            return f"{found[1]}: expected a key of the config, got an unknown one; {hint}"
    if isinstance(error, OverrideParseException):
        word = getattr(error, "override", "override")
        return f"{word}: expected KEY=VALUE, got something that cannot be parsed ({' '.join(text.split())[:90]})"
    cause = error.__cause__
    whole = f"{text} ({cause})" if cause is not None and str(cause) not in text else text
    return " ".join(whole.split())


def _known_keys() -> list[str]:
    """Every key of every file in ``conf``, dotted, to compare a mistyped one with."""
    keys = []
    for path in CONF.rglob("*.yaml"):
        group = path.relative_to(CONF).parent.parts
        prefix = "" if not group or group[0] in {"experiment", "sweep"} else ".".join(group) + "."
        content = OmegaConf.to_container(OmegaConf.load(path))
        stack = [(prefix, content)]
        while stack:
            head, node = stack.pop()
            if isinstance(node, dict):
                for name, value in node.items():
                    keys.append(head + str(name))
                    stack.append((head + str(name) + ".", value))
    return sorted(set(keys))


def resume_arguments(arguments: Sequence[str]) -> list[str]:
    """Replace ``ckpt_path=RUN_DIR`` by what continues that run in place.

    Args:
        arguments: The command line without the program.

    Returns:
        The run's own overrides, then the user's (which win), then its directory and last checkpoint;
        the arguments as they came if ``ckpt_path`` names no directory.

    Raises:
        InputError: If the directory is no run, or has no checkpoint yet.
    """
    named = [word for word in arguments if word.startswith("ckpt_path=")]
    run_dir = Path(named[-1].partition("=")[2]) if named else None
    if run_dir is None or not run_dir.is_dir():
        return list(arguments)
    from bloodcell.rundir import find_checkpoint

    if {"-m", "--multirun"} & set(arguments):
        raise InputError(
            f"ckpt_path={run_dir}",
            expected="a checkpoint file, from which every job of a sweep would start",
            got="a run directory",
            fix="to go on with a sweep type it again as it was",
        )
    last = find_checkpoint(run_dir, "last")
    kept = run_dir / ".hydra" / "overrides.yaml"
    if not kept.is_file():
        raise InputError(str(run_dir), expected="a run directory", got="no .hydra/overrides.yaml", fix="check the path")
    words = OmegaConf.to_container(OmegaConf.load(kept))
    assert isinstance(words, list)
    before = [str(word) for word in words if not str(word).startswith("ckpt_path=")]
    new = [word for word in arguments if word not in named]
    return [*before, *new, f"ckpt_path={quoted(last.resolve())}", f"hydra.run.dir={quoted(run_dir.resolve())}"]


def quoted(value: object) -> str:
    """A value of a Hydra override, in quotes that keep ``=``, spaces and commas from being parsed."""
    return "'" + str(value).replace("\\", "\\\\").replace("'", "\\'") + "'"
