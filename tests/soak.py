"""Many turns over several conversations, with interrupts, kills and cancellations at random.

``python tests/soak.py [--turns 200] [--conversations 8] [--seed 1]`` prints a summary, and fails if a
reply belongs to another prompt, or if a process or a descriptor is left. On the real CLI, with the
loopback API as its model, in an isolated world.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import attrs
import psutil
import trio

from claude_trio import (
    BackendOptions,
    ClaudeCodeBackend,
    ProcessError,
    SessionError,
    Turn,
    open_backend,
)
from claude_trio.testing import (
    LoopbackApi,
    RecordedRequest,
    Reply,
    find_real_cli,
    isolated_world,
    open_loopback_api,
    tool_use,
)

#: What is done to a turn, and how often.
ACTIONS: Final = {
    "answered": 60,
    "interrupted by interrupt()": 10,
    "interrupted by interrupt() at some time": 10,
    "interrupted by its consumer": 10,
    "interrupted in a tool": 6,
    "cancelled at some time": 10,
    "killed in the turn": 7,
    "killed between turns": 7,
}
PATIENCE: Final = 120.0  # seconds for one turn on a busy machine


def answer(request: RecordedRequest) -> Reply:
    """Say which prompt this is the reply to; or say nothing, or use a tool, as the prompt tells."""
    prompt = request.prompt
    if "never" in prompt:
        return Reply("never", hold_before=trio.Event())
    if "tool" in prompt:
        return Reply(tool_use("Bash", {"command": "sleep 1000", "description": "Wait"}))
    return Reply(f"re: {prompt}")


@attrs.define
class Conversation:
    """One of them, as its user knows it."""

    backend: ClaudeCodeBackend
    api: LoopbackApi
    dice: random.Random
    name: str
    tally: Counter[str]
    history: list[dict[str, Any]] = attrs.field(factory=list)

    async def run(self, turns: int) -> None:
        for number in range(turns):
            (action,) = self.dice.choices([*ACTIONS], [*ACTIONS.values()])
            with trio.fail_after(PATIENCE):
                await self.take_turn(f"{self.name}, turn {number}", action)
            self.tally[action] += 1

    async def take_turn(self, prompt: str, action: str) -> None:  # noqa: C901 - a case an action
        match action:
            case "answered":
                await self.ask(prompt)
            case "interrupted by interrupt()":
                turn = self.complete(prompt := f"{prompt}, never answered")
                await self.interrupt_when(turn, partial(self.until_asked, prompt))
                assert turn.result is not None
                assert turn.result.subtype == "interrupted"
            case "interrupted by interrupt() at some time":
                turn = self.complete(prompt)
                try:
                    await self.interrupt_when(turn, partial(trio.sleep, self.dice.random() * 2))
                except* SessionError as group:
                    # On a busy machine the CLI may not have taken the prompt by then.
                    kinds = {getattr(exc, "kind", None) for exc in group.exceptions}
                    if kinds != {"not_accepted"}:
                        raise
                assert turn.result is not None
                said = turn.result.result or ""  # what had been said by then
                assert f"re: {prompt}".startswith(said), turn.result
                self.history = []  # whether the model has answered is not told
            case "interrupted by its consumer":
                turn = self.complete(prompt := f"{prompt}, never answered")
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(turn.get_final_text)
                    await self.until_asked(prompt)
                    nursery.cancel_scope.cancel()
                assert turn.result is not None
                assert turn.result.subtype == "interrupted"
            case "interrupted in a tool":
                turn = self.complete(prompt := f"{prompt}, in a tool")
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(turn.get_final_text)
                    await self.until_asked(prompt)
                    await trio.sleep(self.dice.random())
                    nursery.cancel_scope.cancel()
                self.history = []
            case "cancelled at some time":
                with trio.move_on_after(self.dice.random() * 2) as scope:
                    await self.ask(prompt)
                if scope.cancelled_caught:  # before the reply or behind it; nobody can tell
                    self.history = []
            case "killed in the turn":
                turn = self.complete(prompt := f"{prompt}, never answered")
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self.read_to_the_death, turn)
                    await self.until_asked(prompt)
                    self.kill(turn)
            case "killed between turns":
                pid = self.kill(await self.ask(prompt))
                while pid in [session.pid for session in self.backend.sessions]:
                    await trio.sleep(0.01)

    async def interrupt_when(self, turn: Turn, wait: Callable[[], Awaitable[None]]) -> None:
        """Read a turn to its end, and interrupt it from another task, which may be too late."""
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def interrupt() -> None:
                await wait()
                await turn.interrupt()

            async for _ in turn:
                pass

    def complete(self, prompt: str) -> Turn:
        return self.backend.complete([*self.history, {"role": "user", "content": prompt}])

    async def ask(self, prompt: str) -> Turn:
        if self.dice.random() < 0.2:
            prompt += "\twith a tab" if self.dice.random() < 0.5 else " and \x07 a bell"
        turn = self.complete(prompt)
        reply = await turn.get_final_text()
        assert reply == f"re: {prompt}", f"{prompt!r} was answered {reply!r}"
        assert turn.session is not None
        self.tally[f"({turn.session.origin})"] += 1
        self.history += [
            {"role": "user", "content": prompt},
            {"role": "assistant", "content": reply},
        ]
        return turn

    async def until_asked(self, prompt: str) -> None:
        while not any(prompt == request.prompt for request in self.api.conversations):
            await trio.sleep(0.02)

    async def read_to_the_death(self, turn: Turn) -> None:
        with contextlib.suppress(ProcessError):
            raise AssertionError(f"a dead process has said {await turn.get_final_text()!r}")

    @staticmethod
    def kill(turn: Turn) -> int:
        assert turn.session is not None
        assert turn.session.pid is not None
        os.kill(turn.session.pid, signal.SIGKILL)
        return turn.session.pid


def inhabitants(home: Path) -> list[str]:
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("HOME") == str(home):
                found.append(str(process))
    return found


async def soak(cli: Path, *, turns: int, conversations: int, seed: int) -> Counter[str]:
    """Run it; return how many turns ended in which way.

    Args:
        cli: The real CLI.
        turns: How many in all.
        conversations: How many at a time.
        seed: Of everything random.
    """
    tally: Counter[str] = Counter()
    with isolated_world() as world:
        async with open_loopback_api() as api:
            api.default = answer
            descriptors = len(os.listdir("/dev/fd"))  # noqa: PTH208 - a number is wanted
            options = BackendOptions(
                cwd=world.cwd,
                cli_path=cli,
                env=world.env(api.base_url),
                dangerously_skip_permissions=True,
            )
            async with open_backend(options) as backend, trio.open_nursery() as nursery:
                for number in range(conversations):
                    name = f"conversation {number} of seed {seed}"
                    share = turns // conversations + (number < turns % conversations)
                    dice = random.Random(f"{seed} {number}")
                    nursery.start_soon(Conversation(backend, api, dice, name, tally).run, share)
            left = inhabitants(world.home)
            more = len(os.listdir("/dev/fd")) - descriptors  # noqa: PTH208 - likewise
    assert [] == left, f"processes left: {left}"
    assert more <= 0, f"{more} descriptors left"
    return tally


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--turns", type=int, default=200)
    parser.add_argument("--conversations", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    cli = find_real_cli()
    if cli is None:
        sys.exit("no real CLI: install claude-agent-sdk, or set CLAUDE_TRIO_TEST_CLI")

    async def run() -> Counter[str]:
        return await soak(cli, **vars(arguments))

    tally = trio.run(run)
    sys.stdout.write(
        f"{arguments.turns} turns, {arguments.conversations} conversations, seed {arguments.seed}\n"
        + "".join(f"{count:6} {name}\n" for name, count in sorted(tally.items()))
        + "every reply belonged to its prompt; no process and no descriptor was left\n"
    )


if __name__ == "__main__":
    main()
