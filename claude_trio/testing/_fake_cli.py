"""`FakeCLI`: a scripted `claude` for faults and for speed.

It proves nothing about the real CLI; it is for what a real one does rarely, slowly or never.
"""

from __future__ import annotations

import base64
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

import attrs

from ._replies import Block, text

_PROGRAM = Path(__file__).with_name("_fake_program.py")


def _blocks(given: Sequence[Block | str]) -> list[dict[str, Any]]:
    return [text(block) if isinstance(block, str) else dict(block) for block in given]


@attrs.frozen
class Echo:
    """Answer ``echo: `` and the prompt, so that a reply shows which prompt it is to."""

    do: ClassVar[str] = "echo"


@attrs.frozen(init=False)
class Answer:
    """Write an API message, a record for each of its blocks.

    Args:
        blocks: Blocks, or strings for text blocks.
        stop_reason: Its stop reason.
        usage: Its token counts.
        message_id: Its id. Default: a new one.
    """

    do: ClassVar[str] = "answer"
    blocks: Sequence[Block]
    stop_reason: str | None
    usage: Mapping[str, int] | None
    message_id: str | None

    def __init__(
        self,
        *blocks: Block | str,
        stop_reason: str | None = "end_turn",
        usage: Mapping[str, int] | None = None,
        message_id: str | None = None,
    ) -> None:
        self.__attrs_init__(_blocks(blocks), stop_reason, usage, message_id)


@attrs.frozen
class Result:
    """Write the result of a tool."""

    do: ClassVar[str] = "result"
    tool_use_id: str
    content: str
    is_error: bool = False


@attrs.frozen
class Sleep:
    """Be busy for so many seconds."""

    do: ClassVar[str] = "sleep"
    seconds: float


@attrs.frozen
class Gate:
    """Be busy until a file exists."""

    do: ClassVar[str] = "gate"
    path: Path = attrs.field(converter=Path)


@attrs.frozen
class Hang:
    """Be busy until Esc."""

    do: ClassVar[str] = "hang"


@attrs.frozen
class Fail:
    """Write the record of an API error.

    Args:
        error: The record's code, for example ``rate_limit``.
        status: The HTTP status.
        text: What it says.
        fields: Fields of the record on top.
    """

    do: ClassVar[str] = "error"
    error: str
    status: int | None = None
    text: str = "API Error: made up"
    fields: Mapping[str, Any] = attrs.field(factory=dict)


@attrs.frozen
class Write:
    """Write a record with these fields, chained to the one before."""

    do: ClassVar[str] = "record"
    fields: Mapping[str, Any]


@attrs.frozen
class Raw:
    """Write these bytes into the transcript, whatever they are."""

    do: ClassVar[str] = "raw"
    data: bytes


@attrs.frozen
class SetStatus:
    """Say this in the status file, true or not."""

    do: ClassVar[str] = "status"
    state: str
    waiting_for: str | None = None


@attrs.frozen
class Dialog:
    """Open a dialog, and wait in it until Esc."""

    do: ClassVar[str] = "dialog"
    waiting_for: str = "permission prompt"


@attrs.frozen
class Spawn:
    """Start a program in a session of its own, and leave it behind."""

    do: ClassVar[str] = "spawn"
    argv: Sequence[str]


@attrs.frozen
class CloseTerminal:
    """Let go of the terminal, and live on."""

    do: ClassVar[str] = "close_terminal"


@attrs.frozen
class Die:
    """End the process: with an exit code, or by a signal."""

    do: ClassVar[str] = "die"
    code: int = 1
    signal: int = 0


Step: TypeAlias = (
    Echo
    | Answer
    | Result
    | Sleep
    | Gate
    | Hang
    | Fail
    | Write
    | Raw
    | SetStatus
    | Dialog
    | Spawn
    | CloseTerminal
    | Die
)


@attrs.frozen(kw_only=True)
class Startup:
    """How the program starts.

    Args:
        kind: ``ready``; ``dialog`` shows `text` and never gets ready; ``exit`` prints `text` and
            ends with `code`; ``hang`` shows nothing; ``without_status`` has a status file that
            never says idle; ``stale_status`` has one that a dead process with its pid has left;
            ``no_status_file`` has none.
        text: What it prints.
        code: Its exit code.
        seconds: How many seconds it takes before any of that.
    """

    kind: str = "ready"
    text: str = ""
    code: int = 1
    seconds: float = 0.0


_SAME: Any = object()


class FakeCLI:
    """A program named `claude` in a directory, and the scenario that it plays.

    Turns are queued with `turn` and taken in order, by whichever process of it comes to one; when
    none is left it answers with `Echo`. The real one's flags, files, keys and exits are imitated as
    far as a driver needs them.

    Args:
        directory: An empty directory for the program, its scenario and its log.
        startup: How it starts.
        version: The version that it says it has.
        swallow_enters: How many Enters each process ignores.
        deaf_to_escape: Whether Esc interrupts nothing.
        deaf_to_sigterm: Whether SIGTERM ends nothing.
        deaf_to_editor: Whether the key for the editor does nothing.
        deaf_to_input: Whether it reads nothing from its terminal while it is busy.
        write_bytes: Write records in pieces of so many bytes; 0: whole.
        write_pause: Seconds between two of those pieces.
    """

    def __init__(
        self,
        directory: Path,
        *,
        startup: Startup = Startup(),
        version: str = "2.1.331",
        swallow_enters: int = 0,
        deaf_to_escape: bool = False,
        deaf_to_sigterm: bool = False,
        deaf_to_editor: bool = False,
        deaf_to_input: bool = False,
        write_bytes: int = 0,
        write_pause: float = 0.0,
    ) -> None:
        self.path: Path = directory / "claude"
        self._scenario_path = directory / "scenario.json"
        self._scenario: dict[str, Any] = {
            "startup": attrs.asdict(startup),
            "version": version,
            "swallow_enters": swallow_enters,
            "deaf_to_escape": deaf_to_escape,
            "deaf_to_sigterm": deaf_to_sigterm,
            "deaf_to_editor": deaf_to_editor,
            "deaf_to_input": deaf_to_input,
            "write_bytes": write_bytes,
            "write_pause": write_pause,
            "turns": [],
        }
        self._save()
        # -S and -I: no site-packages to look through, which is most of the start.
        command = shlex.join([sys.executable, "-S", "-I", str(_PROGRAM)])
        self.path.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        self.path.chmod(0o755)

    def turn(
        self,
        *steps: Step,
        ends: bool = True,
        prompt: str | None = _SAME,
        lag: float = 0.0,
        late: float = 0.0,
        panel: str = "",
    ) -> None:
        """Queue a turn.

        Args:
            steps: What it does, in order.
            ends: Whether it writes the record that ends a turn.
            prompt: What it records as the prompt, instead of the prompt; None: nothing.
            lag: Seconds from the last record until the status file says idle.
            late: After going idle, write the record that ends a turn once more, so many seconds
                later.
            panel: After the turn, open a panel that waits for this, until Esc.
        """
        turn: dict[str, Any] = {"steps": [_plain(step) for step in steps], "ends": ends}
        if prompt is not _SAME:
            turn["prompt"] = prompt
        if lag:
            turn["lag"] = lag
        if late:
            turn["late"] = late
        if panel:
            turn["panel"] = panel
        self._scenario["turns"].append(turn)
        self._save()

    def env(self) -> dict[str, str]:
        """Return the variables that it needs, on top of those of a CLI."""
        return {"FAKE_CLAUDE_SCENARIO": str(self._scenario_path)}

    def log(self, event: str | None = None) -> list[dict[str, Any]]:
        """Return what its processes saw: starts, pastes, keys, prompts, signals, exits.

        Args:
            event: Only events of this name.
        """
        path = self._scenario_path.with_name("log.jsonl")
        lines = path.read_text().splitlines() if path.exists() else []
        entries = [json.loads(line) for line in lines]
        return [entry for entry in entries if event is None or entry["event"] == event]

    def _save(self) -> None:
        # A process may be reading it.
        unfinished = self._scenario_path.with_suffix(".new")
        unfinished.write_text(json.dumps(self._scenario))
        unfinished.replace(self._scenario_path)


def _plain(step: Step) -> dict[str, Any]:
    plain = attrs.asdict(step)
    if isinstance(step, Raw):
        plain["data"] = base64.b64encode(step.data).decode()
    if isinstance(step, Gate):
        plain["path"] = str(step.path)
    return {"do": step.do, **plain}
