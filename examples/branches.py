"""One beginning, two continuations at the same time; neither knows of the other."""

from __future__ import annotations

from typing import Any

import trio
from common import choose_model, paint

from claude_trio import BackendOptions, ClaudeCodeBackend, open_backend
from claude_trio.testing import RecordedRequest, Reply

BEGINNING = "We are naming a boat. One word, please."


def answer(request: RecordedRequest) -> Reply:
    """Say something that depends on the whole conversation, as a model does."""
    if "boat" in request.prompt:
        return Reply("Heron.")
    return Reply("Kingfisher." if "brighter" in request.prompt else "Bittern.")


async def go_on(backend: ClaudeCodeBackend, messages: list[dict[str, Any]], wish: str) -> str:
    """Continue the conversation in one way; return a line about it."""
    turn = backend.complete([*messages, {"role": "user", "content": wish}])
    reply = await turn.get_final_text()
    assert turn.session is not None
    assert turn.result is not None
    how = "another process, on a copy" if turn.result.resumed else "the live process"
    return f"{wish:<20} {reply:<12} {paint(how, 90)}"


async def branch(options: BackendOptions) -> None:
    """Ask once, and go on in two ways."""
    lines: dict[str, str] = {}
    async with open_backend(options) as backend:
        messages: list[dict[str, Any]] = [{"role": "user", "content": BEGINNING}]
        reply = await backend.complete(messages).get_final_text()
        messages.append({"role": "assistant", "content": reply})
        print(reply)

        async def one(wish: str) -> None:
            lines[wish] = await go_on(backend, messages, wish)

        wishes = ("Something brighter.", "Something quieter.")
        async with trio.open_nursery() as nursery:
            for wish in wishes:
                nursery.start_soon(one, wish)
        for wish in wishes:
            print(lines[wish])


async def main() -> None:
    """Run it."""
    async with choose_model(answer) as options:
        await branch(options)


if __name__ == "__main__":
    trio.run(main)
