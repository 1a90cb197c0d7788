"""`BackendOptions`: what a caller may choose, checked before anything starts.

What they become on top of the caller's choice, the switches that make the CLI quiet enough to be
driven, stands in the tables of `_launch`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import attrs

from . import _validators as check
from ._launch import SWITCHED_OFF_TOOLS, child_environment, merge_settings
from .errors import MessageParseError

PermissionMode: TypeAlias = Literal[
    "default", "acceptEdits", "plan", "dontAsk", "bypassPermissions"
]


def log_unreadable(error: MessageParseError) -> None:
    """Log a line that cannot be read: what happens to one unless something else is asked for."""
    logging.getLogger("claude_trio").warning("%s", error)


def _permission_mode(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if value not in get_args(PermissionMode):
        modes = ", ".join(get_args(PermissionMode))
        raise ValueError(f"permission_mode must be one of {modes}, not {value!r}")


@attrs.frozen(kw_only=True)
class BackendOptions:
    """How the conversations of one backend are run; checked when it is made.

    Args:
        cwd: The directory that the CLI works in; links are resolved. The CLI must trust it: see
            `trust_workspace`.
        cli_path: The `claude` program. Default: the one that `find_cli` finds.
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
        allow_commands: Let a message that begins with ``/`` be a command of the CLI, and skills be
            named in any message. Otherwise it is text for the model, as ``!`` and words like
            ``exit`` are in any case. A command that shows a panel or asks something ends its turn
            with `SessionError`.
        expand_mentions: Let ``@path`` in a message attach the file or directory, and ``@agent-name``
            name an agent. Otherwise it is text.
        trust_workspace: Your consent that the CLI trusts `cwd`, with the settings and the programs
            that it holds, as if you had said yes to its question there. Opening a backend then
            records the answer in the CLI's own configuration file, where it stays. Without it, a
            `cwd` that is not trusted yet makes each start fail with a `StartupError`.
        env: Variables on top of the environment that the CLI gets. That one is made of a short
            list of inherited variables (user, language, proxy, login) and of switches for a quiet
            session; it holds no API key unless you put one here.
        settings: The CLI's settings, as in its settings files, over those for a quiet session: each
            key replaces the one there. They are passed as a program argument, so they are bounded
            (127 KiB of JSON) and visible to the users of the machine.
        prestart: How many processes to keep ready for fresh conversations, beyond those in use.
            They are started in the background, when the backend opens and after one was taken; an
            idle CLI takes about 230 MB.
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

    cwd: Path = attrs.field(converter=check.to_real_path, validator=check.directory)
    cli_path: Path | None = attrs.field(default=None, converter=check.to_program)
    model: str | None = attrs.field(default=None, validator=check.name)
    system_prompt: str | None = attrs.field(default=None, validator=check.argument, repr=False)
    append_system_prompt: str | None = attrs.field(
        default=None, validator=check.argument, repr=False
    )
    permission_mode: PermissionMode = attrs.field(default="dontAsk", validator=_permission_mode)
    dangerously_skip_permissions: bool = attrs.field(default=False, validator=check.flag)
    allow_commands: bool = attrs.field(default=False, validator=check.flag)
    expand_mentions: bool = attrs.field(default=False, validator=check.flag)
    env: Mapping[str, str] = attrs.field(
        factory=dict, converter=check.to_env, validator=check.variables, repr=False
    )
    settings: Mapping[str, Any] = attrs.field(
        factory=dict, converter=check.to_settings, validator=check.settings, repr=False
    )
    trust_workspace: bool = attrs.field(default=False, validator=check.flag)
    prestart: int = attrs.field(default=0, validator=check.count)
    turn_timeout: float | None = attrs.field(default=None, validator=check.optional_seconds)
    stall_timeout: float | None = attrs.field(default=300.0, validator=check.optional_seconds)
    startup_timeout: float = attrs.field(default=60.0, validator=check.seconds)
    interrupt_grace: float = attrs.field(default=5.0, validator=check.seconds)
    exit_grace: float = attrs.field(default=10.0, validator=check.seconds)
    on_parse_error: Callable[[MessageParseError], object] = attrs.field(
        default=log_unreadable, validator=check.function, repr=False
    )

    def environment(self, inherited: Mapping[str, str]) -> dict[str, str]:
        """Return the environment for a CLI, made from an inherited one."""
        return child_environment(inherited, self.env)

    def arguments(self) -> list[str]:
        """Return the command line arguments that every conversation of this backend gets."""
        skip = self.dangerously_skip_permissions
        settings = merge_settings(self.settings, skip_permissions=skip)
        if skip:
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
