"""What the commands share at their edge: one-line errors, and resuming by directory."""

import os
import sys
from collections.abc import Callable
from typing import NoReturn

from hydra.errors import (
    HydraException,
)
from omegaconf.errors import OmegaConfBaseException

from bloodcell.common.errors import InputError
from bloodcell.config.messages import _hydra_line


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
