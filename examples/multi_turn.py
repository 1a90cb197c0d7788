"""Two turns in one live process: the second remembers what the first was told."""

from __future__ import annotations

import trio
from common import choose_model, paint

from claude_trio import BackendOptions, open_backend
from claude_trio.testing import Reply, text

SCRIPT = [
    Reply(text("I will remember it.")),
    Reply(text("The codeword is heron.")),
]


async def talk(options: BackendOptions) -> None:
    """Tell it a codeword, ask for it, and see that one process answered both."""
    async with open_backend(options) as backend:
        messages = [{"role": "user", "content": "The codeword is heron. Remember it."}]
        first = backend.complete(messages)
        reply = await first.get_final_text()
        print(paint(reply, 36))

        messages += [
            {"role": "assistant", "content": reply},
            {"role": "user", "content": "What is the codeword?"},
        ]
        second = backend.complete(messages)
        print(paint(await second.get_final_text(), 36))

        assert first.session is not None
        assert second.session is not None
        reused = first.session.pid == second.session.pid
        print(f"process {second.session.pid}, turn {second.session.turns}, reused: {reused}")


async def main() -> None:
    """Run it."""
    async with choose_model(SCRIPT) as options:
        await talk(options)


if __name__ == "__main__":
    trio.run(main)
