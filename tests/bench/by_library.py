"""A contestant: `claude_trio`. Its arguments are the CLI; it works in its own directory."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import trio
from wire import PATIENCE, Clock, Request, read_request

from claude_trio import BackendOptions, open_backend


async def one_process(cli: Path, request: Request) -> Request | None:
    """Take turns in one process; return the request that wants another one."""
    options = BackendOptions(cwd=Path.cwd(), cli_path=cli, env=dict(os.environ))
    messages: list[dict[str, str]] = []
    clock = Clock()
    async with open_backend(options) as backend:
        while True:
            messages.append({"role": "user", "content": request.prompt})
            turn = backend.complete(messages)
            with trio.fail_after(PATIENCE):
                async for _ in turn:
                    clock.event()
            clock.stop().send()
            assert turn.result is not None
            messages.append({"role": "assistant", "content": turn.result.result or ""})
            following = await trio.to_thread.run_sync(read_request)
            if following is None or following.fresh:
                return following
            request = following
            clock = Clock()


async def main() -> None:
    """Do what is requested until the input ends."""
    request = await trio.to_thread.run_sync(read_request)
    while request is not None:
        request = await one_process(Path(sys.argv[1]), request)


if __name__ == "__main__":
    trio.run(main)
