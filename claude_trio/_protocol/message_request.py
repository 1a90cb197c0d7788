"""The body of a request to the Messages API, as the arguments of `ClaudeCodeBackend.complete`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

#: Fields that go into the request of the CLI as they are.
_PASSED: Final = ("stop_sequences", "temperature", "top_p", "top_k")
#: Fields that mean nothing here: the CLI sends its own, and marks what the cache is to keep.
_IGNORED: Final = frozenset({"metadata", "cache_control"})
_KNOWN: Final = frozenset(
    {
        *("model", "messages", "max_tokens", "system", "thinking", "output_config"),
        *("tools", "tool_choice", "stream", *_PASSED, *_IGNORED),
    }
)


@attrs.frozen(kw_only=True)
class MessagesRequest:
    """A request to the Messages API; made by `parse_request`.

    Attributes:
        model: The model that is asked for.
        messages: The conversation, as it was sent.
        stream: Whether the answer is to be a stream.
        choices: Further arguments of `ClaudeCodeBackend.complete`. What the request leaves out is chosen
            as the API does it: no system prompt, no thinking, no tools.
    """

    model: str
    messages: Sequence[Mapping[str, Any]]
    stream: bool
    choices: Mapping[str, Any] = attrs.field(repr=False)

    @property
    def client_tools(self) -> tuple[str, ...]:
        """The names of the client's tools."""
        return tuple(tool["name"] for tool in self.choices["client_tools"])


def parse_request(body: object) -> MessagesRequest:
    """Return what a request asks for.

    ``metadata`` and the marks of the cache are ignored: the CLI sends its own. A bound, a system
    prompt, thinking, stop sequences and sampling are what processes are started with, so a conversation
    in which they change goes on in another process.

    Args:
        body: The parsed JSON.

    Raises:
        ValueError: It has fields that the interactive CLI has no counterpart for; all of them are
            named. Or a value is impossible. What is wrong with the messages themselves is found by
            `ClaudeCodeBackend.complete`.
        TypeError: Something is of the wrong type.
    """
    if not isinstance(body, Mapping):
        raise TypeError("the body must be a JSON object")
    if unknown := sorted(set(body) - _KNOWN):
        raise ValueError(
            f"{', '.join(unknown)}: not supported here; the CLI has no counterpart for that"
        )
    for name, kind in (("model", str), ("messages", list), ("max_tokens", int)):
        if not isinstance(body.get(name), kind) or isinstance(body.get(name), bool):
            raise TypeError(f"{name}: must be there, of the type {kind.__name__}")
    for i, message in enumerate(body["messages"]):
        more = set(message) - {"role", "content"} if isinstance(message, Mapping) else ()
        if more:
            raise ValueError(
                f"messages[{i}]: {', '.join(sorted(map(str, more)))}: not supported here"
            )
    stream = body.get("stream", False)
    if not isinstance(stream, bool):
        raise TypeError("stream: must be true or false")
    effort, config = _output_config(body.get("output_config"))
    extra = {name: body[name] for name in _PASSED if body.get(name) is not None}
    if config:
        extra["output_config"] = config
    choices: dict[str, Any] = {
        "model": body["model"],
        "max_output_tokens": body["max_tokens"],
        "system_prompt": _system(body.get("system")),
        "thinking": {"type": "disabled"} if body.get("thinking") is None else body["thinking"],
        "extra_body": extra,
        "client_tools": _tools(body.get("tools"), body.get("tool_choice")),
    }
    if effort is not None:
        choices["effort"] = effort
    return MessagesRequest(
        model=body["model"], messages=body["messages"], stream=stream, choices=choices
    )


def _system(system: object) -> str:
    if system is None:
        return ""
    if isinstance(system, str):
        return system
    texts: list[str] = []
    for i, block in enumerate(system if isinstance(system, list) else [system]):
        text = block.get("text") if isinstance(block, Mapping) else None
        if not isinstance(text, str):
            raise TypeError(f"system[{i}]: must be a block of text")
        texts.append(text)
    return "\n\n".join(texts)


def _output_config(config: object) -> tuple[str | None, dict[str, Any]]:
    if config is None:
        return None, {}
    if not isinstance(config, Mapping):
        raise TypeError("output_config: must be an object")
    if unknown := sorted(set(config) - {"effort", "format"}):
        raise ValueError(f"output_config.{', output_config.'.join(unknown)}: not supported here")
    form = config.get("format")
    return config.get("effort"), {} if form is None else {"format": form}


def _tools(tools: object, choice: object) -> tuple[dict[str, Any], ...]:
    if tools is not None and not isinstance(tools, list):
        raise TypeError("tools: must be a list")
    found = tuple(_tool(tool, f"tools[{i}]") for i, tool in enumerate(tools or ()))
    return found if _lets_choose(choice) else ()


def _lets_choose(choice: object) -> bool:
    if choice is None:
        return True
    if not isinstance(choice, Mapping):
        raise TypeError("tool_choice: must be an object")
    kind = choice.get("type")
    if kind not in ("auto", "none"):
        raise ValueError(
            f"tool_choice: {kind!r} is not supported here; the CLI lets the model choose"
        )
    for name in sorted(set(choice) - {"type"}):
        if choice[name] or name != "disable_parallel_tool_use":
            raise ValueError(f"tool_choice.{name}: not supported here")
    return str(kind) == "auto"


def _tool(tool: object, place: str) -> dict[str, Any]:
    if not isinstance(tool, Mapping):
        raise TypeError(f"{place}: must be an object")
    if tool.get("type") not in (None, "custom"):
        raise ValueError(f"{place}: {tool['type']!r} is a tool of the API's, not supported here")
    if unknown := sorted(
        set(tool) - {"type", "name", "description", "input_schema", "cache_control"}
    ):
        raise ValueError(f"{place}.{f', {place}.'.join(unknown)}: not supported here")
    if not isinstance(tool.get("name"), str):
        raise TypeError(f"{place}.name: must be there, of the type str")
    return {key: tool[key] for key in ("name", "description", "input_schema") if key in tool}
