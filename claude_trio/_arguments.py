"""What the commands have in common: arguments, and how a wrong one is told."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Final, Protocol

NAME: Final = "claude-trio"
USAGE: Final = 2  # the exit code, as of `argparse`


class Subcommands(Protocol):
    """What `argparse` gives to add a subcommand to."""

    add_parser: Callable[..., argparse.ArgumentParser]


def add_cli_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what says which CLI is started, and where."""
    add = parser.add_argument
    add("--cwd", default=".", metavar="PATH", help="the directory to work in (default: this one)")
    add("--cli", metavar="PATH", help="the `claude` program (default: found)")
    add("--env", metavar="NAME=VALUE", action="append", default=[],
        help="a variable for the CLI; may be repeated; others can see it")  # fmt: skip


def variable(given: str) -> tuple[str, str]:
    """Return the name and the value of a variable that was given as ``NAME=VALUE``.

    Raises:
        ValueError: It was not.
    """
    name, equals, value = given.partition("=")
    if not equals:
        raise ValueError(f"--env takes NAME=VALUE, not {given!r}")
    return name, value


def refuse(error: ValueError | TypeError) -> int:
    """Say what is wrong with the arguments; return the exit code."""
    sys.stderr.write(f"{NAME}: {error}\n")
    return USAGE
