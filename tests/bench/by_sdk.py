"""A contestant: the official SDK, which runs the CLI without a terminal, on its own event loop."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from claude_agent_sdk import ClaudeAgentOptions, ClaudeSDKClient
from wire import PATIENCE, Clock, Request, read_request


async def one_process(cli: Path, request: Request) -> Request | None:
    """Take turns in one process; return the request that wants another one."""
    options = ClaudeAgentOptions(
        cli_path=cli,
        cwd=Path.cwd(),
        env=dict(os.environ),
        permission_mode="dontAsk",
        setting_sources=[],
    )
    clock = Clock()
    async with ClaudeSDKClient(options) as client:
        while True:
            async with asyncio.timeout(PATIENCE):
                await client.query(request.prompt)
                async for _ in client.receive_response():
                    clock.event()
            clock.stop().send()
            following = await asyncio.to_thread(read_request)
            if following is None or following.fresh:
                break
            request = following
            clock = Clock()
    return following


async def main() -> None:
    """Do what is requested until the input ends."""
    request = await asyncio.to_thread(read_request)
    while request is not None:
        request = await one_process(Path(sys.argv[1]), request)


if __name__ == "__main__":
    asyncio.run(main())
