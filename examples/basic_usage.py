"""One question, every event as it comes, and the final text."""

from __future__ import annotations

import trio
from common import choose_model, paint, show

from claude_trio import BackendOptions, open_backend
from claude_trio.testing import Reply, text, thinking, tool_use

# What the scripted model says; with --live it is your own model that answers.
SCRIPT = [
    Reply(
        thinking("I will look instead of guessing."),
        text("Let me look."),
        tool_use("Bash", {"command": "echo trio", "description": "Say a word"}),
    ),
    Reply(text("The shell says: trio.")),
]


async def ask(options: BackendOptions) -> None:
    """Ask one question and print what happens."""
    async with open_backend(options) as backend:
        messages = [{"role": "user", "content": "Run `echo trio` and tell me what it says."}]
        async with backend.complete(messages) as turn:
            async for event in turn:
                show(event)
        assert turn.session is not None
        assert turn.result is not None
        print(paint(f"\nclaude {turn.session.cli_version}, pid {turn.session.pid}:", 90))
        print(paint(str(turn.result.result), 1))


async def main() -> None:
    """Run it."""
    async with choose_model(SCRIPT) as options:
        await ask(options)


if __name__ == "__main__":
    trio.run(main)
