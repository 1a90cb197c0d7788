"""The subcommand ``doctor``: prints what `check` finds."""

# ruff: noqa: T201 - printing is its purpose

from __future__ import annotations

import argparse
import json
import os
import sys
import textwrap
from collections.abc import Callable
from typing import Final, Protocol

import trio

from ._check import CheckReport, State, check
from .options import BackendOptions

_COLOURS: Final[dict[State, int]] = {"ok": 32, "warning": 33, "failed": 31, "skipped": 90}
_WIDTH: Final = 100
_CODES: Final = """\
exit code: 0 nothing failed (there may be warnings); 1 something failed; 2 wrong arguments
"""


class Subcommands(Protocol):
    """What `argparse` gives to add a subcommand to."""

    add_parser: Callable[..., argparse.ArgumentParser]


def add_parser(subcommands: Subcommands) -> None:
    """Add the subcommand to a command line."""
    parser = subcommands.add_parser(
        "doctor",
        help="find out whether sessions could run here, and what is in the way",
        description="Find out whether sessions of `claude` could run here, and what is in the way.",
        epilog=_CODES,
    )
    parser.add_argument("--cwd", default=".", help="the directory to work in (default: this one)")
    parser.add_argument("--cli", metavar="PATH", help="the `claude` program (default: found)")
    parser.add_argument(
        "--env",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="a variable for the CLI, as BackendOptions.env; may be repeated; others can see it",
    )
    parser.add_argument(
        "--turn", action="store_true", help="also ask the model for one word; takes a few tokens"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Check, print, and return the exit code."""
    try:
        env = dict(_variable(given) for given in arguments.env)
        options = BackendOptions(cwd=arguments.cwd, cli_path=arguments.cli, env=env)
        report = trio.run(_check, options, arguments.turn)
    except ValueError as exc:
        print(f"claude_trio doctor: {exc}", file=sys.stderr)
        return 2
    if arguments.json:
        print(json.dumps(report.to_dict(), indent=2))
    else:
        colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        print(table(report, colour=colour))
    return 0 if report.ok else 1


def _variable(given: str) -> tuple[str, str]:
    name, equals, value = given.partition("=")
    if not equals:
        raise ValueError(f"--env takes NAME=VALUE, not {given!r}")
    return name, value


async def _check(options: BackendOptions, turn: bool) -> CheckReport:  # noqa: FBT001 - trio.run
    return await check(options, turn=turn)


def table(report: CheckReport, *, colour: bool) -> str:
    """Return a report as lines for a person.

    Args:
        report: What `check` found.
        colour: Whether to colour the states, as on a terminal.
    """
    indent = " " * 19
    lines = []
    for finding in report.findings:
        state = f"{finding.state:<8}"
        if colour:
            state = f"\x1b[{_COLOURS[finding.state]}m{state}\x1b[0m"
        lines.append(f"{finding.name:<8}  {state} {finding.text}")
        for paragraph in finding.advice.splitlines():
            lines += textwrap.wrap(
                paragraph,
                _WIDTH,
                initial_indent=indent,
                subsequent_indent=indent,
                break_long_words=False,
                break_on_hyphens=False,
            )
    return "\n".join(lines)
