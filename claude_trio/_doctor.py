"""The subcommand ``doctor``: prints what `check` finds."""

from __future__ import annotations

import argparse
import json
import textwrap
from functools import partial
from typing import Final

import trio

from ._arguments import Subcommands, add_cli_arguments, refuse, variable
from ._check import CheckReport, State, check
from ._console import Console, colours_wanted, printable
from .options import BackendOptions

_COLOURS: Final[dict[State, int]] = {"ok": 32, "warning": 33, "failed": 31, "skipped": 90}
_WIDTH: Final = 100
_CODES: Final = """\
exit code: 0 nothing failed (there may be warnings); 1 something failed; 2 wrong arguments;
74 the output cannot be written; 130 Ctrl-C; 141 nobody reads the output any more
"""


def add_parser(subcommands: Subcommands) -> None:
    """Add the subcommand to a command line."""
    parser = subcommands.add_parser(
        "doctor",
        help="find out whether sessions could run here, and what is in the way",
        description="Find out whether sessions of `claude` could run here, and what is in the way.",
        epilog=_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_cli_arguments(parser)
    parser.add_argument(
        "--turn", action="store_true", help="also ask the model for one word; takes a few tokens"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Check, print, and return the exit code."""
    try:
        env = dict(variable(given) for given in arguments.env)
        options = BackendOptions(cwd=arguments.cwd, cli_path=arguments.cli, env=env)
        report = trio.run(partial(check, options, turn=arguments.turn))
    except ValueError as exc:
        return refuse(exc)
    trio.run(_print, report, arguments.json)
    return 0 if report.ok else 1


async def _print(report: CheckReport, as_json: bool) -> None:  # noqa: FBT001 - trio.run
    shown = (
        json.dumps(report.to_dict(), indent=2)
        if as_json
        else table(report, colour=colours_wanted())
    )
    await Console().write(f"{shown}\n", styled=True)


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
        lines.append(f"{finding.name:<8}  {state} {printable(finding.text)}")
        for paragraph in printable(finding.advice).splitlines():
            lines += textwrap.wrap(
                paragraph,
                _WIDTH,
                initial_indent=indent,
                subsequent_indent=indent,
                break_long_words=False,
                break_on_hyphens=False,
            )
    return "\n".join(lines)
