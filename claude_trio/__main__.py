"""The command line: ``claude-trio``, or ``python -m claude_trio``; one module for each command."""

from __future__ import annotations

import argparse
import importlib.metadata
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from . import _doctor, _print, _watch
from ._arguments import NAME
from ._console import UNREAD, OutputError, fill_standard_streams

_MODULE: Final = "python -m claude_trio"
_INTERRUPTED: Final = 130  # as a shell says that SIGINT ended a program
_COMMANDS: Final = {"doctor": _doctor, "watch": _watch}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; return its exit code.

    Args:
        argv: The arguments. Default: those of this process.
    """
    fill_standard_streams()
    given = sys.argv[1:] if argv is None else list(argv)
    prog = NAME if Path(sys.argv[0]).name == NAME else _MODULE
    parser = _commands(prog) if given and given[0] in _COMMANDS else _prompts(prog)
    arguments = parser.parse_args(given)
    try:
        code: int = arguments.run(arguments)
    except BaseExceptionGroup as group:  # from inside a nursery
        if group.split(KeyboardInterrupt)[1] is not None:
            raise
        code = _INTERRUPTED
    except KeyboardInterrupt:
        code = _INTERRUPTED
    except OutputError as exc:
        code = exc.code
        if code != UNREAD:
            sys.stderr.write(f"{NAME}: {exc}\n")
    return code


class _Version(argparse.Action):
    """Looks the version up when it is asked for; a copy that is not installed has none."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        try:
            version = importlib.metadata.version(NAME)
        except importlib.metadata.PackageNotFoundError:
            version = "(not installed)"
        print(NAME, version)  # noqa: T201
        parser.exit()


def _prompts(prog: str) -> argparse.ArgumentParser:
    codes = "\n".join(
        textwrap.fill(f"{code:>3}  {meaning}", 78, subsequent_indent="     ")
        for code, meaning in _print.EXIT_CODES.items()
    )
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Ask the interactive `claude` CLI one thing, and print the answer.",
        epilog=f"other commands: {prog} doctor, {prog} watch (each has --help)\n\n"
        f"exit codes:\n{codes}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    _print.add_arguments(parser)
    return parser


def _commands(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=prog)
    subcommands = parser.add_subparsers(required=True, metavar="command")
    for module in _COMMANDS.values():
        module.add_parser(subcommands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
