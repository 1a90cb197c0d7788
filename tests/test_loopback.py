"""The loopback Messages API, seen by a client of its own."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncGenerator, Callable
from typing import Any

import attrs
import h11
import pytest
import trio

from claude_trio.testing import (
    Cut,
    ErrorEvent,
    HttpError,
    LoopbackApi,
    RecordedRequest,
    Reply,
    cancel_everywhere,
    open_loopback_api,
    redacted_thinking,
    text,
    thinking,
    tool_use,
)

TITLE_FORMAT = {"type": "json_schema", "schema": {"properties": {"title": {"type": "string"}}}}


@attrs.define
class Response:
    """What a client got: `complete` unless the connection ended in the middle."""

    status: int
    headers: dict[str, str]
    body: bytearray = attrs.field(factory=bytearray)
    complete: bool = False

    @property
    def value(self) -> Any:
        return json.loads(self.body)

    @property
    def events(self) -> list[dict[str, Any]]:
        blocks = self.body.decode().split("\n\n")
        assert "" == blocks.pop(), "a torn event"
        events = []
        for block in blocks:
            name, data = block.split("\n")
            events.append(json.loads(data.removeprefix("data: ")))
            assert name == f"event: {events[-1]['type']}"
        return events

    @property
    def names(self) -> list[str]:
        return [event["type"] for event in self.events]


@attrs.define(eq=False)
class Client:
    """A connection to the API; one request at a time."""

    stream: trio.SocketStream
    http: h11.Connection = attrs.field(factory=lambda: h11.Connection(h11.CLIENT))

    async def send(self, method: str, target: str, value: Any = None) -> None:
        body = b"" if value is None else json.dumps(value).encode()
        headers = {"host": "loopback", "content-length": str(len(body))}
        head = h11.Request(method=method, target=target, headers=list(headers.items()))
        parts = [head, h11.Data(data=body), h11.EndOfMessage()]
        await self.stream.send_all(b"".join(self.http.send(part) or b"" for part in parts))

    async def receive(self, until: Callable[[Response], bool] = lambda _: False) -> Response:
        """Read a response to its end, or until it suffices."""
        response = Response(0, {})
        while not until(response):
            event = self.http.next_event()
            if event is h11.NEED_DATA:
                self.http.receive_data(await self.stream.receive_some())
            elif isinstance(event, h11.Response):
                fields = {k.decode(): v.decode() for k, v in event.headers}
                response = Response(event.status_code, fields)
            elif isinstance(event, h11.Data):
                response.body += event.data
            elif isinstance(event, h11.EndOfMessage):
                response.complete = True
                self.http.start_next_cycle()
                break
        return response

    async def ask(self, prompt: str = "hello", *, stream: bool = True, **more: Any) -> Response:
        await self.send_prompt(prompt, stream=stream, **more)
        return await self.receive()

    async def send_prompt(self, prompt: str = "hello", *, stream: bool = True, **more: Any) -> None:
        messages = [{"role": "user", "content": prompt}]
        value = {"model": "claude-made-up", "max_tokens": 1000, "messages": messages, **more}
        await self.send("POST", "/v1/messages?beta=true", {**value, "stream": stream})


@contextlib.asynccontextmanager
async def connect(api: LoopbackApi) -> AsyncGenerator[Client, None]:
    port = int(api.base_url.rpartition(":")[2])
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        yield Client(stream)


@pytest.fixture
async def client(api: LoopbackApi) -> AsyncGenerator[Client, None]:
    async with connect(api) as connected:
        yield connected


def fold(events: list[dict[str, Any]]) -> dict[str, Any]:
    """Make the message that a stream tells."""
    message: dict[str, Any] = {}
    arguments = ""
    for event in events:
        match event:
            case {"type": "message_start", "message": start}:
                message = start
            case {"type": "content_block_start", "index": index, "content_block": block}:
                assert index == len(message["content"])
                message["content"].append(block)
                arguments = ""
            case {"type": "content_block_delta", "index": index, "delta": delta}:
                block = message["content"][index]
                for name in {"text", "thinking", "signature"} & set(delta):
                    block[name] += delta[name]
                arguments += delta.get("partial_json", "")
            case {"type": "content_block_stop", "index": index}:
                if arguments:
                    message["content"][index]["input"] = json.loads(arguments)
            case {"type": "message_delta", "delta": delta, "usage": usage}:
                message |= delta
                message["usage"] |= usage
    return message


# --- replies


async def test_a_text_is_streamed_in_several_deltas(api: LoopbackApi, client: Client) -> None:
    api.reply("A text that is longer than a single delta.", message_id="msg_1")
    response = await client.ask()
    assert 200 == response.status
    assert response.complete
    assert response.headers["content-type"].startswith("text/event-stream")
    assert [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ] == response.names
    message = fold(response.events)
    assert "msg_1" == message["id"]
    assert "claude-made-up" == message["model"]
    assert "end_turn" == message["stop_reason"]
    assert [text("A text that is longer than a single delta.")] == message["content"]


async def test_the_stream_starts_with_few_output_tokens_and_ends_with_all(
    api: LoopbackApi, client: Client
) -> None:
    api.reply("hello", usage={"input_tokens": 70, "output_tokens": 9, "cache_read_input_tokens": 5})
    events = (await client.ask()).events
    first, last = events[0]["message"]["usage"], events[-2]["usage"]
    assert (70, 1, 5) == tuple(
        first[name] for name in ("input_tokens", "output_tokens", "cache_read_input_tokens")
    )
    assert 9 == last["output_tokens"]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    "blocks",
    [
        (),
        (text(""),),
        (text("smörgåsbord 🦊 " * 20),),
        (thinking("hm, " * 20, signature="c2ln"), text("so")),
        (redacted_thinking("eHh4"), text("so")),
        (text("look"), tool_use("Bash", {"command": "echo ö"}), tool_use("Read", {}, id="toolu_2")),
        ({"type": "new_kind", "content": [1, {"a": None}]},),
    ],
)
async def test_any_block_arrives_as_it_was_given(
    api: LoopbackApi, client: Client, blocks: tuple[dict[str, Any], ...], stream: bool
) -> None:
    api.reply(*blocks, chunk=7)
    response = await client.ask(stream=stream)
    message = fold(response.events) if stream else response.value
    assert list(blocks) == message["content"]
    assert "message" == message["type"]
    assert {"input_tokens", "output_tokens"} < set(message["usage"])


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (Reply("x"), "end_turn"),
        (Reply(tool_use("Bash", {})), "tool_use"),
        (Reply(tool_use("Bash", {}), stop_reason="end_turn"), "end_turn"),
        (Reply("x", stop_reason="max_tokens"), "max_tokens"),
        (Reply("x", stop_reason=None), None),
    ],
)
async def test_the_stop_reason_follows_the_blocks_unless_given(
    api: LoopbackApi, client: Client, reply: Reply, expected: str | None
) -> None:
    api.reply(reply)
    assert expected == (await client.ask(stream=False)).value["stop_reason"]


async def test_answers_are_taken_in_order_and_then_the_default_answers(
    api: LoopbackApi, client: Client
) -> None:
    api.reply("one")
    api.reply(lambda request: Reply(f"echo: {request.prompt}"))
    api.reply(HttpError(529))
    assert 3 == api.pending
    contents = [(await client.ask(f"prompt {i}", stream=False)).value for i in range(4)]
    assert ["one", "echo: prompt 1"] == [c["content"][0]["text"] for c in contents[:2]]
    assert "overloaded_error" == contents[2]["error"]["type"]
    assert "ok" == contents[3]["content"][0]["text"]
    api.default = lambda request: Reply(f"default: {request.prompt}")
    assert "default: x" == (await client.ask("x", stream=False)).value["content"][0]["text"]
    assert 0 == api.pending


async def test_two_sends_of_one_reply_are_two_messages(api: LoopbackApi, client: Client) -> None:
    reply = api.reply("same")
    api.reply(reply)
    ids = [(await client.ask(stream=False)).value["id"] for _ in range(2)]
    assert 2 == len(set(ids))


async def test_a_whole_answer_takes_no_options(api: LoopbackApi) -> None:
    with pytest.raises(TypeError, match="delay"):
        api.reply(Reply("x"), delay=1.0)  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="chunk"):
        api.reply("x", chunk=0)


async def test_delays_are_kept(api: LoopbackApi, autojump_clock: trio.abc.Clock) -> None:
    async with connect(api) as client:
        started = trio.current_time()
        api.reply("abcdefgh", delay=100, first_token_delay=20, interval=3, chunk=2)
        await client.ask()
        assert 100 + 20 + 3 * 3 == pytest.approx(trio.current_time() - started)
        started = trio.current_time()
        api.reply("abcdefgh", delay=100, first_token_delay=20, interval=3, chunk=2)
        await client.ask(stream=False)
        assert 100 + 20 == pytest.approx(trio.current_time() - started)
        started = trio.current_time()
        api.error(500, delay=7)
        await client.ask()
        assert 7 == pytest.approx(trio.current_time() - started)


# --- faults


async def test_an_error_has_the_shape_of_the_api(api: LoopbackApi, client: Client) -> None:
    api.error(429, message="slow down", headers={"retry-after": "7"})
    response = await client.ask()
    assert 429 == response.status
    assert "7" == response.headers["retry-after"]
    assert {
        "type": "error",
        "error": {"type": "rate_limit_error", "message": "slow down"},
        "request_id": response.headers["request-id"],
    } == response.value
    api.error(418, type="teapot_error")
    assert "teapot_error" == (await client.ask()).value["error"]["type"]
    api.error(503)
    assert "api_error" == (await client.ask()).value["error"]["type"]


@pytest.mark.parametrize(
    ("fault", "last", "count"),
    [
        (Cut("headers"), None, 0),
        (Cut(events=0), None, 0),
        (Cut(0), "message_start", 1),
        (Cut(), "content_block_stop", 4),
        (Cut(2), "content_block_stop", 7),
        (Cut(99), "message_stop", 9),
        (Cut(events=3), "content_block_delta", 3),
        (Cut(events=8), "message_delta", 8),
    ],
)
@pytest.mark.parametrize("how", ["close", "end"])
async def test_a_stream_is_cut_where_it_is_told(
    api: LoopbackApi, client: Client, fault: Cut, last: str | None, count: int, how: Any
) -> None:
    api.reply("one", "two", fault=attrs.evolve(fault, how=how))
    await client.send_prompt()
    with contextlib.nullcontext() if how == "end" else pytest.raises(h11.RemoteProtocolError):
        assert (await client.receive()).complete
    # Read again what arrived, for the client that raised has lost it.
    async with connect(api) as other:
        api.reply("one", "two", fault=attrs.evolve(fault, how=how))
        await other.send_prompt()
        response = await other.receive(
            lambda r: bool(r.status) and count == r.body.count(b"event: ")
        )
    assert 200 == response.status
    assert [last] == response.names[-1:] or last is None
    assert count == len(response.names)


@pytest.mark.parametrize("stream", [True, False])
async def test_a_connection_can_be_closed_instead_of_an_answer(
    api: LoopbackApi, client: Client, stream: bool
) -> None:
    api.reply("never seen", fault=Cut("request"))
    await client.send_prompt(stream=stream)
    with pytest.raises(h11.RemoteProtocolError):
        await client.receive()


async def test_a_connection_can_be_reset(api: LoopbackApi, client: Client) -> None:
    api.reply("one", "two", fault=Cut(1, how="reset"))
    with pytest.raises(trio.BrokenResourceError):
        await client.ask()


async def test_an_answer_without_a_stream_is_cut_behind_its_headers(
    api: LoopbackApi, client: Client
) -> None:
    api.reply("x", fault=Cut())
    await client.send_prompt(stream=False)
    response = await client.receive(lambda r: r.status == 200)
    assert b"" == response.body
    with pytest.raises(h11.RemoteProtocolError):
        await client.receive()


async def test_a_stream_can_report_an_error(api: LoopbackApi, client: Client) -> None:
    api.reply("one", "two", fault=ErrorEvent("api_error", "Internal", after=1))
    response = await client.ask()
    assert ["content_block_stop", "error"] == response.names[-2:]
    assert {"type": "api_error", "message": "Internal"} == response.events[-1]["error"]
    assert response.complete
    api.reply("one", fault=ErrorEvent())
    response = await client.ask(stream=False)
    assert 500 == response.status
    assert "overloaded_error" == response.value["error"]["type"]


# --- gates


@pytest.mark.parametrize("stream", [True, False])
async def test_a_reply_is_held_before_its_headers(
    api: LoopbackApi, client: Client, stream: bool
) -> None:
    gate = trio.Event()
    api.reply("x", hold_before=gate)
    api.error(500, hold_before=gate)
    await client.send_prompt(stream=stream)
    assert ["hello"] == [r.prompt for r in await api.wait_for_requests(1)]
    await api.wait_until_held(gate)
    await trio.testing.wait_all_tasks_blocked(0.05)
    with trio.move_on_after(0) as scope:
        await client.receive()
    assert scope.cancelled_caught
    gate.set()
    assert (await client.receive()).complete
    assert 500 == (await client.ask()).status


@pytest.mark.parametrize(
    ("blocks", "block", "names"),
    [
        (["a", "b"], 0, ["message_start", "content_block_start", "content_block_delta"]),
        ([thinking("a"), "b"], 1, ["content_block_start", "content_block_delta"]),
        ([redacted_thinking(), "b"], 0, ["message_start", "content_block_start"]),
        (["a"], 9, ["message_start"]),
    ],
)
async def test_a_stream_is_held_after_the_first_delta_of_a_block(
    api: LoopbackApi, client: Client, blocks: list[Any], block: int, names: list[str]
) -> None:
    gate = trio.Event()
    api.reply(*blocks, hold_after=gate, hold_block=block)
    await client.send_prompt()
    await api.wait_until_held(gate)
    await trio.testing.wait_all_tasks_blocked(0.05)
    response = Response(0, {})

    def keep(latest: Response) -> bool:
        nonlocal response
        response = latest
        return False

    with trio.move_on_after(0.2):
        await client.receive(keep)
    assert names == response.names[-len(names) :]
    gate.set()
    rest = Response(200, {}, response.body)
    rest.body += (await client.receive()).body
    assert "message_stop" == rest.names[-1]


async def test_an_answer_without_a_stream_is_held_behind_its_headers(
    api: LoopbackApi, client: Client
) -> None:
    gate = trio.Event()
    api.reply("x", hold_after=gate)
    await client.send_prompt(stream=False)
    assert 200 == (await client.receive(lambda r: r.status == 200)).status
    await api.wait_until_held(gate)
    gate.set()
    assert (await client.receive()).body


async def test_a_client_that_hangs_up_ends_its_reply(api: LoopbackApi) -> None:
    gate = trio.Event()
    api.reply("x", hold_after=gate)
    async with connect(api) as client:
        await client.send_prompt()
        await api.wait_until_held(gate)
    with trio.fail_after(60):
        while api._holding:
            await trio.sleep(0.01)
    async with connect(api) as client:
        assert (await client.ask()).complete


# --- requests


async def test_requests_are_recorded(api: LoopbackApi, client: Client) -> None:
    reminder = "<system-reminder>\nbe nice\n</system-reminder>\n"
    messages = [
        {"role": "user", "content": "old"},
        {"role": "assistant", "content": "ok"},
        {"role": "user", "content": [text(reminder), text(f"{reminder}new"), text("prompt")]},
        {"role": "system", "content": "# Environment"},
    ]
    system = [text("a"), text("b")]
    await client.ask(messages=messages, system=system)
    (request,) = api.requests
    assert ("POST", "/v1/messages") == (request.method, request.path)
    assert "loopback" == request.headers["host"]
    assert request.is_conversation
    assert messages == request.messages
    assert "new\n\nprompt" == request.prompt
    assert "a\n\nb" == request.system_text
    assert "1 requests" in repr(api)
    assert "be nice" not in repr(request)


@pytest.mark.parametrize(
    ("body", "kind", "said"),
    [
        ({"max_tokens": 1}, "quota", "ok"),
        ({"output_config": {"format": TITLE_FORMAT}}, "title", '{"title": "Loopback session"}'),
        ({"output_config": {"format": {"type": "json_schema"}}}, "structured", "{}"),
        (
            {"messages": [{"role": "user", "content": [text("[SUGGESTION MODE: go on]")]}]},
            "suggestion",
            "",
        ),
        ({"output_config": {"effort": "high"}}, "conversation", "scripted"),
        (
            {"output_config": {"format": TITLE_FORMAT}, "tools": [{"name": "Bash"}]},
            "conversation",
            "scripted",
        ),
        ({"messages": "what?"}, "conversation", "scripted"),
        ({"messages": []}, "conversation", "scripted"),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
async def test_what_is_asked_on_the_side_takes_nothing_from_the_queue(
    api: LoopbackApi, client: Client, body: dict[str, Any], kind: str, said: str, stream: bool
) -> None:
    api.reply("scripted")
    response = await client.ask(stream=stream, **body)
    message = fold(response.events) if stream else response.value
    assert [text(said)] == message["content"]
    assert kind == api.requests[-1].kind
    assert (kind != "conversation") == api.pending
    assert len(api.conversations) == 1 - api.pending


async def test_other_paths_are_answered_and_recorded(api: LoopbackApi, client: Client) -> None:
    api.reply("scripted")
    await client.send("HEAD", "/")
    client.http = h11.Connection(h11.CLIENT)  # h11 would take this for the answer to a GET
    assert b"HTTP/1.1 200" in await client.stream.receive_some()
    await client.send("POST", "/v1/messages/count_tokens?beta=true", {"messages": []})
    assert {"input_tokens": 10} == (await client.receive()).value
    await client.send("GET", "/v1/models")
    response = await client.receive()
    assert 404 == response.status
    assert "not_found_error" == response.value["error"]["type"]
    await client.send("POST", "/v1/messages")
    assert 404 == (await client.receive()).status
    assert ["probe", "count_tokens", "unknown", "unknown"] == [r.kind for r in api.requests]
    assert 1 == api.pending


async def test_what_is_no_http_ends_only_its_connection(api: LoopbackApi, client: Client) -> None:
    async with connect(api) as other:
        await other.stream.send_all(b"what is this?\r\n\r\n")
        assert b"" == await other.stream.receive_some()
    assert (await client.ask()).complete
    await client.stream.send_all(
        b"POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\n{"
    )
    assert 404 == (await client.receive()).status if client.http.our_state is h11.SEND_BODY else 1
    assert api.requests[-1].body is None or len(api.requests) == 1


async def test_a_client_may_wait_for_100_continue(api: LoopbackApi, client: Client) -> None:
    body = json.dumps({"messages": []}).encode()
    head = f"POST /v1/messages HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: {len(body)}\r\n\r\n"
    await client.stream.send_all(head.encode())
    assert (await client.stream.receive_some()).startswith(b"HTTP/1.1 100")
    await client.stream.send_all(body)
    assert (await client.stream.receive_some()).startswith(b"HTTP/1.1 200")


async def test_a_client_may_send_its_next_request_early(api: LoopbackApi, client: Client) -> None:
    gate = trio.Event()
    api.reply("one", hold_before=gate)
    api.reply("two")
    await client.send_prompt("a", stream=False)
    await api.wait_until_held(gate)
    body = b'{"messages": [], "model": "m"}'
    await client.stream.send_all(
        b"POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)
    )
    gate.set()
    assert "one" == (await client.receive()).value["content"][0]["text"]
    await api.wait_for_requests(2)


# --- the end


async def test_leaving_the_block_ends_every_connection_at_once() -> None:
    gate = trio.Event()
    async with contextlib.AsyncExitStack() as clients:
        async with open_loopback_api() as api:
            api.reply("stalled", hold_after=gate)
            stalled = await clients.enter_async_context(connect(api))
            await stalled.send_prompt()
            await api.wait_until_held(gate)
            idle = await clients.enter_async_context(connect(api))
            await idle.ask()
        with trio.fail_after(60), pytest.raises(h11.RemoteProtocolError):
            await stalled.receive()
        assert b"" == await idle.stream.receive_some()
        with pytest.raises(OSError, match="connect"):
            await clients.enter_async_context(connect(api))


async def test_a_cancelled_block_leaves_nothing() -> None:
    async def body() -> None:
        async with open_loopback_api() as api, connect(api) as client:
            api.reply("x", interval=0.001, chunk=1)
            await client.ask()
            await api.wait_for_requests(1)

    with trio.fail_after(60):
        assert await cancel_everywhere(body, trio.lowlevel.checkpoint) > 5


def broken(_: RecordedRequest) -> Reply:
    raise ZeroDivisionError("a mistake of the test")


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (broken, ZeroDivisionError),
        (lambda _: "a string", TypeError),
        (Reply({"type": "text"}), KeyError),
    ],
)
async def test_a_mistake_in_the_script_comes_out_of_the_block(
    answer: Any, error: type[Exception]
) -> None:
    with pytest.raises(error), trio.fail_after(60):
        async with open_loopback_api() as api:
            api.reply(answer)
            async with connect(api) as client:
                await client.send_prompt()
                await trio.sleep_forever()


async def test_the_exception_of_the_block_comes_out_as_it_is() -> None:
    raised = ValueError("mine")
    with pytest.raises(ValueError, match="mine") as caught:
        async with open_loopback_api():
            raise raised
    assert raised is caught.value
