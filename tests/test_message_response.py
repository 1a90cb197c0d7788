"""`MessageChannel` and `MessageResponse`, on turns that are made here; real ones are in ``test_gateway.py``."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

from claude_trio import (
    AssistantMessage,
    BackendError,
    Event,
    ResultMessage,
    TextBlock,
    TextDelta,
    UserMessage,
)
from claude_trio.messages_api import MessageChannel, MessageResponse, MessagesRequest, parse_request

END = ResultMessage(subtype="success", is_error=False, stop_reason="end_turn")


class Turn(trio.abc.ReceiveChannel[Event]):
    """Gives events, and then, if the last of them is no end, fails or goes on for ever."""

    def __init__(self, *events: Event | Exception) -> None:
        self.events = [*events]
        self.closed = False
        self.silent = trio.Event()

    async def receive(self) -> Event:
        await trio.lowlevel.checkpoint()
        if self.closed:
            raise trio.ClosedResourceError
        if not self.events:
            self.silent.set()
            await trio.sleep_forever()
        event = self.events.pop(0)
        if isinstance(event, Exception):
            raise event
        return event

    async def aclose(self) -> None:
        self.closed = True
        await trio.lowlevel.checkpoint()


def said(text: str, number: int = 1, **more: str) -> AssistantMessage:
    return AssistantMessage(content=(TextBlock(text),), message_id=f"msg_{number}", **more)  # type: ignore[arg-type]


def asked(*, stream: bool = True) -> MessagesRequest:
    body = {"model": "m", "max_tokens": 9, "stream": stream}
    return parse_request({**body, "messages": [{"role": "user", "content": "x"}]})


def channel_of(turn: Turn, *, stream: bool = True) -> MessageChannel:
    return MessageChannel(turn, asked(stream=stream), request_id="req_1")


async def test_a_turn_is_a_stream_and_then_its_message() -> None:
    turn = Turn(said("Hi."), END)
    async with channel_of(turn) as channel:
        kinds = [event["type"] async for event in channel]
        assert ("message_start", "message_stop") == (kinds[0], kinds[-1])
        assert "Hi." == (await channel.get_final_message())["content"][0]["text"]
        with pytest.raises(trio.EndOfChannel):
            await channel.receive()
    assert turn.closed
    with pytest.raises(trio.ClosedResourceError):
        await channel.receive()


async def test_a_failure_before_the_first_word_is_raised() -> None:
    error = BackendError("no", kind="server")
    for stream in (False, True):
        turn = Turn(error)
        channel = channel_of(turn, stream=stream)
        for read in (channel.receive, channel.get_final_message):
            with pytest.raises(BackendError) as caught:
                await read()
            assert error is caught.value
        assert turn.closed


async def test_a_failure_behind_it_is_the_last_event_and_no_message() -> None:
    error = BackendError("no more", kind="server")
    channel = channel_of(Turn(said("so far"), error))
    last = [event async for event in channel][-1]
    assert ("error", "req_1") == (last["type"], last["request_id"])
    with pytest.raises(BackendError) as caught:
        await channel.get_final_message()
    assert error is caught.value


async def test_a_bound_that_was_met_is_no_failure() -> None:
    error = BackendError("the CLI has given up", kind="max_output_tokens")
    message = await channel_of(Turn(said("so far"), error)).get_final_message()
    assert "max_tokens" == message["stop_reason"]


@pytest.mark.parametrize("stream", [False, True])
async def test_text_that_begins_again_breaks_a_stream_only(*, stream: bool) -> None:
    turn = Turn(TextDelta(text="Hel", index=0), TextDelta(text="Hi", index=0), said("Hi."), END)
    channel = channel_of(turn, stream=stream)
    if not stream:
        message = await channel.get_final_message()
        assert "Hi." == message["content"][0]["text"]
        return
    assert "error" == [event async for event in channel][-1]["type"]
    assert turn.closed
    with pytest.raises(BackendError, match="began again"):
        await channel.get_final_message()


async def test_a_turn_that_goes_on_behind_its_bound_is_closed() -> None:
    more = UserMessage(content=(TextBlock("go on"),), origin="cli")
    turn = Turn(said("so far", stop_reason="max_tokens"), more, said("and more", 2))
    message = await channel_of(turn).get_final_message()
    assert turn.closed
    assert ("max_tokens", 1) == (message["stop_reason"], len(message["content"]))


@pytest.mark.parametrize("read", [0, 1])
async def test_a_read_that_is_cancelled_closes_the_turn(read: int) -> None:
    turn = Turn(said("so far"))
    channel = channel_of(turn)
    for _ in range(read):  # behind the first event there are more that need no waiting
        await channel.receive()
    with trio.CancelScope() as scope:
        scope.cancel()
        await channel.receive()
    assert scope.cancelled_caught
    assert turn.closed
    with pytest.raises(trio.ClosedResourceError):
        await channel.receive()


async def test_every_read_is_a_checkpoint() -> None:
    channel = channel_of(Turn(said("Hi."), END))
    while True:
        try:
            with trio.testing.assert_checkpoints():
                await channel.receive()
        except trio.EndOfChannel:
            break


async def test_one_task_reads_at_a_time() -> None:
    turn = Turn(said("so far"))
    channel = channel_of(turn)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(channel.get_final_message)
        await turn.silent.wait()
        with pytest.raises(trio.BusyResourceError):
            await channel.receive()
        assert not turn.closed
        nursery.cancel_scope.cancel()
    assert turn.closed


# --- as a response


class Client:
    """What an ASGI server has of a client: it takes messages, and goes away when it is told to."""

    def __init__(self) -> None:
        self.sent: list[Mapping[str, Any]] = []
        self.gone = trio.Event()

    async def receive(self) -> dict[str, Any]:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Mapping[str, Any]) -> None:
        await trio.lowlevel.checkpoint()
        self.sent.append(message)
        if message["type"] == "http.response.body" and not message.get("more_body"):
            self.gone.set()  # servers say so behind the last byte, too
            await trio.lowlevel.checkpoint()
            self.sent.append({"type": "all was sent"})

    async def ask(self, turn: Turn, *, stream: bool, **how: Any) -> None:
        response = MessageResponse(turn, asked(stream=stream), request_id="req_1", **how)
        await response({"type": "http"}, self.receive, self.send)

    @property
    def body(self) -> str:
        assert ("http.response.start", "all was sent") == (
            self.sent[0]["type"],
            self.sent[-1]["type"],
        )
        assert 200 == self.sent[0]["status"]
        assert (b"request-id", b"req_1") in self.sent[0]["headers"]
        return b"".join(message.get("body", b"") for message in self.sent[1:-1]).decode()

    @property
    def kinds(self) -> list[str]:
        return re.findall("^event: (.*)$", self.body, re.MULTILINE)


async def test_a_message_is_sent_whole() -> None:
    client = Client()
    await client.ask(Turn(said("Hi."), END), stream=False)
    assert "Hi." == json.loads(client.body)["content"][0]["text"]
    length = str(len(client.body)).encode()
    assert (b"content-length", length) in client.sent[0]["headers"]


async def test_a_stream_is_sent_as_it_comes_with_pings_in_the_silence(
    autojump_clock: trio.testing.MockClock,
) -> None:
    client, turn = Client(), Turn(said("Hi."))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(client.ask, turn, stream=True, ping_interval=10.0))
        await turn.silent.wait()
        await trio.sleep(35)
        nursery.cancel_scope.cancel()
    sent = b"".join(message.get("body", b"") for message in client.sent).decode()
    assert 3 == sent.count("event: ping")
    assert sent.index("message_start") < sent.index("ping")
    assert turn.closed


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_goes_away_closes_the_turn(*, stream: bool) -> None:
    client, turn = Client(), Turn(said("so far"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(client.ask, turn, stream=stream))
        await turn.silent.wait()
        client.gone.set()
    assert turn.closed
    assert not any(message.get("more_body") is False for message in client.sent)


@pytest.mark.parametrize("stream", [False, True])
async def test_what_fails_before_anything_was_sent_is_raised_bare(*, stream: bool) -> None:
    for error in (BackendError("no", kind="server"), LookupError("a defect")):
        client, turn = Client(), Turn(error)
        with pytest.raises(type(error)) as caught:
            await client.ask(turn, stream=stream)
        assert error is caught.value
        assert [] == client.sent
        assert turn.closed


async def test_what_fails_in_a_stream_is_its_last_event() -> None:
    client = Client()
    await client.ask(Turn(said("Hi."), BackendError("no", kind="server")), stream=True)
    assert "error" == client.kinds[-1]


async def test_a_defect_in_a_stream_is_its_last_event_and_is_raised() -> None:
    client, turn = Client(), Turn(said("Hi."), LookupError("a secret"))
    with pytest.raises(LookupError):
        await client.ask(turn, stream=True)
    assert "error" == client.kinds[-1]
    assert "secret" not in client.body
    assert turn.closed
