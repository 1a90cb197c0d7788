"""Permissions, questions and plans: the host decides, and whatever goes wrong is a no.

The CLI runs in a mode in which a call that no hook allows is denied. Its PreToolUse hook runs the
callback, for as long as that takes, while no dialog is on the screen. What that hook cannot say (changes
of the permissions, an interrupt, an approval in plan mode) is said by a second hook, PermissionRequest,
which the CLI calls next when the first one answers ``ask``. The second one answers at once, since a
dialog opens beside it; it knows no id of the call, but the call itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs
import trio

from .._protocol import hooks
from ..callbacks import Allow, Deny, OnPermission, OnPlan, OnQuestion, PermissionRequest
from ..options import BackendOptions
from .guest import Guest, NoAnswer

#: Nobody here decides about what was not asked before: an ``ask`` rule of the user's, say.
_UNASKED: Final = Deny("nobody was asked about this call, so it is denied")
#: A plan is approved into the mode in which the host goes on deciding.
_BACK: Final = {"type": "setMode", "mode": hooks.FAIL_CLOSED, "destination": "session"}


@attrs.define(eq=False)
class Permissions:
    """The callbacks that decide.

    Args:
        on_permission: Decides about every call that the next two do not.
        on_question: Answers questions.
        on_plan: Approves plans.
    """

    on_permission: OnPermission | None
    on_question: OnQuestion | None
    on_plan: OnPlan | None

    @classmethod
    def of(cls, options: BackendOptions) -> Permissions:
        """Return those of a backend."""
        return cls(options.on_permission, options.on_question, options.on_plan)

    @property
    def matchers(self) -> tuple[str | None, ...]:
        """For which tools the hooks are needed; None means all."""
        if self.on_permission is not None:
            return (None,)
        question = (hooks.QUESTION,) if self.on_question is not None else ()
        plan = (hooks.PLAN,) if self.on_plan is not None else ()
        return (*question, *plan)

    async def before_tool(self, guest: Guest, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Answer a PreToolUse hook."""
        key = hooks.call_key(body)  # before a callback can touch the input
        try:
            decision = await self._decide(guest, body)
        except NoAnswer as exc:
            await trio.lowlevel.checkpoint()
            return hooks.before_tool("deny", str(exc))
        plan = body.get("tool_name") == hooks.PLAN
        if plan and isinstance(decision, Allow):
            mode_chosen = any(u.get("type") == "setMode" for u in decision.updated_permissions)
            decision = Allow(
                hooks.tool_input(body)
                if decision.updated_input is None
                else decision.updated_input,
                decision.updated_permissions
                if mode_chosen
                else (*decision.updated_permissions, _BACK),
            )
        if _fits(decision, body):
            guest.forget(key)
            if isinstance(decision, Deny):
                return hooks.before_tool("deny", decision.message)
            given = decision.updated_input
            changed = {} if given is None else {"updatedInput": dict(given)}
            return hooks.before_tool("allow", "the application allowed it", **changed)
        guest.keep(key, decision)
        return hooks.before_tool("ask", "the application has decided")

    async def on_request(self, guest: Guest, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Answer a PermissionRequest hook, at once."""
        await trio.lowlevel.checkpoint()
        return hooks.on_request(guest.kept(hooks.call_key(body)) or _UNASKED)

    async def _decide(self, guest: Guest, body: Mapping[str, Any]) -> Allow | Deny:
        name = body.get("tool_name")
        if name == hooks.QUESTION and self.on_question is not None:
            return await self._answer(guest, body, self.on_question)
        if name == hooks.PLAN and self.on_plan is not None:
            decision = await guest.call("on_plan", self.on_plan, hooks.plan_request(body))
            return _checked(guest, "on_plan", decision)
        if self.on_permission is None:
            raise NoAnswer(_UNASKED.message)
        request: PermissionRequest = hooks.permission_request(body)
        result = await guest.call("on_permission", self.on_permission, request)
        return _checked(guest, "on_permission", result)

    async def _answer(
        self, guest: Guest, body: Mapping[str, Any], on_question: OnQuestion
    ) -> Allow | Deny:
        request = hooks.question_request(body)
        answers = await guest.call("on_question", on_question, request)
        if isinstance(answers, Deny):
            return _checked(guest, "on_question", answers)
        try:
            return hooks.answered(request, answers)
        except (TypeError, ValueError) as exc:
            guest.failed("on_question", exc)
            raise NoAnswer("on_question failed") from exc


def _fits(decision: Allow | Deny, body: Mapping[str, Any]) -> bool:
    """Whether a PreToolUse hook alone can say it."""
    if isinstance(decision, Deny):
        return not decision.interrupt
    # Newer versions open a dialog in plan mode whatever this hook allows.
    fail_closed = body.get("permission_mode") == hooks.FAIL_CLOSED
    return fail_closed and not decision.updated_permissions


def _checked(guest: Guest, name: str, decision: object) -> Allow | Deny:
    try:
        return hooks.checked_decision(name, decision)
    except (TypeError, ValueError) as exc:
        guest.failed(name, exc)
        raise NoAnswer(f"{name} failed") from exc
