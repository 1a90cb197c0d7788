"""``python -m claude_trio``: the command line, one module for each subcommand."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Final

from . import _doctor

_INTERRUPTED: Final = 130  # as a shell says that SIGINT ended a program


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand; return its exit code.

    Args:
        argv: The arguments. Default: those of this process.
    """
    parser = argparse.ArgumentParser(
        prog="python -m claude_trio", description="Drive the interactive `claude` CLI from trio."
    )
    subcommands = parser.add_subparsers(required=True, metavar="command")
    for module in (_doctor,):
        module.add_parser(subcommands)
    arguments = parser.parse_args(argv)
    try:
        code: int = arguments.run(arguments)
    except BaseExceptionGroup as group:  # from inside a nursery
        if group.split(KeyboardInterrupt)[1] is not None:
            raise
        code = _INTERRUPTED
    except KeyboardInterrupt:
        code = _INTERRUPTED
    return code


if __name__ == "__main__":
    sys.exit(main())
