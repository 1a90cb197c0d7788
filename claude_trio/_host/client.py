"""The calls of one CLI that whoever calls `complete` is to answer."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import trio

from .._protocol.client_tools import MADE_UP, ClientResult
from ..events import ToolUseBlock


@attrs.define(eq=False)
class ClientCall:
    """A call that has reached the host, and waits there.

    Args:
        name: The tool, as the caller names it.
        arguments: What it is called with.
        tool_use_id: The id of the `ToolUseBlock`; older CLIs do not tell.
        made_at: When it came, by trio's clock.
    """

    name: str
    arguments: Mapping[str, Any]
    tool_use_id: str | None = None
    made_at: float = attrs.field(factory=trio.current_time)
    result: ClientResult | None = None
    answered: trio.Event = attrs.field(factory=trio.Event)

    def answer(self, result: ClientResult) -> None:
        """Give it its result; the first one counts."""
        if not self.answered.is_set():
            self.result = result
            self.answered.set()

    @property
    def block(self) -> ToolUseBlock:
        """The call as the caller is told of it, where its record is not there."""
        name = self.tool_use_id or f"{MADE_UP}{secrets.token_hex(12)}"
        return ToolUseBlock(id=name, name=self.name, input=self.arguments)

    def is_that_of(self, block: ToolUseBlock) -> bool:
        """Whether it is the call that a block of the model's stands for."""
        if self.tool_use_id is not None:
            return self.tool_use_id == block.id
        return (self.name, self.arguments) == (block.name, dict(block.input))


@attrs.define(eq=False)
class ClientCalls:
    """The calls that wait for their results, and the results that wait for their calls.

    The CLI may make the calls of one message one after another, where the caller is asked about all of
    them at once.

    Args:
        tools: The tools, as the caller has described them.
    """

    tools: Sequence[Mapping[str, Any]] = ()
    waiting: list[ClientCall] = attrs.field(factory=list)
    _results: list[tuple[ToolUseBlock, ClientResult]] = attrs.field(factory=list)

    async def wait(self, call: ClientCall) -> ClientResult:
        """Wait until a call is answered."""
        self.waiting.append(call)
        try:
            self._match(call)
            await call.answered.wait()
        finally:
            self.waiting.remove(call)
        assert call.result is not None
        return call.result

    def give(self, asked: Mapping[str, ToolUseBlock], results: Mapping[str, ClientResult]) -> None:
        """Answer calls, those too that are still to come; what was given before is too late for any.

        Args:
            asked: The calls, by their ids.
            results: Their results, likewise.
        """
        self._results = [(asked[name], result) for name, result in results.items()]
        for call in self.waiting:
            self._match(call)

    def forget(self) -> None:
        """Drop the results that no call has come for."""
        self._results.clear()

    def _match(self, call: ClientCall) -> None:
        for given in self._results:
            if not call.answered.is_set() and call.is_that_of(given[0]):
                self._results.remove(given)
                call.answer(given[1])
                return
