"""A framework that people put on top of the official client: pydantic-ai; ``nox -s framework``."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anthropic
import pytest
import trio

from claude_trio import BackendOptions
from claude_trio.testing import LoopbackApi, World, tool_use

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
import gateway

pytest.importorskip("pydantic_ai", reason="optional: nox -s framework")
from pydantic_ai import Agent
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.providers.anthropic import AnthropicProvider

pytestmark = pytest.mark.real_cli


@pytest.fixture
def in_thread(world: World, api: LoopbackApi, real_cli: Path) -> Callable[..., Any]:
    """Return what calls a function with a model, in a thread, while the gateway serves."""

    async def talk(url: str, key: str, function: Callable[[AnthropicModel], Any]) -> Any:
        async with anthropic.AsyncAnthropic(base_url=url, api_key=key, timeout=120) as client:
            provider = AnthropicProvider(anthropic_client=client)
            return await function(AnthropicModel("claude-haiku-4-5", provider=provider))

    async def run(function: Callable[[AnthropicModel], Any]) -> Any:
        options = BackendOptions(cwd=world.cwd, cli_path=real_cli, env=world.env(api.base_url))
        with trio.fail_after(240):
            async with gateway.open_gateway(gateway.chat(options), gateway.listen()) as (url, key):
                return await trio.to_thread.run_sync(asyncio.run, talk(url, key, function))

    return run


async def test_an_agent_talks_and_goes_on(in_thread: Any, api: LoopbackApi) -> None:
    api.reply("Noted.")
    api.reply("Heron.")

    async def talk(model: AnthropicModel) -> tuple[str, str]:
        agent = Agent(model, system_prompt="Be brief.")
        first = await agent.run("The word is heron.")
        second = await agent.run("Which one?", message_history=first.all_messages())
        return first.output, second.output

    assert ("Noted.", "Heron.") == await in_thread(talk)
    assert 1 == len({request.body["metadata"]["user_id"] for request in api.conversations})
    assert "Be brief." == api.conversations[0].body["system"][-1]["text"]


async def test_an_agent_has_its_tools_called(in_thread: Any, api: LoopbackApi) -> None:
    api.reply(
        "I ask.",
        tool_use("mcp__client__weather", {"city": "Delft"}),
        tool_use("mcp__client__weather", {"city": "Oslo"}),
    )
    api.reply("Sun in Delft, snow in Oslo.")

    async def talk(model: AnthropicModel) -> str:
        agent = Agent(model)

        @agent.tool_plain  # type: ignore[untyped-decorator, unused-ignore]
        def weather(city: str) -> str:
            """Tell the weather of a city."""
            return {"Delft": "sun", "Oslo": "snow"}[city]

        return str((await agent.run("Weather?")).output)

    assert "Sun in Delft, snow in Oslo." == await in_thread(talk)
    assert 2 == len(api.conversations)
    assert 1 == len({request.body["metadata"]["user_id"] for request in api.conversations})
    sent = str(api.conversations[-1].messages[-1])
    assert "sun" in sent
    assert "snow" in sent


async def test_an_agent_streams(in_thread: Any, api: LoopbackApi) -> None:
    api.reply("One line\nand another.")

    async def talk(model: AnthropicModel) -> str:
        async with Agent(model).run_stream("Go.") as result:
            return str(await result.get_output())

    assert "One line\nand another." == await in_thread(talk)
