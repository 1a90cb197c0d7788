"""The rules that the CLI sets for options; each refusal names the argument and the way to go.

An interactive CLI accepts much in silence that has no effect there. None of that is passed on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import attrs

from . import _validators as check
from ._launch import EXTRA_BODY, STATUS_LINE, option_variables

if TYPE_CHECKING:
    from .options import BackendOptions

_TOOL: Final = re.compile(r"[A-Za-z]\w*")
_NAME: Final = re.compile(r"[\w-]+")
_FLAG: Final = re.compile(r"[A-Za-z][A-Za-z0-9-]*")

#: Fields of the request that are the conversation itself, and what makes them instead.
_OWN_FIELDS: Final[Mapping[str, str]] = {
    "messages": "the argument of complete()",
    "stream": "nothing: the CLI needs it",
    "system": "system_prompt",
    "tools": "tools and mcp_servers",
    "model": "model",
    "max_tokens": "max_output_tokens",
    "thinking": "thinking",
}

_PRINT_ONLY: Final = "it works with --print only, and an interactive CLI ignores or refuses it"
#: Flags that are not for `extra_args`, and why.
REFUSED_FLAGS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("session-id", "resume", "r", "continue", "c"), "the backend chooses it"),
    **dict.fromkeys(("fork-session", "from-pr", "resume-session-at"), "the backend chooses it"),
    **dict.fromkeys(("system-prompt", "system-prompt-file"), "use system_prompt"),
    "system-prompt-snapshot": "the backend chooses it",
    **dict.fromkeys(
        ("append-system-prompt", "append-system-prompt-file"), "use append_system_prompt"
    ),
    **dict.fromkeys(("allowedTools", "allowed-tools"), "use allowed_tools"),
    **dict.fromkeys(("disallowedTools", "disallowed-tools"), "use disallowed_tools"),
    **{
        flag: f"use {flag.replace('-', '_')}"
        for flag in (
            *("model", "fallback-model", "effort", "tools", "permission-mode", "settings"),
            *("setting-sources", "strict-mcp-config", "agents", "agent"),
            "dangerously-skip-permissions",
        )
    },
    "add-dir": "use add_dirs",
    "mcp-config": "use mcp_servers",
    "allow-dangerously-skip-permissions": "use dangerously_skip_permissions",
    **dict.fromkeys(
        (
            *("print", "p", "output-format", "input-format", "no-session-persistence"),
            *("include-partial-messages", "include-hook-events", "replay-user-messages"),
            *("permission-prompt-tool", "permission-prompts"),
            *("forward-subagent-text", "sdk-url", "file"),
        ),
        _PRINT_ONLY,
    ),
    "max-turns": f"{_PRINT_ONLY}; use max_turns",
    "max-budget-usd": f"{_PRINT_ONLY}; use max_budget_usd",
    "json-schema": f"{_PRINT_ONLY}; use output_format",
    **dict.fromkeys(
        ("thinking", "max-thinking-tokens"), "not every version heeds it; use thinking"
    ),
    "betas": "not every login heeds it; use env={'ANTHROPIC_BETAS': …}",
    **dict.fromkeys(("worktree", "w", "tmux"), "it would work in another directory than cwd"),
    **dict.fromkeys(("background", "bg", "cloud", "desktop"), "no process would stay to be driven"),
    **dict.fromkeys(("help", "h", "version", "v"), "the CLI would end at once"),
    "ax-screen-reader": "it changes the screen that dialogs are recognised by",
    "prompt-suggestions": "a suggestion would stand in the input box",
}


def thinking(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Check how the model is to think, or None."""
    if value is None:
        return
    check.json_object(instance, attribute, value)
    kind, budget = value.get("type"), value.get("budget_tokens")
    if kind not in {"adaptive", "enabled", "disabled"}:
        raise ValueError(f"thinking['type'] must be adaptive, enabled or disabled, not {kind!r}")
    known = {"type", "budget_tokens"} if kind == "enabled" else {"type"}
    if unknown := set(value) - known:
        raise ValueError(
            f"thinking has {', '.join(sorted(unknown))}, for which an interactive CLI has no switch"
        )
    if kind == "enabled" and (
        isinstance(budget, bool) or not isinstance(budget, int) or budget < 1
    ):
        raise ValueError(f"thinking['budget_tokens'] must be 1 or more, not {budget!r}")


def output_format(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Check the format of the model's answers, or None."""
    if value is None:
        return
    check.json_object(instance, attribute, value)
    if value.get("type") != "json_schema" or not isinstance(value.get("schema"), Mapping):
        raise ValueError(
            'output_format must be {"type": "json_schema", "schema": {…}}, not ' + repr(value)
        )


def extra_body(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Check the fields that go into each request."""
    check.json_object(instance, attribute, value)
    for field, instead in _OWN_FIELDS.items():
        if field in value:
            raise ValueError(f"extra_body must not hold {field!r}; what sets it is {instead}")
    if not isinstance(value.get("output_config", {}), Mapping):
        raise TypeError("extra_body['output_config'] must be a mapping")


def tools(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Check the names of the CLI's own tools, or None."""
    check.sequence(instance, attribute, value)
    for name in value or ():
        if name.startswith("mcp__"):
            raise ValueError(f"tools has {name!r}; what a server offers, mcp_servers decides")
        if not _TOOL.fullmatch(name):
            raise ValueError(
                f"tools has {name!r}, which is no tool's name; rules are allowed_tools"
            )


def permission_rules(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Check rules for what tools may do."""
    check.sequence(instance, attribute, () if value is None else value)
    if value is None:
        raise TypeError(f"{attribute.name} must be a list of str, not None")
    for rule in value:
        name, opening, rest = rule.partition("(")
        if not re.fullmatch(r"[A-Za-z][\w-]*(__\*)?", name) or (opening and not rest.endswith(")")):
            raise ValueError(
                f"{attribute.name} has {rule!r}, which is no rule; one is like Read, "
                "Bash(git log *) or mcp__server"
            )


def servers(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Check MCP servers, or None."""
    if value is None:
        return
    others = value
    if isinstance(value, Mapping):  # functions of this program are a tuple by now
        others = {name: each for name, each in value.items() if not isinstance(each, tuple)}
    check.json_object(instance, attribute, others)
    for name in value:
        if not _NAME.fullmatch(name):
            raise ValueError(f"mcp_servers[{name!r}]: a name has letters, digits, '_' and '-' only")
    for name, server in others.items():
        _server(f"mcp_servers[{name!r}]", server)


def _server(place: str, server: Any) -> None:
    if not isinstance(server, Mapping):
        raise TypeError(f"{place} must be a mapping, or a list of functions, not {server!r}")
    kind = server.get("type", "stdio")
    if kind not in {"stdio", "http", "sse"}:
        raise ValueError(f"{place}['type'] must be stdio, http or sse, not {kind!r}")
    _need(place, server, "command" if kind == "stdio" else "url")
    for key in ("env", "headers"):
        pairs = server.get(key, {})
        if not isinstance(pairs, Mapping) or not all(
            isinstance(text, str) for text in pairs.values()
        ):
            raise TypeError(f"{place}[{key!r}] must map str to str")
    args = server.get("args", [])
    if not isinstance(args, list) or not all(isinstance(text, str) for text in args):
        raise TypeError(f"{place}['args'] must be a list of str")


def agents(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Check subagents, which become one argument."""
    check.json_object(instance, attribute, value)
    for name, agent in value.items():
        place = f"agents[{name!r}]"
        if not _NAME.fullmatch(name):
            raise ValueError(f"{place}: a name has letters, digits, '_' and '-' only")
        if not isinstance(agent, Mapping):
            raise TypeError(f"{place} must be a mapping, not {agent!r}")
        _need(place, agent, "description")
        _need(place, agent, "prompt")
    check.argument("agents", json.dumps(value))


def extra_args(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Check further flags."""
    check.json_object(instance, attribute, value)
    for name, text in value.items():
        place = f"extra_args[{name!r}]"
        if not _FLAG.fullmatch(name):
            raise ValueError(f"{place}: a flag is named without its dashes, and not with a value")
        if name in REFUSED_FLAGS:
            raise ValueError(f"{place} is refused: {REFUSED_FLAGS[name]}")
        if text is not None:
            check.argument(place, text)


def _need(place: str, value: Mapping[str, Any], key: str) -> None:
    text = value.get(key)
    if not isinstance(text, str) or not text:
        raise ValueError(f"{place} must have a {key!r}, a str")


def fit_together(options: BackendOptions) -> None:
    """Refuse what would silently undo another option."""
    made = option_variables(options)
    for place, env in (("env", options.env), ("settings['env']", options.settings.get("env", {}))):
        for variable in (*made, STATUS_LINE):
            if variable in env:
                raise ValueError(f"{place} sets {variable}, which an option sets; leave one out")
    if EXTRA_BODY in made:
        check.argument("extra_body, with output_format,", f"{EXTRA_BODY}={made[EXTRA_BODY]}")
    if options.output_format is not None and "format" in options.extra_body.get(
        "output_config", {}
    ):
        raise ValueError("extra_body holds an output format, and output_format too; leave one out")
    for key, option in (
        ("statusLine", "include_cost"),
        ("statusLine", "max_budget_usd"),
        ("alwaysThinkingEnabled", "thinking"),
    ):
        if key in options.settings and getattr(options, option):
            raise ValueError(f"settings has {key!r}, which {option} sets; leave one out")
