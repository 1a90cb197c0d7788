"""Judges a CLI: plays every row on it, and says where it goes another way than the known ones.

``python tests/rows/drift.py`` takes the CLI that the tests take; names behind it choose rows. A row
that comes to something else is a change that this package has to follow; a field that came or went
is one that it may have to. Ends with 1 if any row differs.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import trio

sys.path.insert(0, str(Path(__file__).parents[1]))

from claude_trio import BackendError
from claude_trio.testing import find_real_cli, isolated_world, open_loopback_api
from rows.play import Row, differences, is_old, play, version_of
from rows.playback import read
from rows.record import FOLDER, Entry, recording
from rows.table import ROWS


def kind_of(raw: Mapping[str, Any]) -> str:
    """Return what kind of record one is, as far as this package tells kinds apart."""
    parts = [str(raw["type"]), str(raw.get("subtype", ""))]
    flags = ("isApiErrorMessage", "isMeta", "isCompactSummary")
    parts += [*(flag for flag in flags if raw.get(flag) is True), str(raw.get("promptSource", ""))]
    return " ".join(part for part in parts if part)


def fields(entries: Iterable[Entry]) -> dict[str, set[str]]:
    """Return the names of the fields of each kind of record."""
    found: dict[str, set[str]] = {}
    for entry in entries:
        match entry:
            case {"with": [{"record": raw}, *_]}:
                found.setdefault(kind_of(raw), set()).update(_names(raw))
    return found


def _names(raw: Mapping[str, Any]) -> Iterator[str]:
    for key, value in raw.items():
        yield key
        if key == "message" and isinstance(value, dict):
            yield from (f"message.{inner}" for inner in value)


def changes(known: Iterable[Entry], new: Iterable[Entry]) -> list[str]:
    """Return what came and went between two recordings, a line for each kind of record."""
    before, after = fields(known), fields(new)
    lines = [f"no record {kind!r}" for kind in sorted(before.keys() - after.keys())]
    lines += [f"new record {kind!r}" for kind in sorted(after.keys() - before.keys())]
    for kind in sorted(before.keys() & after.keys()):
        gone, come = sorted(before[kind] - after[kind]), sorted(after[kind] - before[kind])
        if gone or come:
            words = [*(f"-{name}" for name in gone), *(f"+{name}" for name in come)]
            lines.append(f"record {kind!r}: {' '.join(words)}")
    return lines


async def judge(row: Row, cli: Path, known: str) -> tuple[bool, list[str]]:
    """Play a row; return whether it comes to what is known, and what differs.

    Args:
        row: The row.
        cli: The CLI.
        known: The version whose recordings it is compared with.
    """
    with isolated_world() as world:
        async with open_loopback_api() as api:
            with recording(world) as told:
                try:
                    seen = await play(row, cli, api, world)
                except (AssertionError, BackendError, trio.TooSlowError, ExceptionGroup) as exc:
                    return False, [f"{type(exc).__name__}: {exc}"]
    wrong = differences(row.expected(old=is_old(known)), seen)
    lines = wrong.splitlines()
    return not wrong, lines + changes(read(FOLDER / known / f"{row.name}.jsonl"), told)


def nearest(version: str) -> str:
    """Return the recorded version of the same generation."""
    (found,) = [path.name for path in FOLDER.iterdir() if is_old(path.name) == is_old(version)]
    return found


async def main(names: list[str]) -> int:
    cli = find_real_cli()
    if cli is None:
        sys.stderr.write("no CLI: set CLAUDE_TRIO_TEST_CLI, or install claude-agent-sdk\n")
        return 2
    with isolated_world() as world:
        version = await version_of(cli, world.env("http://127.0.0.1:9"))
    known = nearest(version)
    sys.stdout.write(f"CLI {version}, compared with {known}\n")
    differing = 0
    for row in ROWS:
        if (names and row.name not in names) or (is_old(known) and row.old is None):
            continue
        same, lines = await judge(row, cli, known)
        differing += not same
        sys.stdout.write(f"{row.name:40} {'as expected' if same else 'differs'}\n")
        sys.stdout.write("".join(f"    {line}\n" for line in lines))
    sys.stdout.write(f"{differing} rows differ\n")
    return int(differing > 0)


if __name__ == "__main__":
    sys.exit(trio.run(main, sys.argv[1:]))
