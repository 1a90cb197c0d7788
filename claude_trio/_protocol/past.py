"""The beginning of a transcript that exists, up to a record from which a conversation goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any


def lines_until(data: bytes, leaf: str) -> bytes | None:
    r"""Return the beginning of a transcript that has a record and all that leads up to it.

    2.1.197 may write an answer before its prompt, so a parent may stand behind its child.

    Args:
        data: The transcript.
        leaf: The uuid of the record.

    Returns:
        Whole lines, the last one with its ``\n``; None if something of that is not there.
    """
    lines = data.split(b"\n")
    places: dict[str, int] = {}
    known: dict[str, Mapping[str, Any]] = {}
    for place, record in enumerate(map(_parse, lines)):
        if isinstance(uuid := record.get("uuid"), str):
            places[uuid], known[uuid] = place, record
    chain = [*_chain(known, leaf)]
    if not chain or chain[-1].get("parentUuid") is not None:
        return None
    last = max(places[str(record["uuid"])] for record in chain)
    return b"".join(line + b"\n" for line in lines[: last + 1])


def _chain(known: Mapping[str, Mapping[str, Any]], leaf: str) -> Iterator[Mapping[str, Any]]:
    """Yield a record and all that lead up to it, the first one last."""
    seen: set[str] = set()
    name: object = leaf
    while isinstance(name, str) and name in known and name not in seen:
        seen.add(name)
        yield known[name]
        name = known[name].get("parentUuid")


def _parse(line: bytes) -> Mapping[str, Any]:
    try:
        record = json.loads(line)
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}
