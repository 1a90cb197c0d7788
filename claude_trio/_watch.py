"""The subcommand ``watch``: follows the transcript of any session, and prints its events."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import shutil
from functools import partial
from pathlib import Path
from typing import Final

import trio

from ._arguments import Subcommands, refuse
from ._console import Console, colours_wanted, fit
from ._find_session import named_transcript, newest_transcript
from ._jsonl import JsonlWatcher
from ._launch import config_directory
from ._printers import to_line
from ._protocol.normalize import normalize
from ._protocol.past import whole_lines
from ._protocol.printed import print_event
from ._subagents import SubagentFiles
from .events import (
    AssistantMessage,
    ContentBlock,
    Event,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
    UserMessage,
)
from .options import log_unreadable

_CODES: Final = """\
exit code: 0 the end was reached (--no-follow); 2 wrong arguments, or no session to be read;
74 the output cannot be written; 130 Ctrl-C; 141 nobody reads the output any more
"""
_COLOURS: Final = {"prompt": 1, "assistant": 36, "thinking": 35, "tool use": 33, "result of": 33}
_FAILED: Final = 31
_OTHER: Final = 90


def add_parser(subcommands: Subcommands) -> None:
    """Add the subcommand to a command line."""
    parser = subcommands.add_parser(
        "watch",
        help="follow a session of any `claude`, one event a line",
        description="Follow the transcript of a session, whoever runs it: a line for each event, "
        "coloured on a terminal, and else JSON as `claude -p --output-format stream-json` prints it.",
        epilog=_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "session",
        nargs="?",
        metavar="SESSION",
        help="its id, or its transcript (*.jsonl); default: the newest of the directory",
    )
    parser.add_argument("--cwd", default=".", help="the directory (default: this one)")
    parser.add_argument("--new", action="store_true", help="only what comes from now on")
    parser.add_argument(
        "--no-follow", dest="follow", action="store_false", help="stop at the present end"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Follow, print, and return the exit code."""
    try:
        try:
            path = _transcript(arguments.session, Path(arguments.cwd).resolve())
        except ValueError as exc:
            return refuse(exc)
        watcher = JsonlWatcher(path)
        subagents = SubagentFiles(path, log_unreadable)
        if arguments.new:
            watcher = JsonlWatcher(path, offset=len(whole_lines(path.read_bytes())))
            subagents.skip_present()
        trio.run(partial(_print, watcher, subagents, follow=arguments.follow))
    except OSError as exc:
        return refuse(ValueError(f"{exc.filename} cannot be read: {exc.strerror}"))
    return 0


async def _print(watcher: JsonlWatcher, subagents: SubagentFiles, *, follow: bool) -> None:
    console = Console()
    if console.live:
        await console.note(str(watcher.path))
    while True:
        await trio.lowlevel.checkpoint()
        events = [
            *(normalize(record) for record in watcher.read()),
            *(normalize(record, parent_tool_use_id=call) for record, call in subagents.read()),
        ]
        for event in events:
            if event is not None:
                await console.write(_line(event, console), styled=True)
        if not watcher.behind:
            if not follow:
                return
            await trio.sleep(watcher.interval)


def _transcript(session: str | None, cwd: Path) -> Path:
    directory = config_directory(os.environ, cwd)
    if session is None:
        return newest_transcript(directory, cwd)
    return named_transcript(session, directory)


def _line(event: Event, console: Console) -> str:
    if not console.live:
        return to_line(print_event(event))
    return line(event, width=shutil.get_terminal_size().columns, colour=colours_wanted()) + "\n"


def line(event: Event, *, width: int, colour: bool) -> str:
    """Return an event as one line for a person.

    Args:
        event: The event.
        width: How many columns there are; what does not fit is left out.
        colour: Whether to colour it by what it is.
    """
    name, text, failed = _shown(event)
    inner = "> " if event.parent_tool_use_id is not None else ""
    begin = f"{_time(event.timestamp)} {inner}{fit(name, 20):<10} "
    shown = (begin + fit(text, width - len(begin)))[:width].rstrip()
    if not colour:
        return shown
    return f"\x1b[{_FAILED if failed else _COLOURS.get(name, _OTHER)}m{shown}\x1b[0m"


def _time(timestamp: str | None) -> str:
    try:
        return f"{datetime.datetime.fromisoformat(timestamp or '').astimezone():%H:%M:%S}"
    except ValueError:
        return "--:--:--"


def _shown(event: Event) -> tuple[str, str, bool]:
    """Return what an event is called, what it says, and whether something has failed."""
    if not isinstance(event, AssistantMessage | UserMessage):
        return "system", getattr(event, "subtype", ""), False
    failed = isinstance(event, AssistantMessage) and event.error is not None
    own = "assistant" if isinstance(event, AssistantMessage) else event.origin
    parts = [_block(block, own) for block in event.content] or [(own, "", False)]
    text = " · ".join(text for _, text, _ in parts)
    return parts[0][0], text, failed or any(bad for *_, bad in parts)


def _block(block: ContentBlock, own: str) -> tuple[str, str, bool]:
    match block:
        case TextBlock(text):
            return own, text, False
        case ThinkingBlock(thinking):
            return "thinking", thinking, False
        case ToolUseBlock(_, name, given):
            return "tool use", f"{name} {json.dumps(dict(given), ensure_ascii=False)}", False
        case ToolResultBlock(_, content, is_error):
            text = content if isinstance(content, str) else json.dumps([*content])
            return "result of", text, is_error
        case _:
            return own, f"[{block.type}]", False
