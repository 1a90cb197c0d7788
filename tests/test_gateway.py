"""The gateway of the examples, asked by the official client over real sockets, on the real CLI."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import anthropic
import httpx2
import psutil
import pytest
import trio
from starlette.responses import JSONResponse

from claude_trio import BackendOptions, ClaudeCodeBackend, open_backend
from claude_trio.messages_api import MessageChannel
from claude_trio.testing import HttpError, LoopbackApi, Reply, World, text, thinking, tool_use

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
import gateway

pytestmark = pytest.mark.real_cli
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
Open: TypeAlias = Callable[..., Any]


@pytest.fixture
def open_gateway(world: World, api: LoopbackApi, real_cli: Path) -> Open:
    """Return what opens a gateway, and yields its URL and key."""

    @asynccontextmanager
    async def opened(
        *at: Any, limit: float = 240, cli: Path = real_cli, **how: Any
    ) -> AsyncGenerator[tuple[str, str], None]:
        options = BackendOptions(cwd=world.cwd, cli_path=cli, env=world.env(api.base_url))
        with trio.fail_after(limit):
            async with gateway.open_gateway(
                gateway.chat(options, **how), gateway.listen(*at)
            ) as opened:
                yield opened

    return opened


@asynccontextmanager
async def client_of(
    opened: tuple[str, str], **how: Any
) -> AsyncGenerator[anthropic.AsyncAnthropic, None]:
    url, key = opened
    async with anthropic.AsyncAnthropic(
        base_url=url, api_key=key, **{"max_retries": 0, "timeout": 120, **how}
    ) as client:
        yield client


def ask(*messages: Any, **more: Any) -> dict[str, Any]:
    """Return a request in which a user and the model speak in turn."""
    roles = ("user", "assistant")
    said = [{"role": roles[i % 2], "content": content} for i, content in enumerate(messages)]
    return {"model": "claude-haiku-4-5", "max_tokens": 500, "messages": said, **more}


def texts(message: anthropic.types.Message) -> list[str]:
    return [block.text for block in message.content if block.type == "text"]


async def test_a_message_and_a_stream_say_what_the_model_says(
    open_gateway: Open, api: LoopbackApi
) -> None:
    api.reply("A heron,\nand a bittern.", usage={"input_tokens": 11, "output_tokens": 7})
    api.reply("One line\nand another\nand no more.")
    async with open_gateway() as opened, client_of(opened) as client:
        first = await client.messages.create(**ask("Birds?", system="Be brief."))
        assert (["A heron,\nand a bittern."], "end_turn") == (texts(first), first.stop_reason)
        assert (11, 7) == (first.usage.input_tokens, first.usage.output_tokens)
        async with client.messages.stream(
            **ask("Birds?", first.content, "More?", system="Be brief.")
        ) as stream:
            pieces = [piece async for piece in stream.text_stream]
            second = await stream.get_final_message()
        assert "One line\nand another\nand no more." == "".join(pieces)
        assert ["".join(pieces)] == texts(second)
        assert second.id.startswith("msg_")
        models = [model.id async for model in client.models.list()]
    assert ["sonnet", "opus", "haiku"] == models
    asked = api.conversations
    assert ["Birds?", "More?"] == [request.prompt for request in asked]
    for request in asked:
        assert "Be brief." == request.body["system"][-1]["text"]
        assert ("claude-haiku-4-5", 500) == (request.body["model"], request.body["max_tokens"])
        assert [] == request.body.get("tools", [])
    session_ids = {request.body["metadata"]["user_id"] for request in asked}
    assert 1 == len(session_ids)


async def test_the_sync_client_has_ten_turns_in_one_process(
    open_gateway: Open, api: LoopbackApi
) -> None:
    api.default = lambda request: Reply(f"{request.prompt}!")

    def talk(opened: tuple[str, str]) -> list[anthropic.types.Message]:
        url, key = opened
        said: list[Any] = []
        answers = []
        how: dict[str, Any] = {"base_url": url, "max_retries": 0, "timeout": 120}
        with anthropic.Anthropic(api_key=key, **how) as client:
            for number in range(10):
                said.append(str(number))
                if number % 2:
                    answers.append(client.messages.create(**ask(*said)))
                else:
                    with client.messages.stream(**ask(*said)) as stream:
                        answers.append(stream.get_final_message())
                said.append(answers[-1].content)
        with (
            anthropic.Anthropic(api_key="wrong", **how) as client,
            pytest.raises(anthropic.AuthenticationError),
        ):
            client.messages.create(**ask("Go."))
        return answers

    async with open_gateway() as opened:
        answers = await trio.to_thread.run_sync(talk, opened)
    assert [[f"{number}!"] for number in range(10)] == [texts(answer) for answer in answers]
    assert 1 == len({request.body["metadata"]["user_id"] for request in api.conversations})
    assert 10 == len(api.conversations)


async def test_images_and_thinking_go_both_ways(open_gateway: Open, api: LoopbackApi) -> None:
    image = {
        "type": "image",
        "source": {
            "type": "base64",
            "media_type": "image/png",
            "data": base64.b64encode(PIXEL).decode(),
        },
    }
    api.reply(thinking("A pixel, I think.", "c2lnbmVk"), text("It is red."))
    api.reply("No.")
    wanted = {"type": "enabled", "budget_tokens": 1024}
    async with open_gateway() as opened, client_of(opened) as client:
        content = [image, {"type": "text", "text": "What is it?"}]
        async with client.messages.stream(
            **ask(content, max_tokens=2000, thinking=wanted)
        ) as stream:
            first = await stream.get_final_message()
        assert ["thinking", "text"] == [block.type for block in first.content]
        assert "c2lnbmVk" == first.content[0].signature  # type: ignore[union-attr]
        second = await client.messages.create(
            **ask(content, first.content, "Green?", max_tokens=2000, thinking=wanted)
        )
    assert ["No."] == texts(second)
    [one, two] = api.conversations
    assert wanted.items() <= one.body["thinking"].items()
    sent = [
        block for message in one.messages for block in message["content"] if isinstance(block, dict)
    ]
    assert "image" in [block["type"] for block in sent]
    assert "A pixel, I think." in str(two.messages)


async def test_sampling_stop_sequences_and_bounds_are_the_clients(
    open_gateway: Open, api: LoopbackApi
) -> None:
    api.reply("as far as", stop_reason="stop_sequence")
    api.reply("and so on", stop_reason="max_tokens")
    async with open_gateway() as opened, client_of(opened) as client:
        more = {"stop_sequences": ["END"], "extra_body": {"temperature": 0.5}}
        first = await client.messages.create(**ask("Go.", **more))
        assert "stop_sequence" == first.stop_reason
        second = await client.messages.create(**ask("Go on.", max_tokens=9))
        assert (["and so on"], "max_tokens") == (texts(second), second.stop_reason)
    body = api.conversations[0].body
    assert (["END"], 0.5) == (body["stop_sequences"], body["temperature"])
    assert "thinking" not in body or body["thinking"]["type"] == "disabled"
    assert 9 == api.conversations[1].body["max_tokens"]


@pytest.mark.parametrize(
    ("status", "raised"),
    [
        (401, anthropic.AuthenticationError),
        (403, anthropic.PermissionDeniedError),
        (404, anthropic.NotFoundError),
        (400, anthropic.BadRequestError),
        (413, anthropic.APIStatusError),
        (429, anthropic.RateLimitError),
        (500, anthropic.InternalServerError),
        (529, anthropic.InternalServerError),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_failure_of_the_api_is_the_same_failure_to_the_client(
    open_gateway: Open, api: LoopbackApi, status: int, raised: Any, streamed: bool
) -> None:
    api.default = lambda _: HttpError(status)  # behind some of them the CLI tries another way
    async with open_gateway() as opened, client_of(opened) as client:
        with pytest.raises(raised) as caught:
            if streamed:
                async with client.messages.stream(**ask("Go.")) as stream:
                    await stream.until_done()
            else:
                await client.messages.create(**ask("Go."))
    assert status == caught.value.status_code
    assert caught.value.request_id


@pytest.mark.parametrize("status", [429, 529])
async def test_the_client_repeats_by_itself_what_may_be_repeated(
    open_gateway: Open, api: LoopbackApi, status: int
) -> None:
    api.error(status)
    api.reply("at last")
    async with open_gateway() as opened, client_of(opened, max_retries=2) as client:
        assert ["at last"] == texts(await client.messages.create(**ask("Go.")))
    assert 2 == len(api.conversations)


async def test_what_cannot_be_is_refused_and_nothing_is_started(
    open_gateway: Open, api: LoopbackApi
) -> None:
    async with open_gateway() as opened, client_of(opened) as client:
        with pytest.raises(anthropic.BadRequestError, match="service_tier"):
            await client.messages.create(**ask("Go.", service_tier="auto"))
        with pytest.raises(anthropic.BadRequestError, match=r"'max_tokens must be 1 or more"):
            await client.messages.create(**ask("Go.", max_tokens=0))
        with pytest.raises(anthropic.BadRequestError, match=r"messages\[0\]"):
            await client.messages.create(**ask(""))
        with pytest.raises(anthropic.BadRequestError, match=r"messages\[0\]: name"):
            said = {"role": "user", "content": "Go.", "name": "me"}
            await client.messages.create(**{**ask(), "messages": [said]})
        with pytest.raises(anthropic.APIStatusError) as caught:
            await client.messages.count_tokens(
                **{k: v for k, v in ask("x").items() if k != "max_tokens"}
            )
        assert 501 == caught.value.status_code
        assert "false" == caught.value.response.headers["x-should-retry"]
        assert "/v1/messages/count_tokens: not supported" in str(caught.value)
        with pytest.raises(anthropic.APIStatusError) as caught:
            await client.messages.batches.list()
        assert 501 == caught.value.status_code
        async with httpx2.AsyncClient(headers={"x-api-key": opened[1]}) as http:
            assert 404 == (await http.get(f"{opened[0]}/other")).status_code
            for body in (b"{", b"\xff", b"[" * 100_000, b'{"model": NaN}', b"[]"):
                refused = await http.post(f"{opened[0]}/v1/messages", content=body)
                assert 400 == refused.status_code
                assert "invalid_request_error" == refused.json()["error"]["type"]
    assert [] == api.requests


async def test_without_the_key_nobody_learns_anything(open_gateway: Open, api: LoopbackApi) -> None:
    async with open_gateway() as opened:
        async with client_of((opened[0], "wrong")) as client:
            with pytest.raises(anthropic.AuthenticationError):
                await client.messages.create(**ask("Go."))
        async with httpx2.AsyncClient() as http:
            assert 401 == (await http.get(f"{opened[0]}/v1/models")).status_code
            for shown in (f"Bearer {opened[1]}", f"bearer {opened[1]}"):
                headers = {"authorization": shown, "x-api-key": "an older one"}
                reply = await http.get(f"{opened[0]}/v1/models", headers=headers)
                assert 200 == reply.status_code
            reply = await http.delete(f"{opened[0]}/v1/models", headers=headers)
            assert 405 == reply.status_code
            assert {"GET", "HEAD"} == {*reply.headers["allow"].split(", ")}
    assert [] == api.requests


@pytest.mark.parametrize("late", [False, True])
async def test_a_defect_is_told_in_the_shape_of_the_api(
    open_gateway: Open, monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise KeyError("a secret")

    if late:
        monkeypatch.setattr(MessageChannel, "get_final_message", broken)
    else:
        monkeypatch.setattr(ClaudeCodeBackend, "complete", broken)
    async with open_gateway() as opened, client_of(opened) as client:
        for _ in range(2):  # and the server goes on
            with pytest.raises(anthropic.InternalServerError) as caught:
                await client.messages.create(**ask("Go."))
            assert "api_error" == caught.value.type
            assert caught.value.request_id
            assert "secret" not in str(caught.value)


async def test_what_breaks_a_stream_is_its_last_event(open_gateway: Open, api: LoopbackApi) -> None:
    gate = trio.Event()
    api.reply("One line\nand another.", hold_after=gate)
    async with open_gateway() as opened, client_of(opened) as client:
        with pytest.raises(anthropic.APIStatusError) as caught:
            async with client.messages.stream(**ask("Go.")) as stream:
                async for event in stream:
                    if event.type == "text":
                        for child in psutil.Process().children():
                            child.kill()
    assert (200, "api_error") == (caught.value.status_code, caught.value.type)
    body: Any = caught.value.body
    assert caught.value.response.headers["request-id"] == body["request_id"]


async def test_a_silent_model_is_pinged_for(
    open_gateway: Open, api: LoopbackApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway, "PING_INTERVAL", 0.05)
    gate = trio.Event()
    api.reply("One line\nand another\nand more.", hold_after=gate, interval=0.01)
    kinds = []
    async with open_gateway() as (url, key), httpx2.AsyncClient(headers={"x-api-key": key}) as http:
        body = ask("Go.", stream=True)
        async with http.stream("POST", f"{url}/v1/messages", json=body, timeout=120) as response:
            async for line in response.aiter_lines():
                if line.startswith("event: "):
                    kinds.append(line.removeprefix("event: "))
                if kinds.count("ping") > 2:
                    gate.set()
    assert ("message_start", "message_stop") == (kinds[0], kinds[-1])
    assert kinds.count("ping") > 2


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::"])  # noqa: S104 - refused
def test_it_listens_nowhere_else(host: str) -> None:
    with pytest.raises(ValueError, match="loopback"):
        gateway.listen(host)


async def test_it_listens_at_either_address(open_gateway: Open, api: LoopbackApi) -> None:
    api.reply("Hi.")
    async with open_gateway("::1") as opened, client_of(opened) as client:
        assert opened[0].startswith("http://[::1]:")
        assert ["Hi."] == texts(await client.messages.create(**ask("Go.")))


async def refused_program(*arguments: str, **env: str) -> tuple[int | None, str]:
    """Run the program, which is to end by itself; return the code, and what it says."""
    with trio.fail_after(120):
        ended = await trio.run_process(
            [sys.executable, gateway.__file__, *arguments],
            capture_stdout=True,
            capture_stderr=True,
            env={**os.environ, **env},
            check=False,
        )
    assert b"" == ended.stdout
    return ended.returncode, ended.stderr.decode()


async def test_what_the_program_cannot_do_it_says_in_a_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, said = await refused_program("--port", port)
    assert (2, True) == (code, f"error: port {port}: " in said)
    code, said = await refused_program("--port", "99999")
    assert (2, True) == (code, "error: port 99999: " in said)
    code, said = await refused_program("--host", "0.0.0.0")  # noqa: S104 - refused
    assert (2, True) == (code, "argument --host: invalid choice" in said)
    code, said = await refused_program("--live", "--port", "0", PATH="/nothing")
    assert (1, True) == (code, said.startswith("there is no `claude` program."))
    assert "Traceback" not in said


@pytest.mark.parametrize("way", [signal.SIGINT, signal.SIGTERM])
async def test_the_program_prints_what_its_clients_need(
    real_cli: Path, way: signal.Signals
) -> None:
    program = [sys.executable, gateway.__file__, "--port", "0"]
    env = {**os.environ, "CLAUDE_TRIO_TEST_CLI": str(real_cli)}
    with trio.fail_after(120):
        async with trio.open_nursery() as nursery:
            process = await nursery.start(
                partial(trio.run_process, program, stdout=subprocess.PIPE, env=env, check=False)
            )
            assert process.stdout is not None
            line = ""
            while "\n" not in line:
                line += (await process.stdout.receive_some()).decode()
            found = re.fullmatch(
                r"export ANTHROPIC_BASE_URL=(http://127\.0\.0\.1:\d+) ANTHROPIC_API_KEY=(.{43})\n",
                line,
            )
            assert found, line
            async with client_of((found[1], found[2])) as client:
                assert ["You said: hi"] == texts(await client.messages.create(**ask("hi")))
            process.send_signal(way)
            assert 0 == await process.wait()
            await process.stdout.aclose()


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_client_that_goes_away_interrupts_its_turn(
    open_gateway: Open, api: LoopbackApi, streamed: bool
) -> None:
    gate = trio.Event()
    api.reply("One line\n" * 30, interval=0.05, hold_after=gate)
    api.reply("Here I am.")
    async with open_gateway() as opened, client_of(opened) as client:

        async def go() -> None:
            if streamed:
                async with client.messages.stream(**ask("Go.")) as stream:
                    await stream.until_done()
            else:
                await client.messages.create(**ask("Go."))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(go)
            await api.wait_until_held(gate)
            nursery.cancel_scope.cancel()
        # The CLI has hung up, so the reply is not held any more.
        with trio.fail_after(60):
            while api._holding:
                await trio.sleep(0.05)
        assert ["Here I am."] == texts(await client.messages.create(**ask("Again.")))


async def test_a_client_may_go_away_while_it_waits_for_a_place(
    open_gateway: Open, api: LoopbackApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    backends: list[ClaudeCodeBackend] = []

    @asynccontextmanager
    async def kept(options: BackendOptions) -> AsyncGenerator[ClaudeCodeBackend, None]:
        async with open_backend(options) as backend:
            backends.append(backend)
            yield backend

    async def until_in_line(number: int) -> None:
        while number != backends[0]._fleet.pool.waiting:  # noqa: ASYNC110 - no event for it
            await trio.sleep(0.05)

    monkeypatch.setattr(gateway, "open_backend", kept)
    gate = trio.Event()
    api.reply("First.", hold_after=gate)
    api.reply("Third.")
    async with open_gateway(max_sessions=1) as opened, client_of(opened) as client:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(client.messages.create, **ask("1")))
            await api.wait_until_held(gate)
            async with trio.open_nursery() as second:
                second.start_soon(partial(client.messages.create, **ask("2")))
                await until_in_line(1)
                second.cancel_scope.cancel()
            await until_in_line(0)
            gate.set()
        assert ["Third."] == texts(await client.messages.create(**ask("3")))
    assert ["1", "3"] == [request.prompt for request in api.conversations]


async def test_a_client_may_go_away_while_the_process_starts(
    open_gateway: Open, api: LoopbackApi, world: World, real_cli: Path
) -> None:
    started, go_on = world.root / "started", world.root / "go on"
    slow = world.root / "claude"
    slow.write_text(
        f"#!/bin/sh\ntouch '{started}'\nwhile ! test -e '{go_on}'; do sleep 0.1; done\n"
        f"exec '{real_cli}' \"$@\"\n"
    )
    slow.chmod(0o755)
    api.reply("Here I am.")
    async with open_gateway(cli=slow) as opened, client_of(opened) as client:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(client.messages.create, **ask("Go.")))
            while not started.exists():  # noqa: ASYNC110 - there is no event for it
                await trio.sleep(0.05)
            nursery.cancel_scope.cancel()
        while psutil.Process().children():  # noqa: ASYNC110 - as above
            await trio.sleep(0.05)
        go_on.touch()
        assert ["Here I am."] == texts(await client.messages.create(**ask("Again.")))
    assert ["Again."] == [request.prompt for request in api.conversations]


async def test_a_request_is_heard_out_before_it_is_refused(
    open_gateway: Open, api: LoopbackApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway, "MOST_BODY", 5_000_000)
    large, too_large = "x" * 3_000_000, "x" * 8_000_000

    async def refused(client: anthropic.AsyncAnthropic, text: str) -> int:
        try:
            await client.messages.create(**ask(text))
        except anthropic.APIStatusError as exc:
            return exc.status_code
        raise AssertionError

    async def talk(opened: tuple[str, str]) -> list[int]:
        url, key = opened
        async with client_of((url, "wrong")) as wrong, client_of((url, key)) as right:
            codes = [await refused(wrong, large) for _ in range(5)]
            return codes + [await refused(right, too_large) for _ in range(5)]

    async with open_gateway() as opened:
        # The client of asyncio gives up at a reset, where others read what came before it.
        codes = await trio.to_thread.run_sync(asyncio.run, talk(opened))
    assert [401] * 5 + [413] * 5 == codes
    assert [] == api.requests


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
async def test_a_connection_ends_with_its_last_answer(
    open_gateway: Open, api: LoopbackApi, streamed: bool, version: bytes
) -> None:
    api.reply("Hi.")
    body = json.dumps(ask("Go.", stream=streamed)).encode()
    async with open_gateway() as (url, key):
        host, _, port = url.removeprefix("http://").partition(":")
        async with await trio.open_tcp_stream(host, int(port)) as connection:
            await connection.send_all(
                b"POST /v1/messages HTTP/%b\r\nhost: localhost\r\nx-api-key: %b\r\n"
                b"connection: close\r\ncontent-length: %d\r\n\r\n%b"
                % (version, key.encode(), len(body), body)
            )
            with trio.fail_after(60):
                answer = b"".join([piece async for piece in connection])
    assert answer.startswith(b"HTTP/1.1 200")
    assert (b"message_stop" if streamed else b'"end_turn"') in answer


@pytest.mark.skipif(sys.platform != "linux", reason="TCP_USER_TIMEOUT")
async def test_a_client_that_does_not_read_does_not_keep_it_from_closing(
    open_gateway: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = trio.Event()

    async def long(_: object) -> JSONResponse:
        begun.set()
        return JSONResponse("x" * 50_000_000)

    monkeypatch.setattr(gateway, "PATIENCE", 1.0)
    monkeypatch.setattr(gateway, "models", long)
    async with open_gateway() as (url, key):
        host, _, port = url.removeprefix("http://").partition(":")
        connection = await trio.open_tcp_stream(host, int(port))
        await connection.send_all(
            b"GET /v1/models HTTP/1.1\r\nhost: localhost\r\nx-api-key: %b\r\n\r\n" % key.encode()
        )
        await begun.wait()
    await connection.aclose()


async def test_half_a_request_starts_nothing(open_gateway: Open, api: LoopbackApi) -> None:
    body = json.dumps(ask("Go."))
    async with open_gateway() as (url, key):
        port = int(url.rpartition(":")[2])
        head = f"POST /v1/messages HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nx-api-key: {key}\r\n"
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(f"{head}content-length: {len(body) + 1}\r\n\r\n{body}".encode())
            await stream.send_eof()
            while await stream.receive_some():
                pass
        async with client_of((url, key)) as client:
            await client.messages.create(**ask("Whole."))
    assert ["Whole."] == [request.prompt for request in api.conversations]


WEATHER: Any = {
    "name": "weather",
    "description": "Tell the weather of a city.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}


@pytest.mark.parametrize("streamed", [False, True])
async def test_the_clients_own_tools_are_called_and_answered(
    open_gateway: Open, api: LoopbackApi, streamed: bool
) -> None:
    api.reply(
        "I ask.",
        tool_use("mcp__client__weather", {"city": "Delft"}, "toolu_A"),
        tool_use("mcp__client__weather", {"city": "Oslo"}, "toolu_B"),
    )
    api.reply("Sun, and no Oslo.")
    api.reply("You are welcome.")

    async def send(client: anthropic.AsyncAnthropic, *said: Any) -> anthropic.types.Message:
        asked = ask(*said, tools=[WEATHER])
        if not streamed:
            message: anthropic.types.Message = await client.messages.create(**asked)
            return message
        async with client.messages.stream(**asked) as stream:
            return await stream.get_final_message()

    async with open_gateway() as opened, client_of(opened) as client:
        first = await send(client, "Weather?")
        assert "tool_use" == first.stop_reason
        assert ["I ask."] == texts(first)
        assert [
            ("toolu_A", "weather", {"city": "Delft"}),
            ("toolu_B", "weather", {"city": "Oslo"}),
        ] == [
            (block.id, block.name, block.input)
            for block in first.content
            if block.type == "tool_use"
        ]
        results = [
            {"type": "tool_result", "tool_use_id": "toolu_A", "content": "sun"},
            {"type": "tool_result", "tool_use_id": "toolu_B", "content": "?", "is_error": True},
        ]
        with pytest.raises(anthropic.BadRequestError, match="toolu_B"):
            await send(client, "Weather?", first.content, results[:1])
        foreign = [*results, {"type": "tool_result", "tool_use_id": "toolu_C", "content": "x"}]
        with pytest.raises(anthropic.BadRequestError, match="toolu_C"):
            await send(client, "Weather?", first.content, foreign)
        second = await send(client, "Weather?", first.content, results)
        assert (["Sun, and no Oslo."], "end_turn") == (texts(second), second.stop_reason)
        said = ("Weather?", first.content, results, second.content, "Thanks.")
        assert ["You are welcome."] == texts(await send(client, *said))
    assert 3 == len(api.conversations)
    assert 1 == len({request.body["metadata"]["user_id"] for request in api.conversations})


async def test_a_client_that_does_not_answer_in_time_is_answered_all_the_same(
    open_gateway: Open, api: LoopbackApi
) -> None:
    api.reply(tool_use("mcp__client__weather", {"city": "Delft"}, "toolu_A"))
    api.reply("Sun.")
    result = {"type": "tool_result", "tool_use_id": "toolu_A", "content": "sun"}
    async with open_gateway(idle_timeout=0.2) as opened, client_of(opened) as client:
        first = await client.messages.create(**ask("Weather?", tools=[WEATHER]))
        with trio.fail_after(60):
            while psutil.Process().children():  # noqa: ASYNC110 - there is no event for it
                await trio.sleep(0.05)
        second = await client.messages.create(
            **ask("Weather?", first.content, [result], tools=[WEATHER])
        )
    assert ["Sun."] == texts(second)
    assert 2 == len({request.body["metadata"]["user_id"] for request in api.conversations})


async def test_twenty_conversations_at_once(open_gateway: Open, api: LoopbackApi) -> None:
    api.default = lambda request: Reply(f"{request.prompt}!")
    done: dict[int, list[str]] = {}

    async def talk(client: anthropic.AsyncAnthropic, number: int) -> None:
        done[number] = texts(await client.messages.create(**ask(str(number))))

    async with (
        open_gateway(limit=900, max_sessions=4) as opened,
        client_of(opened, timeout=900) as client,
        trio.open_nursery() as nursery,
    ):
        for number in range(20):
            nursery.start_soon(talk, client, number)
    assert {number: [f"{number}!"] for number in range(20)} == done
