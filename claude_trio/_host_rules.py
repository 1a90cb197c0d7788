"""What attrs calls to check the options that put the host in the loop, and how they fit together."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import attrs

from . import _validators as check
from ._launch import is_on
from ._protocol.client_tools import SERVER
from ._protocol.hooks import FAIL_CLOSED, check_hooks
from .callbacks import HookMatcher, check_async
from .tools import TOOL_NAME, Tool, tool

if TYPE_CHECKING:
    from .options import BackendOptions

#: The modes in which a call that the host does not allow is not run: it is denied, or asked about
#: in a dialog that is refused.
_HOST_DECIDES: Final = (FAIL_CLOSED, "plan")


def to_hooks(value: Any) -> dict[str, tuple[HookMatcher, ...]]:
    """Return a checked copy of the option `hooks`."""
    return check_hooks(value)


def to_servers(value: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Return a copy of the option `mcp_servers`, in which functions are a tuple of `Tool`.

    Raises:
        TypeError: One is no async function.
        ValueError: A name cannot be one of a server; a function cannot be a tool.
    """
    if not isinstance(value, Mapping):
        return value
    others = {name: server for name, server in value.items() if not _is_own(server)}
    servers = dict(check.to_mapping(others))
    for name, server in value.items():
        if not _is_own(server):
            continue
        if "__" in name:
            raise ValueError(f"mcp_servers has the name {name!r}; it takes no double '_'")
        if not server:
            raise ValueError(f"mcp_servers[{name!r}] has no tool")
        servers[name] = tuple(each if isinstance(each, Tool) else tool(each) for each in server)
    return servers


def to_client_tools(value: Any) -> tuple[Mapping[str, Any], ...] | None:
    """Return a checked copy of the option `client_tools`.

    Raises:
        ValueError: One has no name that a tool can have, or two have the same; one has no schema of an
            object, or holds something that is not known.
        TypeError: Something is of the wrong type.
    """
    if value is None:
        return None
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Sequence):
        raise TypeError(f"client_tools must be a list of tools, not {value!r}")
    made = tuple(_client_tool(tool, f"client_tools[{i}]") for i, tool in enumerate(value))
    names = [tool["name"] for tool in made]
    if doubled := sorted({each for each in names if names.count(each) > 1}):
        raise ValueError(f"client_tools has several tools named {', '.join(doubled)}")
    return made


def _client_tool(tool: object, place: str) -> Mapping[str, Any]:
    if not isinstance(tool, Mapping):
        raise TypeError(f"{place} must be a mapping, not {tool!r}")
    if unknown := sorted(set(tool) - {"name", "description", "input_schema"}):
        raise ValueError(
            f"{place} has {', '.join(map(str, unknown))}, which the CLI does not pass on"
        )
    name, schema = tool.get("name"), tool.get("input_schema")
    if not isinstance(name, str) or not TOOL_NAME.fullmatch(name):
        raise ValueError(f"{place}['name'] must be 1 to 64 letters, digits, - and _, not {name!r}")
    if not isinstance(schema, Mapping) or schema.get("type") != "object":
        raise ValueError(f"{place}['input_schema'] must be a JSON schema of an object")
    if not isinstance(tool.get("description", ""), str):
        raise TypeError(f"{place}['description'] must be a str")
    try:
        copy = json.loads(json.dumps(dict(tool), allow_nan=False))
    except (TypeError, ValueError) as exc:
        raise TypeError(f"{place} cannot be written as JSON: {exc}") from None
    return {"description": "", **copy}


def _is_own(server: object) -> bool:
    return isinstance(server, Sequence) and not isinstance(server, str | bytes)


def callback(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Check for an async function, or something else that can be called and awaited, or None."""
    if value is not None:
        check_async(attribute.name, value)


def fit_together(options: BackendOptions) -> None:
    """Check the options that bear on one another.

    Raises:
        ValueError: Two of them exclude each other.
    """
    deciding = [
        name
        for name in ("on_permission", "on_question", "on_plan")
        if getattr(options, name) is not None
    ]
    if deciding:
        if options.dangerously_skip_permissions:
            raise ValueError(f"{deciding[0]} decides nothing with dangerously_skip_permissions")
        if options.permission_mode not in _HOST_DECIDES:
            raise ValueError(
                f"{deciding[0]} needs permission_mode 'dontAsk', the default, or 'plan'; with "
                f"{options.permission_mode!r} a tool could run without its consent"
            )
    if options.client_tools is not None and SERVER in (options.mcp_servers or {}):
        raise ValueError(
            f"mcp_servers has the name {SERVER!r}, which client_tools needs; take another one"
        )
    if not options.needs_host:
        return
    if options.settings.get("disableAllHooks"):
        raise ValueError(
            "settings has disableAllHooks, so the CLI would call neither hooks nor on_… callbacks"
        )
    if is_on(options.env.get("CLAUDE_CODE_SIMPLE", "")):
        raise ValueError(
            "env sets CLAUDE_CODE_SIMPLE, with which the CLI calls neither hooks nor on_… callbacks"
        )
