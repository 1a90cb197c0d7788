"""The status file: one reading."""

from __future__ import annotations

import json
from typing import Any

import pytest

from claude_trio._protocol.status import Status, parse_status

ID = "97ad0000-0000-4000-8000-000000000001"
WHOLE = {
    "pid": 18941,
    "sessionId": ID,
    "cwd": "/home/me",
    "startedAt": 1795331228829,
    "procStart": "123456",
    "version": "2.1.330",
    "kind": "interactive",
    "status": "waiting",
    "waitingFor": "input needed",
    "statusUpdatedAt": 1795328074005,
}


def reading(**fields: Any) -> Status:
    status = parse_status(json.dumps({**WHOLE, **fields}).encode())
    assert status is not None
    return status


def test_a_whole_file() -> None:
    assert (
        Status(
            state="waiting",
            waiting_for="input needed",
            changed_at=1795328074005,
            session_id=ID,
            version="2.1.330",
        )
        == reading()
    )


@pytest.mark.parametrize(
    ("state", "rests"),
    [("idle", True), ("shell", True), ("busy", False), ("waiting", False), ("new", False)],
)
def test_a_cli_rests_when_it_waits_for_a_prompt(state: str, rests: bool) -> None:
    assert rests == reading(status=state).at_rest


def test_a_cli_that_starts_has_no_state() -> None:
    early = {key: value for key, value in WHOLE.items() if key not in {"status", "waitingFor"}}
    status = parse_status(json.dumps(early).encode())
    assert status is not None
    assert status.state is None
    assert not status.at_rest


@pytest.mark.parametrize("value", [None, 5, [], {}])
def test_values_of_another_type_are_as_good_as_missing(value: Any) -> None:
    names = ("status", "waitingFor", "sessionId", "version")
    odd = reading(**dict.fromkeys(names, value), statusUpdatedAt="now")
    assert Status() == odd


@pytest.mark.parametrize("name", ["a/b", f"../{ID}", f"{ID}\0", f"{ID}\n", "a" * 300, ""])
def test_a_session_that_could_be_another_file_is_as_good_as_missing(name: str) -> None:
    assert reading(sessionId=name).session_id is None


@pytest.mark.parametrize(
    "data", [b"", b"{", b"\xff", b"5", b"null", b'"x"', b"\x00\x00", b"[" * 100_000]
)
def test_what_is_being_rewritten_is_to_be_read_again(data: bytes) -> None:
    assert parse_status(data) is None


def test_every_cut_of_a_file_is_to_be_read_again() -> None:
    data = json.dumps(WHOLE).encode()
    assert {None} == {parse_status(data[:length]) for length in range(len(data))}
