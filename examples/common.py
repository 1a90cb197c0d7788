"""What the examples share: which `claude` they talk to, and how they print.

By default an example runs the real interactive CLI in an isolated world, with a scripted model on the
loopback interface: no account, no network. With ``--live`` it runs your own, logged-in `claude`.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from claude_trio import (
    AssistantMessage,
    BackendOptions,
    Event,
    ResultMessage,
    TextBlock,
    TextDelta,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
    UserMessage,
)
from claude_trio.testing import (
    RecordedRequest,
    Reply,
    find_real_cli,
    isolated_world,
    open_loopback_api,
)


@asynccontextmanager
async def choose_model(
    script: Sequence[Reply] | Callable[[RecordedRequest], Reply],
) -> AsyncGenerator[BackendOptions, None]:
    """Give the options for your own `claude` (``--live``), or for one that a script answers.

    Args:
        script: The replies, in order; or what makes a reply to a request.
    """
    if "--live" in sys.argv[1:]:
        yield BackendOptions(cwd=Path.cwd())
        return
    cli = find_real_cli()
    if cli is None:
        sys.exit("no CLI found: pip install claude-agent-sdk, or pass --live for your own `claude`")
    with isolated_world() as world:
        async with open_loopback_api() as api:
            if callable(script):
                api.default = script
            else:
                for reply in script:
                    api.reply(reply)
            yield BackendOptions(cwd=world.cwd, cli_path=cli, env=world.env(api.base_url))


def paint(text: str, colour: int) -> str:
    """Colour a text, if it goes to a terminal."""
    return f"\x1b[{colour}m{text}\x1b[0m" if sys.stdout.isatty() else text


def show(event: Event) -> None:
    """Print an event, a line for each of its blocks."""
    if isinstance(event, ResultMessage):
        used = f"{event.usage.input_tokens} tokens in, {event.usage.output_tokens} out"
        print(paint(f"result     {event.subtype}, {event.duration_ms} ms, {used}", 32))
        return
    if isinstance(event, TextDelta):
        print(paint(f"delta      {event.text}", 36))
        return
    if not isinstance(event, AssistantMessage | UserMessage):
        print(paint(f"system     {event.subtype}", 90))
        return
    for block in event.content:
        match block:
            case TextBlock(text):
                name = "assistant" if isinstance(event, AssistantMessage) else event.origin
                print(paint(f"{name:<10} {text}", 36 if name == "assistant" else 90))
            case ThinkingBlock(thinking):
                print(paint(f"thinking   {thinking}", 35))
            case ToolUseBlock(_, name, arguments):
                print(paint(f"tool use   {name} {dict(arguments)}", 33))
            case ToolResultBlock(_, content):
                print(paint(f"result of  {content}", 33))
            case _:
                print(paint(f"{block.type:<10} {block}", 90))
