"""The one cattrs converter: strict about primitive types, tolerant of unknown content blocks.

cattrs coerces by default (``null`` in a text would become the text ``None``), so primitives get
hooks that only accept what they say.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cattrs
from cattrs.gen import make_dict_structure_fn, override
from cattrs.strategies import configure_tagged_union

from ..events import (
    ContentBlock,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
    UnknownBlock,
)

_TAGS: Mapping[type, str] = {
    TextBlock: "text",
    ThinkingBlock: "thinking",
    ToolUseBlock: "tool_use",
    ToolResultBlock: "tool_result",
}


def _exact(wanted: type) -> Any:
    def structure(value: Any, _: Any) -> Any:
        if type(value) is not wanted:
            raise TypeError(f"expected {wanted.__name__}, got {type(value).__name__}")
        return value

    return structure


def _object(value: Any, _: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"expected an object, got {type(value).__name__}")
    return value


def _tool_content(value: Any, _: Any) -> str | tuple[Mapping[str, Any], ...]:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        raise TypeError(f"expected a string or a list, got {type(value).__name__}")
    return tuple(_object(item, None) for item in value)


def _nullable_flag(value: Any, _: Any) -> bool:
    return bool(_exact(bool)(False if value is None else value, None))


def make_converter() -> cattrs.Converter:
    """Return a converter that knows the records of the transcript."""
    converter = cattrs.Converter()
    for primitive in (str, int, bool):
        converter.register_structure_hook(primitive, _exact(primitive))
    converter.register_structure_hook_func(lambda cls: cls == Mapping[str, Any], _object)
    converter.register_structure_hook(
        ToolResultBlock,
        make_dict_structure_fn(
            ToolResultBlock,
            converter,
            content=override(struct_hook=_tool_content),
            is_error=override(struct_hook=_nullable_flag),
        ),
    )
    converter.register_structure_hook(
        UnknownBlock, lambda value, _: UnknownBlock(type=str(value.get("type", "")), raw=value)
    )
    configure_tagged_union(
        ContentBlock,
        converter,
        tag_name="type",
        tag_generator=lambda cls: _TAGS.get(cls, "\0"),
        default=UnknownBlock,
    )
    return converter
