"""What arrives at the loopback API, and whether it belongs to the conversation.

Pure values: nothing here knows sockets or trio.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal, TypeAlias

import attrs

RequestKind: TypeAlias = Literal[
    "conversation",
    "quota",
    "title",
    "structured",
    "suggestion",
    "count_tokens",
    "probe",
    "unknown",
]

_REMINDER: Final = re.compile(r"<system-reminder>.*?</system-reminder>\s*", re.DOTALL)
_SUGGESTION: Final = "[SUGGESTION MODE:"


@attrs.frozen
class RecordedRequest:
    """One request, as the loopback API received it.

    Args:
        method: The HTTP method.
        path: The path without its query, such as ``/v1/messages``.
        headers: The headers, by their names in lower case.
        body: The parsed JSON body; None if there was none, or none that could be parsed.
        kind: What the request is for; see `is_conversation`.
    """

    method: str
    path: str
    headers: Mapping[str, str] = attrs.field(repr=False)
    body: Any = attrs.field(repr=False)
    kind: RequestKind

    @property
    def is_conversation(self) -> bool:
        """Whether it asks for the next message of a conversation.

        That is every ``POST /v1/messages``, streamed or not, but what the CLI asks on the side:

        - ``quota``: one token (``max_tokens`` is 1), to see whether the login is good;
        - ``title`` and ``structured``: an answer in a JSON schema (``output_config.format``), with
          no tools; a title for the session is one;
        - ``suggestion``: its last user message has a block that starts with ``[SUGGESTION MODE:``.

        Subagents and ``/compact`` count as conversation, and so does the request without a stream
        that the CLI sends after a stream that broke early.
        """
        return self.kind == "conversation"

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The messages of the body. Some have the role ``system``."""
        return _messages(self.body)

    @property
    def system_text(self) -> str:
        """The system prompt as one text, an empty line between its blocks."""
        return "\n\n".join(_texts(_get(self.body, "system")))

    @property
    def prompt(self) -> str:
        """The text of the last user message, without the reminders that the CLI puts into it.

        An empty line stands between text blocks. Empty if the message holds tool results only.
        """
        blocks = (_REMINDER.sub("", text) for text in _last_user_texts(self.messages))
        return "\n\n".join(text for text in blocks if text)

    @property
    def wants_stream(self) -> bool:
        """Whether the answer is to be a stream of events."""
        return _get(self.body, "stream") is True


def classify(method: str, path: str, body: Any) -> RequestKind:
    """Say what a request is for.

    Args:
        method: The HTTP method.
        path: The path without its query.
        body: The parsed JSON body, or None.
    """
    if method == "HEAD":
        return "probe"  # "/" or "/api/hello", depending on the version
    if method == "POST" and path == "/v1/messages/count_tokens":
        return "count_tokens"
    if method != "POST" or path != "/v1/messages" or not isinstance(body, dict):
        return "unknown"
    if body.get("max_tokens") == 1:
        return "quota"
    wanted = _get(body.get("output_config"), "format")
    if wanted and not body.get("tools"):
        properties = _get(_get(wanted, "schema"), "properties")
        return "title" if list(properties or ()) == ["title"] else "structured"
    if any(text.startswith(_SUGGESTION) for text in _last_user_texts(_messages(body))):
        return "suggestion"
    return "conversation"


def _get(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, dict) else None


def _messages(body: Any) -> list[dict[str, Any]]:
    messages = _get(body, "messages")
    if not isinstance(messages, list):
        return []
    return [message for message in messages if isinstance(message, dict)]


def _last_user_texts(messages: list[dict[str, Any]]) -> list[str]:
    # The CLI's own messages, with the role "system", may follow it.
    for message in reversed(messages):
        if message.get("role") == "user":
            return list(_texts(message.get("content")))
    return []


def _texts(content: Any) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    elif isinstance(content, list):
        for block in content:
            if _get(block, "type") == "text":
                yield str(_get(block, "text"))
