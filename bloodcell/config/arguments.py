"""Arguments that several commands take, under the same names and with the same words."""

import argparse
from pathlib import Path

from bloodcell.common.errors import InputError


def command_parser(name: str, description: str, more: str) -> argparse.ArgumentParser:
    """Begin the arguments of a command.

    Args:
        name: Of the command, as ``predict``.
        description: One sentence.
        more: What ``--help`` says below the arguments, as it is.
    """
    return argparse.ArgumentParser(
        prog=f"python -m bloodcell.{name}",
        description=description,
        epilog=more,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_pictures(parser: argparse.ArgumentParser, out: str, *, required: bool = True) -> None:
    """Add the pictures that a net is to answer for, the net, how it looks at them, and where the answers go.

    Args:
        parser: Of :func:`command_parser`.
        out: Default of ``--out``.
        required: Whether the command does nothing without pictures.
    """
    more = "pictures, folders, zips, globs, or - for a list on stdin"
    parser.add_argument("images", nargs="+" if required else "*", metavar="IMAGES", help=more)
    parser.add_argument("--model", type=Path, metavar="RUN_OR_FILE", help="default: the net that comes with bloodcell")
    parser.add_argument(
        "--view",
        choices=["auto", "field", "crop"],
        default="auto",
        help="what pictures show to a net of crops: whole fields with cells to find, or one cell already cut out; auto "
        "(default) takes one for a crop if it is about square and filled by a cell in its middle",
    )
    parser.add_argument("--out", type=Path, default=Path(out), help=f"default: {out}")


def seeds_of(text: str) -> list[int]:
    """Read what ``--seeds`` was given, as ``0,1,2``.

    Raises:
        InputError: If it is no list of whole numbers.
    """
    try:
        return [int(word) for word in text.split(",")]
    except ValueError as error:
        raise InputError("--seeds", expected="whole numbers, as 0,1,2", got=text, fix="correct it") from error
