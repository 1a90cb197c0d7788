"""Places, and conversations that are named, on the real CLI."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
import trio
import trio.testing
from asking import Options

from claude_trio import (
    BackendOptions,
    PtyClaudeProcess,
    SessionError,
    Turn,
    open_backend,
    open_pty_process,
)
from claude_trio._lock import _NAME
from claude_trio._protocol.status import parse_status
from claude_trio.testing import LoopbackApi, RecordedRequest, Reply, World

pytestmark = pytest.mark.real_cli

OWNER: Final = Path(__file__).with_name("killed_owner.py")
MODEL: Final = "claude-sonnet-4-5"
ID: Final = "00000000-0000-4000-8000-000000000002"


@pytest.fixture
def options(world: World, api: LoopbackApi, real_cli: Path) -> Options:
    env = world.env(api.base_url)
    return partial(BackendOptions, cwd=world.cwd, cli_path=real_cli, env=env, startup_timeout=120)


def conversation(request: RecordedRequest) -> list[str]:
    """Return what the user and the model have said in a request, without the CLI's own words."""
    said = []
    for message in request.messages:
        content = message["content"]
        if message["role"] == "system":
            continue
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        texts = [block["text"] for block in blocks if block["type"] == "text"]
        own = [text.strip() for text in texts if not text.startswith("<system-reminder>")]
        said += [text for text in own if text]
    return said


def digest(said: list[str]) -> str:
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()


def user(content: object) -> list[dict[str, Any]]:
    return [{"role": "user", "content": content}]


async def answer(turn: Turn) -> str:
    with trio.fail_after(240):
        return await turn.get_final_text()


async def test_fifty_calls_at_once_on_eight_processes_each_get_their_own_reply(
    options: Options, api: LoopbackApi
) -> None:
    """The model answers with a digest of the whole conversation, so no other one would do.

    So each reply is known beforehand, and any of the conversations can be gone on with at once:
    in the process that is having it, if one is, and elsewhere.
    """
    api.default = lambda request: Reply(digest(conversation(request)))
    chance = random.Random(6)
    histories: list[list[str]] = [[] for _ in range(8)]
    writers: dict[Path, set[int | None]] = {}
    ways: list[bool] = []

    async with open_backend(options(max_sessions=8)) as backend:

        async def call(said: list[str]) -> None:
            roles = ("user", "assistant")
            messages = [{"role": roles[i % 2], "content": text} for i, text in enumerate(said)]
            turn = backend.complete(messages)
            with trio.fail_after(600):
                assert digest(said) == await turn.get_final_text()
            assert turn.session is not None
            assert turn.result is not None
            writers.setdefault(turn.session.transcript, set()).add(turn.session.pid)
            ways.append(turn.result.resumed)
            assert len(backend.sessions) <= 8

        async with trio.open_nursery() as nursery:
            for number in range(50):
                said = [*chance.choice(histories), f"call {number}"]
                histories.append([*said, digest(said)])
                nursery.start_soon(call, said)
            await trio.testing.wait_all_tasks_blocked()
            assert 42 == backend._fleet.pool.waiting
    assert [1] * len(writers) == [len(pids) for pids in writers.values()]
    assert (50, {True, False}) == (len(ways), set(ways))


async def test_a_conversation_whose_process_made_room_goes_on_and_says_so(
    options: Options, api: LoopbackApi
) -> None:
    async with open_backend(options(max_sessions=1, model=MODEL)) as backend:
        resumed = []
        for messages in (
            [*user("one")],
            [*user("other")],
            [*user("one"), {"role": "assistant", "content": "ok"}, *user("two")],
        ):
            turn = backend.complete(messages)
            await answer(turn)
            assert turn.result is not None
            resumed.append(turn.result.resumed)
            assert 1 == len(backend.sessions)
        assert [False, False, True] == resumed
        assert ["one", "ok", "two"] == conversation(api.conversations[-1])


async def test_a_session_of_a_claude_run_by_hand_goes_on(
    options: Options, api: LoopbackApi, world: World, real_cli: Path
) -> None:
    """Copied while that one is in it; refused until it has ended; then continued where it stands."""
    api.reply("Hello, human.")
    argv = [str(real_cli), "--session-id", ID, "--model", MODEL]

    with trio.fail_after(240):
        async with open_pty_process(argv, cwd=world.cwd, env=world.env(api.base_url)) as by_hand:
            await type_into(by_hand, world, "hello")
            (transcript,) = await until_ended(world)
            await until_idle(by_hand, world)
            async with open_backend(options(model=MODEL)) as backend:
                with pytest.raises(SessionError, match=f"process {by_hand.pid}") as caught:
                    await answer(backend.complete(user("and?"), session_id=ID))
                assert "in_use" == caught.value.kind
                before = transcript.read_bytes()
                copy = backend.complete(user("in a copy?"), session_id=ID, fork=True)
                await answer(copy)
                asked = ["hello", "Hello, human.", "in a copy?"]
                assert asked == conversation(api.conversations[-1])
                assert copy.session is not None
                assert copy.session.transcript != transcript
                assert before == transcript.read_bytes()
    api.default = lambda request: Reply(digest(conversation(request)))
    async with open_backend(options(model=MODEL)) as backend:
        image = {"type": "base64", "media_type": "image/png", "data": PIXEL}
        prompt = [{"type": "image", "source": image}, {"type": "text", "text": "/and this?"}]
        first = backend.complete(user(prompt), session_id=ID)
        reply = await answer(first)
        asked = ["hello", "Hello, human.", "/and this?"]
        assert asked == conversation(api.conversations[-1])
        assert "image" in [block["type"] for block in api.conversations[-1].messages[-1]["content"]]
        second = backend.complete(user("again"), session_id=ID)
        await answer(second)
        assert [*asked, reply, "again"] == conversation(api.conversations[-1])
        assert first.session is not None
        assert second.session is not None
        assert first.result is not None
        assert second.result is not None
        assert (ID, transcript, first.session.pid) == (
            *(second.session.session_id, second.session.transcript),
            second.session.pid,
        )
        assert (True, False) == (first.result.resumed, second.result.resumed)
    assert transcript.read_bytes().startswith(before)
    assert "No response requested" not in json.dumps([r.body for r in api.requests])


async def type_into(by_hand: PtyClaudeProcess, world: World, words: str) -> None:
    """Type a prompt into a CLI, as its user does; return when Enter is pressed."""
    await until_idle(by_hand, world)
    await by_hand.write(b"\x1b[200~" + words.encode() + b"\x1b[201~")
    await trio.sleep(0.5)
    await by_hand.write(b"\r")


async def until_idle(by_hand: PtyClaudeProcess, world: World) -> None:
    status = world.config_dir / "sessions" / f"{by_hand.pid}.json"
    while not is_idle(status):
        await trio.sleep(0.05)
    await trio.sleep(0.3)  # 2.1.197 takes no Enter before


def is_idle(status: Path) -> bool:
    read = parse_status(status.read_bytes()) if status.exists() else None
    return read is not None and read.at_rest


async def until_ended(world: World) -> list[Path]:
    while True:
        found = [*world.config_dir.glob(f"projects/*/{ID}.jsonl")]
        if found and b'"turn_duration"' in found[0].read_bytes():
            return found
        await trio.sleep(0.05)


PIXEL: Final = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


async def test_the_owner_is_killed_in_a_turn_and_another_program_asks_again(
    options: Options, api: LoopbackApi, world: World, real_cli: Path
) -> None:
    """The prompt that was never answered is asked as it stands, and once."""
    gate = trio.Event()
    api.reply("never", hold_before=gate)
    owner = await trio.lowlevel.open_process(
        [sys.executable, str(OWNER), str(real_cli), str(world.cwd)],
        stdout=subprocess.PIPE,
        env={**os.environ, **world.env(api.base_url)},
    )
    assert owner.stdout is not None
    with trio.fail_after(240):
        await owner.stdout.receive_some()
        await api.wait_until_held(gate)
        owner.kill()
        await owner.wait()
        await owner.stdout.aclose()
        (transcript,) = world.config_dir.glob("projects/*/*.jsonl")
        api.reply("here I am")
        async with open_backend(options()) as backend:
            turn = backend.complete(user("wait"), session_id=transcript.stem)
            assert "here I am" == await answer(turn)
            assert turn.session is not None
            assert transcript == turn.session.transcript
    assert ["wait"] == conversation(api.conversations[-1])
    assert [] == [*world.config_dir.glob(f"{_NAME}/*")]


async def test_a_prompt_that_was_cancelled_before_the_cli_was_ready_was_never_said(
    options: Options, api: LoopbackApi, world: World, real_cli: Path
) -> None:
    """Neither to this package afterwards, nor to whoever takes up the session by hand."""
    async with open_backend(options(model=MODEL)) as backend:
        turn = backend.complete(user("one"))
        await answer(turn)
        assert turn.session is not None
        name, transcript = turn.session.session_id, turn.session.transcript
        for by_hand in (False, True):
            await backend.close_session(name)
            before = transcript.read_bytes()
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(answer, backend.complete(user("no"), session_id=name))
                    with trio.fail_after(240):
                        while not any(session.pid for session in backend.sessions):
                            await trio.sleep(0.01)
                    scope.cancel()
            assert () == backend.sessions
            assert transcript.read_bytes().startswith(before)
            if not by_hand:
                await answer(backend.complete(user("two"), session_id=name))
                continue
            argv = [str(real_cli), "--resume", name, "--model", MODEL]
            async with open_pty_process(argv, cwd=world.cwd, env=world.env(api.base_url)) as hand:
                with trio.fail_after(240):
                    await type_into(hand, world, "two")
                    while "two" not in conversation(api.conversations[-1])[3:]:
                        await trio.sleep(0.05)
        assert ["one", "ok", "two", "ok", "two"] == conversation(api.conversations[-1])


async def test_a_system_prompt_of_the_options_holds_for_a_session_that_began_without_it(
    options: Options, api: LoopbackApi
) -> None:
    async with open_backend(options(model=MODEL)) as backend:
        turn = backend.complete(user("one"))
        await answer(turn)
        assert turn.session is not None
        name = turn.session.session_id
    own = options(model=MODEL, system_prompt="You are a heron.")
    async with open_backend(own) as backend:
        for fork in (True, False):
            await answer(backend.complete(user("two"), session_id=name, fork=fork))
            assert "You are a heron." in json.dumps(api.conversations[-1].body["system"])
            assert ["one", "ok", "two"] == conversation(api.conversations[-1])
