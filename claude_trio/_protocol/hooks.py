"""Hooks and permissions in the CLI's own JSON: what it sends, what it is answered, what is registered."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import attrs

from ..callbacks import (
    Allow,
    Answers,
    Deny,
    HookMatcher,
    PermissionRequest,
    PlanRequest,
    Question,
    QuestionOption,
    QuestionRequest,
)

#: The events that have hooks over HTTP on each tested version of the CLI. An event that a version
#: does not know keeps that version from starting, so newer ones are not in the list.
EVENTS: Final = frozenset(
    {
        *("PreToolUse", "PostToolUse", "PostToolUseFailure", "PostToolBatch", "Notification"),
        *("UserPromptSubmit", "UserPromptExpansion", "SessionEnd", "Stop", "StopFailure"),
        *("SubagentStart", "SubagentStop", "PreCompact", "PostCompact", "PermissionRequest"),
        *("PermissionDenied", "TeammateIdle", "TaskCreated", "TaskCompleted", "Elicitation"),
        *("ElicitationResult", "ConfigChange", "WorktreeCreate", "WorktreeRemove"),
        *("InstructionsLoaded", "CwdChanged", "FileChanged", "MessageDisplay"),
    }
)
#: For these the CLI calls no hook over HTTP.
COMMANDS_ONLY: Final = frozenset({"SessionStart", "Setup"})
#: Levels of what the CLI sends; Python writes a thousand, less what its own calls take.
_MOST_LEVELS: Final = 100
QUESTION: Final = "AskUserQuestion"
PLAN: Final = "ExitPlanMode"
#: The mode in which a call that no hook allows is denied, without a dialog.
FAIL_CLOSED: Final = "dontAsk"


# -- what is registered ---------------------------------------------------------------------------


@attrs.frozen
class Entry:
    """A hook over HTTP.

    Attributes:
        event: The event.
        matcher: For which tools; None for all.
        timeout: Seconds until the CLI goes on without an answer.
        path: Where it is called.
        blocks: Whether a call that fails blocks what it was about; older versions ignore that.
    """

    event: str
    matcher: str | None
    timeout: float
    path: str
    blocks: bool = False


def settings(entries: Iterable[Entry], base_url: str, variable: str) -> dict[str, Any]:
    """Return the settings that register hooks.

    Args:
        entries: The hooks.
        base_url: The server's.
        variable: The variable of the CLI's environment that holds the token.
    """
    hooks: dict[str, list[dict[str, Any]]] = {}
    for entry in entries:
        hook: dict[str, Any] = {
            "type": "http",
            "url": base_url + entry.path,
            "timeout": entry.timeout,
            "headers": bearer(variable),
            "allowedEnvVars": [variable],
        }
        if entry.blocks:
            hook["onFailure"] = "block"
        matched = {} if entry.matcher is None else {"matcher": entry.matcher}
        hooks.setdefault(entry.event, []).append({**matched, "hooks": [hook]})
    return {"hooks": hooks} if hooks else {}


def bearer(variable: str) -> dict[str, str]:
    """Return the header by which a CLI shows the token that a variable holds."""
    return {"Authorization": f"Bearer ${{{variable}}}"}


def merged(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    """Return two settings as one: lists are joined, mappings merged; else the second's value holds."""
    result = dict(mine)
    for key, value in theirs.items():
        own = result.get(key)
        if isinstance(own, Mapping) and isinstance(value, Mapping):
            result[key] = merged(own, value)
        elif isinstance(own, list) and isinstance(value, list):
            result[key] = [*own, *value]
        else:
            result[key] = value
    return result


def check_hooks(value: Any) -> dict[str, tuple[HookMatcher, ...]]:
    """Return a copy of the option ``hooks``.

    Raises:
        ValueError: An event is unknown, or has no hooks over HTTP.
        TypeError: Something is of the wrong type.
    """
    if not isinstance(value, Mapping):
        raise TypeError(f"hooks must be a mapping of events, not {value!r}")
    for event, matchers in value.items():
        if event in COMMANDS_ONLY:
            raise ValueError(
                f"hooks name {event}, for which the CLI calls no function of yours; it takes a "
                "command there, in `settings`"
            )
        if event not in EVENTS:
            raise ValueError(f"hooks name {event!r}, which is no event of each tested CLI")
        if not isinstance(matchers, Sequence) or not all(
            isinstance(matcher, HookMatcher) for matcher in matchers
        ):
            raise TypeError(f"hooks[{event!r}] must be a list of HookMatcher, not {matchers!r}")
    return {event: tuple(matchers) for event, matchers in value.items()}


# -- what the CLI sends ---------------------------------------------------------------------------


def parse_body(data: bytes) -> dict[str, Any] | None:
    """Return what a hook was told; None if it is not what a CLI sends."""
    try:
        body = json.loads(data, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return None
    if _is_deep(body):  # it would be too deep to be written again
        return None
    known = isinstance(body, dict) and all(
        isinstance(body.get(key), str) for key in ("session_id", "hook_event_name")
    )
    return body if known else None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _is_deep(value: object) -> bool:
    level = [value]
    for _ in range(_MOST_LEVELS):
        level = [
            inner
            for each in level
            if isinstance(each, dict | list)
            for inner in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return False
    return True


def tool_input(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a tool is called with."""
    value = body.get("tool_input")
    return value if isinstance(value, dict) else {}


def call_key(body: Mapping[str, Any]) -> str:
    """Return what the two hooks of a tool call have in common; the second has no id of the call."""
    return json.dumps(
        [body.get("agent_id"), body.get("tool_name"), tool_input(body)], sort_keys=True
    )


def permission_request(body: Mapping[str, Any]) -> PermissionRequest:
    """Return the request that a PreToolUse hook stands for."""
    return PermissionRequest(**_common(body))


def question_request(body: Mapping[str, Any]) -> QuestionRequest:
    """Return the questions that a PreToolUse hook stands for."""
    asked = tool_input(body).get("questions")
    questions = [_question(each) for each in _mappings(asked)]
    return QuestionRequest(**_common(body), questions=tuple(questions))


def plan_request(body: Mapping[str, Any]) -> PlanRequest:
    """Return the plan that a PreToolUse hook stands for."""
    return PlanRequest(**_common(body), plan=_text(tool_input(body).get("plan")))


def _common(body: Mapping[str, Any]) -> dict[str, Any]:
    names = ("tool_use_id", "agent_id", "agent_type", "permission_mode", "session_id")
    return {
        "tool_name": str(body.get("tool_name")),
        "input": tool_input(body),
        "raw": body,
        **{name: _text(body.get(name)) for name in names},
    }


def _question(raw: Mapping[str, Any]) -> Question:
    return Question(
        question=str(raw.get("question", "")),
        header=str(raw.get("header", "")),
        options=tuple(
            QuestionOption(str(option.get("label", "")), str(option.get("description", "")))
            for option in _mappings(raw.get("options"))
        ),
        multi_select=raw.get("multiSelect") is True,
    )


def _mappings(value: object) -> list[Mapping[str, Any]]:
    items = value if isinstance(value, list) else []
    return [item for item in items if isinstance(item, Mapping)]


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


# -- what it is answered --------------------------------------------------------------------------


def before_tool(decision: str, reason: str, **more: Any) -> dict[str, Any]:
    """Return the answer to a PreToolUse hook.

    Args:
        decision: ``allow``, ``deny``, or ``ask``: by a PermissionRequest hook, then.
        reason: Why; the model is told of a denial.
        **more: Further keys of the answer.
    """
    answer = {"permissionDecision": decision, "permissionDecisionReason": reason, **more}
    return {"hookSpecificOutput": {"hookEventName": "PreToolUse", **answer}}


def refusal(event: str, reason: str) -> dict[str, Any] | None:
    """Return the answer by which a hook refuses what it was asked about; None where it cannot."""
    match event:
        case "PreToolUse":
            return before_tool("deny", reason)
        case "PermissionRequest":
            return on_request(Deny(reason))
        case "UserPromptSubmit":
            return {"decision": "block", "reason": reason}
    return None


def on_request(decision: Allow | Deny) -> dict[str, Any]:
    """Return the answer to a PermissionRequest hook."""
    answer: dict[str, Any]
    if isinstance(decision, Deny):
        answer = {"behavior": "deny", "message": decision.message, "interrupt": decision.interrupt}
    else:
        answer = {"behavior": "allow"}
        if decision.updated_input is not None:
            answer["updatedInput"] = dict(decision.updated_input)
        if decision.updated_permissions:
            answer["updatedPermissions"] = [dict(u) for u in decision.updated_permissions]
    return {"hookSpecificOutput": {"hookEventName": "PermissionRequest", "decision": answer}}


def checked_decision(name: str, decision: object) -> Allow | Deny:
    """Return what a callback returned.

    Args:
        name: That of the callback.
        decision: What it returned.

    Raises:
        TypeError: It is no decision, or JSON cannot hold it.
        ValueError: JSON cannot hold it.
    """
    if not isinstance(decision, Allow | Deny):
        raise TypeError(f"{name} must return Allow or Deny, not {decision!r}")
    to_json(on_request(decision))
    return decision


def answered(request: QuestionRequest, answers: Answers) -> Allow:
    """Return the decision by which the CLI takes the answers to its questions.

    Raises:
        TypeError: They are of the wrong type.
        ValueError: One is to a question that was not asked, or to none of them.
    """
    if not isinstance(answers, Mapping):
        raise TypeError(f"on_question must return a mapping of answers or Deny, not {answers!r}")
    asked = {question.question for question in request.questions}
    texts: dict[str, str] = {}
    for question, answer in answers.items():
        if question not in asked:
            raise ValueError(f"on_question answers {question!r}, which was not asked")
        chosen = [answer] if isinstance(answer, str) else list(answer)
        if not chosen or not all(isinstance(one, str) for one in chosen):
            raise TypeError(f"on_question answers {question!r} by {answer!r}, which is no text")
        texts[question] = ", ".join(chosen)
    return Allow({**request.input, "answers": texts})


def checked_output(output: Any) -> dict[str, Any] | None:
    """Return what a function of a hook returned, as the CLI spells it; None for no opinion.

    Raises:
        TypeError: It is no mapping, or JSON cannot hold it.
        ValueError: JSON cannot hold it.
    """
    if output is not None and not isinstance(output, Mapping):
        raise TypeError(f"a hook must return a mapping or None, not {output!r}")
    spelled = {
        "continue" if key == "continue_" else key: value for key, value in (output or {}).items()
    }
    to_json(spelled)
    return spelled or None


def to_json(answer: Mapping[str, Any] | None) -> bytes:
    """Return the body that answers a hook.

    It is empty for no opinion: for an empty object the CLI would write a record into its transcript.

    Raises:
        TypeError: JSON cannot hold it.
        ValueError: Likewise.
    """
    try:
        return b"" if not answer else json.dumps(answer, allow_nan=False).encode()
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
