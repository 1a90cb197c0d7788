"""Where a transcript that exists goes on; pure."""

from __future__ import annotations

import datetime
import itertools
import json
from typing import Any

import pytest
from transcripts import Raw, Script, text, to_line

from claude_trio._protocol.history import parse_messages
from claude_trio._protocol.past import (
    find_end,
    lines_until,
    next_records,
    rewind_record,
    version_of,
    whole_lines,
    without_tasks,
)

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def lines(*records: dict[str, Any] | str) -> bytes:
    texts = [r if isinstance(r, str) else json.dumps(r) for r in records]
    return "".join(text + "\n" for text in texts).encode()


def said(role: str, uuid: str, parent: str | None, text: object) -> dict[str, Any]:
    message = {"role": role, "content": text}
    return {"type": role, "uuid": uuid, "parentUuid": parent, "message": message}


ONE = said("user", "1", None, "one")
TWO = said("assistant", "2", "1", [{"type": "text", "text": "two"}])
ATTACHED = {"type": "attachment", "uuid": "3", "parentUuid": "1", "attachment": {}}
ENDED = {"type": "system", "uuid": "4", "parentUuid": "2", "subtype": "turn_duration"}


def added(data: bytes, prompt: object) -> Any:
    (message,) = parse_messages([{"role": "user", "content": prompt}]).messages
    added = next_records(data, message, session_id="s", cwd="/", model=None, now=NOW)
    if not added:
        return None
    record, end = map(json.loads, added.splitlines())
    # An older record of this kind might name another end.
    assert {"type": "last-prompt", "leafUuid": record["uuid"], "sessionId": "s"} == end
    return record


@pytest.mark.parametrize(
    ("records", "leaf", "last"),
    [
        ((ONE, TWO), "2", TWO),
        ((ONE, TWO, ENDED, {"type": "last-prompt", "leafUuid": "4"}, "{torn"), "4", TWO),
        ((ONE, ATTACHED, "5", "[]"), "3", ONE),
        ((ONE, TWO, {**ENDED, "isSidechain": True}), "2", TWO),
        ((ONE, TWO, {"type": "last-prompt", "explicit": True, "leafUuid": "1"}), "1", ONE),
        ((ONE, TWO, {"type": "last-prompt", "explicit": True, "leafUuid": None}), None, {}),
        ((ENDED,), "4", {}),
        # The answer may be written before its prompt, and what was attached to that behind both.
        ((TWO, ONE), "2", TWO),
        # What makes no sense is left out of the order.
        ((ONE, {**ATTACHED, "parentUuid": ["1"]}), "3", {}),
        ((ONE, {**TWO, "type": ["assistant"]}), "2", ONE),
        ((ONE, "[" * 100_000), "1", ONE),
        (
            ({**TWO, "timestamp": "2"}, ONE, {**ATTACHED, "timestamp": "1"}),
            "2",
            {**TWO, "timestamp": "2"},
        ),
    ],
)
def test_it_goes_on_behind_the_last_message(records: Any, leaf: str, last: Any) -> None:
    assert (leaf, last) == find_end(lines(*records))


@pytest.mark.parametrize(
    ("records", "leaf", "count"),
    [
        ((ONE, TWO, ENDED), "2", 2),
        ((ONE, ATTACHED, TWO, ENDED), "2", 3),
        ((TWO, ONE, ENDED), "2", 2),
        (({"type": "mode"}, TWO, "{torn", ONE, ENDED), "2", 4),
        ((TWO, ENDED), "2", None),  # its prompt is not there yet
        ((ONE,), "2", None),
        (({**ONE, "parentUuid": "2"}, TWO), "2", None),
    ],
)
def test_a_beginning_has_all_that_leads_up_to_its_last_record(
    records: Any, leaf: str, count: int | None
) -> None:
    found = lines_until(lines(*records), leaf)
    assert found == (None if count is None else lines(*records[:count]))


@pytest.mark.parametrize("data", [b"", b"\n\n", b"{torn", lines({"type": "mode"})])
def test_without_a_conversation_nothing_goes_on(data: bytes) -> None:
    assert find_end(data) is None
    with pytest.raises(ValueError, match="no conversation"):
        added(data, "x")


def test_the_prompt_is_added_behind_it() -> None:
    record = added(lines(ONE, TWO, ENDED), [{"type": "text", "text": "three"}])
    assert ("user", "4", "s") == (record["type"], record["parentUuid"], record["sessionId"])
    assert {"role": "user", "content": [{"type": "text", "text": "three"}]} == record["message"]


@pytest.mark.parametrize("asked", ["one", [{"type": "text", "text": "one"}]])
def test_a_prompt_that_stands_there_unanswered_is_not_added(asked: object) -> None:
    assert added(lines(said("user", "1", None, asked), ATTACHED), "one") is None
    assert added(lines(said("user", "1", None, asked), ATTACHED), "other") is not None
    assert added(lines(said("user", "1", None, asked), TWO), "one") is not None


def test_a_torn_line_stays_a_line_of_its_own() -> None:
    data = lines(ONE, TWO) + b'{"torn'
    (message,) = parse_messages([{"role": "user", "content": "x"}]).messages
    line = next_records(data, message, session_id="s", cwd="/", model=None, now=NOW)
    assert (b"\n{", b"\n") == (line[:2], line[-1:])
    assert lines(ONE, TWO) == whole_lines(data)


@pytest.mark.parametrize("name", ["backgroundTaskId", "async_launched"])
def test_tasks_that_ended_with_their_process_are_left_out(name: str) -> None:
    results = {
        "backgroundTaskId": {"stdout": "", "backgroundTaskId": "b1"},
        "async_launched": {"status": "async_launched", "agentId": "a1"},
    }
    told = {**said("user", "3", "2", "started ü"), "toolUseResult": results[name]}
    left = said("user", "3", "2", "started ü")
    torn = b'{"torn ' + name.encode()
    data = lines(ONE, TWO, told, ENDED) + torn
    assert [*lines(ONE, TWO, left, ENDED).splitlines(), torn] == [
        line if line == torn else json.dumps(json.loads(line)).encode()
        for line in without_tasks(data).splitlines()
    ]


@pytest.mark.parametrize("result", ["Error: async_launched", {"stdout": "backgroundTaskId"}])
def test_what_only_speaks_of_tasks_stays(result: object) -> None:
    data = lines(ONE, {**said("user", "3", "1", "x"), "toolUseResult": result})
    assert data == without_tasks(data)


@pytest.mark.parametrize("records", [(ONE, TWO, ENDED), (ONE, ATTACHED), (ONE, TWO)])
def test_what_was_added_can_be_taken_back(records: Any) -> None:
    data = lines(*records)
    (message,) = parse_messages([{"role": "user", "content": "x"}]).messages
    grown = data + next_records(data, message, session_id="s", cwd="/", model=None, now=NOW)
    assert find_end(data) != find_end(grown)
    assert find_end(data) == find_end(grown + rewind_record(data, session_id="s"))


def test_the_version_of_a_transcript_is_that_of_its_newest_record() -> None:
    assert version_of(lines(ONE)) is None
    old, new = {**ONE, "version": "2.1.197"}, {**TWO, "version": "2.1.331"}
    assert "2.1.331" == version_of(lines(old, new, {"type": "mode"}) + b'{"torn')


def conversation() -> list[Raw]:
    script = Script()
    return [
        script.prompt("one"),
        script.answer(text("1")),
        script.done(),
        script.prompt("two"),
        script.answer(text("2"), message_id="msg_02"),
    ]


def whole(records: list[Raw]) -> bytes:
    return b"".join(to_line(record) + b"\n" for record in records)


def test_it_ends_with_the_record() -> None:
    records = conversation()
    for number, record in enumerate(records, start=1):
        assert whole(records[:number]) == lines_until(whole(records), record["uuid"])


@pytest.mark.parametrize("order", [*itertools.permutations(range(3))], ids=str)
def test_what_leads_up_to_the_record_is_there_in_whatever_order(order: tuple[int, ...]) -> None:
    records = conversation()
    shuffled = [*(records[i] for i in order), *records[3:]]
    found = lines_until(whole(shuffled), records[1]["uuid"])
    assert found is not None
    needed = {to_line(record) for record in records[:2]}
    assert needed <= set(found.splitlines())


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_without_something_that_leads_up_to_it_there_is_none(missing: int) -> None:
    records = conversation()
    left = [record for number, record in enumerate(records) if number != missing]
    assert None is lines_until(whole(left), records[3]["uuid"])


def test_a_record_that_is_not_there_is_none() -> None:
    assert None is lines_until(whole(conversation()), "nowhere")
    assert None is lines_until(b"", "nowhere")


def test_lines_that_are_no_records_stay_where_they_are() -> None:
    first, second, *_ = conversation()
    data = b"not json\n\n5\n" + whole([first]) + b"[]\n" + whole([second])
    assert data == lines_until(data, second["uuid"])


def test_records_that_lead_in_a_circle_are_none() -> None:
    first, second, *_ = conversation()
    first["parentUuid"] = second["uuid"]
    assert None is lines_until(whole([first, second]), second["uuid"])


def test_a_last_line_without_its_end_gets_one() -> None:
    first, *_ = conversation()
    assert whole([first]) == lines_until(to_line(first), first["uuid"])
