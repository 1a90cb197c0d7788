"""Records what a `TurnManager` is told while a row is played.

``python tests/rows/record.py`` writes a recording of every row on the CLI that the tests take; names
behind it choose rows. What says nothing about a turn, and what tells of the machine, is left out.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Generator, Mapping
from functools import wraps
from pathlib import Path
from typing import Any, Final, TypeAlias

import attrs
import trio

sys.path.insert(0, str(Path(__file__).parents[1]))

from claude_trio import BackendError, Record, TurnManager
from claude_trio._protocol.normalize import BOOKKEEPING
from claude_trio._protocol.status import Status
from claude_trio.testing import World, find_real_cli, isolated_world, open_loopback_api
from rows.play import is_old, play, version_of
from rows.table import ROWS

FOLDER: Final = Path(__file__).with_name("recordings")
#: What a manager is told; everything but `fail` ends with the time.
TOLD: Final = (
    *("submit", "resume", "entered", "feed", "feed_subagent", "observe", "interrupt_sent"),
    "fail",
)
_LONGEST: Final = 2000  # characters that are kept of a text
_DROPPED: Final = {"cwd", "gitBranch", "userType", "entrypoint", "hookInfos"}
#: What is kept of a tool's structured result: what it says of a subagent.
_OF_SUBAGENT: Final = ("status", "agentId", "content")

#: One thing that a manager was told: which method, with what, and when.
Entry: TypeAlias = dict[str, Any]


@contextlib.contextmanager
def recording(world: World) -> Generator[list[Entry], None, None]:
    """Record what the first manager that is told something is told, for the length of a block.

    Args:
        world: Where it is; its paths are left out.
    """
    told: list[Entry] = []
    managers: list[TurnManager] = []

    def telling(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        def tell(self: TurnManager, *arguments: Any, **named: Any) -> Any:
            managers.append(self)
            entry = {"do": name, "at": trio.current_time()}
            if plain := [_plain(a, world) for a in arguments if not isinstance(a, float)]:
                entry["with"] = plain
            if named:
                entry["named"] = named
            at_rest = name == "fail" and self.outcome is not None  # so it fails nothing
            if self is managers[0] and not at_rest and not _is_said_again(entry, told):
                told.append(entry)
            return method(self, *arguments, **named)

        return tell

    kept = {name: getattr(TurnManager, name) for name in TOLD}
    for name, method in kept.items():
        setattr(TurnManager, name, telling(name, method))
    try:
        yield told
    finally:
        for name, method in kept.items():
            setattr(TurnManager, name, method)


def _is_said_again(entry: Entry, told: list[Entry]) -> bool:
    """Whether it is a reading of the status file that says what the last one did."""
    before = next((e for e in reversed(told) if e["do"] == "observe"), None)
    return entry["do"] == "observe" and before is not None and before["with"] == entry["with"]


def _plain(argument: Any, world: World) -> Any:
    if isinstance(argument, Record):
        return {"record": trim(argument.raw, world)}
    if isinstance(argument, BackendError):
        return {"error": type(argument).__name__, "kind": argument.kind}
    return {"status": attrs.asdict(argument)} if isinstance(argument, Status) else argument


def trim(raw: Mapping[str, Any], world: World) -> dict[str, Any]:
    """Return a record without what tells of the machine, and without what nobody reads."""
    if raw["type"] in BOOKKEEPING:
        kept = {key: raw[key] for key in ("type", "uuid", "parentUuid", "operation") if key in raw}
        if isinstance(attachment := raw.get("attachment"), dict):
            kept["attachment"] = {"type": attachment.get("type")}
            if attachment.get("type") == "queued_command":  # which is an event
                told = ("prompt", "commandMode")
                kept["attachment"] |= {key: _short(attachment.get(key), world) for key in told}
        return kept
    kept = {key: _short(raw[key], world) for key in raw if key not in _DROPPED}
    result = kept.pop("toolUseResult", None)
    if isinstance(result, dict) and "agentId" in result:
        kept["toolUseResult"] = {key: result[key] for key in _OF_SUBAGENT if key in result}
    return kept


def _short(value: Any, world: World) -> Any:
    if isinstance(value, str):
        text = value.replace(str(world.root), "/world")
        text = text.replace(str(world.root).replace("/", "-").replace("_", "-"), "-world")
        return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
    if isinstance(value, dict):
        return {key: _short(item, world) for key, item in value.items()}
    return [_short(item, world) for item in value] if isinstance(value, list) else value


def write(told: list[Entry], path: Path) -> None:
    """Write a recording, its times counted from its beginning."""
    start = told[0]["at"]
    entries = [{**entry, "at": round(entry["at"] - start, 3)} for entry in told]
    lines = [json.dumps(entry, ensure_ascii=False, separators=(",", ":")) for entry in entries]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(line + "\n" for line in lines))


async def main(names: list[str]) -> None:
    cli = find_real_cli()
    assert cli is not None, "no CLI: set CLAUDE_TRIO_TEST_CLI, or install claude-agent-sdk"
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
        write(told, FOLDER / version / f"{row.name}.jsonl")
        sys.stdout.write(f"{version} {row.name}: {len(told)} entries\n")


if __name__ == "__main__":
    trio.run(main, sys.argv[1:])
