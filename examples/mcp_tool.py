"""The model calls a tool of a server that the CLI starts, here `echo_server.py`."""

from __future__ import annotations

import sys
from pathlib import Path

import attrs
import trio
from common import choose_model, show

from claude_trio import BackendOptions, open_backend
from claude_trio.testing import Reply, tool_use

SCRIPT = [
    Reply(tool_use("mcp__echo__echo", {"text": "heron"})),
    Reply("The server says: echo: heron."),
]
SERVER = {"command": sys.executable, "args": [str(Path(__file__).with_name("echo_server.py"))]}


async def ask(options: BackendOptions) -> None:
    """Let the model use the tool."""
    options = attrs.evolve(options, mcp_servers={"echo": SERVER}, allowed_tools=["mcp__echo"])
    async with open_backend(options) as backend:
        messages = [{"role": "user", "content": "Let the echo server say heron."}]
        async with backend.complete(messages) as turn:
            async for event in turn:
                show(event)


async def main() -> None:
    """Run it."""
    async with choose_model(SCRIPT) as options:
        await ask(options)


if __name__ == "__main__":
    trio.run(main)
