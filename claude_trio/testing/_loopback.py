"""`open_loopback_api`: a Messages API on the loopback interface that says what a test tells it to."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping
from functools import partial
from typing import Any, TypeAlias, TypedDict, TypeVar, Unpack, overload

import attrs
import trio

from .._util import one_exception
from ._replies import Block, Cut, ErrorEvent, HttpError, Reply
from ._requests import RecordedRequest
from ._serve import Answer, Hold, Plain, serve_connection

#: Decides the answer when the request is there, for example to echo its prompt.
Responder: TypeAlias = Callable[[RecordedRequest], Reply | HttpError]
_Scripted = TypeVar("_Scripted", bound=Reply | HttpError | Responder)


class ReplyOptions(TypedDict, total=False):
    """The keyword arguments of `Reply`, where they are explained."""

    stop_reason: str | None
    usage: Mapping[str, Any] | None
    message_id: str | None
    headers: Mapping[str, str] | None
    delay: float
    first_token_delay: float
    interval: float
    end_delay: float
    chunk: int
    hold_before: trio.Event | None
    hold_after: trio.Event | None
    hold_block: int
    fault: Cut | ErrorEvent | None


def _say_ok(_: RecordedRequest) -> Reply:
    return Reply("ok")


@attrs.define(eq=False, repr=False)
class LoopbackApi:
    """A scripted Messages API, made by `open_loopback_api`.

    Answers are queued with `reply` and `error`. Each request of a conversation takes the next one
    (see `RecordedRequest.is_conversation`); what the CLI asks on the side is answered in a
    sensible way and takes none.
    """

    #: What ``ANTHROPIC_BASE_URL`` is to be.
    base_url: str
    #: Every request so far, in the order of arrival.
    requests: list[RecordedRequest] = attrs.field(init=False, factory=list)
    #: Answers a conversation when nothing is queued.
    default: Responder = attrs.field(init=False, default=_say_ok)
    _queue: deque[Reply | HttpError | Responder] = attrs.field(init=False, factory=deque)
    _holding: list[trio.Event] = attrs.field(init=False, factory=list)
    _changed: trio.Event = attrs.field(init=False, factory=trio.Event)

    def __repr__(self) -> str:
        state = f"{len(self.requests)} requests, {self.pending} answers queued"
        return f"<LoopbackApi {self.base_url}: {state}>"

    @property
    def conversations(self) -> list[RecordedRequest]:
        """The requests so far that belong to a conversation."""
        return [request for request in self.requests if request.is_conversation]

    @property
    def pending(self) -> int:
        """The number of queued answers that no request has taken."""
        return len(self._queue)

    @overload
    def reply(self, answer: _Scripted, /) -> _Scripted: ...

    @overload
    def reply(self, /, *blocks: str | Block, **options: Unpack[ReplyOptions]) -> Reply: ...

    def reply(self, /, *blocks: Any, **options: Any) -> Any:
        """Queue the answer to the next request of a conversation.

        Args:
            *blocks: What `Reply` takes; or instead one `Reply`, one `HttpError`, or a function
                that makes one of them when it is called with the `RecordedRequest`. An exception
                from that function ends the block of `open_loopback_api` and comes out of it.
            **options: The keyword arguments of `Reply`.

        Returns:
            What was queued.
        """
        whole = len(blocks) == 1 and (
            isinstance(blocks[0], Reply | HttpError) or callable(blocks[0])
        )
        if whole and options:
            raise TypeError(f"{blocks[0]!r} is queued as it is; it takes no {', '.join(options)}")
        answer = blocks[0] if whole else Reply(*blocks, **options)
        self._queue.append(answer)
        return answer

    def error(
        self,
        status: int,
        *,
        type: str | None = None,  # noqa: A002 - the API's name
        message: str = "made-up error",
        headers: Mapping[str, str] | None = None,
        delay: float = 0.0,
        hold_before: trio.Event | None = None,
    ) -> HttpError:
        """Queue an HTTP error for the next request of a conversation.

        Args:
            status: The status code.
            type: The type of error in the body. Default: the API's own for this status.
            message: Its text.
            headers: More HTTP headers, such as ``retry-after``.
            delay: Seconds before the response headers.
            hold_before: Nothing is sent until this is set.

        Returns:
            What was queued.
        """
        named = {} if type is None else {"type": type}
        return self.reply(
            HttpError(
                status,
                message=message,
                headers=headers or {},
                delay=delay,
                hold_before=hold_before,
                **named,
            )
        )

    async def wait_for_requests(self, count: int) -> list[RecordedRequest]:
        """Wait until so many requests of a conversation have arrived, since the beginning.

        A request counts from its arrival, before anything is answered. Cancelling stops the
        waiting only.

        Args:
            count: The number.

        Returns:
            The first so many of `conversations`.
        """
        await trio.lowlevel.checkpoint()
        while len(self.conversations) < count:
            await self._changed.wait()
        return self.conversations[:count]

    async def wait_until_held(self, gate: trio.Event) -> None:
        """Wait until a reply is held by an event: all that comes before it has been sent.

        Cancelling stops the waiting only.

        Args:
            gate: What was given as `hold_before` or `hold_after`.
        """
        await trio.lowlevel.checkpoint()
        while gate not in self._holding:
            await self._changed.wait()

    async def _hold(self, gate: trio.Event) -> None:
        self._holding.append(gate)
        self._notify()
        try:
            await gate.wait()
        finally:
            self._holding.remove(gate)

    def _answer(self, request: RecordedRequest) -> Answer:
        self.requests.append(request)
        self._notify()
        if not request.is_conversation:
            return _side_answer(request)
        answer = self._queue.popleft() if self._queue else self.default
        if isinstance(answer, Reply | HttpError):
            return answer
        made = answer(request)
        if not isinstance(made, Reply | HttpError):
            raise TypeError(f"{answer!r} must return a Reply or an HttpError, not {made!r}")
        return made

    def _notify(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


def _side_answer(request: RecordedRequest) -> Answer:
    match request.kind:
        case "probe":
            return Plain(200, None)
        case "count_tokens":
            return Plain(200, {"input_tokens": 10})
        case "title":
            return Reply('{"title": "Loopback session"}')
        case "structured":
            return Reply("{}")
        case "suggestion":
            return Reply("")
        case "quota":
            return Reply("ok", stop_reason="max_tokens")
        case _:
            return HttpError(404, message=f"no {request.method} {request.path} here")


@contextlib.asynccontextmanager
async def open_loopback_api() -> AsyncGenerator[LoopbackApi, None]:
    """Serve a scripted Messages API on 127.0.0.1, at a free port, for the length of a block.

    When the block is left, by whatever way, a cancellation included, every connection is closed at once: a request that is
    still being answered gets no more of its answer.

    Yields:
        What scripts it and remembers the requests.
    """
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    with contextlib.ExitStack() as stack, one_exception() as body:
        for listener in listeners:
            stack.callback(listener.socket.close)
        port = listeners[0].socket.getsockname()[1]
        api = LoopbackApi(f"http://127.0.0.1:{port}")
        hold: Hold = api._hold  # noqa: SLF001 - of this module
        handler = partial(serve_connection, answer=api._answer, hold=hold)  # noqa: SLF001
        async with trio.open_nursery() as nursery:
            serve = partial(trio.serve_listeners, handler_nursery=nursery)
            await nursery.start(serve, handler, listeners)
            try:
                with body:
                    yield api
            finally:
                nursery.cancel_scope.cancel(reason="the block of open_loopback_api is left")
