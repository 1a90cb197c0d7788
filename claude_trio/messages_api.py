"""Turns in the words of the Anthropic Messages API: for servers that its clients are to talk to.

Values to values; nothing here waits, and nothing serves. `parse_request` makes of a request the
arguments of `ClaudeCodeBackend.complete`, `MessageStream` of a turn's events the events of a stream,
`to_message` one message, `to_sse` what goes over the wire, and `error_response` of an exception a status
and an envelope. ``examples/gateway.py`` is a server that puts them together.
"""

from ._protocol.message_errors import ErrorResponse, error_response
from ._protocol.message_request import MessagesRequest, parse_request
from ._protocol.message_stream import PING, MessageStream, Shown, to_message, to_sse

__all__ = [
    "PING",
    "ErrorResponse",
    "MessageStream",
    "MessagesRequest",
    "Shown",
    "error_response",
    "parse_request",
    "to_message",
    "to_sse",
]
