"""`MessageChannel`, on turns that are put together here; the real ones are in ``test_gateway.py``."""

from __future__ import annotations

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
from claude_trio.messages_api import MessageChannel, parse_request

END = ResultMessage(subtype="success", is_error=False, stop_reason="end_turn")


class Turn(trio.abc.ReceiveChannel[Event]):
    """Gives events, and then, if the last of them is no end, fails or goes on for ever."""

    def __init__(self, *events: Event | BackendError) -> None:
        self.events = [*events]
        self.closed = False

    async def receive(self) -> Event:
        await trio.lowlevel.checkpoint()
        if self.closed:
            raise trio.ClosedResourceError
        if not self.events:
            await trio.sleep_forever()
        event = self.events.pop(0)
        if isinstance(event, BackendError):
            raise event
        return event

    async def aclose(self) -> None:
        self.closed = True
        await trio.lowlevel.checkpoint()


def said(text: str, number: int = 1, **more: str) -> AssistantMessage:
    return AssistantMessage(content=(TextBlock(text),), message_id=f"msg_{number}", **more)  # type: ignore[arg-type]


def channel_of(turn: Turn, *, stream: bool = True) -> MessageChannel:
    body = {"model": "m", "max_tokens": 9, "stream": stream}
    request = parse_request({**body, "messages": [{"role": "user", "content": "x"}]})
    return MessageChannel(turn, request)


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
        with pytest.raises(BackendError) as caught:
            await channel_of(Turn(error), stream=stream).receive()
        assert error is caught.value


async def test_a_failure_behind_it_is_the_last_event_and_no_message() -> None:
    error = BackendError("no more", kind="server")
    channel = channel_of(Turn(said("so far"), error))
    assert "error" == [event async for event in channel][-1]["type"]
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
