"""The rows: each way in which a turn is known to end, what it comes to, and that the next one is right.

The numbers say what a row is about: 2 normal turns, 3 stop reasons that are not the end, 4 things that
run in the background, 5 errors of the API, 6 interrupts, 7 dialogs, 8 prompts from elsewhere, 9
commands, compaction and hooks.

Where a row is missing, or shows less than one would like:

* On 2.1.197 an MCP tool never moves to the background, ScheduleWakeup answers that nothing was
  scheduled, and nothing goes on by itself after a usage limit: where that matters, `Row.old` is None.
  A stalled stream ends there after five minutes, which nothing makes shorter.
* An Esc before the first output of a turn, while a subagent runs in the background, leaves no trace in
  any file: the row shows that the conversation is closed after ``interrupt_grace``.
* What the CLI does about its background tasks while it is being ended is no turn: nobody reads it.
* A host that is not known: no test gives a `claude` any address but one of loopback, which needs no
  name. The text by which the CLI reports it is in ``test_errors.py``.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, Final

import trio

from claude_trio import Allow
from claude_trio._protocol import keys
from claude_trio.testing import (
    Cut,
    ErrorEvent,
    HttpError,
    RecordedRequest,
    Reply,
    redacted_thinking,
    thinking,
    tool_use,
)

from .play import NEXT, OR, Row, Script, Seen, Stage


def says(*replies: Any) -> Script:
    """Queue replies: a string, a tuple of blocks, or a whole `Reply` or `HttpError`."""

    def script(stage: Stage) -> None:
        for reply in replies:
            if isinstance(reply, tuple):
                stage.api.reply(*reply)
            else:
                stage.api.reply(reply)

    return script


def always(answer: str | Reply | HttpError, then: int = 20) -> Script:
    """Queue the same answer as often as a CLI may try."""
    return says(*[answer] * then)


def bash(command: str, **more: Any) -> dict[str, Any]:
    return tool_use("Bash", {"command": command, "description": "Do it", **more})


def hook(event: str, command: str, matcher: str = "") -> dict[str, Any]:
    entry: dict[str, Any] = {"hooks": [{"type": "command", "command": command}]}
    if matcher:
        entry["matcher"] = matcher
    return {"hooks": {event: [entry]}}


def hook_saying(event: str, answer: dict[str, Any], matcher: str = "") -> dict[str, Any]:
    return hook(event, f"printf %s '{json.dumps(answer)}'", matcher)


def once(event: str, answer: dict[str, Any]) -> dict[str, Any]:
    """Make settings with a hook that says something the first time only."""
    said = f"printf %s '{json.dumps(answer)}'"
    return hook(event, f"test -e $HOME/once || {{ touch $HOME/once; {said}; }}")


def blocking(times: int) -> dict[str, Any]:
    """Make settings with a hook that so many times does not let a turn end."""
    said = json.dumps({"decision": "block", "reason": "go on"})
    count = "echo >>$HOME/count; test $(wc -l <$HOME/count)"
    return hook("Stop", f"{count} -gt {times} || printf %s '{said}'")


def limited(kind: str, hours: float) -> Script:
    """Queue a usage limit of a subscription, which the CLI believes with a login of one only."""

    def script(stage: Stage) -> None:
        headers = {
            "anthropic-ratelimit-unified-status": "rejected",
            "anthropic-ratelimit-unified-reset": str(round(time.time() + hours * 3600)),
            "anthropic-ratelimit-unified-representative-claim": kind,
            "x-should-retry": "false",
        }
        stage.api.error(429, message="limit", headers=headers)

    return script


OAUTH: Final = {"ANTHROPIC_AUTH_TOKEN": "", "CLAUDE_CODE_OAUTH_TOKEN": "made-up"}
BACKGROUND: Final = {"CLAUDE_CODE_DISABLE_BACKGROUND_TASKS": "", "CLAUDE_CODE_DISABLE_CRON": ""}
INTERRUPTED: Final = "[Request interrupted by user"
COMPLETED: Final = "prompt text end"
#: The status file may tell of a dialog before the record of the call is written.
REFUSED: Final = (
    f"prompt tool_use dialog failure interrupt{OR}prompt dialog tool_use failure interrupt"
)


def failed(error: str, **more: Any) -> Seen:
    """A turn that ends with an error record."""
    how: dict[str, Any] = {
        "kind": "failed",
        "events": "prompt error",
        "text": None,
        "stop": None,
        "messages": 0,
        "error": error,
        "asked": f"hello\n|{NEXT}",
    }
    # Whatever the API itself refused has a name there.
    return Seen(**(how | {"request": "status" in more} | more))


#: On 2.1.197 an error is followed by the record that ends a turn.
OLD_ERROR: Final = {"events": "prompt error end"}
#: And behind a usage limit a panel opens, half a second later, in which the next prompt may get lost.
OLD_LIMIT: Final = {
    **OLD_ERROR,
    "next": f"same{OR}other",
    "asked": f"hello\n|{NEXT}{OR}hello|{NEXT}",
}


# -- acts


async def interrupt_when_held(stage: Stage) -> None:
    await stage.api.wait_until_held(stage.gate)
    await stage.interrupt()


async def interrupt_while_streaming(stage: Stage) -> None:
    await stage.api.wait_until_held(stage.gate)
    seen = stage.session._process
    assert seen is not None
    await stage.until(lambda: "heron" in seen.screen.render())
    await stage.interrupt()


async def interrupt_a_tool(stage: Stage) -> None:
    await stage.until_event("tool_use")
    await stage.until((stage.world.cwd / "started").exists)
    await stage.interrupt()


async def interrupt_when_it_asks(stage: Stage) -> None:
    await stage.until(lambda: "hello" in [request.prompt for request in stage.api.conversations])
    await stage.until_event("prompt")
    await stage.interrupt()


async def interrupt_in_the_background(stage: Stage) -> None:
    await stage.until_event("result")
    await stage.interrupt()


async def interrupt_at_a_dialog(stage: Stage) -> None:
    await stage.until_status("waiting")
    await stage.interrupt()


async def interrupt_a_retry(stage: Stage) -> None:
    await stage.api.wait_for_requests(2)
    await stage.interrupt()


async def queue_another(stage: Stage) -> None:
    await stage.api.wait_until_held(stage.gate)
    await queue(stage)
    stage.gate.set()


async def queue_two(stage: Stage) -> None:
    await stage.api.wait_until_held(stage.gate)
    await queue(stage)
    await queue(stage, 2)
    stage.gate.set()


async def queue(stage: Stage, number: int = 1) -> None:
    """Send a prompt to the busy CLI, as somebody else at its terminal would."""
    process = stage.session._process
    assert process is not None
    await process.write(b"\x1b[200~from elsewhere\x1b[201~")
    await trio.sleep(0.2)  # between two keys of somebody else
    await process.write(b"\r")
    transcript = stage.session._files.transcript
    await stage.until(
        lambda: transcript.exists() and number <= transcript.read_bytes().count(b'"enqueue"')
    )


async def queue_another_while_it_runs(stage: Stage) -> None:
    await stage.until((stage.world.cwd / "started").exists)
    await queue(stage)
    (stage.world.cwd / "go").touch()


async def interrupt_with_a_queue(stage: Stage) -> None:
    await stage.api.wait_until_held(stage.gate)
    await queue(stage)
    await stage.interrupt()


async def open_the_gate_when_two_have_ended(stage: Stage) -> None:
    await stage.api.wait_until_held(stage.gate)
    transcript = stage.session._files.transcript
    await stage.until(lambda: 2 <= transcript.read_bytes().count(b'"enqueue"'))
    stage.gate.set()


async def let_it_end(stage: Stage) -> None:
    stage.gate.set()
    await wait_for_an_own_turn(stage)


async def escape_and_let_it_end(stage: Stage) -> None:
    process = stage.session._process
    assert process is not None
    await process.write(keys.ESCAPE)
    await trio.sleep(0.5)  # in which it would end what runs
    await let_it_end(stage)


async def kill_it(stage: Stage) -> None:
    process = stage.session._process
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)
    await stage.session.wait()


async def wait_for_an_own_turn(stage: Stage) -> None:
    await stage.until(
        lambda: (
            "turn_duration" in [getattr(e, "subtype", "") for e in stage.session.turns.unprompted]
        )
    )


# -- scripts


def held(*before: Any) -> Script:
    """Queue replies, and one behind them that never begins."""

    def script(stage: Stage) -> None:
        says(*before)(stage)
        stage.api.reply("never", hold_before=stage.gate)

    return script


def held_in(*blocks: Any, block: int = 0) -> Script:
    """Queue one reply that stops in the middle of a block."""

    def script(stage: Stage) -> None:
        stage.api.reply(*blocks, chunk=20, hold_after=stage.gate, hold_block=block)

    return script


def released(*after: Any) -> Script:
    """Queue one reply that is held until the gate is opened, and replies behind it."""

    def script(stage: Stage) -> None:
        stage.api.reply("first", hold_before=stage.gate)
        says(*after)(stage)

    return script


def subagent(*replies: Any, background: bool = False, held: bool = False) -> Script:
    """Let the model start a subagent; the model gets the replies, the subagent one of its own.

    Args:
        *replies: As for `says`.
        background: The model goes on meanwhile.
        held: The subagent's own is held until the gate is opened.
    """

    def script(stage: Stage) -> None:
        task = "look around"
        how: dict[str, Any] = {"run_in_background": True} if background else {}
        about = {"description": "Look", "prompt": task, "subagent_type": "general-purpose", **how}
        own = [r if isinstance(r, Reply | HttpError) else Reply(r) for r in replies]
        answers = iter([Reply(tool_use("Agent", about)), *own])
        gate = stage.gate if held else None

        # They ask in any order.
        def answer(request: RecordedRequest) -> Reply | HttpError:
            if request.prompt == task:
                return Reply("I looked", hold_before=gate)
            return next(answers)

        for _ in range(len(replies) + 2):
            stage.api.reply(answer)

    return script


def tokens(*replies: Any, first: int) -> Script:
    """Queue replies, of which the first has taken so many tokens."""

    def script(stage: Stage) -> None:
        stage.api.reply(*replies[0], usage={"input_tokens": first})
        says(*replies[1:])(stage)

    return script


async def allow(_: object) -> Allow:
    await trio.lowlevel.checkpoint()
    return Allow()


async def answer(_: object) -> dict[str, str]:
    await trio.lowlevel.checkpoint()
    return {"Which one?": "Alpha"}


ASKING: Final = {"dangerously_skip_permissions": False}
QUESTION: Final = tool_use(
    "AskUserQuestion",
    {
        "questions": [
            {
                "question": "Which one?",
                "header": "One",
                "multiSelect": False,
                "options": [
                    {"label": "Alpha", "description": "a"},
                    {"label": "Beta", "description": "b"},
                ],
            }
        ]
    },
)
LOOKUP: Final = tool_use("mcp__words__lookup", {})
SLOW_SERVER: Final = {
    "mcp_servers": {
        "words": {
            "command": sys.executable,
            "args": [str(Path(__file__).parents[1] / "word_server.py"), "5"],
        }
    }
}
LARGE: Final = "head -c 40000 /dev/zero | tr '\\0' x"

ROWS: Final = (
    # -- §2: normal turns
    Row(name="2-text", script=says("hi"), seen=Seen(events=COMPLETED, text="hi")),
    Row(
        name="2-thinking-and-text",
        script=says((thinking("hm"), "hi")),
        seen=Seen(events="prompt thinking text end", text="hi"),
    ),
    Row(
        name="2-redacted-thinking",
        script=says((redacted_thinking(), "hi")),
        seen=Seen(events="prompt redacted_thinking text end", text="hi"),
    ),
    Row(
        name="2-three-texts",
        script=says(("one ", "two ", "three")),
        seen=Seen(events="prompt text text text end", text="one two three"),
    ),
    Row(
        name="2-parallel-tools",
        script=says((thinking("hm"), "two", bash("sleep 0.5; echo a"), bash("echo b")), "done"),
        seen=Seen(
            events="prompt thinking text tool_use tool_use result result text end",
            text="done",
            messages=2,
        ),
    ),
    Row(
        name="2-tool-fails",
        script=says((bash("exit 3"),), "it failed"),
        seen=Seen(events="prompt tool_use failure text end", text="it failed", messages=2),
    ),
    Row(
        name="2-missing-file",
        script=says((tool_use("Read", {"file_path": "/nonexistent"}),), "missing"),
        seen=Seen(events="prompt tool_use failure text end", text="missing", messages=2),
    ),
    Row(
        name="2-unknown-tool",
        script=says((tool_use("NoSuchTool", {}),), "none"),
        seen=Seen(events="prompt tool_use failure text end", text="none", messages=2),
    ),
    Row(
        name="2-bad-input",
        script=says((tool_use("Bash", {"nonsense": 1}),), "none"),
        seen=Seen(events="prompt tool_use failure text end", text="none", messages=2),
    ),
    Row(
        name="2-tool-block-but-end_turn",
        script=says(Reply(bash("echo a"), stop_reason="end_turn"), "done"),
        seen=Seen(events="prompt tool_use result text end", text="done", messages=2),
    ),
    Row(
        name="2-tool-block-but-max_tokens",
        script=says(Reply(bash("echo a"), stop_reason="max_tokens"), "done"),
        seen=Seen(events="prompt tool_use result text end", text="done", messages=2),
    ),
    Row(
        name="2-tool_use-without-a-tool",
        script=says(Reply("calling", stop_reason="tool_use"), "done"),
        seen=Seen(events="prompt cli text end", text="done"),
        old={"events": "prompt text cli text end", "messages": 2},
    ),
    Row(
        name="2-stop-hook",
        script=says("hi"),
        settings=hook("Stop", "sleep 0.5"),
        seen=Seen(events="prompt text stop_hook_summary end", text="hi"),
    ),
    Row(
        name="2-large-output",
        script=says((bash(LARGE),), "much"),
        seen=Seen(events="prompt tool_use result text end", text="much", messages=2),
    ),
    Row(
        name="2-write-edit-read",
        script=says(
            (tool_use("Write", {"file_path": "note.txt", "content": "one"}),),
            (tool_use("Read", {"file_path": "note.txt"}),),
            "done",
        ),
        seen=Seen(
            events="prompt tool_use result tool_use result text end", text="done", messages=3
        ),
    ),
    Row(
        name="2-edit",
        files={"note.txt": "one"},
        script=says(
            (tool_use("Read", {"file_path": "note.txt"}),),
            (
                tool_use(
                    "Edit", {"file_path": "note.txt", "old_string": "one", "new_string": "two"}
                ),
            ),
            "done",
        ),
        seen=Seen(
            events="prompt tool_use result tool_use result text end", text="done", messages=3
        ),
    ),
    Row(
        name="2-model-fallback",
        script=says(*[HttpError(529)] * 3, "from the other"),
        flags=("--model", "claude-opus-4-8", "--fallback-model", "claude-sonnet-4-5"),
        env={"CLAUDE_CODE_MAX_RETRIES": "4"},
        seen=Seen(events="prompt model_fallback text end", text="from the other"),
    ),
    Row(
        name="2-late-end",
        script=says(Reply("hi", end_delay=1.5)),
        seen=Seen(events=COMPLETED, text="hi"),
    ),
    Row(
        name="2-tool-times-out",
        script=says((bash("sleep 1000", timeout=1000),), "too slow"),
        seen=Seen(events="prompt tool_use failure text end", text="too slow", messages=2),
    ),
    # -- §3: stop reasons that are not the end
    Row(
        name="3-max_tokens-once",
        script=says(Reply("one", stop_reason="max_tokens"), "two"),
        seen=Seen(events="prompt text cli text end", text="two", messages=2),
        old={"events": "prompt text text end"},
    ),
    Row(
        name="3-max_tokens-always",
        script=always(Reply("more", stop_reason="max_tokens")),
        seen=failed(
            "BackendError max_output_tokens",
            events="prompt text cli text cli text cli text error",
            text="more",
            stop="max_tokens",
            messages=4,
            asked=NEXT,
        ),
        old={"events": "prompt text text text text error end"},
    ),
    Row(
        name="3-context-window-exceeded",
        script=says(Reply("one", stop_reason="model_context_window_exceeded"), "two"),
        seen=Seen(events="prompt text cli text end", text="two", messages=2),
        old={"events": "prompt text text end"},
    ),
    Row(
        name="3-context-window-exceeded-always",
        script=always(Reply("more", stop_reason="model_context_window_exceeded")),
        seen=failed(
            "BackendError max_output_tokens",
            events="prompt text cli text cli text cli text error",
            text="more",
            stop="model_context_window_exceeded",
            messages=4,
            asked=NEXT,
        ),
        old={"events": "prompt text text text text error end"},
    ),
    Row(
        name="3-refusal-once",
        script=says(Reply("I will not", stop_reason="refusal"), "but this"),
        seen=Seen(events="prompt text informational cli text end", text="but this", messages=2),
        old={
            "kind": "failed",
            "events": "prompt text model_refusal_no_fallback error end",
            "text": "I will not",
            "stop": "refusal",
            "messages": 1,
            "error": "BackendError refusal",
            "request": True,
        },
    ),
    Row(
        name="3-refusal-always",
        script=always(Reply("I will not", stop_reason="refusal")),
        seen=failed(
            "BackendError refusal",
            request=True,
            events="prompt text informational cli text model_refusal_no_fallback error",
            text="I will not",
            stop="refusal",
            messages=2,
            asked=NEXT,
        ),
        old={"events": "prompt text model_refusal_no_fallback error end", "messages": 1},
    ),
    Row(
        name="3-pause_turn",
        script=says(Reply("a pause", stop_reason="pause_turn")),
        seen=Seen(events=COMPLETED, text="a pause", stop="pause_turn"),
    ),
    Row(
        name="3-stop_sequence",
        script=says(Reply("stopped", stop_reason="stop_sequence")),
        seen=Seen(events=COMPLETED, text="stopped", stop="stop_sequence"),
    ),
    Row(
        name="3-unknown-stop-reason",
        script=says(Reply("new", stop_reason="brand_new")),
        seen=Seen(events=COMPLETED, text="new", stop="brand_new"),
    ),
    Row(
        name="3-no-stop-reason",
        script=says(Reply("new", stop_reason=None)),
        seen=failed(
            "BackendError truncated",
            events=COMPLETED,
            text="new",
            messages=1,
            asked=NEXT,
            request=True,
        ),
    ),
    Row(
        name="3-refusal-of-nothing",
        script=always(Reply(stop_reason="refusal")),
        seen=failed(
            "BackendError refusal",
            request=True,
            events="prompt informational cli model_refusal_no_fallback error",
        ),
        old={"events": "prompt model_refusal_no_fallback error end"},
    ),
    Row(
        name="3-empty-text",
        script=says(Reply(""), "now"),
        seen=Seen(events="prompt text cli text end", text="now", messages=2),
    ),
    Row(
        name="3-empty-content",
        script=says(Reply(), "now"),
        seen=Seen(events="prompt cli text end", text="now"),
    ),
    Row(
        name="3-only-thinking",
        script=says((thinking("hm"),), "now"),
        seen=Seen(events="prompt thinking cli text end", text="now", messages=2),
    ),
    Row(
        name="3-empty-for-ever",
        script=always(Reply()),
        seen=Seen(
            events="prompt cli end", text=None, stop=None, messages=0, asked=f"hello\n|{NEXT}"
        ),
        old={
            "asked": "hello\n|[Your previous response had no visible output. "
            f"Please continue and produce a user-visible response.]\n|{NEXT}"
        },
    ),
    # -- §4: things that run in the background
    Row(
        name="4-subagent",
        script=subagent("all seen"),
        seen=Seen(
            events="prompt tool_use result text end",
            subagents="cli text",
            text="all seen",
            messages=2,
        ),
    ),
    Row(
        name="4-background-shell",
        script=says((bash("sleep 1", run_in_background=True),), "it runs", "it has ended"),
        env=BACKGROUND,
        wait=wait_for_an_own_turn,
        seen=Seen(
            events="prompt tool_use result text end",
            text="it runs",
            messages=2,
            unprompted="auto text end",
        ),
    ),
    Row(
        name="4-background-subagent",
        script=subagent("it looks", "all seen", background=True, held=True),
        env=BACKGROUND,
        wait=let_it_end,
        seen=Seen(
            events="prompt tool_use result text end",
            subagents="cli",
            text="it looks",
            messages=2,
            unprompted="auto text end",
        ),
    ),
    Row(
        name="4-wake-up-switched-off",
        script=says((tool_use("ScheduleWakeup", {"delaySeconds": 60, "reason": "x"}),), "not so"),
        seen=Seen(events="prompt tool_use failure text end", text="not so", messages=2),
    ),
    Row(
        name="4-background-switched-off",
        script=says((bash("echo a", run_in_background=True),), "not so"),
        seen=Seen(events="prompt tool_use failure text end", text="not so", messages=2),
    ),
    Row(
        name="4-timed-out-shell",
        script=says((bash("true; sleep 3", timeout=1000),), "it goes on", "it has ended"),
        env=BACKGROUND,
        wait=wait_for_an_own_turn,
        seen=Seen(
            events="prompt tool_use result text end",
            text="it goes on",
            messages=2,
            unprompted="auto text end",
        ),
    ),
    Row(
        name="4-slow-server-tool",
        script=says((LOOKUP,), "a bird"),
        options=SLOW_SERVER,
        env={"CLAUDE_CODE_MCP_AUTO_BACKGROUND_MS": "1000"},
        seen=Seen(events="prompt tool_use result text end", text="a bird", messages=2),
    ),
    Row(
        name="4-slow-server-tool-in-the-background",
        script=says((LOOKUP,), "it takes long", "a bird"),
        options=SLOW_SERVER,
        env={**BACKGROUND, "CLAUDE_CODE_MCP_AUTO_BACKGROUND_MS": "1000"},
        wait=wait_for_an_own_turn,
        seen=Seen(
            events="prompt tool_use result text end",
            text="it takes long",
            messages=2,
            unprompted="auto text end",
        ),
        old=None,  # it waits, as in the row above
    ),
    Row(
        name="4-wake-up",
        script=says(
            (tool_use("ScheduleWakeup", {"delaySeconds": 60, "reason": "x", "prompt": "wake"}),),
            "until then",
            "awake",
        ),
        env=BACKGROUND,
        wake_ups=True,
        wait=wait_for_an_own_turn,
        seen=Seen(
            events="prompt tool_use result text end",
            text="until then",
            messages=2,
            unprompted="auto text end",
        ),
        old=None,  # it says that it has scheduled nothing
    ),
    Row(
        name="4-merged-notifications",
        script=lambda stage: says(
            (
                bash("sleep 1", run_in_background=True),
                bash("sleep 1; true", run_in_background=True),
            ),
            Reply("they run", hold_before=stage.gate),
            "both have ended",
        )(stage),
        env=BACKGROUND,
        act=open_the_gate_when_two_have_ended,
        wait=wait_for_an_own_turn,
        seen=Seen(
            events="prompt tool_use tool_use result result text end",
            text="they run",
            messages=2,
            unprompted="auto auto text end",
        ),
    ),
    Row(
        name="4-prompt-while-a-subagent-runs",
        script=subagent("it looks", background=True, held=True),
        env=BACKGROUND,
        seen=Seen(
            events="prompt tool_use result text end",
            subagents="cli",
            text="it looks",
            messages=2,
        ),
    ),
    Row(
        name="4-error-while-a-subagent-runs",
        script=subagent(HttpError(529), background=True, held=True),
        env=BACKGROUND,
        seen=failed(
            "BackendError server",
            status=529,
            events="prompt tool_use result error end",
            subagents="cli",
            text="",
            stop="tool_use",
            messages=1,
            asked=NEXT,
        ),
    ),
    Row(
        name="4-interrupt-while-a-subagent-runs",
        script=subagent(Reply("never", hold_before=trio.Event()), background=True, held=True),
        env=BACKGROUND,
        act=interrupt_in_the_background,
        seen=Seen(
            kind="interrupted",
            events="prompt tool_use result interrupt",
            subagents="cli",
            text="",
            stop="tool_use",
            asked=f"{INTERRUPTED}]\n|{NEXT}",
        ),
    ),
    Row(
        name="4-interrupt-without-a-trace-while-a-subagent-runs",
        before=("go and see",),
        before_script=subagent("it looks", background=True, held=True),
        script=held(),
        env=BACKGROUND,
        options={"interrupt_grace": 4},
        act=interrupt_when_it_asks,
        # No record, and no status: nothing tells that it has heard the Esc.
        seen=failed(
            "SessionError not_settled",
            events="prompt",
            next="other",
            asked=f"hello|{NEXT}",
        ),
    ),
    Row(
        name="4-killed-while-a-subagent-runs",
        script=subagent("it looks", background=True, held=True),
        env=BACKGROUND,
        wait=kill_it,
        seen=Seen(
            events="prompt tool_use result text end",
            subagents="cli",
            text="it looks",
            messages=2,
            next="other",
        ),
    ),
    Row(
        name="4-killed-while-a-shell-runs",
        script=says((bash("sleep 1000", run_in_background=True),), "it runs"),
        env=BACKGROUND,
        wait=kill_it,
        seen=Seen(
            events="prompt tool_use result text end", text="it runs", messages=2, next="other"
        ),
    ),
    Row(
        name="4-escape-while-a-subagent-runs",
        script=subagent("it looks", "all seen", background=True, held=True),
        env=BACKGROUND,
        wait=escape_and_let_it_end,
        seen=Seen(
            events="prompt tool_use result text end",
            subagents="cli",
            text="it looks",
            messages=2,
            unprompted="auto text end",
        ),
    ),
    # -- §5: API errors
    Row(
        name="5-400",
        script=always(HttpError(400, message="odd")),
        old=OLD_ERROR,
        seen=failed("BackendError unknown", status=400),
    ),
    Row(
        name="5-400-too-long",
        script=always(HttpError(400, message="prompt is too long: 9 > 8")),
        old=OLD_ERROR,
        seen=failed("BackendError context_overflow", status=400),
    ),
    Row(
        name="5-400-credit",
        script=always(HttpError(400, message="Your credit balance is too low")),
        old=OLD_ERROR,
        seen=failed("BackendError billing", status=400),
    ),
    Row(
        name="5-401",
        script=always(HttpError(401, message="invalid token")),
        old=OLD_ERROR,
        seen=failed("AuthError auth", status=401, next="other", asked=f"hello|{NEXT}"),
    ),
    Row(
        name="5-402",
        script=always(HttpError(402)),
        old=OLD_ERROR,
        seen=failed("BackendError billing", status=402),
    ),
    Row(
        name="5-403",
        script=always(HttpError(403)),
        old=OLD_ERROR,
        seen=failed("AuthError auth", status=403, next="other", asked=f"hello|{NEXT}"),
    ),
    Row(
        name="5-403-revoked",
        script=always(HttpError(403, message="OAuth token has been revoked")),
        env=OAUTH,
        old=OLD_ERROR,
        seen=failed("AuthError auth", status=403, next="other", asked=f"hello|{NEXT}"),
    ),
    Row(
        name="5-403-organization",
        script=always(
            HttpError(
                403,
                message="OAuth authentication is currently not allowed for this organization.",
            )
        ),
        env=OAUTH,
        old=OLD_ERROR,
        seen=failed("AuthError auth", status=403, next="other", asked=f"hello|{NEXT}"),
    ),
    Row(
        name="5-404",
        script=always(HttpError(404)),
        old=OLD_ERROR,
        seen=failed("BackendError model_not_found", status=404),
    ),
    Row(
        name="5-413",
        script=always(HttpError(413)),
        old=OLD_ERROR,
        seen=failed("BackendError request_too_large", status=413),
    ),
    Row(
        name="5-422",
        script=always(HttpError(422, type="invalid_request_error")),
        old=OLD_ERROR,
        seen=failed("BackendError unknown", status=422),
    ),
    Row(
        name="5-429-gateway",
        script=always(HttpError(429)),
        old=OLD_ERROR,
        seen=failed("RateLimitError rate_limit", status=429, limit=(None, False)),
    ),
    Row(
        name="5-429-five-hours",
        script=limited("five_hour", 2),
        env=OAUTH,
        old=OLD_LIMIT,
        seen=failed("RateLimitError rate_limit", status=429, limit=("five_hour", True)),
    ),
    Row(
        name="5-429-seven-days",
        script=limited("seven_day", 70),
        env=OAUTH,
        old=OLD_LIMIT,
        seen=failed("RateLimitError rate_limit", status=429, limit=("seven_day", True)),
    ),
    Row(
        name="5-429-opus",
        script=limited("seven_day_opus", 70),
        env=OAUTH,
        seen=failed("RateLimitError rate_limit", status=429, limit=("seven_day_opus", True)),
        old=OLD_LIMIT,
    ),
    Row(
        name="5-not-logged-in",
        script=says(),
        env={"ANTHROPIC_AUTH_TOKEN": ""},
        old=OLD_ERROR,
        seen=failed("AuthError auth", next="", asked=""),
    ),
    Row(
        name="5-connection-refused",
        script=says(),
        env={"ANTHROPIC_BASE_URL": "http://127.0.0.1:9"},
        old=OLD_ERROR,
        seen=failed("BackendError connection", next="", asked=""),
    ),
    Row(
        name="5-goes-on-after-the-limit",
        script=lambda stage: (limited("five_hour", 2 / 3600)(stage), says("going on")(stage)),
        env=OAUTH,
        options={"settings": {"autoContinueAtUsageLimit": True}},
        wait=wait_for_an_own_turn,
        seen=failed(
            "RateLimitError rate_limit",
            events=f"prompt error informational{OR}prompt informational error",
            status=429,
            limit=("five_hour", True),
            asked=NEXT,
            unprompted="auto text end",
        ),
        old=None,  # it has no such thing
    ),
    Row(
        name="5-prompt-before-it-goes-on",
        script=limited("five_hour", 2),
        env=OAUTH,
        options={"settings": {"autoContinueAtUsageLimit": True}},
        seen=failed(
            "RateLimitError rate_limit",
            events=f"prompt error informational{OR}prompt informational error",
            status=429,
            limit=("five_hour", True),
        ),
        old=None,
    ),
    Row(
        name="5-500",
        script=always(HttpError(500)),
        old=OLD_ERROR,
        seen=failed("BackendError server", status=500),
    ),
    Row(
        name="5-529",
        script=always(HttpError(529)),
        old=OLD_ERROR,
        seen=failed("BackendError server", status=529),
    ),
    Row(
        name="5-retried",
        script=says(HttpError(529), HttpError(500), "at last"),
        env={"CLAUDE_CODE_MAX_RETRIES": "3"},
        seen=Seen(events=COMPLETED, text="at last"),
    ),
    Row(
        name="5-reset-before-the-reply",
        script=always(Reply("x", fault=Cut("request", how="reset"))),
        old=OLD_ERROR,
        seen=failed("BackendError connection"),
    ),
    Row(
        name="5-no-headers",
        script=always(Reply("x", delay=1000.0)),
        env={"API_TIMEOUT_MS": "1500"},
        old=OLD_ERROR,
        seen=failed("BackendError timeout"),
    ),
    Row(
        name="5-cut-after-text",
        script=says(Reply("half of", fault=Cut(1, delay=0.5))),
        seen=failed(
            "BackendError truncated",
            events="prompt text error",
            text="half of",
            stop="end_turn",
            messages=1,
            asked=NEXT,
        ),
        old={"events": "prompt text error end"},
    ),
    Row(
        name="5-error-event-after-text",
        script=says(Reply("half of", fault=ErrorEvent(after=1))),
        seen=failed(
            "BackendError truncated",
            events="prompt text error",
            text="half of",
            stop="end_turn",
            messages=1,
            asked=NEXT,
        ),
        old={"events": "prompt text error end", "stop": None, "request": True},
    ),
    Row(
        name="5-body-ends-early",
        script=says(Reply("half of", fault=Cut(1, how="end", delay=0.5))),
        seen=failed(
            "BackendError truncated",
            events="prompt text error",
            text="half of",
            stop="end_turn",
            messages=1,
            asked=NEXT,
        ),
        old={"events": "prompt text end", "stop": None, "request": True},
    ),
    Row(
        name="5-cut-before-a-block",
        script=says(Reply("lost", fault=Cut(0, delay=0.5)), "whole"),
        env={"CLAUDE_CODE_MAX_RETRIES": "2"},
        seen=Seen(events=COMPLETED, text="whole"),
    ),
    Row(
        name="5-error-event-before-a-block",
        script=says(Reply("lost", fault=ErrorEvent(after=0)), "whole"),
        env={"CLAUDE_CODE_MAX_RETRIES": "2"},
        seen=Seen(events=COMPLETED, text="whole"),
    ),
    Row(
        name="5-reset-before-a-block",
        script=says(Reply("lost", fault=Cut(0, how="reset", delay=0.5)), "whole"),
        env={"CLAUDE_CODE_MAX_RETRIES": "2"},
        seen=Seen(events=COMPLETED, text="whole"),
    ),
    Row(
        name="5-retry-after-too-long",
        script=always(HttpError(429, headers={"retry-after": "120"})),
        env={"CLAUDE_CODE_MAX_RETRIES": "5"},
        old=OLD_ERROR,
        seen=failed("RateLimitError rate_limit", status=429, limit=(None, False)),
    ),
    Row(
        name="5-should-not-retry",
        script=always(HttpError(500, headers={"x-should-retry": "false"})),
        env={"CLAUDE_CODE_MAX_RETRIES": "5"},
        old=OLD_ERROR,
        seen=failed("BackendError server", status=500),
    ),
    Row(
        name="5-cut-in-thinking",
        script=always(Reply(thinking("hm"), "lost", fault=Cut(1, delay=0.5))),
        env={"CLAUDE_CODE_MAX_RETRIES": "1"},
        seen=failed(
            "BackendError connection",
            events="prompt thinking thinking error",
            text="",
            stop="end_turn",
            messages=2,
        ),
        old={"events": "prompt thinking thinking thinking error end", "messages": 3},
    ),
    Row(
        name="5-stalled-stream",
        script=held_in("half of the answer", "and the other half", block=1),
        env={
            "CLAUDE_ENABLE_STREAM_WATCHDOG": "1",
            "CLAUDE_BYTE_STREAM_IDLE_TIMEOUT_MS": "5000",
            "CLAUDE_STREAM_IDLE_TIMEOUT_MS": "5000",
        },
        seen=failed(
            "BackendError timeout",
            events="prompt text error",
            text="half of the answer",
            stop="end_turn",
            messages=1,
            asked=NEXT,
        ),
        old=None,  # it waits for five minutes, and nothing makes that less
    ),
    Row(
        name="5-cut-after-a-tool",
        script=says(Reply(bash("echo a"), fault=Cut(1, delay=0.5)), "and on"),
        seen=Seen(
            events=f"prompt tool_use error result text end{OR}prompt tool_use result error text end",
            text="and on",
            messages=2,
        ),
    ),
    # -- §6: interrupts
    Row(
        name="6-before-the-first-byte",
        script=held(),
        act=interrupt_when_held,
        seen=Seen(kind="interrupted", events="prompt", stop=None, messages=0),
    ),
    Row(
        name="6-several-lines-before-the-first-byte",
        prompt="one\ntwo\nthree\nfour\n" + "and a long line of text " * 40,
        script=held(),
        act=interrupt_when_held,
        seen=Seen(kind="interrupted", events="prompt", stop=None, messages=0),
    ),
    Row(
        name="6-in-thinking",
        script=held_in(thinking("hm, let me think about this for a while"), "x"),
        act=interrupt_when_held,
        seen=Seen(kind="interrupted", events="prompt", stop=None, messages=0),
    ),
    Row(
        name="6-text-behind-thinking",
        script=held_in(thinking("hm"), "here is what I think of it", block=1),
        act=interrupt_when_held,
        seen=Seen(
            kind="interrupted",
            events="prompt thinking text interrupt",
            text="here is what I think",
            stop=None,
            asked=f"{INTERRUPTED}]\n|{NEXT}",
        ),
        old={
            "events": "prompt thinking filler interrupt",
            "stop": "stop_sequence",
            "messages": 2,
        },
    ),
    Row(
        name="6-behind-a-thought",
        script=held_in(thinking("hm"), "", block=1),
        act=interrupt_when_held,
        seen=Seen(kind="interrupted", events="prompt", stop=None, messages=0),
    ),
    Row(
        name="6-with-a-queue",
        script=lambda stage: (held()(stage), says("to the other")(stage)),
        act=interrupt_with_a_queue,
        wait=wait_for_an_own_turn,
        seen=Seen(
            kind="interrupted",
            # Or the mark comes behind the next prompt.
            events=f"prompt interrupt{OR}prompt",
            stop=None,
            messages=0,
            unprompted=f"prompt text end{OR}prompt interrupt text end",
        ),
    ),
    Row(
        name="6-in-a-retry",
        script=always(HttpError(529)),
        env={"CLAUDE_CODE_MAX_RETRIES": "10"},
        act=interrupt_a_retry,
        seen=Seen(kind="interrupted", events="prompt", stop=None, messages=0),
    ),
    Row(
        name="6-streaming-text",
        script=held_in("the heron\nstands in the water\nand waits for the fish"),
        act=interrupt_while_streaming,
        seen=Seen(
            kind="interrupted",
            events="prompt text interrupt",
            asked=f"{INTERRUPTED}]\n|{NEXT}",
            text="the heron\nstands in ",
            stop=None,
        ),
        old={"events": "prompt filler interrupt", "stop": "stop_sequence"},
    ),
    Row(
        name="6-running-a-tool",
        script=says((bash("touch started; sleep 1000"),)),
        act=interrupt_a_tool,
        seen=Seen(
            kind="interrupted",
            events="prompt tool_use failure interrupt",
            asked=f"{INTERRUPTED} for tool use]\n|{NEXT}",
            text="",
            stop="tool_use",
        ),
    ),
    Row(
        name="6-after-a-tool",
        script=held((bash("echo a"),)),
        act=interrupt_when_held,
        seen=Seen(
            kind="interrupted",
            events="prompt tool_use result interrupt",
            asked=f"{INTERRUPTED}]\n|{NEXT}",
            text="",
            stop="tool_use",
        ),
    ),
    Row(
        name="6-in-the-retry-of-thinking-alone",
        script=held((thinking("hm"),)),
        act=interrupt_when_held,
        seen=Seen(
            kind="interrupted",
            events="prompt thinking cli",
            text="",
            asked=NEXT,
        ),
    ),
    Row(
        name="6-in-a-continuation",
        script=held(Reply("one", stop_reason="max_tokens")),
        act=interrupt_when_held,
        seen=Seen(
            kind="interrupted",
            events="prompt text cli interrupt",
            text="one",
            stop="max_tokens",
            asked=f"{INTERRUPTED}]\n|{NEXT}",
        ),
        old={"events": "prompt text interrupt"},
    ),
    Row(
        name="6-at-a-dialog",
        script=says((bash("touch it"),)),
        options={"dangerously_skip_permissions": False, "permission_mode": "default"},
        act=interrupt_at_a_dialog,
        seen=Seen(
            kind="interrupted",
            events="prompt tool_use failure interrupt",
            text="",
            stop="tool_use",
            asked=f"{INTERRUPTED} for tool use]\n|{NEXT}",
        ),
    ),
    # -- §7: dialogs
    Row(
        name="7-a-hook-denies",
        script=says((bash("touch it"),), "not so"),
        options={"dangerously_skip_permissions": False, "permission_mode": "default"},
        settings=hook_saying(
            "PermissionRequest",
            {
                "hookSpecificOutput": {
                    "hookEventName": "PermissionRequest",
                    "decision": {"behavior": "deny", "message": "no"},
                }
            },
        ),
        seen=Seen(
            events=(
                f"prompt tool_use failure text end{OR}prompt tool_use dialog failure text end"
                f"{OR}prompt dialog tool_use failure text end"
            ),
            text="not so",
            messages=2,
        ),
    ),
    Row(
        name="7-permission",
        script=says((bash("touch it"),)),
        options={"dangerously_skip_permissions": False, "permission_mode": "default"},
        seen=Seen(
            kind="failed",
            events=REFUSED,
            asked=f"{INTERRUPTED} for tool use]\n|{NEXT}",
            text="",
            stop="tool_use",
            error="SessionError dialog",
        ),
    ),
    Row(
        name="7-question",
        script=says((QUESTION,)),
        seen=Seen(
            kind="failed",
            events=REFUSED,
            asked=f"{INTERRUPTED} for tool use]\n|{NEXT}",
            text="",
            stop="tool_use",
            error="SessionError dialog",
        ),
    ),
    Row(
        name="7-plan",
        script=says((tool_use("ExitPlanMode", {"plan": "do it"}),)),
        options={"dangerously_skip_permissions": False, "permission_mode": "plan"},
        seen=Seen(
            kind="failed",
            events=REFUSED,
            asked=f"{INTERRUPTED} for tool use]\n|{NEXT}",
            text="",
            stop="tool_use",
            error="SessionError dialog",
        ),
    ),
    Row(
        name="7-permission-given",
        script=says((bash("touch it"),), "done"),
        options={**ASKING, "on_permission": allow},
        seen=Seen(events="prompt tool_use result text end", text="done", messages=2),
    ),
    Row(
        name="7-question-answered",
        script=says((QUESTION,), "so be it"),
        options={**ASKING, "on_question": answer},
        seen=Seen(events="prompt tool_use result text end", text="so be it", messages=2),
    ),
    Row(
        name="7-plan-approved",
        script=says((tool_use("ExitPlanMode", {"plan": "do it"}),), "done"),
        options={**ASKING, "permission_mode": "plan", "on_plan": allow},
        seen=Seen(events="prompt tool_use result text end", text="done", messages=2),
    ),
    Row(
        name="7-a-panel",
        prompt="/cost",
        options={"allow_commands": True},
        script=says(),
        seen=failed("SessionError dialog", events="", next="other", asked=f"/cost|{NEXT}"),
    ),
    # -- §8: prompts from elsewhere
    Row(
        name="8-queued-by-somebody-else",
        script=released("second"),
        act=queue_another,
        wait=wait_for_an_own_turn,
        seen=Seen(events=COMPLETED, text="first", unprompted="prompt text end"),
    ),
    Row(
        name="8-absorbed-in-mid-turn",
        script=says((bash("touch started; while ! test -e go; do sleep 0.1; done"),), "first"),
        act=queue_another_while_it_runs,
        seen=Seen(events="prompt tool_use result prompt text end", text="first", messages=2),
    ),
    Row(
        name="8-several-queued",
        script=released("both"),
        act=queue_two,
        wait=wait_for_an_own_turn,
        seen=Seen(events=COMPLETED, text="first", unprompted="prompt prompt text end"),
    ),
    Row(
        name="8-queued-while-compacting",
        before=("a long story", "and then?", "and then?"),
        prompt="/compact",
        command=True,
        script=lambda stage: (
            stage.api.reply("<summary>it was long</summary>", hold_before=stage.gate),
            says("second")(stage),
        ),
        act=queue_another,
        wait=wait_for_an_own_turn,
        seen=Seen(
            kind="local_command",
            events="compact_boundary cli cli prompt cli",
            stop=None,
            messages=0,
            unprompted="prompt text end",
        ),
    ),
    Row(
        name="8-queued-while-hooks-run",
        script=says("first", "second"),
        settings=hook("Stop", "touch started; while ! test -e go; do sleep 0.1; done"),
        act=queue_another_while_it_runs,
        wait=wait_for_an_own_turn,
        seen=Seen(
            events="prompt text stop_hook_summary end",
            text="first",
            unprompted="prompt text end",
        ),
    ),
    # -- §9: commands, compaction, hooks
    Row(
        name="9-unknown-command",
        prompt="/nosuch thing",
        command=True,
        script=says(),
        seen=Seen(
            kind="rejected",
            events="informational",
            stop=None,
            messages=0,
            error="SessionError rejected",
            next="other",
            asked=f"/nosuch thing|{NEXT}",
        ),
    ),
    Row(
        name="9-custom-command",
        prompt="/mine with this",
        command=True,
        files={".claude/commands/mine.md": "Say $ARGUMENTS."},
        script=says("said"),
        seen=Seen(events="prompt cli text end", text="said"),
    ),
    Row(
        name="9-compact",
        before=("a long story", "and then?", "and then?"),
        prompt="/compact",
        command=True,
        script=says("<summary>it was long</summary>"),
        seen=Seen(
            kind="local_command",
            events="compact_boundary cli cli prompt cli",
            stop=None,
            messages=0,
        ),
    ),
    Row(
        name="9-compact-interrupted",
        before=("a long story", "and then?", "and then?"),
        prompt="/compact",
        command=True,
        script=held(),
        act=interrupt_when_held,
        seen=Seen(kind="interrupted", events="", stop=None, messages=0, unprompted="cli"),
    ),
    Row(
        name="9-compact-fails",
        before=("a long story", "and then?", "and then?"),
        prompt="/compact",
        command=True,
        script=always(HttpError(529)),
        seen=Seen(kind="local_command", events="cli prompt local_command", stop=None, messages=0),
    ),
    Row(
        name="9-compacts-at-the-threshold",
        before=("a long story", "and then?", "and then?"),
        before_tokens=170_000,
        env={"CLAUDE_CODE_AUTO_COMPACT_WINDOW": "200000"},
        # At once, 2.1.197 would let it hang on the turn before.
        script=says("<summary>it was long</summary>", Reply("after it", delay=0.5)),
        seen=Seen(events="prompt compact_boundary cli text end", text="after it"),
        old={
            "events": f"prompt compact_boundary cli text end{OR}compact_boundary cli prompt text end"
        },
    ),
    Row(
        name="9-compacts-between-tools",
        before=("a long story", "and then?", "and then?"),
        script=tokens(
            (bash("echo a"),),
            "<summary>it was long</summary>",
            Reply("after it", delay=0.5),
            first=170_000,
        ),
        env={"CLAUDE_CODE_AUTO_COMPACT_WINDOW": "200000"},
        seen=Seen(
            events="prompt tool_use result compact_boundary cli text end",
            text="after it",
            messages=2,
        ),
    ),
    Row(
        name="9-exit",
        prompt="/exit",
        options={"allow_commands": True},
        script=says(),
        seen=Seen(
            kind="died",
            events="",
            stop=None,
            messages=0,
            error="ProcessError died",
            next="other",
            asked=f"/exit|{NEXT}",
        ),
    ),
    Row(
        name="9-compacts-by-itself",
        before=("a long story", "and then?", "and then?"),
        script=says(
            HttpError(400, message="prompt is too long: 9 tokens > 8 maximum"),
            "<summary>it was long</summary>",
            "after it",
        ),
        seen=Seen(events="prompt compact_boundary cli text end", text="after it"),
        old={
            "events": f"prompt compact_boundary cli text end{OR}prompt compact_boundary text cli end"
        },
    ),
    Row(
        name="9-shell",
        prompt="!echo heron",
        command=True,
        script=says("a heron"),
        seen=Seen(events="prompt cli text end", text="a heron"),
    ),
    Row(
        name="9-looks-like-a-heading",
        prompt="# of cats",
        script=says("two"),
        seen=Seen(events=COMPLETED, text="two"),
    ),
    Row(
        name="9-looks-like-a-path",
        prompt="/usr/bin/x is a file",
        script=says("so it is"),
        seen=Seen(events=f"{COMPLETED}{OR}text end", text="so it is"),
    ),
    Row(
        name="9-clear",
        prompt="/clear",
        command=True,
        script=says(),
        seen=Seen(kind="local_command", events="cli prompt local_command", stop=None, messages=0),
    ),
    Row(
        name="9-hook-blocks-the-prompt",
        script=says(),
        settings=hook_saying("UserPromptSubmit", {"decision": "block", "reason": "not that"}),
        seen=Seen(
            kind="rejected",
            events="informational",
            stop=None,
            messages=0,
            error="SessionError rejected",
            next="other",
            asked=f"hello|{NEXT}",
        ),
    ),
    Row(
        name="9-hook-stops-the-prompt",
        script=says(),
        settings=once("UserPromptSubmit", {"continue": False, "stopReason": "no"}),
        seen=Seen(
            kind="stopped_by_hook",
            events="prompt cli informational",
            stop=None,
            messages=0,
            asked=f"hello\n|{NEXT}",
        ),
        old={"asked": f"hello\n|Operation stopped by hook: no\n|{NEXT}"},
    ),
    Row(
        name="9-stop-hook-blocks-once",
        script=says("one", "two"),
        settings=once("Stop", {"decision": "block", "reason": "go on"}),
        seen=Seen(
            events="prompt text cli stop_hook_summary text stop_hook_summary end",
            text="two",
            messages=2,
        ),
    ),
    Row(
        name="9-stop-hook-ends-with-2",
        script=says("one", "two"),
        settings=hook("Stop", "test -e $HOME/once || { touch $HOME/once; echo no >&2; exit 2; }"),
        seen=Seen(
            events="prompt text cli stop_hook_summary text stop_hook_summary end",
            text="two",
            messages=2,
        ),
    ),
    Row(
        name="9-stop-hook-blocks-for-ever",
        script=always("on and on"),
        settings=blocking(9),
        seen=Seen(
            events=f"prompt {'text cli stop_hook_summary ' * 9}informational end",
            text="on and on",
            messages=9,
        ),
        old={"asked": f"Stop hook feedback:\ngo on\n|{NEXT}"},
    ),
    Row(
        name="9-stop-hook-stops",
        script=says("hi"),
        settings=hook_saying("Stop", {"continue": False, "stopReason": "enough"}),
        seen=Seen(events="prompt text stop_hook_summary end", text="hi"),
    ),
    Row(
        name="9-failing-hook",
        script=says("hi"),
        settings=hook("Stop", "exit 1"),
        seen=Seen(events="prompt text stop_hook_summary end", text="hi"),
    ),
    Row(
        name="9-hook-ends-the-turn-after-a-tool",
        script=says((bash("echo a"),)),
        settings=hook_saying("PreToolUse", {"continue": False, "stopReason": "enough"}, "Bash"),
        seen=Seen(events="prompt tool_use result end", text="", stop="tool_use"),
    ),
)
