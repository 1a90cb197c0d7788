"""Records what a `TurnManager` is told while a row is played, and plays such a recording back.

``python tests/rows/record.py`` writes a recording of every row on the CLI that it finds; with names
behind it, of these rows. What says nothing about a turn, and what tells of the machine, is left out.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from functools import wraps
from pathlib import Path
from typing import Any, Final, TypeAlias

import attrs
import trio

from claude_trio import Event, Record, TurnManager, parse_record
from claude_trio._protocol.normalize import BOOKKEEPING
from claude_trio._protocol.outcome import Outcome
from claude_trio._protocol.records import LineBuffer
from claude_trio._protocol.status import Status
from claude_trio.testing import World

FOLDER: Final = Path(__file__).with_name("recordings")
LONGEST: Final = 2000  # characters that are kept of a text
_TICK: Final = 0.05  # seconds between two looks in a recording that is played back

#: One thing that a manager was told: what, when, and the rest.
Entry: TypeAlias = dict[str, Any]


# -- recording


@contextlib.contextmanager
def recording(world: World) -> Generator[list[Entry], None, None]:
    """Record what the first manager that is told something is told, for the length of a block."""
    told: list[Entry] = []
    managers: list[TurnManager] = []

    def tell(manager: TurnManager, entry: Entry | None) -> None:
        if not managers:
            managers.append(manager)
        if entry is not None and manager is managers[0]:
            told.append(entry)

    last_status: list[Status] = []

    def submit(now: float, prompt: str) -> Entry:
        return {"do": "submit", "at": now, "prompt": prompt}

    def resume(now: float) -> Entry:
        return {"do": "resume", "at": now}

    def feed(now: float, record: Record) -> Entry:
        return {"do": "feed", "at": now, "record": trim(record.raw, world)}

    def feed_subagent(now: float, record: Record, tool_use_id: str) -> Entry:
        return {"do": "subagent", "at": now, "record": trim(record.raw, world), "of": tool_use_id}

    def observe(now: float, status: Status) -> Entry | None:
        if last_status[-1:] == [status]:
            return None
        last_status[:] = [status]
        return {"do": "observe", "at": now, "status": attrs.asdict(status)}

    def entered(now: float) -> Entry:
        return {"do": "entered", "at": now}

    kept = {}
    for make in (submit, resume, feed, feed_subagent, observe, entered):
        kept[make.__name__] = getattr(TurnManager, make.__name__)
        setattr(TurnManager, make.__name__, _telling(kept[make.__name__], make, tell))
    kept["interrupt_sent"] = TurnManager.interrupt_sent

    @wraps(TurnManager.interrupt_sent)
    def interrupt_sent(self: TurnManager) -> None:
        tell(self, {"do": "interrupt", "at": trio.current_time()})
        kept["interrupt_sent"](self)

    TurnManager.interrupt_sent = interrupt_sent  # type: ignore[method-assign]
    try:
        yield told
    finally:
        for name, method in kept.items():
            setattr(TurnManager, name, method)


def _telling(
    method: Callable[..., Any],
    make: Callable[..., Entry | None],
    tell: Callable[[TurnManager, Entry | None], None],
) -> Callable[..., Any]:
    @wraps(method)
    def telling(self: TurnManager, *arguments: Any) -> Any:
        *rest, now = arguments
        tell(self, make(now, *rest))
        return method(self, *arguments)

    return telling


def trim(raw: Mapping[str, Any], world: World) -> dict[str, Any]:
    """Return a record without what tells of the machine, and without what nobody reads."""
    if raw["type"] in BOOKKEEPING:
        kept = {key: raw[key] for key in ("type", "uuid", "parentUuid", "operation") if key in raw}
        if isinstance(attachment := raw.get("attachment"), dict):
            kept["attachment"] = {"type": attachment.get("type")}
        return kept
    dropped = {"cwd", "gitBranch", "userType", "entrypoint", "hookInfos", "toolUseResult"}
    return {key: _short(raw[key], world) for key in raw if key not in dropped}


def _short(value: Any, world: World) -> Any:
    if isinstance(value, str):
        text = value.replace(str(world.root), "/world")
        return text if len(text) <= LONGEST else text[:LONGEST] + "…"
    if isinstance(value, dict):
        return {key: _short(item, world) for key, item in value.items()}
    return [_short(item, world) for item in value] if isinstance(value, list) else value


# -- playing back


@attrs.frozen
class Played:
    """What a recording came to, for each of its turns."""

    outcomes: tuple[Outcome, ...]
    events: tuple[tuple[Event, ...], ...]
    unprompted: tuple[Event, ...]


def read(path: Path) -> list[Entry]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def play_back(entries: Iterable[Entry], cut: Callable[[bytes], Iterable[bytes]]) -> Played:
    """Tell a manager what was recorded, the bytes of the transcript cut into pieces somehow.

    Args:
        entries: The recording.
        cut: Cuts bytes into pieces.
    """
    turns, buffers = TurnManager(), (LineBuffer(), LineBuffer())
    outcomes, events = [], []
    now, over = 0.0, True
    for entry in _at_their_time(entries):
        while now < entry["at"] and not over:
            now = min(now + _TICK, entry["at"])
            turns.tick(now)
            over = turns.outcome is not None
            if over:
                outcomes.append(turns.outcome)
                events.append(turns.events)
        now = entry["at"]
        match entry["do"]:
            case "submit":
                turns.submit(entry["prompt"], now)
            case "resume":
                turns.resume(now)
            case "feed":
                for record in _through(buffers[0], entry["record"], cut):
                    turns.feed(record, now)
            case "subagent":
                for record in _through(buffers[1], entry["record"], cut):
                    turns.feed_subagent(record, entry["of"], now)
            case "observe":
                turns.observe(Status(**entry["status"]), now)
            case "entered":
                turns.entered(now)
            case "interrupt":
                turns.interrupt_sent()
        if entry["do"] in {"submit", "resume"}:
            over = False
        if not over and turns.outcome is not None:
            over = True
            outcomes.append(turns.outcome)
            events.append(turns.events)
    return Played(
        tuple(outcome for outcome in outcomes if outcome is not None),
        tuple(events),
        tuple(turns.unprompted),
    )


def _at_their_time(entries: Iterable[Entry]) -> Iterator[Entry]:
    """Yield the entries, and one more long after, for what time alone brings."""
    last = 0.0
    for entry in entries:
        yield entry
        last = entry["at"]
    yield {"do": "wait", "at": last + 30.0}


def _through(
    buffer: LineBuffer, raw: Mapping[str, Any], cut: Callable[[bytes], Iterable[bytes]]
) -> Iterator[Record]:
    for piece in cut(json.dumps(raw, ensure_ascii=False).encode() + b"\n"):
        for line in buffer.feed(piece):
            yield parse_record(line)


# -- the program


async def main(names: list[str]) -> None:
    from rows.play import is_old, play, version_of
    from rows.table import ROWS

    from claude_trio.testing import find_real_cli, isolated_world, open_loopback_api

    cli = find_real_cli()
    assert cli is not None
    for row in ROWS:
        if names and row.name not in names:
            continue
        with isolated_world() as world:
            async with open_loopback_api() as api:
                version = await version_of(cli, world.env(api.base_url))
                if is_old(version) and row.old is None:
                    continue
                with recording(world) as told:
                    await play(row, cli, api, world)
        start = told[0]["at"]
        path = FOLDER / version / f"{row.name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        entries = [{**entry, "at": round(entry["at"] - start, 3)} for entry in told]
        lines = [json.dumps(e, ensure_ascii=False, separators=(",", ":")) for e in entries]
        path.write_text("".join(line + "\n" for line in lines))
        sys.stdout.write(f"{path.name}: {len(lines)} entries\n")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    os.environ.pop("CLAUDE_CODE_CHILD_SESSION", None)
    trio.run(main, sys.argv[1:])
