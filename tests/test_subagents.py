"""The transcripts of subagents, found and followed."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
from transcripts import Script, text, to_line, to_record, tool_use

from claude_trio import AssistantMessage, MessageParseError, TurnManager
from claude_trio._jsonl import JsonlWatcher
from claude_trio._protocol.records import Record
from claude_trio._subagents import SubagentFiles

SUBAGENT: dict[str, Any] = {"isSidechain": True, "agentId": "a1"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "session" / "subagents"


@pytest.fixture
def files(tmp_path: Path) -> SubagentFiles:
    return SubagentFiles(tmp_path / "session.jsonl", lambda _: None)


def begin(folder: Path, name: str = "a1", call: str | None = "toolu_1") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"agent-{name}.jsonl"
    path.write_bytes(to_line(Script().user("look", **SUBAGENT)) + b"\n")
    if call is not None:
        path.with_suffix(".meta.json").write_text(json.dumps({"toolUseId": call}))
    return path


def test_records_come_with_the_call_that_started_the_subagent(
    files: SubagentFiles, folder: Path
) -> None:
    assert [] == files.read()
    path = begin(folder)
    ((record, call),) = files.read()
    assert ("look", "toolu_1") == (record.text, call)
    with path.open("ab") as file:
        file.write(to_line(Script().answer(text("found"), **SUBAGENT)) + b"\n")
    assert ["found"] == [record.text for record, _ in files.read()]
    assert [] == files.read()


def test_several_subagents_are_told_apart(files: SubagentFiles, folder: Path) -> None:
    begin(folder, "a1", "toolu_1")
    begin(folder, "a2", "toolu_2")
    assert ["toolu_1", "toolu_2"] == [call for _, call in files.read()]


def test_what_was_read_is_not_lost_with_what_cannot_be_read_just_now(
    files: SubagentFiles, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(folder, "a1", "toolu_1")
    begin(folder, "a2", "toolu_2")
    read = JsonlWatcher.read

    def exhausted(watcher: JsonlWatcher) -> list[Record]:
        if watcher.path.name == "agent-a2.jsonl":
            raise OSError(errno.EMFILE, "Too many open files")
        return read(watcher)

    with monkeypatch.context() as patch:
        patch.setattr(JsonlWatcher, "read", exhausted)
        assert ["toolu_1"] == [call for _, call in files.read()]
        with pytest.raises(OSError, match="Too many"):
            files.read()
    assert ["toolu_2"] == [call for _, call in files.read()]


@pytest.mark.parametrize("meta", ["", "{", "[]", "5", '{"toolUseId": 5}', "{}"])
def test_a_subagent_whose_call_is_not_named_yet_is_waited_for(
    files: SubagentFiles, folder: Path, meta: str
) -> None:
    path = begin(folder, call=None)
    meta_path = path.with_suffix(".meta.json")
    meta_path.write_text(meta)
    long_ago = 1_000_000_000
    os.utime(folder, ns=(long_ago, long_ago))
    assert [] == files.read()
    meta_path.write_text('{"toolUseId": "toolu_1"}')
    assert ["toolu_1"] == [call for _, call in files.read()]


def test_a_directory_that_has_not_changed_is_not_searched_again(
    files: SubagentFiles, folder: Path
) -> None:
    begin(folder)
    long_ago = 1_000_000_000
    os.utime(folder, ns=(long_ago, long_ago))
    assert 1 == len(files.read())
    begin(folder, "a2")
    os.utime(folder, ns=(long_ago, long_ago))
    assert [] == files.read()
    os.utime(folder)
    assert 1 == len(files.read())


def test_a_line_that_cannot_be_read_is_reported(tmp_path: Path, folder: Path) -> None:
    told: list[MessageParseError] = []
    files = SubagentFiles(tmp_path / "session.jsonl", told.append)
    begin(folder).write_bytes(b"not json\n")
    assert [] == files.read()
    assert [b"not json"] == [error.line for error in told]


def test_a_subagent_says_nothing_about_where_its_turn_stands() -> None:
    script, turns = Script(), TurnManager()
    turns.submit("hello", 0.0)
    raw = script.answer(text("mine"), **SUBAGENT)
    turns.feed(to_record(script.prompt()), 0.0)
    assert [] == turns.feed_subagent(to_record(raw), "toolu_of_an_earlier_turn", 0.0)
    turns.feed(to_record(script.answer(tool_use("toolu_1"), stop="tool_use")), 0.0)
    (event,) = turns.feed_subagent(to_record(raw), "toolu_1", 0.0)
    assert isinstance(event, AssistantMessage)
    assert ("toolu_1", "mine") == (event.parent_tool_use_id, event.text)
    # A subagent may have one of its own.
    nested = script.answer(tool_use("toolu_2"), stop="tool_use", **SUBAGENT)
    turns.feed_subagent(to_record(nested), "toolu_1", 0.0)
    assert 1 == len(turns.feed_subagent(to_record(raw), "toolu_2", 0.0))
    turns.feed(to_record(script.answer(text("ours"))), 0.0)
    turns.feed_subagent(to_record(raw), "toolu_1", 0.0)
    turns.feed(to_record(script.done()), 0.0)
    assert turns.outcome is not None
    assert (1, "ours") == (turns.outcome.result.num_turns, turns.outcome.result.result)
    assert ["mine"] == [e.text for e in turns.unprompted if isinstance(e, AssistantMessage)]


def test_what_a_subagent_says_before_its_call_is_written_comes_behind_it() -> None:
    script, turns = Script(), TurnManager()
    turns.submit("hello", 0.0)
    early = to_record(script.answer(text("mine"), **SUBAGENT))
    assert [] == turns.feed_subagent(early, "toolu_1", 0.0)
    turns.feed(to_record(script.prompt()), 0.0)
    call, said = turns.feed(to_record(script.answer(tool_use("toolu_1"), stop="tool_use")), 0.0)
    assert None is call.parent_tool_use_id
    assert "toolu_1" == said.parent_tool_use_id
    turns.feed(to_record(script.done()), 0.0)
    assert [] == list(turns.unprompted)


def test_between_turns_a_subagent_is_kept_aside() -> None:
    turns = TurnManager()
    assert [] == turns.feed_subagent(to_record(Script().answer(text("x"))), "toolu_1", 0.0)
    assert 1 == len(turns.unprompted)
