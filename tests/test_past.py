"""The beginning of a transcript, found along the chain of its records."""

from __future__ import annotations

import itertools

import pytest
from transcripts import Raw, Script, text, to_line

from claude_trio._protocol.past import lines_until


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
