"""The program decides what the agent may do, and answers its questions."""

from __future__ import annotations

import attrs
import trio
from common import choose_model, paint

from claude_trio import (
    Allow,
    BackendOptions,
    Deny,
    PermissionRequest,
    QuestionRequest,
    open_backend,
)
from claude_trio.testing import Reply, tool_use

COLOUR = {
    "question": "Which colour?",
    "header": "Colour",
    "multiSelect": False,
    "options": [
        {"label": "Blue", "description": "like the sea"},
        {"label": "Red", "description": "like a rose"},
    ],
}
SCRIPT = [
    Reply(tool_use("AskUserQuestion", {"questions": [COLOUR]})),
    Reply(
        tool_use("Bash", {"command": "touch blue.txt", "description": "Make a file"}),
        tool_use("Bash", {"command": "git push --force", "description": "Publish it"}),
        tool_use("Bash", {"command": "touch red.txt", "description": "Make another"}),
    ),
    Reply("Made blue.txt, and another one as you wished; nothing was published."),
]


async def decide(request: PermissionRequest) -> Allow | Deny:
    """Say yes to harmless commands, change one, and say no to the rest."""
    await trio.sleep(0.1)  # somebody is asked, or something; the CLI waits
    command = str(request.input.get("command", ""))
    print(paint(f"may it     {request.tool_name} {command}", 33))
    if command == "touch red.txt":
        return Allow(updated_input={**request.input, "command": "touch green.txt"})
    if command.startswith("touch "):
        return Allow()
    return Deny("Only files may be made here.")


async def answer(request: QuestionRequest) -> dict[str, str]:
    """Choose the first answer to each question."""
    await trio.sleep(0.1)
    for question in request.questions:
        print(paint(f"question   {question.question}", 33))
    return {question.question: question.options[0].label for question in request.questions}


async def work(options: BackendOptions) -> None:
    """Let the agent work under supervision, and see what it has done."""
    options = attrs.evolve(options, on_permission=decide, on_question=answer)
    async with open_backend(options) as backend:
        messages = [
            {"role": "user", "content": "Ask me for a colour and make a file of that name."}
        ]
        print(paint(await backend.complete(messages).get_final_text(), 36))
    made = sorted([path.name for path in await trio.Path(options.cwd).glob("*.txt")])
    print(f"files      {', '.join(made)}")


async def main() -> None:
    """Run it."""
    async with choose_model(SCRIPT) as options:
        await work(options)


if __name__ == "__main__":
    trio.run(main)
