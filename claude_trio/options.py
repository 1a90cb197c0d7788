"""`BackendOptions`: what a caller may choose, checked before anything starts.

Also the two pure functions that turn the choice into a command line and an environment, with the
table of switches that make the CLI quiet enough to be driven.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, get_args

import attrs

from .errors import MessageParseError

PermissionMode: TypeAlias = Literal[
    "default", "acceptEdits", "plan", "dontAsk", "bypassPermissions"
]

# Linux refuses a single argument of 128 KiB or more (MAX_ARG_STRLEN), final NUL included.
_MAX_ARGUMENT: Final = 131_071

#: Set for every driven CLI; `BackendOptions.env` overrides each one.
QUIET_ENVIRONMENT: Final[Mapping[str, str]] = {
    "TERM": "xterm-256color",
    # The full-screen renderer drops frames when nobody reads; the classic one blocks the process.
    "CLAUDE_CODE_NO_FLICKER": "1",
    "DISABLE_AUTOUPDATER": "1",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "CLAUDE_CODE_DISABLE_OFFICIAL_MARKETPLACE_AUTOINSTALL": "1",
    "CLAUDE_CODE_DISABLE_FEEDBACK_SURVEY": "1",
    "CLAUDE_CODE_DISABLE_TERMINAL_TITLE": "1",
    # Ghost text in the input box, and an API request of its own after some turns.
    "CLAUDE_CODE_ENABLE_PROMPT_SUGGESTION": "0",
    # A turn that goes on in the background ends twice; a driven turn ends once.
    "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS": "1",
    "CLAUDE_CODE_DISABLE_CRON": "1",
    # A dialog of 2.1.197 that swallows the first prompt of an old, large conversation.
    "CLAUDE_CODE_RESUME_THRESHOLD_MINUTES": "100000000",
}

#: Passed by ``--settings`` to every driven CLI. Unknown keys are ignored by older versions.
QUIET_SETTINGS: Final[Mapping[str, Any]] = {
    "autoContinueAtUsageLimit": False,
    "crossSessionInbound": "refuse",
    "emojiCompletionEnabled": False,
    "promptSuggestionEnabled": False,
    "workflowKeywordTriggerEnabled": False,
}

#: Tools that the CLI does not get: they start turns by themselves, and no other switch ends that.
SWITCHED_OFF_TOOLS: Final = ("ScheduleWakeup",)

# What a child inherits: its user, its language, its network and its login, nothing else. In
# particular no CLAUDE_CODE_CHILD_SESSION (a CLI started below another one would write no
# transcript) and no API key (the CLI would ask about it, and bill it).
_KEEP: Final = frozenset(
    {
        *("HOME", "USER", "LOGNAME", "PATH", "SHELL", "TMPDIR", "LANG", "TZ"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS"),
        *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
        *("http_proxy", "https_proxy", "all_proxy", "no_proxy"),
        *("XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS"),  # the keyring behind a stored login
        *("CLAUDE_CONFIG_DIR", "CLAUDE_CODE_OAUTH_TOKEN", "CLAUDE_CODE_TMPDIR"),
    }
)


def log_unreadable(error: MessageParseError) -> None:
    """Log a line that cannot be read: what happens to one unless something else is asked for."""
    logging.getLogger("claude_trio").warning("%s", error)


def _seconds(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{attribute.name} must be a number of seconds, not {value!r}")
    if not value > 0:
        raise ValueError(f"{attribute.name} must be more than 0 seconds, not {value!r}")


def _optional_seconds(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if value is not None:
        _seconds(instance, attribute, value)


def _flag(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if not isinstance(value, bool):
        raise TypeError(f"{attribute.name} must be True or False, not {value!r}")


def _callable(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if not callable(value):
        raise TypeError(f"{attribute.name} must be callable, not {value!r}")


def _size(name: str, value: str) -> int:
    """Return how many bytes a text takes in a program's arguments, environment or paths."""
    if "\0" in value:
        raise ValueError(f"{name} holds a NUL character; no program can be given one")
    try:
        return len(os.fsencode(value))
    except UnicodeEncodeError as exc:
        raise ValueError(f"{name} cannot be encoded: {exc.reason}") from None


def _argument(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if value is None:
        return
    if not isinstance(value, str):
        raise TypeError(f"{attribute.name} must be a str or None, not {value!r}")
    size = _size(attribute.name, value)
    if size > _MAX_ARGUMENT:
        raise ValueError(
            f"{attribute.name} is {size} bytes long; a program argument holds {_MAX_ARGUMENT}"
        )


def _name(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    _argument(instance, attribute, value)
    if value is not None and not value.strip():
        raise ValueError(f"{attribute.name} must not be empty; leave it None for the default")


def _directory(instance: object, attribute: attrs.Attribute[Any], value: Path) -> None:
    if not value.is_dir():
        raise ValueError(f"{attribute.name} must be an existing directory, not {str(value)!r}")


def _permission_mode(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if value not in get_args(PermissionMode):
        modes = ", ".join(get_args(PermissionMode))
        raise ValueError(f"permission_mode must be one of {modes}, not {value!r}")


def _environment(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    for key, text in value.items():
        if not isinstance(key, str) or not isinstance(text, str):
            raise TypeError(f"env must map str to str, not {key!r} to {text!r}")
        if not key or "=" in key:
            raise ValueError(f"env holds {key!r}, which no environment can hold")
        _size(f"env[{key!r}]", key + text)


def _path(name: str, value: object) -> str:
    path = os.fspath(value) if isinstance(value, str | os.PathLike) else value
    if not isinstance(path, str):
        raise TypeError(f"{name} must be a path, not {value!r}")
    _size(name, path)
    return path


def _to_cwd(value: str | os.PathLike[str]) -> Path:
    return Path(os.path.realpath(_path("cwd", value)))


def _to_cli_path(value: str | os.PathLike[str] | None) -> Path | None:
    # Not resolved: an installed `claude` is often a link, and its own name is part of it.
    return None if value is None else Path(os.path.abspath(_path("cli_path", value)))  # noqa: PTH100


def _to_dict(value: Mapping[str, str]) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise TypeError(f"env must be a mapping, not {value!r}")
    return dict(value)


@attrs.frozen(kw_only=True)
class BackendOptions:
    """How the conversations of one backend are run; checked when it is made.

    Args:
        cwd: The directory that the CLI works in; links are resolved. The CLI must trust it.
        cli_path: The `claude` program. Default: the one on ``PATH``.
        model: A model name or alias. Default: the CLI's own default.
        system_prompt: Replaces the CLI's system prompt. It is passed as a program argument, so it
            is bounded (128 KiB) and visible to the users of the machine.
        append_system_prompt: Added to the end of the system prompt; bounded likewise.
        permission_mode: What tools may do. The default ``dontAsk`` denies, without a question,
            every call that the user's settings do not allow. ``default``, ``acceptEdits`` and
            ``plan`` make the CLI ask; nobody here answers, so a turn that asks ends with
            `SessionError`.
        dangerously_skip_permissions: Let every tool run unasked, and consent to the CLI's warning
            about that. Overrides `permission_mode`.
        env: Variables on top of the environment that the CLI gets. That one is made of a short
            list of inherited variables (user, language, proxy, login) and of switches for a quiet
            session; it holds no API key unless you put one here.
        turn_timeout: Seconds from sending a prompt to the end of its turn; None for no limit.
        stall_timeout: Seconds without any sign of life (a record, a byte on the terminal, a change
            of the status file) until a running turn is interrupted; None for no limit. A CLI that
            waits for the model or for a tool repaints its screen all the time, so this is for one
            that hangs.
        startup_timeout: Seconds from the start of a process until it is ready for a prompt.
        interrupt_grace: Seconds that a cancelled turn gets to settle; after them its process is
            ended.
        exit_grace: Seconds within which leaving the backend has ended every process it started:
            two thirds are for an orderly exit, the rest for what does not take the hint.
        on_parse_error: Called with the error for each line of a transcript that cannot be read; the
            default logs it as a warning, and the turn goes on. What it raises fails the turn, and
            ends its process.

    Raises:
        ValueError: An argument has an impossible value; the message names it.
        TypeError: An argument has the wrong type; the message names it.
    """

    cwd: Path = attrs.field(converter=_to_cwd, validator=_directory)
    cli_path: Path | None = attrs.field(default=None, converter=_to_cli_path)
    model: str | None = attrs.field(default=None, validator=_name)
    system_prompt: str | None = attrs.field(default=None, validator=_argument, repr=False)
    append_system_prompt: str | None = attrs.field(default=None, validator=_argument, repr=False)
    permission_mode: PermissionMode = attrs.field(default="dontAsk", validator=_permission_mode)
    dangerously_skip_permissions: bool = attrs.field(default=False, validator=_flag)
    env: Mapping[str, str] = attrs.field(
        factory=dict, converter=_to_dict, validator=_environment, repr=False
    )
    turn_timeout: float | None = attrs.field(default=None, validator=_optional_seconds)
    stall_timeout: float | None = attrs.field(default=300.0, validator=_optional_seconds)
    startup_timeout: float = attrs.field(default=60.0, validator=_seconds)
    interrupt_grace: float = attrs.field(default=5.0, validator=_seconds)
    exit_grace: float = attrs.field(default=10.0, validator=_seconds)
    on_parse_error: Callable[[MessageParseError], object] = attrs.field(
        default=log_unreadable, validator=_callable, repr=False
    )

    def environment(self, inherited: Mapping[str, str]) -> dict[str, str]:
        """Return the environment for a CLI, made from an inherited one."""
        kept = {k: v for k, v in inherited.items() if k in _KEEP or k.startswith("LC_")}
        return {**kept, **QUIET_ENVIRONMENT, **self.env}

    def arguments(self) -> list[str]:
        """Return the command line arguments that every conversation of this backend gets."""
        settings = dict(QUIET_SETTINGS)
        if self.dangerously_skip_permissions:
            settings["skipDangerousModePermissionPrompt"] = True
            arguments = ["--dangerously-skip-permissions"]
        else:
            # Never left out: the CLI's own default asks, or decides by itself.
            arguments = ["--permission-mode", self.permission_mode]
        arguments += ["--disallowedTools", *SWITCHED_OFF_TOOLS]
        if self.model is not None:
            arguments += ["--model", self.model]
        if self.system_prompt is not None:
            arguments += ["--system-prompt", self.system_prompt]
        if self.append_system_prompt is not None:
            arguments += ["--append-system-prompt", self.append_system_prompt]
        return [*arguments, "--settings", json.dumps(settings, separators=(",", ":"))]


def config_directory(environment: Mapping[str, str], cwd: Path) -> Path:
    """Return the directory where a CLI with this environment keeps its sessions.

    Args:
        environment: The whole environment of the CLI.
        cwd: The directory it works in, to which it takes a relative name.

    Raises:
        ValueError: The environment names no home at all.
    """
    if chosen := environment.get("CLAUDE_CONFIG_DIR"):
        return cwd / chosen
    if home := environment.get("HOME"):
        return cwd / home / ".claude"
    raise ValueError("the environment for the CLI has neither CLAUDE_CONFIG_DIR nor HOME; set one")
