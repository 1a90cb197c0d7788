"""The rows of the truth table once more, from recordings of both generations of the CLI, without one.

``python tests/rows/record.py`` makes the recordings.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rows.play import NEXT_REPLY, Seen, differences, is_old, summary
from rows.playback import Played, bytewise, play_back, read, whole
from rows.record import FOLDER
from rows.table import ROWS

ROW = {row.name: row for row in ROWS}
RECORDINGS = sorted(FOLDER.glob("*/*.jsonl"))


def at_random(seed: int) -> Callable[[bytes], Iterator[bytes]]:
    dice = random.Random(seed)

    def cut(data: bytes) -> Iterator[bytes]:
        while data:
            size = dice.randint(1, 400)
            yield data[:size]
            data = data[size:]

    return cut


def expected(path: Path) -> Seen:
    row = ROW[path.stem]
    # Where the next turn ran, and what it asked, is not in the recording of one process.
    return attrs.evolve(row.expected(old=is_old(path.parent.name)), next="", asked="")


def came_to(played: Played) -> list[Seen]:
    """Return what each turn of a recording came to."""
    return [
        summary(outcome, events, played.unprompted, next_="", asked="")
        for outcome, events in zip(played.outcomes, played.events, strict=True)
    ]


def test_there_is_a_recording_of_each_row_by_each_generation() -> None:
    versions = {path.parent.name for path in RECORDINGS}
    assert {True, False} == {is_old(version) for version in versions}
    for version in versions:
        can = {row.name for row in ROWS if row.old is not None or not is_old(version)}
        assert can == {path.stem for path in RECORDINGS if path.parent.name == version}


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_recorded_turn_ends_as_the_table_says(path: Path) -> None:
    entries = read(path)
    turns = came_to(play_back(entries, whole))
    number = len(ROW[path.stem].before)
    assert "" == differences(expected(path), turns[number])
    assert [] == [turn.text for turn in turns[number + 1 :] if turn.text != NEXT_REPLY]
    assert turns == came_to(play_back(entries, bytewise))


@settings(deadline=None, max_examples=50)
@given(path=st.sampled_from(RECORDINGS), seed=st.integers())
def test_a_recorded_turn_is_the_same_however_its_bytes_arrive(path: Path, seed: int) -> None:
    entries = read(path)
    assert came_to(play_back(entries, whole)) == came_to(play_back(entries, at_random(seed)))
