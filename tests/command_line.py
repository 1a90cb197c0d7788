"""The command line in a process of its own, and its CLI in a world of its own."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import trio

import claude_trio
from claude_trio.testing import LoopbackApi, World

PATIENCE = 100.0  # seconds


@attrs.frozen
class Done:
    """What a command printed, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


@attrs.frozen
class CommandLine:
    """Runs ``python -m claude_trio``; and ``claude -p`` itself, to compare.

    Args:
        variables: Further ones for the CLI.
    """

    world: World
    api: LoopbackApi
    cli: Path
    variables: dict[str, str] = attrs.field(factory=dict)

    def command(self, *arguments: str) -> list[str]:
        env = {**self.world.env(self.api.base_url), **self.variables}
        given = [part for name, value in env.items() for part in ("--env", f"{name}={value}")]
        here = [sys.executable, "-m", "claude_trio", *arguments]
        return [*here, "--cwd", str(self.world.cwd), "--cli", str(self.cli), *given]

    def environment(self) -> dict[str, str]:
        package = str(Path(claude_trio.__file__).parent.parent)
        own = {"HOME": str(self.world.home), "CLAUDE_CONFIG_DIR": str(self.world.config_dir)}
        return {**os.environ, **own, "PYTHONPATH": package}

    async def run(self, *arguments: str, stdin: bytes = b"") -> Done:
        return await finish(self.command(*arguments), self.environment(), self.world.cwd, stdin)

    async def watch(self, *arguments: str) -> Done:
        command = [sys.executable, "-m", "claude_trio", "watch", *arguments]
        return await finish(command, self.environment(), self.world.cwd, b"")

    async def claude(self, *arguments: str, stdin: bytes = b"") -> Done:
        env = {**self.world.env(self.api.base_url), **self.variables}
        return await finish([str(self.cli), *arguments], env, self.world.cwd, stdin)


async def finish(
    command: Sequence[str], env: dict[str, str], cwd: Path, stdin: bytes = b""
) -> Done:
    with trio.fail_after(PATIENCE):
        done = await trio.run_process(
            command,
            stdin=stdin,
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            cwd=cwd,
            env=env,
        )
    return Done(done.returncode, done.stdout.decode(), done.stderr.decode())
