"""What a backend remembers of its conversations, and a history that is told again: the stand-in."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import trio
from asking import NOWHERE, assistant, user
from hypothesis import given as given_by
from hypothesis import strategies as st
from transcripts import Script, to_line

from claude_trio import (
    AssistantMessage,
    BackendOptions,
    StartupError,
    SystemMessage,
    TextBlock,
    ThinkingBlock,
    open_backend,
)
from claude_trio._archive import Archive
from claude_trio._cold import Cold
from claude_trio._protocol.history import Exchange, extended, parse_messages
from claude_trio._protocol.preamble import preamble_of
from claude_trio.testing import Answer, FakeCLI, Hang, World, Write, cancel_everywhere

LOST = {"type": "assistant", "parentUuid": None, "message": {"content": [], "model": "m"}}


OPTIONS = BackendOptions(cwd="/", model="m")
OTHER = BackendOptions(cwd="/", model="n")
HISTORY = [user("a"), assistant("b"), user("c")]


def exchanges(*words: str) -> tuple[Exchange, ...]:
    messages = [user(w) if i % 2 == 0 else assistant(w) for i, w in enumerate(words)]
    return parse_messages([*messages, user("next")]).exchanges


def transcript(path: Path, *names: str) -> Path:
    path.write_text("".join(json.dumps({"uuid": name}) + "\n" for name in names))
    return path


def answer(name: str) -> Sequence[AssistantMessage]:
    return [AssistantMessage(uuid=name, content=(TextBlock("x"),))]


def test_the_longest_beginning_in_common_is_found(tmp_path: Path) -> None:
    archive, path = Archive(), transcript(tmp_path / "s.jsonl", "q1", "r1", "q2", "r2", "end")
    archive.remember(path, exchanges("a", "b"), answer("r1"), OPTIONS, fresh=True)
    archive.remember(path, exchanges("a", "b", "c", "d"), answer("r2"), OPTIONS, fresh=True)
    for given, leaf, lines in (
        (("a", "b"), "r1", 2),
        (("a", "b", "c", "d"), "r2", 4),
        (("a", "b", "c", "d", "e", "f"), "r2", 4),
        (("a", "b", "c", "other"), "r1", 2),
    ):
        prefix = archive.longest_prefix(exchanges(*given), OPTIONS)
        assert prefix is not None
        assert (leaf, lines, lines // 2) == (
            prefix.leaf,
            len(prefix.data.splitlines()),
            prefix.length,
        )
    assert archive.longest_prefix(exchanges("other", "b"), OPTIONS) is None
    assert archive.longest_prefix(exchanges("a", "b"), OTHER) is None
    assert archive.longest_prefix(exchanges("a", "other"), OPTIONS) is None


def test_a_transcript_that_is_gone_or_changed_is_of_no_use(tmp_path: Path) -> None:
    archive, path = Archive(), transcript(tmp_path / "s.jsonl", "q1", "other")
    archive.remember(path, exchanges("a", "b"), answer("r1"), OPTIONS, fresh=True)
    assert archive.longest_prefix(exchanges("a", "b"), OPTIONS) is None
    path.unlink()
    assert archive.longest_prefix(exchanges("a", "b"), OPTIONS) is None
    assert () == archive.preamble(OPTIONS)


def test_only_the_newest_conversations_are_remembered(tmp_path: Path) -> None:
    archive = Archive()
    for number in range(70):
        path = transcript(tmp_path / f"{number}.jsonl", "r1")
        archive.remember(path, exchanges(f"a{number}", "b"), answer("r1"), OPTIONS, fresh=True)
    assert archive.longest_prefix(exchanges("a5", "b"), OPTIONS) is None
    assert archive.longest_prefix(exchanges("a6", "b"), OPTIONS) is not None


def test_thinking_is_known_by_its_signature(tmp_path: Path) -> None:
    archive = Archive()
    thought = AssistantMessage(uuid="r1", content=(ThinkingBlock("hm", "s"),))
    archive.remember(tmp_path / "s.jsonl", exchanges("a", "b"), [thought], OPTIONS, fresh=True)
    block = {"type": "thinking", "thinking": "hm", "signature": "s"}
    assert archive.has_thought(block, OPTIONS)
    assert not archive.has_thought({**block, "signature": "t"}, OPTIONS)
    assert not archive.has_thought(block, OTHER)


def begun() -> list[dict[str, Any]]:
    """Return the records of two turns, as a CLI writes them."""
    script = Script()
    surroundings = {"attachment": {"type": "environment"}, "rendered": [1], "renderedRole": "x"}
    return [
        script.prompt("one"),
        script.record("attachment", **surroundings),
        *map(script.attachment, ("file", "prompt_snapshot")),
        script.attachment("date"),
        script.answer({"type": "text", "text": "1"}),
        script.attachment("model"),
        script.done(),
        script.prompt("two"),
        script.attachment("model"),
        script.answer({"type": "text", "text": "2"}),
    ]


def test_a_preamble_has_no_record_of_what_the_user_said() -> None:
    environment, date = preamble_of(begun()) or ()
    assert {"type", "attachment", "rendered", "renderedRole"} == set(environment)
    assert {"type": "attachment", "attachment": {"type": "date"}} == date


@given_by(st.permutations(begun()))
def test_a_preamble_is_found_in_whatever_order_the_records_stand(
    records: list[dict[str, Any]],
) -> None:
    kinds = [record["attachment"]["type"] for record in preamble_of(records) or ()]
    assert ["environment", "date"] == kinds


@pytest.mark.parametrize("missing", range(6))
def test_there_is_no_preamble_before_all_of_it_is_there(missing: int) -> None:
    records = begun()
    del records[missing]
    assert preamble_of(records) is None
    assert preamble_of([]) is None


def test_a_preamble_that_is_not_there_yet_is_looked_for_again(tmp_path: Path) -> None:
    archive, path = Archive(), tmp_path / "s.jsonl"
    lines = [to_line(record) + b"\n" for record in begun()]
    path.write_bytes(b"".join(lines[1:]) + b'{"torn')
    archive.remember(path, exchanges("a", "b"), answer("r1"), OPTIONS, fresh=True)
    assert () == archive.preamble(OPTIONS)
    path.write_bytes(b"".join(lines))
    assert 2 == len(archive.preamble(OPTIONS))
    path.unlink()  # it is known now
    assert 2 == len(archive.preamble(OPTIONS))


def test_results_that_are_a_prompt_go_on_with_the_exchange_before() -> None:
    call = {"type": "tool_use", "id": "t", "name": "x", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "t", "content": "r"}
    asked = parse_messages([user("a"), assistant([call]), user([result])])
    lived = extended(asked.exchanges, Exchange(asked.prompt))
    after = parse_messages([user("a"), assistant([call]), user([result]), user("b")])
    assert after.exchanges == lived


def test_a_history_that_the_cli_refuses_is_told_again_once() -> None:
    cold, asked = Cold(), parse_messages(HISTORY)
    refused = StartupError("Failed to resume session", kind="resume")
    again = cold.another_way(asked, refused)
    assert again is not None
    assert "Failed to resume session" == again.not_seen
    assert cold.another_way(again, refused) is None
    assert cold.another_way(parse_messages(HISTORY[:1]), refused) is None
    begun = cold.begin(again, "s", OPTIONS)
    assert ["history_retold"] == [note.subtype for note in begun.notes]
    assert 1 == len(begun.data.splitlines())
    assert begun.check is None


def test_only_the_flag_that_is_missing_is_left_out_and_only_once() -> None:
    cold, asked = Cold(), parse_messages(HISTORY)
    other = StartupError("", kind="flag", screen_tail="error: unknown option '--effort'")
    assert cold.another_way(asked, other) is None
    assert "--reply-on-resume" in cold.flags
    assert not cold.environment
    missing = StartupError("", kind="flag", screen_tail="unknown option '--reply-on-resume'")
    assert cold.another_way(asked, missing) == asked
    assert "--reply-on-resume" not in cold.flags
    assert cold.environment
    assert cold.another_way(asked, missing) is None


def test_a_history_with_many_images_is_told_of() -> None:
    picture = {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}
    asked = parse_messages([user([picture] * 81)])
    (note,) = Cold().begin(asked, "s", OPTIONS).notes
    assert ("history_media", True) == (note.subtype, "81 images" in note.data["reason"])
    assert () == Cold().begin(parse_messages([user([picture] * 80)]), "s", OPTIONS).notes


def options(world: World, fake: FakeCLI) -> BackendOptions:
    return BackendOptions(
        cwd=world.cwd, cli_path=fake.path, env=world.env(NOWHERE) | fake.env(), exit_grace=3.0
    )


@pytest.fixture
def fake(world: World) -> FakeCLI:
    directory = world.root / "fake"
    directory.mkdir()
    return FakeCLI(directory)


async def test_nothing_of_an_answer_to_a_lost_history_is_delivered(
    world: World, fake: FakeCLI
) -> None:
    fake.turn(Write(LOST), Answer("to what?"), Hang())
    fake.turn(Answer("to c"))
    async with open_backend(options(world, fake)) as backend:
        turn = backend.complete(HISTORY)
        with trio.fail_after(60):
            note, *events = [event async for event in turn]
        assert isinstance(note, SystemMessage)
        assert ("history_retold", "to c") == (note.subtype, turn.result and turn.result.result)
        assert "does not hang on the last record" in note.data["reason"]
        assert "to what?" not in str(events)
        assert 1 == len(backend.sessions)
    first, second = fake.log("start")
    assert first["argv"][1] != second["argv"][1]


async def test_an_interrupt_is_not_lost_with_the_history(world: World, fake: FakeCLI) -> None:
    fake.turn(Hang())
    async with open_backend(options(world, fake)) as backend:
        turn = backend.complete(HISTORY)
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def interrupt() -> None:
                while turn.session is None or turn.session.state != "running":
                    await trio.sleep(0.01)
                await turn.interrupt()

            with trio.fail_after(60):
                assert "" == await turn.get_final_text()
        assert turn.result is not None
        assert turn.result.subtype == "interrupted"


async def test_a_turn_that_begins_again_can_be_cancelled_at_each_step(world: World) -> None:
    runs = itertools.count()

    async def body() -> None:
        directory = world.root / f"fake-{next(runs)}"
        directory.mkdir()
        fake = FakeCLI(directory)
        fake.turn(Write(LOST), Hang())
        fake.turn(Answer("to c"))
        async with open_backend(options(world, fake)) as backend:
            assert "to c" == await backend.complete(HISTORY).get_final_text()

    with trio.fail_after(240):
        assert await cancel_everywhere(body, trio.lowlevel.checkpoint) > 8
