"""`BackendOptions`: what a caller may choose, checked before anything starts.

What they become on top of the caller's choice, the switches that make the CLI quiet enough to be
driven, stands in the tables of `_launch`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias

import attrs

from . import _cli_rules as rules
from . import _host_rules as host
from . import _validators as check
from ._launch import child_environment, option_variables
from .callbacks import HookMatcher, OnPermission, OnPlan, OnQuestion
from .errors import MessageParseError
from .tools import Tool

PermissionMode: TypeAlias = Literal[
    "default", "acceptEdits", "plan", "dontAsk", "bypassPermissions"
]
Effort: TypeAlias = Literal["low", "medium", "high", "xhigh", "max"]
SettingSource: TypeAlias = Literal["user", "project", "local"]


#: How a history is told to a new process; see `BackendOptions`.
HistoryStrategy: TypeAlias = Literal["native_jsonl", "concat_message"]


def log_unreadable(error: MessageParseError) -> None:
    """Log a line that cannot be read: what happens to one unless something else is asked for.

    Args:
        error: What is wrong with it.
    """
    logging.getLogger("claude_trio").warning("%s", error)


def _to_sources(value: Sequence[SettingSource] | None) -> Sequence[str] | None:
    return check.to_optional_texts(value)


@attrs.frozen(kw_only=True)
class BackendOptions:
    """How the conversations of one backend are run; checked when it is made.

    Names and shapes are those of the official SDK where it has them. Prompts, settings and servers
    reach the CLI in files that only this user can read, and that are removed with the backend.

    Args:
        cwd: The directory that the CLI works in; links are resolved. The CLI must trust it: see
            `trust_workspace`.
        cli_path: The `claude` program. Default: the one that `find_cli` finds.
        model: A model name or alias. Default: the CLI's own default. A name that the API does not
            know fails the turn.
        fallback_model: One or more models, separated by commas, for a request that the first one
            is too busy to answer.
        effort: How hard the model is to try. Models that do not know it are not told.
        thinking: ``{"type": "disabled"}``, ``{"type": "adaptive"}``, or ``{"type": "enabled",
            "budget_tokens": n}``, of which models that think adaptively do not use the budget.
        max_output_tokens: The bound of one API message.
        system_prompt: Replaces the CLI's system prompt, but for its first line; ``""`` removes it.
        append_system_prompt: Added to the end of the system prompt.
        output_format: ``{"type": "json_schema", "schema": …}``, with which the API bounds what the
            model may write. It holds for every request of the CLI.
        extra_body: Fields of the request's body, such as ``{"temperature": 0}``, in every request
            of the CLI. Neither the CLI nor this package knows whether the API takes them.
        tools: The CLI's tools that there are. Default: all; ``[]``: none. Tools of servers are not
            among them.
        allowed_tools: Rules such as ``Read``, ``Bash(git log *)`` or ``mcp__server`` for what runs
            unasked.
        disallowed_tools: Rules for what never runs, whatever else says so. A tool named as a whole
            is not even offered to the model.
        permission_mode: What tools may do. The default ``dontAsk`` denies, without a question,
            every call that neither `allowed_tools` nor the settings allow. ``default``,
            ``acceptEdits`` and ``plan`` make the CLI ask; nobody here answers, so a turn that asks
            ends with `SessionError`.
        dangerously_skip_permissions: Let every tool run unasked, and consent to the CLI's warning
            about that. Overrides `permission_mode`.
        add_dirs: Directories that the model may use besides `cwd`; links are resolved.
        mcp_servers: MCP servers by name, each as in the CLI's own files: ``{"command": …, "args":
            […], "env": {…}}``, or ``{"type": "http" or "sse", "url": …, "headers": {…}}``. A list of
            async functions is a server in this process: see `tool`; these tools may be called
            unasked, unless `on_permission` is there to be asked. Default:
            those of the CLI's files; with a mapping, even ``{}``, only those in it. A prompt does
            not wait for servers that still connect, and a program among them inherits the CLI's
            whole environment.
        strict_mcp_config: Ignore the servers of the CLI's files. Default: when `mcp_servers` is
            given.
        agents: Subagents by name, each with a ``description``, a ``prompt`` and what else the CLI
            knows (``tools``, ``model``, …). The interactive CLI takes them as a program argument
            only, so they are bounded (128 KiB) and visible to the users of the machine.
        agent: The agent, of `agents` or of the CLI's files, whose prompt, tools and model the
            conversation itself gets.
        setting_sources: Which of the CLI's own settings files count: ``user``, ``project``,
            ``local``. Default: all. With ``[]`` there are none, and no ``CLAUDE.md``, skills,
            hooks or ``.mcp.json`` either.
        settings: The CLI's settings, as in its settings files, over those for a quiet session: each
            key replaces the one there. Rules and directories from above are added to its
            ``permissions``.
        env: Variables on top of the environment that the CLI gets. That one is made of a short
            list of inherited variables (user, language, proxy, login) and of switches for a quiet
            session; it holds no API key unless you put one here.
        allow_commands: Let a message that begins with ``/`` be a command of the CLI, and skills be
            named in any message. Otherwise it is text for the model, as ``!`` and words like
            ``exit`` are in any case. A command that shows a panel or asks something ends its turn
            with `SessionError`.
        expand_mentions: Let ``@path`` in a message attach the file or directory, and ``@agent-name``
            name an agent. Otherwise it is text.
        extra_args: Further flags without their dashes, each with its value, or None for a flag
            that has none. A flag that does nothing in an interactive CLI, or that this package
            needs for itself, is refused; one that the CLI at hand does not know makes each start
            fail with a `StartupError`.
        max_turns: How many messages of the model in a turn may call tools, those of subagents not
            counted. When the tools of the last one have returned, the turn ends, without another
            request, with a `ResultMessage` of the subtype ``error_max_turns``.
        max_budget_usd: What a turn may cost, in US dollars, by the CLI's own count. It is looked at
            when the tools of a message have returned, so the message that exceeds it is paid, and an
            answer without tools is never cut; the turn then ends with the subtype
            ``error_max_budget_usd``. So it does if the CLI does not tell its cost within 3 seconds. Each
            round of tools takes up to 0.4 seconds more, and `include_cost` is implied.
        include_cost: Have the CLI tell what a turn cost, how full its context is and how much of
            your plan is used: see `ResultMessage`. The CLI tells 0.3 to 0.7 seconds after a turn, so
            each `ResultMessage` comes that much later, by at most 3 seconds.
        trust_workspace: Your consent that the CLI trusts `cwd`, with the settings and the programs
            that it holds, as if you had said yes to its question there. Opening a backend then
            records the answer in the CLI's own configuration file, where it stays. Without it, a
            `cwd` that is not trusted yet makes each start fail with a `StartupError`.
        history: How a conversation is told to a new process. With ``native_jsonl``, the default, it
            is written as a transcript, and the model sees the messages as they are; where the first
            answer shows that it has not, the turn begins again with the other way, and a
            `SystemMessage`, ``history_retold``, says why. With ``concat_message`` the history is
            JSON in the first message: understood by any CLI, at the cost of thinking, of the
            authority of the model's own words, and of the cache.
        max_sessions: How many processes there may be at a time; None for any number. When all are
            in use, calls wait in the order in which they came; one that is idle makes room, the
            least recently used one first. An idle CLI holds about 230 MB (140 of them its own) and
            uses about 1 % of a core, so the default, 8, is 1 to 2 GB.
        idle_timeout: Seconds until a process that nobody uses is ended; None for no limit. Its
            conversation goes on with another one, which takes the 1.5 to 2 seconds of a core that a
            start costs. After the default, 300, an idle process has used about twice that, and the
            API's prompt cache, which by default lives five minutes from its last use, is gone too.
        prestart: How many processes to keep ready for fresh conversations, as a part of
            `max_sessions`, of which it must be less. They are started in the background, when the
            backend opens and after one was taken. An idle conversation makes room for one, but no
            call waits for one's sake; they do not time out.
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
        on_permission: Asked whether a tool may run, before each call of each tool, those of subagents
            included: see `PermissionRequest`, `Allow` and `Deny`. Whatever goes wrong is a no. It
            needs the `permission_mode` ``dontAsk`` or ``plan``. The CLI's own protection of its
            files, and rules of your settings that deny or ask, stay above it.
        on_question: Answers the model's questions, by the text of each: see `QuestionRequest`.
            Without it they go to `on_permission`, or are denied.
        on_plan: Approves a plan of the model, or denies it with what is to be revised: see
            `PlanRequest`. Without it plans go to `on_permission`, or are denied.
        hooks: Functions for events of the CLI: see `HookMatcher`.
        client_tools: Tools that whoever calls `complete` answers itself, as the Messages API has them:
            mappings with ``name``, ``description`` and ``input_schema``. A turn in which the model calls
            one pauses: see `ClaudeCodeBackend.complete`, where others can be named for one call. With
            None, there are none, and none can be named. `on_permission` is asked about these calls too,
            under the CLI's names, but of several in one message maybe only when the caller has
            answered; to refuse one, answer it with an error.
        include_partial_messages: Yield `TextDelta` events while the model writes: whole lines, as
            the CLI shows them, in order and before the block that has the whole text.
        on_parse_error: Called with the error for each line of a transcript that cannot be read; the
            default logs it as a warning, and the turn goes on. What it raises fails the turn, or is
            logged between turns, and ends the process.

    Raises:
        ValueError: An argument has an impossible value, or two of them exclude each other; the
            message names them.
        TypeError: An argument has the wrong type; the message names it.
    """

    cwd: Path = attrs.field(converter=check.to_real_path, validator=check.directory)
    cli_path: Path | None = attrs.field(default=None, converter=check.to_program)
    # -- the model
    model: str | None = attrs.field(default=None, validator=check.name)
    fallback_model: str | None = attrs.field(default=None, validator=check.name)
    effort: Effort | None = attrs.field(default=None, validator=check.optional_choice(Effort))
    thinking: Mapping[str, Any] | None = attrs.field(
        default=None, converter=check.to_optional_mapping, validator=rules.thinking
    )
    max_output_tokens: int | None = attrs.field(default=None, validator=check.optional_positive)
    system_prompt: str | None = attrs.field(default=None, validator=check.text, repr=False)
    append_system_prompt: str | None = attrs.field(default=None, validator=check.text, repr=False)
    output_format: Mapping[str, Any] | None = attrs.field(
        default=None, converter=check.to_optional_mapping, validator=rules.output_format, repr=False
    )
    extra_body: Mapping[str, Any] = attrs.field(
        factory=dict, converter=check.to_mapping, validator=rules.extra_body, repr=False
    )
    # -- tools and permissions
    tools: Sequence[str] | None = attrs.field(
        default=None, converter=check.to_optional_texts, validator=rules.tools
    )
    allowed_tools: Sequence[str] = attrs.field(
        default=(), converter=check.to_texts, validator=rules.permission_rules
    )
    disallowed_tools: Sequence[str] = attrs.field(
        default=(), converter=check.to_texts, validator=rules.permission_rules
    )
    permission_mode: PermissionMode = attrs.field(
        default="dontAsk", validator=check.choice(PermissionMode)
    )
    dangerously_skip_permissions: bool = attrs.field(default=False, validator=check.flag)
    add_dirs: Sequence[Path] = attrs.field(
        default=(), converter=check.to_real_paths, validator=check.directories
    )
    mcp_servers: Mapping[str, Any] | None = attrs.field(
        default=None, converter=host.to_servers, validator=rules.servers, repr=False
    )
    strict_mcp_config: bool | None = attrs.field(default=None, validator=check.optional_flag)
    agents: Mapping[str, Any] = attrs.field(
        factory=dict, converter=check.to_mapping, validator=rules.agents, repr=False
    )
    agent: str | None = attrs.field(default=None, validator=check.name)
    # -- the CLI
    setting_sources: Sequence[SettingSource] | None = attrs.field(
        default=None, converter=_to_sources, validator=check.choices(SettingSource)
    )
    settings: Mapping[str, Any] = attrs.field(
        factory=dict, converter=check.to_mapping, validator=check.settings, repr=False
    )
    env: Mapping[str, str] = attrs.field(
        factory=dict, converter=check.to_env, validator=check.variables, repr=False
    )
    extra_args: Mapping[str, str | None] = attrs.field(
        factory=dict, converter=check.to_mapping, validator=rules.extra_args, repr=False
    )
    allow_commands: bool = attrs.field(default=False, validator=check.flag)
    expand_mentions: bool = attrs.field(default=False, validator=check.flag)
    max_turns: int | None = attrs.field(default=None, validator=check.optional_positive)
    max_budget_usd: float | None = attrs.field(default=None, validator=check.optional_amount)
    include_cost: bool = attrs.field(default=False, validator=check.flag)
    trust_workspace: bool = attrs.field(default=False, validator=check.flag)
    # -- the backend
    history: HistoryStrategy = attrs.field(
        default="native_jsonl", validator=check.choice(HistoryStrategy)
    )
    max_sessions: int | None = attrs.field(default=8, validator=check.optional_positive)
    idle_timeout: float | None = attrs.field(default=300.0, validator=check.optional_seconds)
    prestart: int = attrs.field(default=0, validator=check.count)
    turn_timeout: float | None = attrs.field(default=None, validator=check.optional_seconds)
    stall_timeout: float | None = attrs.field(default=300.0, validator=check.optional_seconds)
    startup_timeout: float = attrs.field(default=60.0, validator=check.seconds)
    interrupt_grace: float = attrs.field(default=5.0, validator=check.seconds)
    exit_grace: float = attrs.field(default=10.0, validator=check.seconds)
    on_permission: OnPermission | None = attrs.field(
        default=None, validator=host.callback, repr=False
    )
    on_question: OnQuestion | None = attrs.field(default=None, validator=host.callback, repr=False)
    on_plan: OnPlan | None = attrs.field(default=None, validator=host.callback, repr=False)
    hooks: Mapping[str, Sequence[HookMatcher]] = attrs.field(
        factory=dict, converter=host.to_hooks, repr=False
    )
    client_tools: Sequence[Mapping[str, Any]] | None = attrs.field(
        default=None, converter=host.to_client_tools, repr=False
    )
    include_partial_messages: bool = attrs.field(default=False, validator=check.flag)
    on_parse_error: Callable[[MessageParseError], object] = attrs.field(
        default=log_unreadable, validator=check.function, repr=False
    )

    def __attrs_post_init__(self) -> None:
        rules.fit_together(self)
        if self.max_sessions is not None and self.prestart >= self.max_sessions:
            raise ValueError(
                f"prestart is {self.prestart}, and max_sessions {self.max_sessions}: with that no "
                "process would be left for a conversation that goes on; prestart must be less"
            )
        host.fit_together(self)

    @classmethod
    def for_chat(cls, *, cwd: str | Path, system_prompt: str = "", **more: Any) -> Self:
        """Return options for a model and nothing around it: no tools, none of the CLI's files.

        A first request has about 2 KB, most of it what the CLI says of the machine and the date.

        Args:
            cwd: As in the class; the CLI must trust it, and tells the model its name.
            system_prompt: As in the class.
            **more: Any other argument of the class; it wins over the profile's.
        """
        return cls(
            **{
                "cwd": cwd,
                "system_prompt": system_prompt,
                "tools": (),
                "mcp_servers": {},
                "setting_sources": (),
                **more,
                "settings": {"includeGitInstructions": False, **more.get("settings", {})},
            }
        )

    @classmethod
    def for_agent(cls, *, cwd: str | Path, tools: Sequence[str], **more: Any) -> Self:
        """Return options for an agent that is the same on every machine.

        It has the tools that are named, and none of the CLI's files: no settings, no
        ``CLAUDE.md``, no skills, hooks or servers.

        Args:
            cwd: As in the class.
            tools: As in the class. Each of them may run unasked, unless `allowed_tools` is given
                and says what may; ``["Bash"]`` alone is a consent to everything.
            **more: Any other argument of the class; it wins over the profile's.
        """
        return cls(
            **{
                "cwd": cwd,
                "tools": tools,
                "allowed_tools": tools,
                "mcp_servers": {},
                "setting_sources": (),
                **more,
            }
        )

    @property
    def only_given_servers(self) -> bool:
        """Whether the MCP servers of the CLI's own files are ignored."""
        if self.strict_mcp_config is None:
            return self.mcp_servers is not None
        return self.strict_mcp_config

    @property
    def own_servers(self) -> Mapping[str, Sequence[Tool[..., Any]]]:
        """Those of `mcp_servers` that are functions of this program."""
        servers = self.mcp_servers or {}
        return {name: server for name, server in servers.items() if isinstance(server, tuple)}

    @property
    def other_servers(self) -> Mapping[str, Any]:
        """Those of `mcp_servers` that the CLI starts or connects to."""
        servers = self.mcp_servers or {}
        return {name: server for name, server in servers.items() if not isinstance(server, tuple)}

    @property
    def needs_host(self) -> bool:
        """Whether the CLI has to reach this program while it runs."""
        callbacks = (self.on_permission, self.on_question, self.on_plan)
        return (
            any(callback is not None for callback in callbacks)
            or any(self.hooks.values())
            or bool(self.own_servers)
            or self.client_tools is not None
            or self.include_partial_messages
            or self.max_turns is not None
            or self.max_budget_usd is not None
        )

    @property
    def tells_cost(self) -> bool:
        """Whether the CLI is to tell what it costs."""
        return self.include_cost or self.max_budget_usd is not None

    def environment(self, inherited: Mapping[str, str]) -> dict[str, str]:
        """Return the environment for a CLI, made from an inherited one.

        Args:
            inherited: The variables of this process.
        """
        return child_environment(inherited, {**option_variables(self), **self.env})
