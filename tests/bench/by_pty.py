"""A contestant: the same CLI in a bare terminal, with nothing of `claude_trio`.

The least that a program has to do: paste, Enter, and look at the transcript every millisecond until
the record that ends a turn is there. It checks nothing and gives up at nothing; it is what the
library is measured against, and no way to do it.
"""

from __future__ import annotations

import json
import os
import re
import select
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import ptyprocess
from wire import PATIENCE, Clock, Request

_LOOK: Final = 0.001  # seconds
_ENTER_AGAIN: Final = 1.5  # seconds
_FIRST_ENTER_GAP: Final = 0.05  # seconds
_SIZE: Final = (50, 160)


class Conversation:
    """One process, and its transcript.

    Args:
        command: The CLI and its arguments.
    """

    def __init__(self, command: Sequence[str]) -> None:
        name = str(uuid.uuid4())
        self._child = ptyprocess.PtyProcess.spawn(
            [*command, "--session-id", name], env=dict(os.environ), dimensions=_SIZE
        )
        os.set_blocking(self._child.fd, False)
        config = Path(os.environ["CLAUDE_CONFIG_DIR"])
        key = re.sub("[^A-Za-z0-9]", "-", os.path.realpath("."))
        self._transcript = str(config / "projects" / key / f"{name}.jsonl")
        self._status = config / "sessions" / f"{self._child.pid}.json"
        self._offset = 0
        self._rest = b""

    def take(self, prompt: str, clock: Clock, *, fresh: bool) -> None:
        """Take one turn."""
        if fresh:
            self._until(self._ready)
        paste = b"\x1b[200~" + prompt.encode() + b"\x1b[201~"
        if fresh:
            self._write(paste)
            pressed = time.monotonic()
            self._until(lambda: time.monotonic() - pressed > _FIRST_ENTER_GAP)
            self._write(b"\r")
        else:
            self._write(paste + b"\r")
        pressed = time.monotonic()
        seen = False

        def over() -> bool:
            nonlocal pressed, seen
            for record in self._read():
                if record["type"] in {"user", "assistant"}:
                    clock.event()
                    seen = True
                if record.get("subtype") == "turn_duration":
                    return True
            if not seen and time.monotonic() - pressed > _ENTER_AGAIN:
                self._write(b"\r")
                pressed = time.monotonic()
            return False

        self._until(over)

    def wait_for(self, descriptor: int) -> bytes:
        """Return what can be read next from a descriptor, taking the terminal's output meanwhile."""
        while True:
            ready, _, _ = select.select([descriptor, self._child.fd], [], [])
            if self._child.fd in ready:
                os.read(self._child.fd, 65_536)
            if descriptor in ready:
                return os.read(descriptor, 65_536)

    def close(self) -> None:
        """End the process, taking the terminal's output meanwhile."""
        self._child.kill(15)
        self._until(lambda: not self._child.isalive())
        self._child.close()

    def _until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, condition
            ready, _, _ = select.select([self._child.fd], [], [], _LOOK)
            if ready:
                try:
                    os.read(self._child.fd, 65_536)
                except OSError:  # the terminal's end
                    time.sleep(_LOOK)

    def _ready(self) -> bool:
        try:
            return bool(json.loads(self._status.read_bytes()).get("status") == "idle")
        except (FileNotFoundError, ValueError):
            return False

    def _write(self, data: bytes) -> None:
        assert os.write(self._child.fd, data) == len(data)

    def _read(self) -> list[dict[str, Any]]:
        try:
            size = os.stat(self._transcript).st_size  # noqa: PTH116 - as little as can be
        except FileNotFoundError:
            return []
        if size == self._offset:
            return []
        with open(self._transcript, "rb", buffering=0) as file:  # noqa: PTH123 - likewise
            file.seek(self._offset)
            data = file.read()
        self._offset += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [json.loads(line) for line in lines]


def main() -> None:
    """Do what is requested until the input ends."""
    request = Request.from_line(os.read(0, 65_536))
    while request is not None:
        clock = Clock()
        conversation = Conversation(sys.argv[1:])
        try:
            conversation.take(request.prompt, clock, fresh=True)
            clock.stop().send()
            request = Request.from_line(conversation.wait_for(0))
            while request is not None and not request.fresh:
                clock = Clock()
                conversation.take(request.prompt, clock, fresh=False)
                clock.stop().send()
                request = Request.from_line(conversation.wait_for(0))
        finally:
            conversation.close()


if __name__ == "__main__":
    main()
