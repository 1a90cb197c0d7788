"""Turns in the words of the Anthropic Messages API: for servers that its clients are to talk to.

`parse_request` makes of a request the arguments of `ClaudeCodeBackend.complete`; `MessageResponse` sends
what the turn says by any ASGI server that runs on trio, as a stream or as one message, and `error_response`
makes of an exception a status and an envelope. Beneath that, `MessageChannel` is the turn as a channel of
stream events, and `to_sse` what they are on the wire; `MessageStream` and `to_message` make values of values.
``examples/gateway.py`` is a server that puts them together.
"""

from ._message_channel import MessageChannel
from ._message_response import MessageResponse
from ._protocol.message_errors import ErrorResponse, error_response
from ._protocol.message_request import MessagesRequest, parse_request
from ._protocol.message_stream import PING, MessageStream, Shown, to_message, to_sse

__all__ = [
    "PING",
    "ErrorResponse",
    "MessageChannel",
    "MessageResponse",
    "MessageStream",
    "MessagesRequest",
    "Shown",
    "error_response",
    "parse_request",
    "to_message",
    "to_sse",
]
