"""What arrives at the loopback API, and whether it belongs to the conversation.

Pure values: nothing here knows sockets or trio.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias

import attrs

RequestKind: TypeAlias = Literal[
    "conversation", "title", "suggestion", "quota", "structured", "count_tokens", "probe", "unknown"
]

_REMINDER: Final = re.compile(r"<system-reminder>.*?</system-reminder>\s*", re.DOTALL)
_TITLE: Final = re.compile(r"\b(?:sentence-case title|generate a (?:short|concise)\b.*\btitle)")
_SUGGESTION: Final = "[SUGGESTION MODE:"


@attrs.frozen
class RecordedRequest:
    """One request as the loopback API received it.

    Args:
        method: The HTTP method.
        path: The path without its query, such as ``/v1/messages``.
        headers: The headers by their names in lower case.
        body: The parsed JSON body; None if there was none, or if it was no JSON.
        kind: What the request is for; see `is_conversation`.
    """

    method: str
    path: str
    headers: Mapping[str, str] = attrs.field(repr=False)
    body: Any = attrs.field(repr=False)
    kind: RequestKind

    @property
    def is_conversation(self) -> bool:
        """Whether it asks the model for the next message of a conversation.

        That is every ``POST /v1/messages``, streamed or not, except what the CLI asks beside the
        conversation: one token (``quota``, a check of the login), a title of the session, a
        suggestion of the next prompt, or an answer in a JSON schema (``structured``; the CLI
        judges with it). These four are known by `max_tokens`, by ``output_config.format``, and by
        the words of their instructions. Subagents and ``/compact`` count as conversation.
        """
        return self.kind == "conversation"

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The ``messages`` of the body."""
        return _messages(self.body)

    @property
    def system_text(self) -> str:
        """The system prompt as one text, its blocks joined by an empty line."""
        return _text(_get(self.body, "system"))

    @property
    def prompt(self) -> str:
        """The text of the last user message, without the reminders that the CLI adds to it.

        Text blocks are joined by an empty line. Empty if that message holds only tool results.
        """
        for message in reversed(self.messages):
            if message.get("role") == "user":
                return _REMINDER.sub("", _text(message.get("content"))).strip()
        return ""

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
    if path == "/v1/messages/count_tokens" and method == "POST":
        return "count_tokens"
    if method == "HEAD" or (method == "GET" and path == "/"):
        return "probe"
    if path != "/v1/messages" or method != "POST" or not isinstance(body, dict):
        return "unknown"
    if body.get("max_tokens") == 1:
        return "quota"
    if _TITLE.search(_text(body.get("system")).lower()):
        return "title"
    messages = _messages(body)
    if messages and _SUGGESTION in _text(messages[-1].get("content")):
        return "suggestion"
    if _get(body.get("output_config"), "format") or body.get("output_format"):
        return "structured"
    return "conversation"


def _get(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, dict) else None


def _messages(body: Any) -> list[dict[str, Any]]:
    messages = _get(body, "messages")
    if not isinstance(messages, list):
        return []
    return [message for message in messages if isinstance(message, dict)]


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    blocks = content if isinstance(content, list) else []
    return "\n\n".join(str(b.get("text", "")) for b in blocks if _get(b, "type") == "text")
