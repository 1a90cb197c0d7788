"""Turns in the words of the Anthropic Messages API: for servers that its clients are to talk to.

Nothing here serves. `parse_request` makes of a request the arguments of `ClaudeCodeBackend.complete`,
`MessageChannel` of the turn the events of a stream, or one message; `to_sse` makes of an event what goes
over the wire, and `error_response` of an exception a status and an envelope. Beneath the channel, values to
values: `MessageStream` and `to_message`. ``examples/gateway.py`` is a server that puts them together.
"""

from ._message_channel import MessageChannel
from ._protocol.message_errors import ErrorResponse, error_response
from ._protocol.message_request import MessagesRequest, parse_request
from ._protocol.message_stream import PING, MessageStream, Shown, to_message, to_sse

__all__ = [
    "PING",
    "ErrorResponse",
    "MessageChannel",
    "MessageStream",
    "MessagesRequest",
    "Shown",
    "error_response",
    "parse_request",
    "to_message",
    "to_sse",
]
