"""The model calls functions of this program; they share its memory and its event loop."""

from __future__ import annotations

from typing import Annotated

import attrs
import trio
from common import choose_model, paint, show
from pydantic import Field

from claude_trio import BackendOptions, open_backend, tool
from claude_trio.testing import Reply, tool_use

STOCK = {"apples": 3, "pears": 0}
SCRIPT = [
    Reply(
        tool_use("mcp__shop__in_stock", {"article": "apples"}),
        tool_use("mcp__shop__order", {"article": "pears", "number": 12}),
        tool_use("mcp__shop__in_stock", {"article": "kiwis"}),
    ),
    Reply("There are 3 apples, and 12 pears are on their way. There are no kiwis."),
]


@tool
async def in_stock(article: str) -> int:
    """Say how many of an article there are."""
    await trio.sleep(0.1)  # a database is asked
    if article not in STOCK:
        raise LookupError(f"we do not sell {article}")
    return STOCK[article]


@tool
async def order(article: str, number: Annotated[int, Field(gt=0, description="how many")]) -> str:
    """Order some of an article."""
    await trio.sleep(0.1)  # another program is told
    STOCK[article] += number
    return f"{number} {article} will come tomorrow"


async def sell(options: BackendOptions) -> None:
    """Let the model work with the shop."""
    options = attrs.evolve(options, mcp_servers={"shop": [in_stock, order]})
    async with open_backend(options) as backend:
        messages = [{"role": "user", "content": "What is in stock? Order what is missing."}]
        async with backend.complete(messages) as turn:
            async for event in turn:
                show(event)
    print(paint(f"stock      {STOCK}", 1))


async def main() -> None:
    """Run it."""
    async with choose_model(SCRIPT) as options:
        await sell(options)


if __name__ == "__main__":
    trio.run(main)
