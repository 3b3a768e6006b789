"""The edge that all commands share: arguments are taken as typed, and errors are one line."""

import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from bloodcell.common.errors import InputError, limit_of
from bloodcell.config.messages import hydra_line

LATER = 0.05  # seconds after which a signal is sent again that came where an exception is lost
# Where Python prints an exception and goes on (objects are removed), or a library forgets it (pybind11's conversions).
CALLED_BACK, CALLED = ("weakref.py", "_weakrefset.py"), ("__del__", "__array__")
TERMINATED, INTERRUPTED = 128 + signal.SIGTERM, 128 + signal.SIGINT  # as a shell counts them


def run_command(command: Callable[[], object]) -> None:
    """Run a command; what the user can fix becomes one line on stderr and exit code 1.

    ``HYDRA_FULL_ERROR=1`` shows the traceback instead.

    Args:
        command: Called without arguments.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a letter that the terminal lacks is no reason to stop
    if os.environ.get("HYDRA_FULL_ERROR") == "1":
        command()
        return
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra would print its own many lines and exit
    try:
        with ended_by_sigterm(), stop_kept():
            command()
    except (InputError, HydraException, OmegaConfBaseException) as error:
        fail(error)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None
    except BrokenPipeError:  # what reads the output has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(141) from None
    except (OSError, MemoryError, RuntimeError, ImportError) as error:
        limit = limit_of(error)
        if limit is None:
            raise
        fail(limit)
    except ValueError as error:
        complaint = _of_a_word(error)
        if complaint is None:
            raise
        fail(complaint)
    finally:
        del os.environ["HYDRA_FULL_ERROR"]


def _of_a_word(error: ValueError) -> InputError | None:
    """Say what is wrong with a word where Hydra has no error of its own for it."""
    if "Config group override" in str(error):
        fix = "write ~GROUP to go without"
        return InputError("GROUP=null", expected="a choice of the group", got="null", fix=fix)
    if "integer string conversion" in str(error):  # Python reads no number of more than 4,300 digits
        return InputError("a number", expected="fewer digits", got="thousands of them", fix="correct it")
    return None


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM end a command as Ctrl-C does, whatever it is at: by an exception, after which it can clean up.

    Lightning hears it by itself, but in training alone. Of several processes each waits for it to do so.
    """

    def end(number: int, frame: FrameType | None) -> None:
        torch = sys.modules.get("torch")
        if number == signal.SIGTERM and torch is not None and torch.distributed.is_initialized():
            return
        if _would_be_lost(frame):
            again = threading.Timer(LATER, os.kill, (os.getpid(), number))
            again.daemon = True
            again.start()
        elif number == signal.SIGINT:
            raise KeyboardInterrupt
        else:
            raise SystemExit(TERMINATED)

    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may handle signals
        return
    heard = [signal.SIGTERM]
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        heard.append(signal.SIGINT)
    before = {number: signal.signal(number, end) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def stop_kept() -> Iterator[None]:
    """Let a stop end what runs, also where a library that cleans up makes another error of it, as OmegaConf does.

    Raises:
        KeyboardInterrupt: If the error came of one.
        SystemExit: Likewise.
    """
    try:
        yield
    except InputError:  # said on purpose, whatever it comes of
        raise
    except Exception as error:
        found = error.__context__
        while found is not None and not isinstance(found, KeyboardInterrupt | SystemExit):
            found = found.__context__
        if found is None:
            raise
        raise found from None


def _would_be_lost(frame: FrameType | None) -> bool:
    """Tell whether an exception would be lost here, or become another one."""
    while frame is not None:
        if frame.f_code.co_name in CALLED or Path(frame.f_code.co_filename).name in CALLED_BACK:
            return True
        frame = frame.f_back
    return False


def fail(error: Exception, typed: Sequence[str] | None = None) -> NoReturn:
    """Print one line that says what was wrong and exit with 1.

    Args:
        error: What was.
        typed: The words that it is about; ``None`` for the command line.
    """
    line = str(error) if isinstance(error, InputError) else hydra_line(error, sys.argv[1:] if typed is None else typed)
    print(f"error: {line}", file=sys.stderr)
    raise SystemExit(1)
