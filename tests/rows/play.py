"""Plays one row on a real CLI: two turns, the row's own and one behind it, and what came of them."""

from __future__ import annotations

import contextlib
import json
import shlex
from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias, assert_never

import attrs
import trio

from claude_trio import (
    AssistantMessage,
    BackendError,
    BackendOptions,
    ClaudeCodeBackend,
    Event,
    RateLimitError,
    ResultMessage,
    SystemMessage,
    TextDelta,
    ToolResultBlock,
    Turn,
    UserMessage,
    open_backend,
)
from claude_trio._protocol import keys
from claude_trio._protocol.messages import Said
from claude_trio._protocol.outcome import Outcome
from claude_trio._session import Session
from claude_trio.testing import LoopbackApi, RecordedRequest, World

PATIENCE: Final = 90.0  # seconds for one turn on a busy machine
WAITING: Final = 240.0  # seconds for what comes later by itself: a wake-up comes at a full minute
NEXT: Final = "and the next?"
#: How the CLI begins what it adds to a user's message.
NOT_OURS: Final = (
    *("<system-reminder>", "<command-name>", "<local-command-"),
    "This session is being continued from a previous conversation",
)
#: Between two ways that both occur.
OR: Final = " or "
NEXT_REPLY: Final = "the answer to the next"


@attrs.frozen(kw_only=True)
class Seen:
    """What a row comes to, as seen or as expected.

    What comes now in one way and now in another is expected with `OR` in between.

    Args:
        kind: The `Outcome.kind`.
        events: The turn's events, each as a short text; see `shape`.
        subagents: Those of its subagents, which stand in files of their own.
        text: The result's text.
        stop: Its stop reason.
        messages: Its number of API messages.
        error: The class of the error, and its kind; empty where there is none.
        status: The error's HTTP status.
        request: Whether the error names the request that failed.
        limit: The error's type of limit, and whether it says when that is lifted.
        next: ``same`` if the next turn ran in the same process, ``other`` if in a new one; empty if
            there was none.
        asked: The user's own words in the last message of the next turn's request.
        unprompted: What belongs to neither turn, notices left out: the turns that the CLI started by
            itself. Anything else in it was left out of a turn that was closed too early.
    """

    kind: str = "completed"
    events: str
    subagents: str = ""
    text: str | None = None
    stop: str | None = "end_turn"
    messages: int = 1
    error: str = ""
    status: int | None = None
    request: bool = False
    limit: tuple[str | None, bool] | None = None
    next: str = "same"
    asked: str = NEXT
    unprompted: str = ""


@attrs.define
class Stage:
    """Where a row is played."""

    api: LoopbackApi
    world: World
    gate: trio.Event = attrs.field(factory=trio.Event)
    events: list[Event] = attrs.field(factory=list)
    moved: trio.Event = attrs.field(factory=trio.Event)
    backend: ClaudeCodeBackend | None = None
    turn: Turn | None = None

    @property
    def session(self) -> Session:
        assert self.backend is not None
        # One that was ended is the backend's no more.
        own = self.turn._session if self.turn is not None else None
        return own or self.backend._sessions[0]

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until something is so, looking after every event."""
        while not condition():
            moved = self.moved = trio.Event()
            with trio.move_on_after(0.05):
                await moved.wait()

    async def until_event(self, wanted: str) -> None:
        await self.until(lambda: wanted in [shape(event) for event in self.events])

    async def until_status(self, *states: str) -> None:
        def sessions() -> list[Session]:
            return self.backend._sessions if self.backend is not None else []

        await self.until(lambda: any(s._files.status.state in states for s in sessions()))

    async def interrupt(self) -> None:
        assert self.turn is not None
        await self.turn.interrupt()


Act: TypeAlias = Callable[[Stage], Awaitable[None]]
Script: TypeAlias = Callable[[Stage], object]


@attrs.frozen(kw_only=True)
class Row:
    """One way in which a turn goes.

    Args:
        name: The section of the observations, and what happens.
        script: Queues what the model says.
        seen: What it is to come to.
        old: Where 2.1.197 differs; None if it cannot do this at all.
        prompt: What is asked.
        act: What happens while the turn is read.
        options: For `BackendOptions`.
        env: More environment.
        settings: The user's settings file.
        files: Files in the working directory, by name.
        flags: More flags of the CLI.
        wake_ups: The CLI keeps the tool that it is not given otherwise.
        before: The prompts of turns that come first.
        before_tokens: What the API says that the last of them has taken.
        before_script: Queues what the model says in each of them.
        command: The prompt is a command of the CLI on purpose.
        wait: Waits, after the turn, for what the CLI does by itself.
    """

    name: str
    script: Script
    seen: Seen
    old: Mapping[str, Any] | None = attrs.field(factory=dict)
    prompt: str = "hello"
    act: Act | None = None
    options: Mapping[str, Any] = attrs.field(factory=dict)
    env: Mapping[str, str] = attrs.field(factory=dict)
    settings: Mapping[str, Any] = attrs.field(factory=dict)
    files: Mapping[str, str] = attrs.field(factory=dict)
    flags: tuple[str, ...] = ()
    wake_ups: bool = False
    before: tuple[str, ...] = ()
    before_tokens: int = 10
    before_script: Script | None = None
    command: bool = False
    wait: Act | None = None

    def expected(self, *, old: bool) -> Seen:
        assert not old or self.old is not None
        return attrs.evolve(self.seen, **(self.old or {})) if old else self.seen


def shape(event: Event) -> str:
    """Return an event as a short text."""
    match event:
        case AssistantMessage():
            kinds = "+".join(str(block.to_dict()["type"]) for block in event.content)
            word = "error" if event.error else "filler" if event.model == "<synthetic>" else kinds
        case UserMessage(origin="tool"):
            failed = any(isinstance(b, ToolResultBlock) and b.is_error for b in event.content)
            word = "failure" if failed else "result"
        case UserMessage():
            word = event.origin
        case SystemMessage():
            word = {"turn_duration": "end"}.get(event.subtype, event.subtype)
        case ResultMessage():
            word = "the end"
        case TextDelta():
            word = "delta"
        case _:
            assert_never(event)
    return word


def shapes(events: Iterable[Event], *, of_subagents: bool = False) -> str:
    """Return events as a short text; results are left out, as they are compared field by field."""
    return " ".join(
        shape(event)
        for event in events
        if not isinstance(event, ResultMessage)
        and of_subagents == (event.parent_tool_use_id is not None)
    )


def own_words(message: Mapping[str, Any]) -> str:
    """Return what the user said in a message of a request, without what the CLI adds."""
    content = message["content"]
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    words = [block["text"] for block in blocks if block["type"] == "text"]
    return "|".join(word for word in words if not word.lstrip().startswith(NOT_OURS))


def last_words(request: RecordedRequest) -> str:
    users = [message for message in request.messages if message["role"] == "user"]
    return own_words(users[-1])


@contextlib.contextmanager
def typing_commands() -> Generator[None, None, None]:
    """Let commands be typed, which a prompt is not otherwise."""
    kept = keys.way_of

    def way_of(text: str, **how: bool) -> keys.Way:
        return "paste" if text.startswith(("/", "!")) else kept(text, **how)

    keys.way_of = way_of
    try:
        yield
    finally:
        keys.way_of = kept


def options_for(row: Row, cli: Path, api: LoopbackApi, world: World) -> BackendOptions:
    for name, text in row.files.items():
        path = world.cwd / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    if row.settings:
        (world.config_dir / "settings.json").write_text(json.dumps(row.settings))
    if row.flags or row.wake_ups:
        given = '"${@/#ScheduleWakeup/NoSuchTool}"' if row.wake_ups else '"$@"'
        wrapper = world.root / "claude"
        wrapper.write_text(
            f"#!/bin/bash\nexec {shlex.join([str(cli)])} {given} {shlex.join(row.flags)}\n"
        )
        wrapper.chmod(0o755)
        cli = wrapper
    env = world.env(api.base_url) | {
        name: value.replace("$WORLD", str(world.root)) for name, value in row.env.items()
    }
    how: dict[str, Any] = {"dangerously_skip_permissions": True, **row.options}
    return BackendOptions(cwd=world.cwd, cli_path=cli, env=env, **how)


async def play(row: Row, cli: Path, api: LoopbackApi, world: World) -> Seen:
    """Play a row; return what was seen."""
    stage = Stage(api, world)
    with contextlib.ExitStack() as stack:
        if row.command:
            stack.enter_context(typing_commands())
        async with open_backend(options_for(row, cli, api, world)) as backend:
            stage.backend = backend
            history: list[dict[str, Any]] = []
            for number, prompt in enumerate(row.before, 1):
                if row.before_script is not None:
                    row.before_script(stage)
                else:
                    tokens = row.before_tokens if number == len(row.before) else 10
                    stage.api.reply("told " * 100, usage={"input_tokens": tokens})
                history += await _turn_before(prompt, stage, history)
            row.script(stage)
            await _first_turn(row, stage, history)
            session = stage.session
            outcome = session.turns.outcome
            assert outcome is not None
            if row.wait is not None:
                with trio.fail_after(WAITING):
                    await row.wait(stage)
            history = [_message(said) for e in session.exchanges for said in _saids(e)]
            # Some conditions cannot be taken away again.
            asked, next_ = await _next_turn(stage, history) if row.seen.next else ("", "")
    return summary(outcome, stage.events, session.turns.unprompted, next_=next_, asked=asked)


def summary(
    outcome: Outcome,
    events: Iterable[Event],
    unprompted: Iterable[Event],
    *,
    next_: str,
    asked: str,
) -> Seen:
    """Return what a turn came to."""
    events, error, result = [*events], outcome.error, outcome.result
    limit = None
    if isinstance(error, RateLimitError):
        limit = (error.limit_type, error.resets_at is not None)
    turns = [e for e in unprompted if not isinstance(e, SystemMessage) or shape(e) == "end"]
    return Seen(
        kind=outcome.kind,
        events=shapes(events),
        subagents=shapes(events, of_subagents=True),
        text=result.result,
        stop=result.stop_reason,
        messages=result.num_turns,
        error=f"{type(error).__name__} {error.kind}" if error is not None else "",
        status=error.status if error is not None else None,
        request=error is not None and error.request_id is not None,
        limit=limit,
        next=next_,
        asked=asked,
        unprompted=shapes(turns),
    )


async def version_of(cli: Path, env: Mapping[str, str]) -> str:
    """Return the version that a CLI says it has."""
    done = await trio.run_process([cli, "--version"], capture_stdout=True, env=env)
    return done.stdout.decode().split()[0]


def is_old(version: str) -> bool:
    """Whether a CLI is of the older of the two generations that are known."""
    return tuple(int(n) for n in version.split(".")) < (2, 1, 300)


async def _turn_before(
    prompt: str, stage: Stage, history: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    assert stage.backend is not None
    messages = [{"role": "user", "content": prompt}]
    with trio.fail_after(PATIENCE):
        reply = await stage.backend.complete([*history, *messages]).get_final_text()
    return [*messages, {"role": "assistant", "content": reply}]


async def _first_turn(row: Row, stage: Stage, history: list[dict[str, Any]]) -> None:
    assert stage.backend is not None
    messages = [*history, {"role": "user", "content": row.prompt}]
    turn = stage.turn = stage.backend.complete(messages)
    error: BackendError | None = None
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            if row.act is not None:
                nursery.start_soon(row.act, stage)
            try:
                async for event in turn:
                    stage.events.append(event)
                    stage.moved.set()
            except BackendError as exc:
                error = exc
            nursery.cancel_scope.cancel()
    if error is not None:
        assert error.partial == tuple(stage.events), (error.partial, stage.events)
        assert error.session_id is not None
        assert {error.session_id} >= {event.session_id for event in stage.events[:1]}
        assert error.result is turn.result


async def _next_turn(stage: Stage, history: list[dict[str, Any]]) -> tuple[str, str]:
    assert stage.backend is not None
    assert stage.turn is not None
    stage.api._queue.clear()
    stage.api.reply(NEXT_REPLY)
    before = len(stage.api.conversations)
    following = stage.backend.complete([*history, {"role": "user", "content": NEXT}])
    with trio.fail_after(PATIENCE):
        text = await following.get_final_text()
    assert text == NEXT_REPLY, text
    assert stage.turn.session is not None
    assert following.session is not None
    same = stage.turn.session.pid == following.session.pid
    (request,) = [r for r in stage.api.conversations[before:] if NEXT in last_words(r)]
    return last_words(request), "same" if same else "other"


def _saids(exchange: Any) -> list[Said]:
    """Return an exchange as a client would give it back: without a message of thinking alone."""
    reply = [said for said in exchange.reply if any(b["type"] != "thinking" for b in said.blocks)]
    return [Said("user", exchange.prompt), *reply]


def _message(said: Said) -> dict[str, Any]:
    return {"role": said.role, "content": [dict(block) for block in said.blocks]}


def differences(expected: Seen, seen: Seen) -> str:
    """Return the fields in which two differ, a line for each."""
    return "\n".join(
        f"{name}: expected {want!r}, got {got!r}"
        for name, want in attrs.asdict(expected).items()
        if (got := getattr(seen, name)) not in (want.split(OR) if isinstance(want, str) else [want])
    )
