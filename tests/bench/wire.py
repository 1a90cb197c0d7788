"""How the benchmark talks to its contestants: one process each, one line of JSON each way.

The processes keep the contestants apart, so that one's event loop and CPU time are not another's.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Self

import attrs

HERE: Final = Path(__file__).parent
#: Seconds within which a contestant has answered, however slow the machine is.
PATIENCE: Final = 120.0


@attrs.frozen
class Request:
    """What a contestant is to do: take one turn, in a new process or in the one it has.

    Args:
        prompt: What is asked; `serve` decides by it how the model answers.
        fresh: End the process that there is, and start the clock and then a new one.
    """

    prompt: str
    fresh: bool

    def to_line(self) -> str:
        return json.dumps(attrs.asdict(self)) + "\n"

    @classmethod
    def from_line(cls, line: str | bytes) -> Self | None:
        """Return the request; None at the end of the input, which ends the contestant."""
        return cls(**json.loads(line)) if line.strip() else None


@attrs.frozen
class Turn:
    """One turn as its consumer saw it.

    Args:
        first: Seconds until the first event.
        end: Seconds until the result.
        cpu: Seconds of CPU that the process of the contestant spent meanwhile.
    """

    first: float
    end: float
    cpu: float

    def send(self) -> None:
        say(json.dumps(attrs.asdict(self)))


class Clock:
    """Times one turn, from when it is made."""

    def __init__(self) -> None:
        self._first = 0.0
        self._cpu = time.process_time()
        self._begun = time.perf_counter()

    def event(self) -> None:
        """Say that an event was seen."""
        self._first = self._first or time.perf_counter() - self._begun

    def stop(self) -> Turn:
        """Say that the result was seen."""
        end = time.perf_counter() - self._begun
        return Turn(self._first, end, time.process_time() - self._cpu)


class Contestant:
    """A contestant's process, from the side of the benchmark.

    Args:
        program: The name of its file.
        arguments: What it is started with.
        env: Its whole environment.
        cwd: Where it works.
    """

    def __init__(
        self, program: str, arguments: Sequence[str], env: Mapping[str, str], cwd: Path
    ) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / program), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=env,
            cwd=cwd,
            text=True,
        )

    def turn(self, prompt: str, *, fresh: bool = False) -> Turn:
        """Have it take a turn.

        Raises:
            RuntimeError: It died.
        """
        assert self._process.stdin is not None
        self._process.stdin.write(Request(prompt, fresh).to_line())
        self._process.stdin.flush()
        return Turn(**json.loads(self.line()))

    def line(self) -> str:
        """Return the next line that it prints.

        Raises:
            RuntimeError: It died.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._process.args!r} ended, code {self._process.wait()}")
        return line

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def read_request() -> Request | None:
    """Wait for the next request, in a contestant. Blocks."""
    return Request.from_line(sys.stdin.readline())


def scrubbed(env: Mapping[str, str]) -> dict[str, str]:
    """Return a world's environment, with what Python needs to find this environment's packages."""
    kept = {k: v for k, v in os.environ.items() if k.startswith(("PYTHON", "LD_LIBRARY_PATH"))}
    return {**kept, **env}
