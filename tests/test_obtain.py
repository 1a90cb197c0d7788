"""Who gets which session, and cancelled at each step: a fleet whose sessions are no processes."""

from __future__ import annotations

import types
import uuid
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, cast

import attrs
import pytest
import trio
import trio.testing

from claude_trio import BackendOptions
from claude_trio._fleet import Call, Fleet
from claude_trio._opening import Past
from claude_trio._protocol.history import Conversation, Exchange, fingerprint, parse_messages
from claude_trio._session import Session
from claude_trio._ways import Ways
from claude_trio.testing import cancel_everywhere

ID: Final = "00000000-0000-4000-8000-000000000003"
OPTIONS: Final = BackendOptions(cwd="/", max_sessions=1)
OPUS: Final = attrs.evolve(OPTIONS, model="opus")
NEW: Final = parse_messages([{"role": "user", "content": "new"}])
NEXT: Final = parse_messages(
    [
        {"role": "user", "content": "old"},
        {"role": "assistant", "content": "reply"},
        {"role": "user", "content": "new"},
    ]
)


@attrs.define(eq=False)
class Stub:
    """What a fleet knows of a session; it ends a moment after it was stopped."""

    options: BackendOptions
    on_idle: Callable[[Session], None]
    on_end: Callable[[Session], None]
    session_id: str = attrs.field(factory=lambda: str(uuid.uuid4()))
    exchanges: tuple[Exchange, ...] = ()
    idle_since: float | None = None
    turn_count: int = 0
    inbox: None = None
    begun_by: str | None = None
    stopped: trio.Event = attrs.field(factory=trio.Event)
    ended: trio.Event = attrs.field(factory=trio.Event)

    @property
    def names(self) -> frozenset[str]:
        return frozenset({self.session_id, fingerprint(self.exchanges)})

    @property
    def alive(self) -> bool:
        return self.turn_count > 0 and not self.ending

    @property
    def ending(self) -> bool:
        return self.stopped.is_set()

    @property
    def has_ended(self) -> bool:
        return self.ended.is_set()

    @property
    def info(self) -> types.SimpleNamespace:
        return types.SimpleNamespace(transcript=Path(__file__))

    def begin(self, conversation: Conversation | None, *, written: bool = False) -> None:
        self.begun_by = f"begin, written={written}"
        self.exchanges = conversation.exchanges if conversation is not None else ()

    def go_on_after(self, other: Stub) -> None:
        self.begun_by = "go_on_after"
        self.session_id, self.exchanges = other.session_id, other.exchanges

    def go_on_from(self, past: Past, _: Conversation) -> None:
        self.begun_by = "go_on_from"
        if not past.fork:
            self.session_id = past.session_id

    def rest(self, _: float = 0) -> None:
        self.idle_since = trio.current_time()

    def takes(self, _: Conversation) -> bool:
        return True

    def claim(self) -> bool:
        self.idle_since = None
        return self.alive

    def stop(self) -> None:
        self.stopped.set()

    async def end(self) -> None:
        self.stop()
        with trio.CancelScope(shield=True):
            await self.ended.wait()

    async def wait(self) -> None:
        await self.ended.wait()

    async def run(self) -> None:
        self.turn_count = 1
        await self.stopped.wait()
        for _ in range(3):
            await trio.lowlevel.checkpoint()
        self.on_end(cast("Session", self))
        self.ended.set()


@attrs.define(eq=False)
class Scene:
    """A fleet, and the nursery of its sessions."""

    fleet: Fleet
    nursery: trio.Nursery

    def launch(self, session: Session) -> Stub:
        stub = cast("Stub", session)
        self.nursery.start_soon(stub.run)
        return stub

    async def have(self, call: Call, *, idle: bool = True) -> Stub:
        """Have a session that has taken a turn of this call."""
        session, live = await self.fleet.obtain(call)
        assert not live
        stub = self.launch(session)
        await trio.testing.wait_all_tasks_blocked()
        if idle:
            stub.on_idle(session)
        return stub


@asynccontextmanager
async def a_scene(options: BackendOptions, config: Path) -> AsyncGenerator[Scene, None]:
    def make(chosen: BackendOptions, **told: Any) -> Session:
        return cast("Session", Stub(chosen, **told))

    async with trio.open_nursery() as nursery:
        fleet = Fleet(options, make, config, Ways(options))
        yield Scene(fleet, nursery)
        nursery.cancel_scope.cancel()


def call(conversation: Conversation = NEW, **how: Any) -> Call:
    return Call(**{"options": OPTIONS, "conversation": conversation, **how})


NAMED: Final = Past(ID)
#: What is there before, whether it is idle; what is asked for; how the session is got.
CASES: Final[dict[str, tuple[Call | None, bool, Call, str]]] = {
    "a free place": (None, True, call(), "begin, written=False"),
    "that of an idle one": (call(), True, call(NEXT), "begin, written=False"),
    "that of a busy one": (call(), False, call(NEXT), "begin, written=False"),
    "the idle one": (call(NEXT), True, call(NEXT), "live"),
    "the busy one": (call(NEXT), False, call(NEXT), "live"),
    "its transcript": (call(NEXT), True, call(NEXT, options=OPUS), "go_on_after"),
    "what is given": (call(NEXT), True, call(NEXT, options=OPUS, written=True), "begin, written=True"),
    "a name": (None, True, call(past=NAMED), "go_on_from"),
    "a copy": (call(past=NAMED), True, call(past=Past(ID, fork=True)), "go_on_from"),
    "a name that is idle": (call(past=NAMED), True, call(past=NAMED), "live"),
    "a name, otherwise": (call(past=NAMED), True, call(past=NAMED, options=OPUS), "go_on_from"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
async def test_a_call_gets_its_session_and_given_up_at_any_step_it_takes_nothing(
    case: str, tmp_path: Path
) -> None:
    before, idle, wanted, expected = CASES[case]
    scenes: list[Scene] = []
    got: list[str] = []

    async def one(task_status: trio.TaskStatus[Scene]) -> None:
        async with a_scene(OPTIONS, tmp_path) as scene:
            there = await scene.have(before, idle=idle) if before is not None else None
            task_status.started(scene)
            if there is not None and not idle:
                with trio.fail_after(60):
                    while not scene.fleet.pool.waiting:
                        await trio.lowlevel.checkpoint()
                there.on_idle(cast("Session", there))
            await trio.sleep_forever()

    async with trio.open_nursery() as outer:

        async def body() -> None:
            scene = scenes[-1]
            session, live = await scene.fleet.obtain(wanted)
            stub = cast("Stub", session) if live else scene.launch(session)
            got.append("live" if live else str(stub.begun_by))
            assert wanted.options == stub.options
            stub.on_idle(session)

        async def check() -> None:
            """Whoever comes next gets a place: nothing is lost, and nobody is left in the line."""
            await trio.testing.wait_all_tasks_blocked()
            scene = scenes.pop()
            pool = scene.fleet.pool
            assert (0, len(scene.fleet.sessions)) == (pool.waiting, pool.places)
            with trio.fail_after(60):
                other = await scene.have(call(past=Past(ID, fork=True)))
            assert [other] == cast("list[Any]", scene.fleet.sessions)
            scene.nursery.cancel_scope.cancel()
            scenes.append(await outer.start(one))

        scenes.append(await outer.start(one))
        assert await cancel_everywhere(body, check) >= 1
        outer.cancel_scope.cancel()
    assert {expected} == set(got)  # a run that is cancelled in its last step gets it too
