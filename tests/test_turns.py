"""`TurnManager`: each way in which a turn of the CLI goes, as its transcript and status show it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transcripts import (
    Raw,
    Script,
    queue_operation,
    text,
    thinking,
    to_line,
    to_record,
    tool_use,
)

from claude_trio import (
    AssistantMessage,
    AuthError,
    BackendError,
    Event,
    ProcessError,
    RateLimitError,
    SessionError,
    SystemMessage,
    TextBlock,
    ToolResultBlock,
    ToolUseBlock,
    TurnManager,
    Usage,
    UserMessage,
    parse_record,
)
from claude_trio._protocol.outcome import Outcome
from claude_trio._protocol.records import LineBuffer
from claude_trio._protocol.signals import Signal
from claude_trio._protocol.status import Status
from claude_trio._protocol.table import DEFAULT, TABLE, Command, State, Step


@attrs.define
class Drive:
    """A manager, a clock, and a transcript, moved by hand."""

    turns: TurnManager = attrs.field(factory=TurnManager)
    script: Script = attrs.field(factory=Script)
    now: float = 100.0

    def status(self, state: str, waiting_for: str | None = None) -> None:
        self.turns.observe(
            Status(state=state, waiting_for=waiting_for, changed_at=round(self.now * 1000)),
            self.now,
        )

    def submit(self, words: str = "hello") -> None:
        self.status("idle")
        self.turns.submit(words, self.now)

    def feed(self, *raws: Raw) -> list[Event]:
        """Give records, all read at one look."""
        return [event for raw in raws for event in self.turns.feed(to_record(raw), self.now)]

    def wait(self, seconds: float) -> list[Command]:
        """Let time go by in small steps, until it is over or the turn is; return what was asked."""
        commands: list[Command] = []
        end = self.now + seconds
        while self.now < end and self.turns.outcome is None:
            self.now += 0.05
            command = self.turns.tick(self.now)
            if command is Command.PRESS_ENTER:
                self.turns.entered(self.now)
            if command is not None:
                commands.append(command)
        return commands

    @property
    def outcome(self) -> Outcome:
        assert self.turns.outcome is not None, f"still {self.turns.state}"
        return self.turns.outcome


@pytest.fixture
def drive() -> Drive:
    return Drive()


@pytest.fixture
def running(drive: Drive) -> Drive:
    """Give a turn whose prompt was taken."""
    drive.submit()
    drive.now += 0.1
    drive.status("busy")
    drive.feed(drive.script.prompt())
    drive.now += 0.1
    return drive


def kinds(events: Iterable[Event]) -> list[str]:
    return [
        event.origin
        if isinstance(event, UserMessage)
        else event.subtype
        if isinstance(event, SystemMessage)
        else event.text
        if isinstance(event, AssistantMessage)
        else "result"
        for event in events
    ]


def state_of(drive: Drive) -> State:
    return drive.turns.state  # by a call, since a type checker takes an attribute for constant


def takes_prompt(drive: Drive) -> bool:
    return drive.turns.takes_prompt


def is_accepted(drive: Drive) -> bool:
    return drive.turns.accepted


def can_interrupt(drive: Drive) -> bool:
    return drive.turns.can_interrupt


def error_of(drive: Drive) -> BackendError:
    assert drive.outcome.error is not None
    return drive.outcome.error


def test_a_status_that_is_old_says_nothing_about_a_prompt_that_was_just_taken(
    drive: Drive,
) -> None:
    drive.status("idle")
    drive.now += 3600
    drive.turns.submit("hello", drive.now)
    drive.now += 0.1
    drive.feed(drive.script.prompt())  # before the status file says that the CLI is busy
    assert [] == drive.wait(5)
    assert State.RUNNING is state_of(drive)
    drive.wait(6)
    assert "no_end" == error_of(drive).kind


# -- turns that end by themselves


def test_a_turn_is_its_prompt_its_answer_and_the_end_record(drive: Drive) -> None:
    drive.submit()
    assert not is_accepted(drive)
    assert ["prompt"] == kinds(drive.feed(drive.script.prompt()))
    assert is_accepted(drive)
    assert ["hi"] == kinds(drive.feed(drive.script.answer(text("hi"))))
    assert drive.turns.outcome is None
    assert ["turn_duration"] == kinds(drive.feed(drive.script.done(1234)))
    assert State.IDLE is state_of(drive)
    assert "completed" == drive.outcome.kind
    assert drive.outcome.reusable
    assert not drive.outcome.restored
    assert drive.outcome.error is None
    result = drive.outcome.result
    assert ("success", False, "hi") == (result.subtype, result.is_error, result.result)
    assert ("end_turn", 1, 1234) == (result.stop_reason, result.num_turns, result.duration_ms)
    assert ("claude-x", Usage(11, 7)) == (result.model, result.usage)
    assert result.session_id == drive.turns.events[0].session_id


def test_bookkeeping_records_yield_nothing(running: Drive) -> None:
    script = running.script
    assert [] == running.feed(
        script.attachment(),
        {"type": "last-prompt", "leafUuid": "x", "sessionId": "s"},
        {"type": "api-request", "id": "r"},
        queue_operation("dequeue"),
    )


def test_a_message_in_several_records_is_counted_once(running: Drive) -> None:
    script = running.script
    running.feed(
        script.answer(thinking("hm"), tokens=(20, 9)),
        script.answer(text("one "), tokens=(20, 9)),
        script.answer(text("two"), tokens=(20, 9)),
        script.done(),
    )
    result = running.outcome.result
    assert ("one two", 1, Usage(20, 9)) == (result.result, result.num_turns, result.usage)


def test_tool_rounds_keep_the_order_in_which_tools_ended(running: Drive) -> None:
    script = running.script
    events = running.feed(
        script.answer(text("look"), stop="tool_use"),
        script.answer(tool_use("t1"), stop="tool_use"),
        script.answer(tool_use("t2"), stop="tool_use"),
        script.tool_result("t2", "second"),
        script.tool_result("t1", "first", is_error=True),
        script.answer(text("done"), message_id="msg_02", tokens=(5, 3)),
        script.done(),
    )
    assert ["look", "", "", "tool", "tool", "done", "turn_duration"] == kinds(events)
    results = [e.content[0].to_dict() for e in events if isinstance(e, UserMessage)]
    assert [("t2", False), ("t1", True)] == [(r["tool_use_id"], r["is_error"]) for r in results]
    result = running.outcome.result
    assert ("done", 2, Usage(16, 10)) == (result.result, result.num_turns, result.usage)


@pytest.mark.parametrize("stop", ["end_turn", "max_tokens"])
def test_a_tool_call_goes_on_whatever_the_stop_reason_says(running: Drive, stop: str) -> None:
    script = running.script
    running.feed(script.answer(tool_use("t1"), stop=stop), script.tool_result("t1"))
    assert running.turns.outcome is None
    running.feed(script.answer(text("done"), message_id="msg_02"), script.done())
    assert "completed" == running.outcome.kind


@pytest.mark.parametrize("generation", ["new", "old"])
def test_an_answer_cut_by_max_tokens_is_continued(running: Drive, generation: str) -> None:
    script = running.script
    running.feed(script.answer(text("half"), stop="max_tokens"))
    if generation == "new":
        assert ["cli"] == kinds(running.feed(script.continuation()))
    assert running.turns.outcome is None
    running.feed(script.answer(text(" whole"), message_id="msg_02"), script.done())
    assert "completed" == running.outcome.kind
    assert (2, " whole") == (running.outcome.result.num_turns, running.outcome.result.result)


def test_max_tokens_for_ever_ends_with_its_error(running: Drive) -> None:
    script = running.script
    for n in range(4):
        running.feed(script.answer(text("x"), stop="max_tokens", message_id=f"m{n}"))
        running.feed(script.continuation())
    running.feed(script.error("API Error: too many tokens", "max_output_tokens"))
    running.status("idle")
    running.wait(5)
    assert "max_output_tokens" == error_of(running).kind
    assert 4 == running.outcome.result.num_turns


def test_a_refusal_that_the_cli_continues_is_no_failure(running: Drive) -> None:
    script = running.script
    running.feed(
        script.answer(text("no"), stop="refusal"),
        script.notice("safeguards stopped the response above · continuing once", "notice"),
        script.continuation("go on"),
        script.answer(text("well"), message_id="msg_02"),
        script.done(),
    )
    assert "completed" == running.outcome.kind


@pytest.mark.parametrize("generation", ["new", "old"])
def test_a_refusal_that_stands_fails_the_turn(running: Drive, generation: str) -> None:
    script = running.script
    running.feed(
        script.answer(text("no"), stop="refusal"),
        script.system("model_refusal_no_fallback"),
        script.error("API Error: refused", "invalid_request", stop="refusal"),
    )
    if generation == "old":
        running.feed(script.done())
    running.status("idle")
    running.wait(5)
    assert "refusal" == error_of(running).kind


@pytest.mark.parametrize("stop", ["pause_turn", "stop_sequence", "brand_new"])
def test_any_stop_reason_completes_with_the_end_record(running: Drive, stop: str) -> None:
    running.feed(running.script.answer(text("hi"), stop=stop), running.script.done())
    assert ("completed", stop) == (running.outcome.kind, running.outcome.result.stop_reason)


def test_a_completed_turn_may_hold_no_answer_at_all(running: Drive) -> None:
    running.feed(
        running.script.continuation("[Your previous response had no visible output]"),
        running.script.done(),
    )
    result = running.outcome.result
    assert "completed" == running.outcome.kind
    assert (None, None, 0, Usage()) == (
        result.result,
        result.stop_reason,
        result.num_turns,
        result.usage,
    )


def test_stop_hooks_that_ran_do_not_end_the_turn(running: Drive) -> None:
    script = running.script
    running.feed(
        script.answer(text("a")),
        script.continuation("Stop hook feedback:\nmore"),
        script.system("stop_hook_summary", hookCount=1, preventedContinuation=False),
    )
    assert running.turns.outcome is None
    running.feed(script.answer(text("b"), message_id="msg_02"), script.done())
    assert "b" == running.outcome.result.result


def test_a_compaction_inside_a_turn_does_not_end_it(running: Drive) -> None:
    script = running.script
    running.feed(
        script.system("compact_boundary", compactMetadata={"trigger": "auto"}),
        script.user("This session is being continued", isCompactSummary=True, promptId="9dc3"),
    )
    assert running.turns.outcome is None
    running.feed(script.answer(text("on")), script.done())
    assert "completed" == running.outcome.kind


def test_the_duration_is_measured_where_the_cli_gives_none(running: Drive) -> None:
    started = running.now - 0.2
    running.now += 2
    running.feed(running.script.answer(text("hi")), running.script.system("turn_duration"))
    assert round((running.now - started) * 1000) == running.outcome.result.duration_ms


def test_records_of_subagents_are_not_part_of_the_turn(running: Drive) -> None:
    sub = running.script.answer(text("deep")) | {"isSidechain": True}
    assert [] == running.feed(sub)


def test_unknown_record_types_are_yielded_and_harmless(running: Drive) -> None:
    assert ["brand-new"] == kinds(running.feed(running.script.record("brand-new", x=1)))
    assert running.turns.outcome is None


# -- failed turns


def test_an_old_error_turn_ends_with_its_end_record(running: Drive) -> None:
    script = running.script
    running.feed(script.error("API Error: 529 Overloaded", "server_error", apiErrorStatus=529))
    assert running.turns.outcome is None
    running.feed(script.done())
    error = error_of(running)
    assert ("failed", "server", 529) == (running.outcome.kind, error.kind, error.status)
    assert running.outcome.reusable
    assert running.turns.events == error.partial
    assert error.result is running.outcome.result
    assert error.result is not None
    assert ("error", True, None, 0) == (
        error.result.subtype,
        error.result.is_error,
        error.result.result,
        error.result.num_turns,
    )


def test_a_new_error_turn_ends_when_nothing_follows_and_the_cli_rests(running: Drive) -> None:
    running.feed(
        running.script.error(
            "You've hit your 5-hour limit",
            "rate_limit",
            apiErrorStatus=429,
            quotaLimits={"resetsAt": 1795330610, "rateLimitType": "five_hour"},
        )
    )
    running.wait(30)
    assert running.turns.outcome is None  # the CLI is still busy
    running.status("idle")
    running.wait(0.9)
    assert running.turns.outcome is None
    running.wait(1)
    error = error_of(running)
    assert isinstance(error, RateLimitError)
    assert (1795330610.0, "five_hour") == (error.resets_at, error.limit_type)
    assert running.outcome.reusable


def test_a_limit_dialog_behind_the_error_does_not_hide_the_error(running: Drive) -> None:
    running.feed(running.script.error("You've hit your limit", "rate_limit", apiErrorStatus=429))
    running.status("idle")
    running.now += 0.5
    running.status("waiting", "dialog open")
    assert [] == running.wait(5)
    assert isinstance(error_of(running), RateLimitError)


def test_a_refused_login_ends_the_conversation_too(running: Drive) -> None:
    running.feed(
        running.script.error("Please run /login", "authentication_failed", apiErrorStatus=401),
        running.script.done(),
    )
    assert isinstance(error_of(running), AuthError)
    assert not running.outcome.reusable


def test_an_answer_after_an_error_takes_the_error_back(running: Drive) -> None:
    script = running.script
    running.feed(script.error("API Error: x", "server_error"))
    running.feed(script.answer(text("hi")), script.done())
    assert "completed" == running.outcome.kind


@pytest.mark.parametrize("result_first", [False, True])
@pytest.mark.parametrize("stop", ["tool_use", "stop_sequence"], ids=["new", "old"])
def test_an_error_behind_a_tool_call_is_in_the_middle(
    running: Drive, stop: str, result_first: bool
) -> None:
    script = running.script
    call = script.answer(tool_use("t1"), stop="tool_use")
    lost = script.error("API Error: Connection lost mid-response", "server_error", stop=stop)
    result = script.tool_result("t1")
    running.feed(call, *((result, lost) if result_first else (lost, result)))
    running.wait(30)  # the next request is running; the status says busy
    assert running.turns.outcome is None
    running.feed(script.answer(text("done"), message_id="msg_02"), script.done())
    assert "completed" == running.outcome.kind


def test_an_error_with_an_open_tool_does_not_end_the_turn_even_at_rest(running: Drive) -> None:
    script = running.script
    running.feed(script.answer(tool_use("t1"), stop="tool_use"))
    running.feed(script.error("API Error: Connection lost mid-response", "server_error"))
    running.status("idle")
    running.wait(1.4)
    assert running.turns.outcome is None
    running.status("busy")
    running.feed(script.tool_result("t1"), script.answer(text("done"), message_id="msg_02"))
    running.feed(script.done())
    assert "completed" == running.outcome.kind


def test_an_interrupt_without_a_record_behind_a_mid_turn_error_is_seen(running: Drive) -> None:
    script = running.script
    call = script.answer(tool_use("t1"), stop="tool_use")
    result = script.tool_result("t1")
    lost = script.error("API Error: Connection lost", "server_error", stop="tool_use")
    running.feed(call, result, lost)
    running.turns.interrupt_sent(running.now)
    running.status("idle")
    running.wait(5)
    assert "interrupted" == running.outcome.kind


def test_a_mid_turn_error_that_nothing_follows_ends_the_turn(running: Drive) -> None:
    script = running.script
    running.feed(script.error("API Error: Connection lost", "server_error", stop="tool_use"))
    running.status("idle")
    running.wait(5)
    assert not running.outcome.reusable
    assert "no_end" == error_of(running).kind


def test_an_old_answer_without_stop_reason_was_cut_off(running: Drive) -> None:
    running.feed(running.script.answer(text("ha"), stop=None), running.script.done())
    assert ("truncated", "ha") == (error_of(running).kind, running.outcome.result.result)
    assert running.outcome.reusable


def test_a_cut_answer_that_was_continued_is_none(running: Drive) -> None:
    script = running.script
    running.feed(
        script.answer(thinking("hm"), stop=None),
        script.answer(text("hi"), message_id="msg_02"),
        script.done(),
    )
    assert "completed" == running.outcome.kind


def test_a_turn_that_the_cli_leaves_without_an_end_fails(running: Drive) -> None:
    running.feed(running.script.answer(text("hi")))
    running.status("idle")
    running.wait(5)
    assert ("no_end", False) == (error_of(running).kind, running.outcome.reusable)


def test_a_death_fails_the_turn_with_what_was_read(running: Drive) -> None:
    running.feed(running.script.answer(text("hi")))
    death = ProcessError("killed", signal=9)
    running.turns.fail(death, died=True)
    assert error_of(running) is death
    assert ("died", False) == (running.outcome.kind, running.outcome.reusable)
    assert ["prompt", "hi"] == kinds(death.partial)
    assert death.result is not None
    assert death.session_id == death.result.session_id
    assert death.session_id is not None


@pytest.mark.parametrize("before", ["submitted", "behind"])
def test_a_death_fails_a_turn_that_has_not_begun(drive: Drive, before: str) -> None:
    drive.submit()
    if before == "behind":
        drive.feed(drive.script.auto_prompt())
    drive.turns.fail(ProcessError("killed"))
    assert "failed" == drive.outcome.kind


def test_a_death_between_turns_is_no_outcome(drive: Drive) -> None:
    drive.turns.fail(ProcessError("killed"))
    assert drive.turns.outcome is None
    drive.feed(drive.script.auto_prompt())
    drive.turns.fail(ProcessError("killed"))
    assert drive.turns.outcome is None


# -- interrupts


@pytest.mark.parametrize("generation", ["new", "old"])
def test_an_interrupt_in_the_text_ends_with_the_mark(running: Drive, generation: str) -> None:
    script = running.script
    running.turns.interrupt_sent(running.now)
    running.feed(
        script.answer(text("par"), stop=None) if generation == "new" else script.filler("par")
    )
    assert ["interrupt"] == kinds(running.feed(script.interrupt_mark()))
    outcome = running.outcome
    assert ("interrupted", True, False) == (outcome.kind, outcome.reusable, outcome.restored)
    assert outcome.error is None
    assert ("interrupted", False, "par") == (
        outcome.result.subtype,
        outcome.result.is_error,
        outcome.result.result,
    )


def test_an_interrupt_of_a_tool_ends_with_the_mark(running: Drive) -> None:
    script = running.script
    running.feed(
        script.answer(tool_use("t1"), stop="tool_use"),
        script.tool_result("t1", "The user doesn't want to proceed", is_error=True),
        script.interrupt_mark("[Request interrupted by user for tool use]"),
    )
    assert "interrupted" == running.outcome.kind


def test_an_interrupt_before_any_output_gives_the_prompt_back(running: Drive) -> None:
    running.turns.interrupt_sent(running.now)
    running.now += 0.3
    running.status("idle")
    running.wait(1.4)
    assert running.turns.outcome is None
    running.wait(1)
    outcome = running.outcome
    assert ("interrupted", True, True) == (outcome.kind, outcome.reusable, outcome.restored)
    assert ["prompt"] == kinds(running.turns.events)


def test_without_a_mark_the_prompt_may_be_back_whatever_was_said(running: Drive) -> None:
    running.feed(running.script.answer(thinking("hm")), running.script.continuation())
    running.turns.interrupt_sent(running.now)
    running.status("idle")
    running.wait(5)
    assert ("interrupted", True) == (running.outcome.kind, running.outcome.restored)


def test_an_end_record_after_the_interrupt_key_is_a_normal_end(running: Drive) -> None:
    running.turns.interrupt_sent(running.now)
    running.feed(running.script.answer(text("hi")), running.script.done())
    assert "completed" == running.outcome.kind


def test_an_interrupt_at_a_dialog_is_the_callers_and_the_only_escape(running: Drive) -> None:
    script = running.script
    running.feed(script.answer(tool_use("t1"), stop="tool_use"))
    running.status("waiting", "permission prompt")
    assert [] == running.wait(0.4)
    assert can_interrupt(running)
    running.turns.interrupt_sent(running.now)
    assert not can_interrupt(running)
    assert [] == running.wait(2)
    running.feed(script.tool_result("t1", "rejected", is_error=True), script.interrupt_mark())
    assert ("interrupted", None) == (running.outcome.kind, running.outcome.error)


def test_no_escape_follows_the_one_that_refused_the_same_dialog(running: Drive) -> None:
    running.status("waiting", "permission prompt")
    assert [Command.DISMISS] == running.wait(2)
    assert not can_interrupt(running)
    running.status("busy")
    assert can_interrupt(running)


def test_an_interrupt_long_after_a_panel_is_the_callers(running: Drive) -> None:
    running.status("waiting", "dialog open")
    assert [Command.DISMISS] == running.wait(2)
    running.status("busy")
    running.wait(20)
    running.turns.interrupt_sent(running.now)
    running.feed(running.script.answer(text("hi")), running.script.interrupt_mark())
    assert "interrupted" == running.outcome.kind


@pytest.mark.parametrize("other", ["auto", "queued"])
@pytest.mark.parametrize("state", ["error", "interrupted", "nothing"])
def test_a_turn_is_over_when_another_one_begins(running: Drive, other: str, state: str) -> None:
    script = running.script
    running.feed(script.answer(text("half")))
    if state == "error":
        running.feed(script.error("API Error: Connection lost mid-response", "server_error"))
    if state == "interrupted":
        running.turns.interrupt_sent(running.now)
    begins = script.auto_prompt() if other == "auto" else script.prompt("x", source="queued")
    assert [] == running.feed(begins, script.answer(text("by itself"), message_id="m2"))
    kind = {"error": "truncated", "interrupted": None, "nothing": "no_end"}[state]
    error = running.outcome.error
    assert kind == (error.kind if error is not None else None)
    assert "half" == running.outcome.result.result
    assert not running.outcome.restored
    assert State.AUTONOMOUS is state_of(running)
    running.feed(script.done())
    assert State.IDLE is state_of(running)
    assert ["by itself"] == [e.text for e in running.turns.unprompted if hasattr(e, "text")]


def test_a_subagents_words_do_not_say_whether_the_answer_is_whole(running: Drive) -> None:
    script = running.script
    running.feed(script.answer(tool_use("t1"), stop="tool_use"), script.answer(text("whole")))
    cut = to_record(script.answer(text("mine"), stop=None, isSidechain=True))
    running.turns.feed_subagent(cut, "t1", running.now)
    running.feed(script.done())
    assert "completed" == running.outcome.kind


def test_a_cut_answer_names_its_request(running: Drive) -> None:
    running.feed(running.script.answer(text("half"), stop=None, requestId="req_1"))
    running.feed(running.script.done())
    assert ("truncated", "req_1") == (error_of(running).kind, error_of(running).request_id)


def test_an_error_ends_the_turn_even_if_the_status_file_is_gone(running: Drive) -> None:
    running.feed(running.script.error("API Error: x", "server_error"))
    running.turns.observe(Status(), running.now)
    running.wait(60)
    assert "connection" == error_of(running).kind


def test_a_record_of_a_subagent_in_the_main_file_is_kept(running: Drive) -> None:
    assert [] == running.feed(running.script.answer(text("x"), isSidechain=True))
    assert ["x"] == kinds(running.turns.unprompted)


# -- the order of things


def test_rest_that_runs_ahead_of_the_records_does_not_end_a_turn(running: Drive) -> None:
    running.status("idle")
    running.wait(1.2)
    assert running.turns.outcome is None
    running.feed(running.script.answer(text("hi")), running.script.done())
    assert "completed" == running.outcome.kind


def test_the_settling_starts_again_with_each_record(running: Drive) -> None:
    running.status("idle")
    for _ in range(5):
        running.wait(1.2)
        running.feed(running.script.attachment())
    assert running.turns.outcome is None


def test_a_status_without_busy_in_between_does_not_end_a_turn(drive: Drive) -> None:
    drive.submit()
    drive.feed(drive.script.prompt())
    drive.wait(5)  # idle all the time: ``busy`` was too short to be seen, or is late
    assert drive.turns.outcome is None
    drive.feed(drive.script.answer(text("hi")), drive.script.done())
    assert "completed" == drive.outcome.kind


def test_a_turn_without_end_and_without_busy_fails_in_the_end(drive: Drive) -> None:
    drive.submit()
    drive.feed(drive.script.prompt())
    drive.wait(30)
    assert ("no_end", False) == (error_of(drive).kind, drive.outcome.reusable)


def old_inversion(*, attachments_first: bool) -> list[Raw]:
    """Return a first turn of 2.1.197 whose answer is written before its prompt."""
    script = Script()
    prompt = script.prompt()
    attachments = [script.attachment(), script.attachment("prompt_snapshot")]
    answer = [script.answer(text("hi")), script.done()]
    if attachments_first:
        return [*attachments, *answer, prompt]
    return [*answer, prompt, *attachments]


@pytest.mark.parametrize("attachments_first", [False, True])
def test_an_old_answer_before_its_prompt_is_put_behind_it(
    drive: Drive, attachments_first: bool
) -> None:
    drive.submit()
    assert ["prompt", "hi", "turn_duration"] == kinds(
        drive.feed(*old_inversion(attachments_first=attachments_first))
    )
    assert "completed" == drive.outcome.kind
    assert "hi" == drive.outcome.result.result


def test_records_that_hang_on_themselves_are_taken_once(drive: Drive) -> None:
    drive.submit()
    own = drive.script.system("note", uuid="u", parentUuid="u")
    assert [] == drive.feed(own, own)
    assert ["prompt", "note", "note"] == kinds(drive.feed({**drive.script.prompt(), "uuid": "u"}))


def test_what_is_written_before_a_prompt_may_end_its_turn_before_all_of_it_is_taken(
    drive: Drive,
) -> None:
    drive.submit()
    script = drive.script
    answer = script.answer(text("hi"), parentUuid="u")
    ends = [script.system("turn_duration", durationMs=5, parentUuid="u") for _ in range(2)]
    assert [] == drive.feed(answer, *ends)
    prompt = {**script.prompt(), "uuid": "u"}
    assert ["prompt", "hi", "turn_duration"] == kinds(drive.feed(prompt))
    assert "completed" == drive.outcome.kind
    assert ["turn_duration"] == kinds(drive.turns.unprompted)


def test_late_records_of_an_earlier_turn_do_not_enter_the_next(running: Drive) -> None:
    script = running.script
    running.feed(script.error("API Error: x", "server_error"))
    running.status("idle")
    running.wait(5)
    late = [script.answer(text("late"), message_id="late"), script.done()]
    running.submit("next")
    assert [] == running.feed(*late)
    assert running.turns.outcome is None
    assert ["prompt"] == kinds(running.feed(script.prompt("next")))
    assert running.turns.outcome is None
    running.feed(script.answer(text("hi")), script.done())
    assert "hi" == running.outcome.result.result


def test_records_between_turns_are_kept_aside(drive: Drive) -> None:
    notice = drive.script.notice("Usage limit reset", "notice")
    assert [] == drive.feed(notice)
    assert ["informational"] == kinds(drive.turns.unprompted)
    assert [notice] == [event.raw for event in drive.turns.unprompted]


def test_what_is_kept_aside_is_bounded(drive: Drive) -> None:
    for _ in range(10_000):
        drive.feed(drive.script.notice("x", "notice"))
    assert len(drive.turns.unprompted) < 1000


def test_the_patch_of_a_resumed_conversation_is_no_reply(drive: Drive) -> None:
    drive.submit()
    patch = [drive.script.tool_result("t0", "[Tool call interrupted]"), drive.script.filler()]
    assert [] == drive.feed(*patch)
    assert ["prompt"] == kinds(drive.feed(drive.script.prompt()))
    drive.feed(drive.script.answer(text("hi")), drive.script.done())
    assert 1 == drive.outcome.result.num_turns


def test_a_queued_prompt_begins_when_its_record_comes(drive: Drive) -> None:
    drive.submit()
    drive.status("idle")
    assert [] == drive.feed(queue_operation("enqueue"))
    assert [] == drive.wait(2.9)  # no further Enter: it was taken
    assert ["prompt"] == kinds(drive.feed(drive.script.prompt(source="queued")))
    drive.feed(drive.script.answer(text("hi")), drive.script.done())
    assert "completed" == drive.outcome.kind


# -- turns that the CLI starts itself


def test_a_prompt_behind_a_turn_that_ended_without_a_record_is_sent_again(drive: Drive) -> None:
    drive.status("busy")
    drive.feed(drive.script.auto_prompt())
    drive.status("idle")
    drive.submit()
    assert State.BEHIND is state_of(drive)
    assert [Command.PRESS_ENTER] == drive.wait(4)[:1]


def test_a_refusal_of_a_prompt_behind_another_turn_is_told(drive: Drive) -> None:
    drive.submit()
    drive.feed(drive.script.auto_prompt(), drive.script.notice("Unknown command: /x"))
    assert "rejected" == error_of(drive).kind


def test_a_prompt_that_the_running_turn_takes_up_is_answered_by_it(drive: Drive) -> None:
    script = drive.script
    drive.submit("hello")
    drive.status("busy")
    drive.feed(script.auto_prompt(), script.attachment("queued_command", prompt="not ours"))
    assert State.BEHIND is state_of(drive)
    drive.feed(script.attachment("queued_command", prompt="hello"))
    assert State.RUNNING is state_of(drive)
    drive.feed(script.answer(text("both")), script.done())
    assert ("completed", "both") == (drive.outcome.kind, drive.outcome.result.result)


# -- what is added while the turn runs


def queued(words: str) -> Raw:
    return {**queue_operation("enqueue"), "content": words}


def test_what_is_added_is_told_between_two_messages(running: Drive) -> None:
    script = running.script
    added = running.turns.add("mind the heron \n")
    running.turns.entered(running.now)
    assert [] == running.feed(queued("mind the heron"))
    assert (True, False) == (added.taken, added.given)
    assert ["prompt"] == kinds(
        running.feed(
            script.attachment("queued_command", prompt="mind the heron", commandMode="prompt")
        )
    )
    running.feed(script.answer(text("minded")), script.done())
    assert ("completed", True) == (running.outcome.kind, running.outcome.reusable)
    assert added.given
    assert running.turns.added


def test_the_turn_goes_on_behind_its_end_with_all_that_was_added(running: Drive) -> None:
    script = running.script
    for words in ("one", "two"):
        running.turns.add(words)
        running.turns.entered(running.now)
        running.feed(queued(words))
    assert ["first", "turn_duration"] == kinds(
        running.feed(script.answer(text("first")), script.done(100))
    )
    assert State.RUNNING is state_of(running)
    asked = [script.prompt("one", "queued"), script.prompt("two", "queued")]
    assert ["prompt", "prompt"] == kinds(running.feed(*asked))
    running.feed(script.answer(text("second")), script.done(50))
    assert ("completed", True, 150) == (
        running.outcome.kind,
        running.outcome.reusable,
        running.outcome.result.duration_ms,
    )


def test_an_error_before_it_is_not_the_end(running: Drive) -> None:
    script = running.script
    running.turns.add("one")
    running.turns.entered(running.now)
    running.feed(queued("one"), script.error("API Error: x", "server_error"))
    running.feed(script.prompt("one", "queued"), script.answer(text("hi")), script.done())
    assert ("completed", None) == (running.outcome.kind, running.outcome.error)


def test_enter_is_repeated_for_what_does_not_show_up_and_then_it_is_lost(running: Drive) -> None:
    script = running.script
    added = running.turns.add("one")
    assert [] == running.wait(10)  # it is still being typed
    running.turns.entered(running.now)
    assert [Command.PRESS_ENTER] * 2 == running.wait(8)
    assert added.lost
    running.feed(script.answer(text("hi")), script.done())
    assert ("completed", False) == (running.outcome.kind, running.outcome.reusable)


def test_what_was_typed_too_late_is_a_prompt_of_the_same_turn(running: Drive) -> None:
    script = running.script
    running.turns.add("one")
    running.feed(script.answer(text("first")), script.done())
    running.status("idle")
    assert [] == running.wait(3)
    running.turns.entered(running.now)
    running.feed(script.prompt("one"), script.answer(text("second")), script.done())
    assert ("completed", True) == (running.outcome.kind, running.outcome.reusable)


def test_what_never_comes_does_not_keep_the_turn_open(running: Drive) -> None:
    script = running.script
    running.turns.add("one")
    running.turns.entered(running.now)
    running.feed(queued("one"), script.answer(text("first")), script.done())
    running.status("idle")
    running.wait(10)
    assert ("completed", False) == (running.outcome.kind, running.outcome.reusable)


def test_another_prompt_than_what_was_added_overtakes(running: Drive) -> None:
    running.turns.add("one")
    running.turns.entered(running.now)
    running.feed(queued("something else"), running.script.prompt("something else"))
    assert ("no_end", False) == (error_of(running).kind, running.outcome.reusable)
    assert State.AUTONOMOUS is state_of(running)


@pytest.mark.parametrize("mark", [True, False])
def test_an_interrupt_before_it_was_told_leaves_nothing_to_go_on_with(
    running: Drive, *, mark: bool
) -> None:
    script = running.script
    running.turns.add("one")
    running.turns.entered(running.now)
    running.feed(queued("one"))
    running.turns.interrupt_sent(running.now)
    running.feed(script.interrupt_mark() if mark else script.done())
    assert not running.outcome.reusable


def test_nothing_is_added_where_no_turn_runs(drive: Drive) -> None:
    with pytest.raises(RuntimeError, match="cannot add"):
        drive.turns.add("one")
    drive.submit()
    with pytest.raises(RuntimeError, match="cannot add"):
        drive.turns.add("one")


def test_a_limit_is_how_a_turn_ended_if_nothing_else_is(running: Drive) -> None:
    script = running.script
    running.turns.limit("error_max_turns")
    running.feed(script.answer(text("hi")), script.done())
    assert ("error_max_turns", True, None) == (
        running.outcome.result.subtype,
        running.outcome.result.is_error,
        running.outcome.error,
    )
    running.turns.limit("error_max_turns")  # too late
    running.submit("next")
    running.feed(script.prompt("next"), script.answer(text("hi")), script.done())
    assert "success" == running.outcome.result.subtype


def test_a_turn_of_the_clis_own_between_ours_is_kept_aside(drive: Drive) -> None:
    script = drive.script
    assert [] == drive.feed(queue_operation("enqueue"), script.auto_prompt())
    assert State.AUTONOMOUS is state_of(drive)
    assert [] == drive.feed(script.auto_prompt(), script.answer(text("auto")), script.done())
    assert State.IDLE is state_of(drive)
    assert drive.turns.outcome is None
    drive.submit()
    drive.feed(script.prompt(), script.answer(text("hi")), script.done())
    assert "hi" == drive.outcome.result.result
    assert 1 == drive.outcome.result.num_turns


def test_a_prompt_from_elsewhere_is_a_turn_that_is_not_ours(drive: Drive) -> None:
    assert [] == drive.feed(drive.script.prompt("by hand"), drive.script.answer(text("x")))
    assert State.AUTONOMOUS is state_of(drive)


@pytest.mark.parametrize("how", ["end", "interrupt", "rest"])
def test_ours_waits_behind_a_turn_of_the_clis_own(drive: Drive, how: str) -> None:
    script = drive.script
    drive.submit()
    drive.status("busy")
    drive.feed(script.auto_prompt())
    assert State.BEHIND is state_of(drive)
    assert [] == drive.feed(script.answer(text("auto")), queue_operation("enqueue"))
    assert [] == drive.wait(30)
    if how == "end":
        drive.feed(script.done())
    elif how == "interrupt":
        drive.feed(script.interrupt_mark())
    else:
        drive.status("idle")
        drive.wait(1.6)
    assert State.SUBMITTED is state_of(drive)
    drive.status("busy")
    drive.feed(script.prompt(source="queued"), script.answer(text("hi")), script.done())
    assert "hi" == drive.outcome.result.result
    assert ["prompt", "hi", "turn_duration"] == kinds(drive.turns.events)


def test_ours_may_show_up_while_the_clis_own_turn_has_not_ended(drive: Drive) -> None:
    script = drive.script
    drive.feed(script.auto_prompt())
    drive.submit()
    assert State.BEHIND is state_of(drive)
    assert ["prompt", "hi"] == kinds(drive.feed(script.prompt(), script.answer(text("hi"))))
    drive.feed(script.done())
    assert "completed" == drive.outcome.kind


def test_a_dialog_of_the_clis_own_turn_does_not_hold_ours_for_ever(drive: Drive) -> None:
    drive.submit()
    drive.status("busy")
    drive.feed(drive.script.auto_prompt())
    drive.status("waiting", "permission prompt")
    drive.wait(5)
    assert ("dialog", False) == (error_of(drive).kind, drive.outcome.reusable)


@pytest.mark.parametrize("end", ["record", "mark", "rest"])
def test_the_clis_own_turn_ends_without_ours(drive: Drive, end: str) -> None:
    drive.status("idle")
    drive.feed(drive.script.auto_prompt())
    drive.status("busy")
    if end == "record":
        drive.feed(drive.script.done())
    elif end == "mark":
        drive.feed(drive.script.interrupt_mark())
    else:
        drive.status("idle")
        drive.wait(1.6)
    assert State.IDLE is state_of(drive)


# -- prompts that do not become a turn


@pytest.mark.parametrize(
    "words",
    [
        "Unknown command: /nosuch",
        "UserPromptSubmit operation blocked by hook:\nno\n\nOriginal prompt: hello",
    ],
)
def test_a_refused_prompt_is_rejected(drive: Drive, words: str) -> None:
    drive.submit()
    blocked: dict[str, Any] = {"preventContinuation": True} if "hook" in words else {}
    drive.feed(drive.script.notice(words, **blocked))
    error = error_of(drive)
    assert ("rejected", "rejected", False) == (
        drive.outcome.kind,
        error.kind,
        drive.outcome.reusable,
    )
    assert isinstance(error, SessionError)
    assert words in error.message
    assert drive.outcome.result.is_error
    # The notice about the arguments comes after it.
    assert [] == drive.feed(drive.script.notice("Args from unknown skill: arg"))


@pytest.mark.parametrize("generation", ["new", "old"])
def test_a_hook_may_stop_the_turn(running: Drive, generation: str) -> None:
    words = "Operation stopped by hook: no"
    meta = {"isMeta": True} if generation == "new" else {}
    running.feed(running.script.user(words, **meta))
    assert running.turns.outcome is None
    running.feed(running.script.notice(words))
    assert ("stopped_by_hook", "stopped_by_hook", False) == (
        running.outcome.kind,
        running.outcome.result.subtype,
        running.outcome.result.is_error,
    )


@pytest.mark.parametrize("kind", ["user", "system"])
def test_the_output_of_a_local_command_ends_its_turn(drive: Drive, kind: str) -> None:
    script, words = drive.script, "<command-name>/compact</command-name>"
    drive.submit(words)
    drive.feed(script.user("<local-command-caveat>", isMeta=True), script.user(words))
    out = "<local-command-stdout>Compacted</local-command-stdout>"
    drive.feed(script.user(out) if kind == "user" else script.system("local_command", content=out))
    assert "local_command" == drive.outcome.kind


@pytest.mark.parametrize(
    "recorded",
    ['\n\n<pasted_content id="28b4">\nhello\n</pasted_content id="28b4">\n', "old text hello"],
)
def test_a_prompt_that_was_altered_fails_the_turn(drive: Drive, recorded: str) -> None:
    drive.submit("hello")
    drive.feed(drive.script.prompt(recorded))
    assert ("altered", False) == (error_of(drive).kind, drive.outcome.reusable)
    assert "hello" in error_of(drive).message


def test_trimmed_ends_and_line_breaks_are_no_alteration(drive: Drive) -> None:
    drive.submit("a\r\nb \n")
    drive.feed(drive.script.prompt("a\nb"))
    assert drive.turns.accepted


@pytest.mark.parametrize(
    "words",
    [
        "[Request interrupted by user] what does that mean?",
        "<local-command-stdout>x</local-command-stdout>",
        "<command-name>x",
    ],
)
def test_a_prompt_that_reads_like_a_mark_of_the_cli_is_a_prompt(drive: Drive, words: str) -> None:
    drive.submit(words)
    assert ["prompt"] == kinds(drive.feed(drive.script.prompt(words)))
    assert drive.turns.accepted


def test_enter_is_pressed_at_most_three_times_in_all(drive: Drive) -> None:
    drive.submit()
    assert [] == drive.wait(1.4)
    assert [Command.PRESS_ENTER] * 2 == drive.wait(60)
    assert ("not_accepted", False) == (error_of(drive).kind, drive.outcome.reusable)


def test_a_late_record_after_a_repeated_enter_is_accepted(drive: Drive) -> None:
    drive.submit()
    assert [Command.PRESS_ENTER] * 2 == drive.wait(3.8)
    assert ["prompt"] == kinds(drive.feed(drive.script.prompt()))


def test_enter_is_not_pressed_while_the_cli_is_busy(drive: Drive) -> None:
    drive.submit()
    drive.status("busy")
    assert [] == drive.wait(60)
    assert State.SUBMITTED is state_of(drive)


def test_enter_is_not_pressed_again_once_the_cli_was_busy(drive: Drive) -> None:
    drive.submit()
    drive.status("busy")
    drive.now += 0.3
    drive.status("idle")
    assert [] == drive.wait(60)
    assert "not_accepted" == error_of(drive).kind


def test_a_missing_status_is_no_reason_to_press_anything(drive: Drive) -> None:
    drive.submit()
    drive.turns.observe(Status(), drive.now)
    assert [] == drive.wait(30)


# -- dialogs


def test_a_dialog_in_place_of_the_prompt_fails_the_turn(drive: Drive) -> None:
    drive.submit()
    drive.status("waiting", "dialog open")
    assert [] == drive.wait(30)
    error = error_of(drive)
    assert ("dialog", False) == (error.kind, drive.outcome.reusable)
    assert "dialog open" in error.message


def test_a_status_that_flashes_waiting_is_no_dialog(running: Drive) -> None:
    running.status("waiting", "permission prompt")
    assert [] == running.wait(0.4)
    running.status("busy")
    assert [] == running.wait(30)
    assert running.turns.dialog is None


def test_a_dialog_that_the_host_answers_has_time_to_go_away(running: Drive) -> None:
    running.turns.dialog_settle = 5.0
    running.status("waiting", "permission prompt")
    assert [] == running.wait(4.8)
    assert [Command.DISMISS] == running.wait(0.4)


def test_a_dialog_in_a_turn_is_dismissed_once_and_fails_it(running: Drive) -> None:
    script = running.script
    running.feed(script.answer(tool_use("t1"), stop="tool_use"))
    running.status("waiting", "permission prompt")
    assert "permission prompt" == running.turns.dialog
    assert [Command.DISMISS] == running.wait(2)
    running.feed(
        script.tool_result("t1", "The user doesn't want to proceed", is_error=True),
        script.interrupt_mark("[Request interrupted by user for tool use]"),
    )
    error = error_of(running)
    assert ("failed", "dialog", True) == (
        running.outcome.kind,
        error.kind,
        running.outcome.reusable,
    )
    assert "permission prompt" in error.message


def test_a_dialog_that_stays_in_spite_of_two_escapes_ends_the_turn(running: Drive) -> None:
    running.status("waiting", "permission prompt")
    assert 2 * [Command.DISMISS] == running.wait(60)
    error = error_of(running)
    assert ("dialog", False) == (error.kind, running.outcome.reusable)


def test_a_second_dialog_is_dismissed_too(running: Drive) -> None:
    for asked in ("permission prompt", "input needed"):
        running.status("waiting", asked)
        assert [Command.DISMISS] == running.wait(2)
        running.status("busy")
        running.wait(0.5)
    running.feed(running.script.interrupt_mark())
    assert "input needed" in error_of(running).message


def test_a_dialog_behind_a_mid_turn_error_is_dismissed(running: Drive) -> None:
    script = running.script
    running.feed(script.answer(tool_use("t1"), stop="tool_use"))
    running.feed(script.error("API Error: Connection lost", "server_error", stop="tool_use"))
    running.status("waiting", "permission prompt")
    assert [Command.DISMISS] == running.wait(2)


def test_a_dismissed_dialog_that_leaves_no_record_fails_the_turn_too(running: Drive) -> None:
    running.status("waiting", None)
    assert [Command.DISMISS] == running.wait(2)
    running.status("idle")
    running.wait(2)
    assert ("failed", "dialog") == (running.outcome.kind, error_of(running).kind)


def test_a_turn_that_goes_on_after_its_dialog_was_closed_completes(running: Drive) -> None:
    running.status("waiting", "dialog open")
    assert [Command.DISMISS] == running.wait(2)
    running.status("busy")
    running.feed(running.script.answer(text("hi")), running.script.done())
    assert "completed" == running.outcome.kind


# -- a CLI that was started on a written history


def test_a_resumed_turn_has_no_prompt_record(drive: Drive) -> None:
    drive.turns.resume(drive.now)
    assert drive.turns.accepted
    drive.status("idle")
    drive.wait(5)
    drive.status("busy")
    drive.feed(drive.script.attachment(), drive.script.answer(text("hi")), drive.script.done())
    assert ["hi", "turn_duration"] == kinds(drive.turns.events)
    assert "completed" == drive.outcome.kind


def test_a_history_that_is_not_answered_was_not_loaded(drive: Drive) -> None:
    drive.turns.resume(drive.now)
    drive.wait(60)  # starting: no status yet
    assert drive.turns.outcome is None
    drive.status("idle")
    drive.wait(9)
    assert drive.turns.outcome is None
    drive.wait(5)
    assert ("not_loaded", False) == (error_of(drive).kind, drive.outcome.reusable)


def test_a_hook_may_refuse_a_resumed_prompt(drive: Drive) -> None:
    drive.turns.resume(drive.now)
    words = "UserPromptSubmit operation blocked by hook:\nno"
    drive.feed(drive.script.notice(words, preventContinuation=True))
    assert "rejected" == error_of(drive).kind


# -- one manager for many turns


def test_a_manager_takes_one_turn_after_the_other(drive: Drive) -> None:
    for n in range(3):
        drive.submit(f"prompt {n}")
        assert drive.turns.outcome is None
        assert () == drive.turns.events
        drive.feed(
            drive.script.prompt(f"prompt {n}"),
            drive.script.answer(text(f"answer {n}"), message_id=f"m{n}"),
            drive.script.done(n),
        )
        result = drive.outcome.result
        assert (f"answer {n}", 1, n) == (result.result, result.num_turns, result.duration_ms)


@pytest.mark.parametrize("again", ["submit", "resume"])
def test_a_turn_cannot_begin_within_another(running: Drive, again: str) -> None:
    with pytest.raises(RuntimeError, match="end that one first"):
        running.turns.submit("x", 0.0) if again == "submit" else running.turns.resume(0.0)


def test_after_an_interrupt_the_next_turn_is_a_new_one(running: Drive) -> None:
    running.turns.interrupt_sent(running.now)
    running.status("idle")
    running.wait(5)
    running.submit("next")
    running.status("busy")
    running.feed(running.script.prompt("next"), running.script.answer(text("hi")))
    running.status("idle")
    running.wait(5)
    assert "no_end" == error_of(running).kind  # not taken for the interrupt of the turn before


def test_a_queued_prompt_may_stand_before_the_mark_of_the_interrupted_turn(running: Drive) -> None:
    running.turns.interrupt_sent(running.now)
    script = running.script
    running.feed(script.prompt("from elsewhere", "queued"), script.interrupt_mark())
    assert ("interrupted", True, False) == attrs.astuple(
        running.outcome, recurse=False, filter=attrs.filters.include("kind", "reusable", "restored")
    )
    assert State.AUTONOMOUS is state_of(running)
    running.feed(script.answer(text("to the other")), script.done())
    assert State.IDLE is state_of(running)


def test_a_prompt_that_is_written_a_second_time_is_no_other_prompt(drive: Drive) -> None:
    drive.submit()
    prompt = drive.script.prompt()
    drive.feed(prompt, drive.script.system("compact_boundary"), {**prompt, "parentUuid": "other"})
    assert State.RUNNING is state_of(drive)
    drive.feed(drive.script.answer(text("hi")), drive.script.done())
    assert "completed" == drive.outcome.kind
    drive.feed({**prompt, "parentUuid": "other"})
    assert State.IDLE is state_of(drive)


def test_a_compaction_may_stand_before_the_prompt_that_has_caused_it(drive: Drive) -> None:
    drive.submit()
    script = drive.script
    late = script.done(7)
    boundary = script.system("compact_boundary", parentUuid=None)
    summary = script.user("It was long.", isCompactSummary=True)
    assert [] == drive.feed(late, boundary, summary)
    assert ["compact_boundary", "cli", "prompt"] == kinds(drive.feed(script.prompt()))
    drive.feed(script.answer(text("hi")), script.done(8))
    assert ("completed", 8) == (drive.outcome.kind, drive.outcome.result.duration_ms)
    assert ["turn_duration"] == kinds(drive.turns.unprompted)


def test_a_prompt_of_somebody_else_may_be_written_before_the_command_that_ran(
    drive: Drive,
) -> None:
    drive.submit("/compact")
    drive.status("busy")
    script = drive.script
    drive.feed(
        script.system("compact_boundary", parentUuid=None),
        script.prompt("from elsewhere", "queued"),
    )
    assert State.BEHIND is state_of(drive)
    drive.feed(
        script.user("It was long.", isCompactSummary=True),
        script.user("<local-command-caveat>x", isMeta=True),
        script.user("<command-name>/compact</command-name>"),
        script.user("<local-command-stdout>Compacted"),
        script.answer(text("second")),
        script.done(),
    )
    assert "local_command" == drive.outcome.kind
    assert ["compact_boundary", "cli", "cli", "prompt", "cli"] == kinds(drive.turns.events)
    assert ["prompt", "second", "turn_duration"] == kinds(drive.turns.unprompted)


# -- the last words of subagents


def with_subagent(drive: Drive, words: str | None = "found") -> None:
    """Let the running turn have a subagent, which was not heard, and say all but its end."""
    drive.feed(
        drive.script.answer(tool_use("t1", "Agent"), stop="tool_use"),
        drive.script.subagent_result("t1", words),
        drive.script.answer(text("all seen"), message_id="msg_02"),
    )


def hear(drive: Drive, *raws: Raw) -> list[str]:
    told = [drive.turns.feed_subagent(to_record(raw), "t1", drive.now) for raw in raws]
    return kinds(event for events in told for event in events)


def test_the_end_of_a_turn_waits_for_the_last_words_of_its_subagent(running: Drive) -> None:
    with_subagent(running)
    assert [] == running.feed(running.script.done(1234))
    assert State.CLOSING is state_of(running)
    subagent = Script()
    assert ["cli"] == hear(running, subagent.user("look"))
    assert ["found it not"] == hear(running, subagent.answer(text("found it not")))
    assert running.turns.outcome is None
    assert ["found", "turn_duration"] == hear(running, subagent.answer(text("found")))
    assert ("completed", 1234) == (running.outcome.kind, running.outcome.result.duration_ms)
    assert "all seen" == running.outcome.result.result


def test_a_subagent_that_was_heard_is_not_waited_for(running: Drive) -> None:
    running.feed(running.script.answer(tool_use("t1", "Agent"), stop="tool_use"))
    hear(running, Script().user("look"), Script().answer(text("found")))
    running.feed(running.script.subagent_result("t1"), running.script.done())
    assert "completed" == running.outcome.kind


def test_a_subagent_in_the_background_is_waited_for_until_it_has_begun(running: Drive) -> None:
    with_subagent(running, None)
    running.feed(running.script.done(pendingBackgroundAgentCount=1))
    assert State.CLOSING is state_of(running)
    assert ["cli", "turn_duration"] == hear(running, Script().user("look"))
    assert "completed" == running.outcome.kind


@pytest.mark.parametrize("content", [[], None, "x", [5, {"type": "image"}]])
def test_a_subagent_without_last_words_is_waited_for_until_it_has_begun(
    running: Drive, content: Any
) -> None:
    running.feed(running.script.answer(tool_use("t1", "Agent"), stop="tool_use"))
    result = running.script.subagent_result("t1")
    result["toolUseResult"]["content"] = content
    running.feed(result, running.script.done())
    assert State.CLOSING is state_of(running)
    hear(running, Script().user("look"))
    assert "completed" == running.outcome.kind


def test_a_subagent_that_is_not_heard_for_long_is_not_waited_for(running: Drive) -> None:
    with_subagent(running)
    running.feed(running.script.done(1234))
    running.wait(1.9)
    assert running.turns.outcome is None
    running.wait(0.2)
    assert ("completed", 1234) == (running.outcome.kind, running.outcome.result.duration_ms)
    assert "turn_duration" == kinds(running.turns.events)[-1]


def test_a_turn_of_the_clis_own_does_not_wait_for_a_subagent_of_ours(running: Drive) -> None:
    with_subagent(running)
    running.feed(running.script.done(), running.script.auto_prompt(), running.script.done())
    assert State.IDLE is state_of(running)


def test_an_end_that_is_written_before_its_prompt_waits_for_a_subagent_too(drive: Drive) -> None:
    drive.submit()
    prompt = drive.script.prompt()
    with_subagent(drive)
    drive.feed(drive.script.done(), prompt)
    assert State.CLOSING is state_of(drive)
    hear(drive, Script().answer(text("found")))
    assert "completed" == drive.outcome.kind


@pytest.mark.parametrize("source", ["system", "typed"])
def test_a_turn_that_waits_for_its_subagent_is_over_when_another_begins(
    running: Drive, source: str
) -> None:
    with_subagent(running)
    running.feed(running.script.done(), running.script.prompt("another", source))
    assert "completed" == running.outcome.kind
    assert State.AUTONOMOUS is state_of(running)
    assert 1 == len(running.turns.unprompted)


def test_a_process_that_ends_behind_the_end_of_its_turn_fails_nothing(running: Drive) -> None:
    with_subagent(running)
    running.feed(running.script.done())
    running.turns.fail(ProcessError("killed"), died=True)
    assert ("completed", None) == (running.outcome.kind, running.outcome.error)


def test_an_error_of_the_callers_own_fails_a_turn_that_waits_for_its_subagent(
    running: Drive,
) -> None:
    with_subagent(running)
    running.feed(running.script.done())
    assert running.turns.doom(BackendError("mine", kind="mine"))
    hear(running, Script().answer(text("found")))
    assert "mine" == error_of(running).kind


# -- while subagents run in the background


@pytest.fixture
def kept_busy(running: Drive) -> Drive:
    """Give a conversation whose turn is over, and whose subagent runs."""
    with_subagent(running, None)
    hear(running, Script().user("look"))
    running.feed(running.script.done(pendingBackgroundAgentCount=1))
    assert "completed" == running.outcome.kind
    return running


def test_a_cli_that_subagents_keep_busy_takes_a_prompt_between_turns(kept_busy: Drive) -> None:
    turns = kept_busy.turns
    assert takes_prompt(kept_busy)
    turns.submit("next", kept_busy.now)
    assert not takes_prompt(kept_busy)
    kept_busy.status("busy")  # as all the time
    assert [Command.PRESS_ENTER] == kept_busy.wait(2)
    script = kept_busy.script
    kept_busy.feed(script.prompt("next"), script.answer(text("hi")))
    kept_busy.feed(script.done(pendingBackgroundAgentCount=1))
    assert "completed" == kept_busy.outcome.kind
    assert takes_prompt(kept_busy)
    # The last one has ended, and a turn begins that tells the model of it.
    kept_busy.feed(script.auto_prompt())
    assert not takes_prompt(kept_busy)
    kept_busy.feed(script.answer(text("so it has")), script.done())
    assert not takes_prompt(kept_busy)
    kept_busy.status("idle")
    assert takes_prompt(kept_busy)


def test_a_prompt_to_a_cli_that_is_kept_busy_is_never_believed_to_be_ignored(
    kept_busy: Drive,
) -> None:
    kept_busy.turns.submit("next", kept_busy.now)
    assert [Command.PRESS_ENTER] * 2 == kept_busy.wait(60)
    assert State.SUBMITTED is state_of(kept_busy)


# -- a command that is recorded when it is over


def test_a_command_that_takes_long_is_interrupted_before_it_is_recorded(drive: Drive) -> None:
    drive.submit("/compact")
    assert not can_interrupt(drive)
    drive.now += 0.1
    drive.status("busy")
    assert can_interrupt(drive)
    drive.turns.interrupt_sent(drive.now)
    assert not can_interrupt(drive)
    drive.status("idle")
    drive.feed(drive.script.continuation("<local-command-caveat>"))
    drive.wait(3)
    assert ("interrupted", True) == (drive.outcome.kind, drive.outcome.restored)


def test_a_prompt_that_is_not_recorded_yet_is_not_interrupted(drive: Drive) -> None:
    drive.submit("hello")
    drive.now += 0.1
    drive.status("busy")
    assert not can_interrupt(drive)


# -- the table


#: What no record means, but silence does.
SILENCES = {
    *(Signal.UNTAKEN, Signal.IGNORED, Signal.ASKING, Signal.STILL_ASKING),
    *(Signal.FAILED, Signal.AT_REST, Signal.UNMOVED, Signal.UNHEARD),
}
#: What a record means only by what is known of subagents.
OF_SUBAGENTS = {Signal.EARLY_END, Signal.HEARD}


def test_every_signal_has_a_step_in_every_state() -> None:
    for state, signal in itertools.product(State, Signal):
        assert isinstance(TABLE[state].get(signal, DEFAULT[state]), Step)
    assert set(Signal) == {*SIGNS, *SILENCES, *OF_SUBAGENTS}


def test_the_table_uses_every_step() -> None:
    used = {step for row in TABLE.values() for step in row.values()}
    assert set(Step) == used | set(DEFAULT.values())


SIGNS: dict[Signal, Callable[[Script], Raw]] = {
    Signal.PROMPT: lambda s: s.prompt(),
    Signal.AUTO_PROMPT: lambda s: s.auto_prompt(),
    Signal.ENQUEUED: lambda _: queue_operation("enqueue"),
    Signal.REJECTED: lambda s: s.notice("Unknown command: /x"),
    Signal.ANSWER: lambda s: s.answer(text("hi")),
    Signal.FILLER: lambda s: s.filler(),
    Signal.ERROR: lambda s: s.error("API Error: x", "server_error"),
    Signal.TOOL_RESULT: lambda s: s.tool_result("t1"),
    Signal.CONTINUATION: lambda s: s.continuation(),
    Signal.COMPACTED: lambda s: s.system("compact_boundary"),
    Signal.ABSORBED: lambda s: s.attachment("queued_command", prompt="hello"),
    Signal.INTERRUPTED: lambda s: s.interrupt_mark(),
    Signal.LOCAL_OUTPUT: lambda s: s.system("local_command", content="x"),
    Signal.HOOK_STOPPED: lambda s: s.notice("Operation stopped by hook: x"),
    Signal.END: lambda s: s.done(),
    Signal.NOTE: lambda s: s.attachment(),
}


def lead(drive: Drive, state: State) -> None:
    """Bring a fresh manager into a state."""
    if state in {State.SUBMITTED, State.BEHIND, State.RUNNING, State.CLOSING}:
        drive.submit()
    if state in {State.AUTONOMOUS, State.BEHIND}:
        drive.feed(drive.script.auto_prompt())
    if state in {State.RUNNING, State.CLOSING}:
        drive.feed(drive.script.prompt())
    if state is State.CLOSING:
        with_subagent(drive)
        drive.feed(drive.script.done())


@pytest.mark.parametrize("signal", SIGNS)
@pytest.mark.parametrize("state", State)
def test_any_record_in_any_state_leaves_a_state_that_can_end(state: State, signal: Signal) -> None:
    drive = Drive()
    lead(drive, state)
    assert state is state_of(drive)
    begun = state not in {State.IDLE, State.AUTONOMOUS}
    drive.feed(SIGNS[signal](drive.script))
    if not begun:
        assert drive.turns.outcome is None
    drive.turns.fail(ProcessError("killed"))
    assert begun == (drive.turns.outcome is not None)
    assert drive.turns.state in {State.IDLE, State.AUTONOMOUS}


# -- however the bytes arrive


def whole_transcript() -> bytes:
    script = Script()
    records = [
        script.notice("ümläut \u2028 in a notice", "notice"),
        script.prompt("é" * 50),
        script.attachment(),
        script.answer(thinking("hm"), stop="tool_use"),
        script.answer(tool_use("t1", command="ls"), stop="tool_use"),
        queue_operation("remove"),
        script.tool_result("t1", "\u2028 🎉\n"),
        script.error("API Error: lost", "server_error", stop="tool_use"),
        script.answer(text("done 🎉"), message_id="msg_02"),
        script.done(),
        script.record("brand-new"),
    ]
    return b"".join(to_line(record) + b"\n" for record in records) + b'{"type":"torn'


def read_in(chunks: Sequence[bytes]) -> tuple[tuple[Event, ...], Outcome | None]:
    lines, turns = LineBuffer(), TurnManager()
    turns.submit("é" * 50, 0.0)
    for chunk in chunks:
        for line in lines.feed(chunk):
            turns.feed(parse_record(line), 0.0)
    return turns.events, turns.outcome


@settings(deadline=None, max_examples=100)
@given(cuts=st.lists(st.integers(0, len(whole_transcript())), max_size=40))
def test_any_chunking_of_the_bytes_gives_the_same_turn(cuts: list[int]) -> None:
    data = whole_transcript()
    edges = [0, *sorted(cuts), len(data)]
    chunks = [data[a:b] for a, b in itertools.pairwise(edges)]
    assert read_in([data]) == read_in(chunks)


def test_a_turn_is_the_same_byte_by_byte() -> None:
    data = whole_transcript()
    events, outcome = read_in([data[i : i + 1] for i in range(len(data))])
    assert ["prompt", "", "", "tool", "API Error: lost", "done 🎉", "turn_duration"] == kinds(
        events
    )
    assert outcome is not None
    assert "completed" == outcome.kind


ANY_RECORD = st.sampled_from([*SIGNS])
MOVES = st.one_of(
    st.tuples(st.just("feed"), ANY_RECORD),
    st.tuples(st.just("status"), st.sampled_from(["idle", "busy", "waiting", "shell"])),
    st.tuples(st.just("wait"), st.sampled_from([0.3, 1.1, 4.0])),
    st.tuples(st.just("interrupt"), st.none()),
    st.tuples(st.just("die"), st.none()),
)


@settings(deadline=None, max_examples=150)
@given(moves=st.lists(MOVES, max_size=30))
def test_whatever_happens_a_turn_ends_at_most_once_and_its_events_only_grow(
    moves: list[tuple[str, Any]],
) -> None:
    drive = Drive()
    drive.submit()
    seen: tuple[Event, ...] = ()
    over: Outcome | None = None
    for move, argument in moves:
        match move:
            case "feed":
                drive.feed(SIGNS[argument](drive.script))
            case "status":
                drive.status(argument)
            case "wait":
                drive.wait(argument)
            case "interrupt":
                drive.turns.interrupt_sent(drive.now)
            case _:
                drive.turns.fail(ProcessError("killed"))
        assert seen == drive.turns.events[: len(seen)]
        seen = drive.turns.events
        assert (drive.turns.outcome is None) == (
            drive.turns.state in {State.SUBMITTED, State.BEHIND, State.RUNNING}
        )
        if over is not None:
            assert drive.turns.outcome is over
        over = drive.turns.outcome
    if over is not None:
        assert (over.error is not None) == over.result.is_error


# --- tools that the caller answers


def asking(drive: Drive) -> None:
    """Let the model ask the caller's tools twice in one message."""
    calls = (
        tool_use("toolu_A", "mcp__client__weather"),
        tool_use("toolu_B", "mcp__client__weather"),
    )
    for call in calls:
        drive.feed(drive.script.answer(call, stop="tool_use"))


def test_a_turn_waits_for_its_caller_when_all_calls_are_there(running: Drive) -> None:
    running.turns.client_tools = True
    assert not running.turns.waits_for_caller(running.now)
    asking(running)
    assert ["weather", "weather"] == [block.name for block in running.turns.asked.values()]
    assert not running.turns.waits_for_caller(running.now)
    assert running.turns.waits_for_caller(running.now + 1)


def test_a_turn_waits_longer_while_tools_of_the_clis_are_open(running: Drive) -> None:
    running.turns.client_tools = True
    asking(running)
    running.feed(running.script.answer(tool_use("toolu_C"), stop="tool_use"))
    assert not running.turns.waits_for_caller(running.now + 1)
    assert running.turns.waits_for_caller(running.now + 3)


def test_a_turn_does_not_pause_before_what_was_added_is_taken(running: Drive) -> None:
    running.turns.client_tools = True
    asking(running)
    further = running.turns.add("mind the heron")
    assert not running.turns.waits_for_caller(running.now + 1)
    further.taken = True
    assert running.turns.waits_for_caller(running.now + 1)


def test_a_paused_turn_has_an_outcome_and_no_time(running: Drive) -> None:
    running.turns.client_tools = True
    asking(running)
    running.turns.pause()
    assert ("paused", "tool_use", False) == (
        running.outcome.result.subtype,
        running.outcome.result.stop_reason,
        running.outcome.result.is_error,
    )
    assert running.turns.tick(running.now + 1000) is None
    running.now += 1000
    running.turns.go_on(running.now)
    assert running.turns.outcome is None
    assert {} == running.turns.asked
    running.feed(
        running.script.tool_result("toolu_A"),
        running.script.tool_result("toolu_B"),
        running.script.answer(text("Sun."), stop="end_turn"),
        running.script.done(),
    )
    assert ("success", "Sun.", 1) == (
        running.outcome.result.subtype,
        running.outcome.result.result,
        running.outcome.result.num_turns,
    )
    assert running.outcome.result.duration_ms < 1000


def test_a_call_is_told_once_where_its_record_comes_late(running: Drive) -> None:
    running.turns.client_tools = True
    call = ToolUseBlock(id="toolu_A", name="weather", input={})
    assert running.turns.tell_call(call, running.now)
    assert [True] == [running.turns.ahead]
    (told,) = [event for event in running.turns.take() if isinstance(event, AssistantMessage)]
    assert (call,) == told.content
    assert running.turns.waits_for_caller(running.now + 1)
    running.turns.pause()
    script = running.script
    running.feed(script.answer(text("I ask.")))  # in the pause: it is for who goes on
    running.turns.go_on(running.now)
    running.feed(
        script.answer(tool_use("toolu_A", "mcp__client__weather"), stop="tool_use"),
        script.tool_result("toolu_A"),
        script.answer(text("Sun."), stop="end_turn"),
        script.done(),
    )
    assert [False] == [running.turns.ahead]
    blocks = [block for event in running.turns.events for block in getattr(event, "content", ())]
    assert [TextBlock, ToolResultBlock, TextBlock] == [type(block) for block in blocks]
    assert "success" == running.outcome.result.subtype


def test_a_call_that_may_be_a_subagents_is_not_told_before_its_record(running: Drive) -> None:
    running.turns.client_tools = True
    call = ToolUseBlock(id="toolu_B", name="weather", input={})
    said = to_record(running.script.answer(text("I am a subagent.")))
    running.turns.feed_subagent(said, "toolu_A", running.now)
    assert not running.turns.tell_call(call, running.now)
    assert {} == running.turns.asked


def test_a_limit_that_is_reached_before_the_prompt_was_read_counts(drive: Drive) -> None:
    drive.submit("hello")
    drive.turns.limit("error_max_turns")
    drive.feed(drive.script.prompt("hello"), drive.script.answer(text("ok")), drive.script.done())
    assert "error_max_turns" == drive.outcome.result.subtype


def test_a_process_that_dies_in_a_pause_ends_it(running: Drive) -> None:
    running.turns.client_tools = True
    asking(running)
    running.turns.pause()
    running.turns.fail(ProcessError("gone"), died=True)
    assert "died" == running.outcome.kind
    assert [False] == [running.turns.paused]


def test_a_server_of_that_name_is_somebodys_own_without_tools_of_the_callers(
    running: Drive,
) -> None:
    asking(running)
    assert {} == running.turns.asked
