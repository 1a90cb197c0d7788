"""A program that is killed in the middle of a turn. Usage: killed_owner.py CLI DIRECTORY.

It prints the pid of its CLI once a turn runs.
"""

from __future__ import annotations

import os
import sys

import trio

from claude_trio import BackendOptions, open_backend


async def main() -> None:
    options = BackendOptions(
        cwd=sys.argv[2],
        cli_path=sys.argv[1],
        env=dict(os.environ),
        dangerously_skip_permissions=True,
    )
    async with open_backend(options) as backend:
        turn = backend.complete([{"role": "user", "content": "wait"}])
        await turn.receive()
        assert turn.session is not None
        sys.stdout.write(f"{turn.session.pid}\n")
        sys.stdout.flush()
        await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(main)
