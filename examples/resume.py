"""A conversation that survives a restart of the program.

The program keeps nothing but the list of messages, in a file of its own. Here it is "restarted" by
opening a second backend; with ``--live`` each run of it says one thing more, and ``notebook.json``
carries the conversation from one run to the next.
"""

from __future__ import annotations

import json
import sys
import tempfile

import trio
from common import choose_model, paint

from claude_trio import BackendOptions, open_backend
from claude_trio.testing import Reply

SCRIPT = [Reply("Noted: the codeword is heron."), Reply("It is heron.")]
QUESTIONS = ["Remember this codeword: heron.", "What is the codeword?"]


async def one_run(options: BackendOptions, notebook: trio.Path, question: str) -> None:
    """Do what the program does between its start and its end."""
    messages = json.loads(await notebook.read_text()) if await notebook.exists() else []
    messages.append({"role": "user", "content": question})
    async with open_backend(options) as backend, backend.complete(messages) as turn:
        reply = await turn.get_final_message()
    messages.append({"role": "assistant", "content": reply.to_dict()["content"]})
    await notebook.write_text(json.dumps(messages, indent=1))
    assert turn.result is not None
    print(reply.text)
    print(paint(f"{len(messages)} messages, resumed: {turn.result.resumed}", 90))


async def main() -> None:
    """Run it."""
    async with choose_model(SCRIPT) as options:
        if "--live" in sys.argv[1:]:
            notebook = trio.Path("notebook.json")
            await one_run(options, notebook, QUESTIONS[await notebook.exists()])
            return
        with tempfile.TemporaryDirectory() as directory:
            for question in QUESTIONS:
                await one_run(options, trio.Path(directory, "notebook.json"), question)


if __name__ == "__main__":
    trio.run(main)
