"""Following a transcript, and reading a status file, in real files."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import trio
import trio.testing

from claude_trio import JsonlWatcher, MessageParseError, Record
from claude_trio._jsonl import StatusFile, create_transcript
from claude_trio._jsonl import append as append_whole


def line(name: str) -> bytes:
    return json.dumps({"type": "system", "subtype": name}).encode() + b"\n"


def names(records: list[Record]) -> list[str | None]:
    return [record.subtype for record in records]


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


async def test_records_are_received_in_order_as_they_are_written(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    path = tmp_path / "t.jsonl"
    received: list[str | None] = []

    async def follow() -> None:
        async for record in JsonlWatcher(path):
            received.append(record.subtype)  # noqa: PERF401 - it never ends

    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow)
        await trio.sleep(1)  # no file yet
        for number in range(3):
            append(path, line(f"a{number}") + line(f"b{number}")[:10])
            await trio.sleep(1)
            append(path, line(f"b{number}")[10:])
            await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert ["a0", "b0", "a1", "b1", "a2", "b2"] == received


async def test_a_cancelled_receive_loses_nothing(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    path = tmp_path / "t.jsonl"
    watcher = JsonlWatcher(path)
    with trio.move_on_after(1):
        await watcher.receive()
    append(path, line("one") + line("two"))
    with trio.CancelScope() as scope:
        scope.cancel()
        await watcher.receive()
    assert ["one", "two"] == [(await watcher.receive()).subtype, (await watcher.receive()).subtype]


async def test_each_read_is_a_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_bytes(line("one") + line("two"))
    watcher = JsonlWatcher(path)
    for _ in range(2):
        with trio.testing.assert_checkpoints():
            await watcher.receive()
    with trio.testing.assert_checkpoints():
        await watcher.aclose()
    with pytest.raises(trio.ClosedResourceError), trio.testing.assert_checkpoints():
        await watcher.receive()


def test_it_starts_at_the_offset_and_a_look_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_bytes(line("old") + line("x" * 300_000) + line("new"))
    watcher = JsonlWatcher(path, offset=len(line("old")))
    looks = [(names(watcher.read()), watcher.behind) for _ in range(2)]
    assert [([], True), (["x" * 300_000, "new"], False)] == looks
    assert [] == watcher.read()


def test_a_replaced_or_deleted_file_is_read_from_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_bytes(line("one") + b'{"half')
    watcher = JsonlWatcher(path)
    assert ["one"] == names(watcher.read())
    (tmp_path / "new").write_bytes(line("two"))
    (tmp_path / "new").replace(path)
    assert ["two"] == names(watcher.read())
    path.unlink()
    assert [] == watcher.read()
    (tmp_path / "keep the inode number busy").write_bytes(b"")
    path.write_bytes(line("three"))
    assert ["three"] == names(watcher.read())


def test_a_truncated_file_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_bytes(line("one") + line("two"))
    watcher = JsonlWatcher(path)
    watcher.read()
    path.write_bytes(line("1"))
    assert ["1"] == names(watcher.read())


def test_unreadable_lines_go_to_the_callback(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "t.jsonl"
    path.write_bytes(line("one") + b"nonsense\n\n  \n" + line("two"))
    seen: list[MessageParseError] = []
    assert ["one", "two"] == names(JsonlWatcher(path, on_parse_error=seen.append).read())
    assert [b"nonsense"] == [error.line for error in seen]
    assert ["one", "two"] == names(JsonlWatcher(path).read())
    assert ["nonsense" in record.message for record in caplog.records] == [True]


def test_a_new_transcript_is_private_complete_and_never_overwrites(tmp_path: Path) -> None:
    path = tmp_path / "projects" / "key" / "t.jsonl"
    create_transcript(path, line("one"))
    assert line("one") == path.read_bytes()
    assert 0o600 == path.stat().st_mode & 0o777
    assert 0o700 == path.parent.stat().st_mode & 0o777
    with pytest.raises(FileExistsError):
        create_transcript(path, line("two"))
    assert [path] == [*path.parent.iterdir()]
    assert line("one") == path.read_bytes()


@pytest.mark.parametrize("size", [0, 30])  # nothing can be written, or a part
def test_without_room_a_transcript_is_as_it_was(
    tmp_path: Path, no_room: Callable[..., AbstractContextManager[None]], size: int
) -> None:
    path = tmp_path / "t.jsonl"
    with no_room(size), pytest.raises(OSError, match="File too large"):
        create_transcript(path, line("one") * 9)
    assert [] == [*tmp_path.iterdir()]
    with pytest.raises(FileNotFoundError):
        append_whole(path, line("one"))
    create_transcript(path, b"")
    if size:
        assert 20 == append_whole(path, b"x" * 20)
    before = path.read_bytes()
    with no_room(size), pytest.raises(OSError, match="File too large"):
        append_whole(path, line("two"))
    assert before == path.read_bytes()
    assert len(before) + len(line("two")) == append_whole(path, line("two"))
    assert before + line("two") == path.read_bytes()


def test_the_status_file_is_read_when_it_changes(tmp_path: Path) -> None:
    status = StatusFile(tmp_path, 7)
    assert status.read() is None
    status.path.parent.mkdir()
    status.path.write_text('{"status": "idle", "sessionId": "mine"}')
    first = status.read()
    assert first is not None
    assert "idle" == first.state
    status.path.write_text('{"status": "busy", "sessionId": "mine"}')  # of the same length
    second = status.read()
    assert second is not None
    assert "busy" == second.state
    status.path.write_text('{"status": "id')  # half rewritten
    assert second == status.read()
    status.path.unlink()
    assert status.read() is None


def test_an_old_status_file_is_not_read_again(tmp_path: Path) -> None:
    status = StatusFile(tmp_path, 7)
    status.path.parent.mkdir()
    status.path.write_text('{"status": "idle"}')
    os.utime(status.path, (1, 1))
    first = status.read()
    status.path.write_text('{"status": "busy"}')
    os.utime(status.path, (1, 1))
    assert first == status.read()


def test_only_the_own_status_file_is_removed(tmp_path: Path) -> None:
    mine, other = str(uuid.uuid4()), str(uuid.uuid4())
    status = StatusFile(tmp_path, 7)
    status.remove(mine)
    status.path.parent.mkdir()
    status.path.write_text(json.dumps({"sessionId": other}))
    (status.path.parent / "7.abc.key").touch()
    (status.path.parent / "70.json").touch()
    status.remove(mine)
    assert status.path.exists()
    status.remove(other)
    assert ["70.json"] == [path.name for path in status.path.parent.iterdir()]


def test_a_file_that_is_replaced_between_look_and_open_is_read_from_its_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, other = tmp_path / "t.jsonl", tmp_path / "other"
    append(path, line("one"))
    append(other, line("new one") + line("new two"))
    watcher = JsonlWatcher(path)
    assert ["one"] == names(watcher.read())
    append(path, line("two"))
    look, waiting = os.stat, [other]

    def replaced_behind_it(name: Path) -> os.stat_result:
        found = look(name)
        if waiting:
            waiting.pop().replace(path)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", replaced_behind_it)
        records = watcher.read()
    assert ["new one", "new two"] == names(records)
