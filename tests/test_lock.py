"""The lock on a conversation: one holder at a time, and nothing left behind by anybody."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from claude_trio import _lock
from claude_trio._lock import SessionLock, is_locked, remove_left_locks, user_of

ID = "00000000-0000-4000-8000-000000000001"
HOLDER = """
import sys, pathlib, time
from claude_trio._lock import SessionLock
lock = SessionLock(pathlib.Path(sys.argv[1]), sys.argv[2])
print("held", flush=True)
time.sleep(600)
"""


def test_one_at_a_time_and_nothing_is_left(tmp_path: Path) -> None:
    lock = SessionLock(tmp_path, ID)
    with pytest.raises(BlockingIOError):
        SessionLock(tmp_path, ID)
    other = SessionLock(tmp_path, ID.replace("1", "2"))
    lock.release()
    lock.release()
    SessionLock(tmp_path, ID).release()
    other.release()
    assert [] == [*tmp_path.iterdir()]


def test_who_looks_is_in_nobody_s_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = SessionLock(tmp_path, ID)
    assert is_locked(tmp_path, ID)
    lock.release()
    taken: list[Path] = []
    monkeypatch.setattr(_lock, "_lock", taken.append)
    assert not is_locked(tmp_path, ID)
    assert [] == taken


def test_it_is_private(tmp_path: Path) -> None:
    lock = SessionLock(tmp_path, ID)
    (directory,) = tmp_path.iterdir()
    (file,) = directory.iterdir()
    assert (0o700, 0o600) == (directory.stat().st_mode & 0o777, file.stat().st_mode & 0o777)
    lock.release()


def test_the_kernel_releases_the_lock_of_a_program_that_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path), ID], stdout=subprocess.PIPE
    ) as holder:
        try:
            assert holder.stdout is not None
            assert b"held\n" == holder.stdout.readline()
            with pytest.raises(BlockingIOError):
                SessionLock(tmp_path, ID)
            os.utime(tmp_path / _lock._NAME / ID, (0, 0))
            remove_left_locks(tmp_path)  # it is not one
            with pytest.raises(BlockingIOError):
                SessionLock(tmp_path, ID)
        finally:
            holder.send_signal(signal.SIGKILL)
    SessionLock(tmp_path, ID.replace("1", "2")).release()
    (left,) = tmp_path.glob("*/*")
    left.touch()
    remove_left_locks(tmp_path)
    assert left.exists()  # it might be one that is just being taken
    os.utime(left, (0, 0))
    remove_left_locks(tmp_path)
    assert [] == [*tmp_path.iterdir()]


def test_a_program_that_the_holder_starts_does_not_hold_it(tmp_path: Path) -> None:
    lock = SessionLock(tmp_path, ID)
    with subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False
    ):
        lock.release()
        SessionLock(tmp_path, ID).release()


@pytest.mark.parametrize("also", ["file", "directory"])
def test_one_that_is_released_while_it_is_asked_for_is_made_anew(
    also: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock, calls = fcntl.flock, []

    def released_meanwhile(descriptor: int, how: int) -> None:
        calls.append(how)
        if len(calls) == 1:
            (tmp_path / _lock._NAME / ID).unlink()
            if also == "directory":
                (tmp_path / _lock._NAME).rmdir()
        flock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", released_meanwhile)
    lock = SessionLock(tmp_path, ID)
    assert 2 == len(calls)
    monkeypatch.undo()
    with pytest.raises(BlockingIOError):
        SessionLock(tmp_path, ID)
    lock.release()


def test_a_directory_that_goes_before_the_file_is_opened_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, tries = os.open, []

    def gone_meanwhile(path: Path, *how: int) -> int:
        tries.append(path)
        if len(tries) == 1:
            path.parent.rmdir()
        return opened(path, *how)

    monkeypatch.setattr(os, "open", gone_meanwhile)
    lock = SessionLock(tmp_path, ID)
    monkeypatch.undo()
    lock.release()
    assert [] == [*tmp_path.iterdir()]


def test_a_cli_that_is_in_the_conversation_is_known_by_its_status_file(tmp_path: Path) -> None:
    sessions = tmp_path / "sessions"
    assert user_of(tmp_path, ID) is None
    sessions.mkdir()
    for pid, text in {1: "{", 2: "[]", 3: '{"sessionId": 5}', 99_999_999: ""}.items():
        (sessions / f"{pid}.json").write_text(text)
    for name in ("no-number", "9" * 30):
        (sessions / f"{name}.json").write_text(json.dumps({"sessionId": ID, "startedAt": 0}))
    (sessions / "4.json").write_text(json.dumps({"sessionId": ID, "startedAt": 10**400}))
    (sessions / "5.json").write_text("[" * 100_000)
    mine = sessions / f"{os.getpid()}.json"
    mine.write_text(json.dumps({"sessionId": ID, "startedAt": time.time() * 1000}))
    assert os.getpid() == user_of(tmp_path, ID)
    assert user_of(tmp_path, ID.replace("1", "2")) is None
    # Half rewritten: what is new is shorter than what stood there.
    with mine.open("ab") as file:
        file.write(b'"}')
    assert os.getpid() == user_of(tmp_path, ID)
    # Of one that is dead, and whose pid this program has now.
    before = psutil.Process().create_time() - 60
    mine.write_text(json.dumps({"sessionId": ID, "startedAt": before * 1000}))
    assert user_of(tmp_path, ID) is None
