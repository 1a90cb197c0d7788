"""What a program's own callbacks are given and what they answer: permissions, questions, plans, hooks.

Plain values; `BackendOptions` takes the callbacks. Each is an async function of trio. It runs in the
backend's nursery while the CLI waits for it, beside the task that reads the turn, and is cancelled
with its turn. What it raises ends the turn: the CLI is told no, and the reader of the turn gets a
`BackendError` of the kind ``callback`` that has the exception as its cause.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeAlias, TypedDict

import attrs


def check_async(name: str, value: Any) -> None:
    """Check for an async function, or something else that can be called and awaited.

    Args:
        name: What it is called where it was given.
        value: What was given.

    Raises:
        TypeError: It is something else.
    """
    if not callable(value) or inspect.isclass(value):
        raise TypeError(f"{name} must be an async function, not {value!r}")
    if inspect.isfunction(value) and not inspect.iscoroutinefunction(value):
        raise TypeError(f"{name} must be an async function; {value!r} is an ordinary one")


# -- permissions ------------------------------------------------------------------------------------


def _mappings(value: Sequence[Mapping[str, Any]]) -> tuple[Mapping[str, Any], ...]:
    return tuple(value)


def _check_mapping(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if not isinstance(value, Mapping):
        raise TypeError(f"{attribute.name} takes a mapping, not {value!r}")


@attrs.frozen(kw_only=True)
class PermissionRequest:
    """The model calls a tool, and the CLI asks whether it may.

    Attributes:
        tool_name: The tool, such as ``Bash`` or ``mcp__server__tool``.
        input: What it is called with.
        tool_use_id: The id of the `ToolUseBlock`.
        agent_id: The subagent that calls it; None for the main conversation.
        agent_type: The kind of that subagent.
        permission_mode: The CLI's mode at that moment.
        session_id: The conversation.
        raw: What the CLI sent.
    """

    tool_name: str
    input: Mapping[str, Any]
    tool_use_id: str | None = None
    agent_id: str | None = None
    agent_type: str | None = None
    permission_mode: str | None = None
    session_id: str | None = None
    raw: Mapping[str, Any] = attrs.field(factory=dict, repr=False, eq=False)


@attrs.frozen
class QuestionOption:
    """One of the answers that the model offers."""

    label: str
    description: str = ""


@attrs.frozen
class Question:
    """One question of the model.

    Attributes:
        question: Its text.
        header: A word or two for it.
        options: The answers to choose from; another text is an answer too.
        multi_select: Whether several may be chosen.
    """

    question: str
    header: str = ""
    options: tuple[QuestionOption, ...] = ()
    multi_select: bool = False


@attrs.frozen(kw_only=True)
class QuestionRequest(PermissionRequest):
    """The model asks the user something (the tool AskUserQuestion).

    Attributes:
        questions: What it asks.
    """

    questions: tuple[Question, ...]


@attrs.frozen(kw_only=True)
class PlanRequest(PermissionRequest):
    """The model has made a plan and wants to begin (the tool ExitPlanMode).

    Attributes:
        plan: Its text; None where the CLI did not send it.
    """

    plan: str | None = None


@attrs.frozen
class Allow:
    """The tool may run.

    Args:
        updated_input: What it is to run with instead; the transcript keeps the model's own input.
        updated_permissions: Changes to the CLI's permissions, as its settings and the official SDK
            write them, such as ``{"type": "addRules", …}`` or ``{"type": "setMode", …}``. They do
            not spare the callback: it is asked for every call.
    """

    updated_input: Mapping[str, Any] | None = attrs.field(
        default=None, validator=attrs.validators.optional(_check_mapping)
    )
    updated_permissions: tuple[Mapping[str, Any], ...] = attrs.field(
        default=(),
        converter=_mappings,
        validator=attrs.validators.deep_iterable(_check_mapping),
    )


@attrs.frozen
class Deny:
    """The tool may not run.

    Args:
        message: The reason, for the model.
        interrupt: Whether the turn ends with it, as an interrupted one.
    """

    message: str = attrs.field(
        default="the application denied it", validator=attrs.validators.instance_of(str)
    )
    interrupt: bool = attrs.field(default=False, validator=attrs.validators.instance_of(bool))


OnPermission: TypeAlias = Callable[[PermissionRequest], Awaitable[Allow | Deny]]
#: Answers by the text of the question: a label, another text, or several of them.
Answers: TypeAlias = Mapping[str, str | Sequence[str]]
OnQuestion: TypeAlias = Callable[[QuestionRequest], Awaitable[Answers | Deny]]
OnPlan: TypeAlias = Callable[[PlanRequest], Awaitable[Allow | Deny]]

# -- hooks ------------------------------------------------------------------------------------------


class _Always(TypedDict):
    session_id: str
    transcript_path: str
    cwd: str
    hook_event_name: str


class HookInput(_Always, total=False):
    """What the CLI tells a hook; which keys there are depends on ``hook_event_name``.

    The names are the CLI's own. A key that is not listed here is passed on all the same.
    """

    prompt_id: str
    permission_mode: str
    effort: Mapping[str, Any]
    agent_id: str
    agent_type: str
    # UserPromptSubmit, UserPromptExpansion
    prompt: str
    expansion_type: str
    command_name: str
    command_args: str
    command_source: str
    # PreToolUse, PostToolUse, PostToolUseFailure, PermissionRequest
    tool_name: str
    tool_input: Mapping[str, Any]
    tool_use_id: str
    tool_response: Any
    mcp_server: Mapping[str, Any]
    permission_suggestions: Sequence[Mapping[str, Any]]
    duration_ms: int
    error: str
    is_interrupt: bool
    # PostToolBatch
    tool_calls: Sequence[Mapping[str, Any]]
    # MessageDisplay
    turn_id: str
    message_id: str
    index: int
    final: bool
    delta: str
    # Stop, StopFailure, SubagentStart, SubagentStop
    stop_hook_active: bool
    last_assistant_message: str
    background_tasks: Sequence[Mapping[str, Any]]
    session_crons: Sequence[Mapping[str, Any]]
    error_details: str
    agent_transcript_path: str
    # Notification
    message: str
    notification_type: str
    # PreCompact, PostCompact
    trigger: str
    custom_instructions: str
    compact_summary: str
    # SessionEnd
    reason: str
    # InstructionsLoaded, CwdChanged
    file_path: str
    memory_type: str
    load_reason: str
    old_cwd: str
    new_cwd: str


class HookOutput(TypedDict, total=False):
    """What a hook may answer, in the CLI's own words; ``continue_`` stands for ``continue``."""

    continue_: bool
    stopReason: str
    suppressOutput: bool
    systemMessage: str
    decision: str
    reason: str
    hookSpecificOutput: Mapping[str, Any]


@attrs.frozen
class HookContext:
    """Where a hook was called.

    Attributes:
        session_id: The conversation.
        in_turn: Whether a turn of yours runs there.
    """

    session_id: str
    in_turn: bool


#: Called with the input, the id of the tool call or None, and the context, as in the official SDK.
HookCallback: TypeAlias = Callable[
    [HookInput, str | None, HookContext], Awaitable[HookOutput | Mapping[str, Any] | None]
]


@attrs.frozen(init=False)
class HookMatcher:
    """Functions for one event of the CLI, in ``BackendOptions(hooks={event: [HookMatcher(…)]})``.

    Each is called for itself; all are called at the same time.

    Args:
        matcher: For which tools, in the CLI's own notation: a name, or ``Edit|Write``, or a regular
            expression. None for all, and for events that are not about a tool. One that is no
            expression to Python either is refused: the CLI would never call the functions.
        *functions: The functions.
        hooks: More of them; the official SDK's name.
        timeout: Seconds until the CLI goes on without an answer.
    """

    matcher: str | None
    hooks: tuple[HookCallback, ...]
    timeout: float

    def __init__(
        self,
        matcher: str | None = None,
        *functions: HookCallback,
        hooks: Sequence[HookCallback] = (),
        timeout: float = 600.0,
    ) -> None:
        every = (*functions, *hooks)
        if matcher is not None and not isinstance(matcher, str):
            raise TypeError(f"matcher must be a str or None, not {matcher!r}")
        try:
            re.compile(matcher or "")
        except re.error as exc:
            raise ValueError(f"matcher is no regular expression: {matcher!r} ({exc})") from None
        if not every:
            raise ValueError("a HookMatcher needs at least one function")
        for function in every:
            check_async("a hook", function)
        if isinstance(timeout, bool) or not 0 < timeout < math.inf:
            raise ValueError(f"timeout must be a number of seconds above 0, not {timeout!r}")
        self.__attrs_init__(matcher=matcher, hooks=every, timeout=timeout)
