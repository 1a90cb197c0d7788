"""Plays a recording back to a `TurnManager`, as if the CLI did it all once more."""

from __future__ import annotations

import bisect
import itertools
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import attrs

import claude_trio
from claude_trio import Event, TurnManager, parse_record
from claude_trio._protocol.outcome import Outcome
from claude_trio._protocol.records import LineBuffer
from claude_trio._protocol.status import Status

_LOOK: Final = 0.05  # seconds between two looks
_TOGETHER: Final = 0.5  # seconds between two records that may be read at once
_AFTER: Final = 30.0  # seconds that time goes on behind the last entry

Cut = Callable[[bytes], Iterable[bytes]]


@attrs.define
class Played:
    """What a recording came to: for each turn how it ended, and its events; and what was in none."""

    outcomes: list[Outcome] = attrs.field(factory=list)
    events: list[tuple[Event, ...]] = attrs.field(factory=list)
    unprompted: list[Event] = attrs.field(factory=list)


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def play_back(entries: Iterable[dict[str, Any]], cut: Cut) -> Played:
    """Tell a manager what was recorded, at the times at which it was.

    Args:
        entries: The recording.
        cut: Cuts bytes into pieces, in which they are read.
    """
    turns, played = TurnManager(), Played()
    buffer, now = LineBuffer(), 0.0
    for entry, piece in _in_pieces(entries, cut):
        now = _wait(turns, played, now, entry["at"])
        tell = getattr(turns, entry["do"])
        match entry.get("with", []):
            case [{"record": _}, *rest]:
                for line in buffer.feed(piece):
                    tell(parse_record(line), *rest, now)
            case [{"status": status}]:
                tell(Status(**status), now)
            case [{"error": name, "kind": kind}]:
                tell(getattr(claude_trio, name)("recorded", kind=kind), **entry.get("named", {}))
            case arguments:
                tell(*arguments, now)
        _note(turns, played)
    _wait(turns, played, now, now + _AFTER)
    played.unprompted += turns.unprompted
    return played


def _in_pieces(
    entries: Iterable[dict[str, Any]], cut: Cut
) -> Iterator[tuple[dict[str, Any], bytes]]:
    """Yield the entries with their bytes; a record's may come with those of the record before it.

    Records of one file that were read soon one behind the other are one stream of bytes, which is cut
    anywhere. A piece is read when its last byte is there, but never behind what came after it.
    """
    waiting: list[dict[str, Any]] = []
    for entry in (*entries, {"do": "the end"}):
        if waiting and not _is_behind(entry, waiting):
            yield from _cut_stream(waiting, cut)
            waiting = []
        if entry["do"] in {"feed", "feed_subagent"}:
            waiting.append(entry)
        elif entry["do"] != "the end":
            yield entry, b""


def _is_behind(entry: dict[str, Any], waiting: list[dict[str, Any]]) -> bool:
    same = (entry["do"], entry.get("with", [])[1:]) == (waiting[0]["do"], waiting[0]["with"][1:])
    return same and entry["at"] - waiting[-1]["at"] < _TOGETHER


def _cut_stream(entries: list[dict[str, Any]], cut: Cut) -> Iterator[tuple[dict[str, Any], bytes]]:
    lines = [
        json.dumps(e["with"][0]["record"], ensure_ascii=False).encode() + b"\n" for e in entries
    ]
    ends = list(itertools.accumulate(len(line) for line in lines))
    position = 0
    for piece in cut(b"".join(lines)):
        position += len(piece)
        yield entries[bisect.bisect_left(ends, position)], piece


def _wait(turns: TurnManager, played: Played, now: float, until: float) -> float:
    while now < until:
        now = min(now + _LOOK, until)
        turns.tick(now)
        _note(turns, played)
    return now


def _note(turns: TurnManager, played: Played) -> None:
    """Keep the outcome of a turn that has just ended."""
    outcome = turns.outcome
    if outcome is not None and not any(outcome is other for other in played.outcomes):
        played.outcomes.append(outcome)
        played.events.append(turns.events)


def whole(data: bytes) -> Iterator[bytes]:
    """Do not cut."""
    yield data


def bytewise(data: bytes) -> Iterator[bytes]:
    """Cut into single bytes."""
    return (data[i : i + 1] for i in range(len(data)))
