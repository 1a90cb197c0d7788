"""Text on the screen while the model writes it."""

from __future__ import annotations

import attrs
import trio
from common import choose_model, paint

from claude_trio import BackendOptions, TextDelta, open_backend
from claude_trio.testing import Reply, text

POEM = "A heron stands,\nand the river goes by.\nIt is in no hurry:\nthe fish will come."
SCRIPT = [
    Reply(text(POEM), chunk=4, interval=0.05),
    Reply(text("It is about\npatience."), chunk=4, interval=0.05),
]


async def watch(options: BackendOptions) -> None:
    """Print a poem line by line, then ask about it."""
    options = attrs.evolve(options, include_partial_messages=True)
    async with open_backend(options) as backend:
        messages = [{"role": "user", "content": "Write a short poem about a heron."}]
        turn = backend.complete(messages)
        poem = ""
        async for piece in turn.text_stream:
            print(paint(piece, 36), end="", flush=True)
            poem += piece
        print()

        messages += [
            {"role": "assistant", "content": poem},
            {"role": "user", "content": "What is it about?"},
        ]
        # The same as events, among all others.
        pieces = 0
        async for event in backend.complete(messages):
            if isinstance(event, TextDelta):
                pieces += bool(event.text)
                print(paint(event.text, 35), end="", flush=True)
        print(f"\nin one piece or more: {pieces > 0}")


async def main() -> None:
    """Run it."""
    async with choose_model(SCRIPT) as options:
        await watch(options)


if __name__ == "__main__":
    trio.run(main)
