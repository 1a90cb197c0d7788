"""Where a transcript that exists stands, and the records by which a conversation goes on from there."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from .messages import Said
from .objects import parse_object
from .transcript import end_record, write_transcript

_TASKS: Final = (b"backgroundTaskId", b"async_launched")


def whole_lines(data: bytes) -> bytes:
    """Return a transcript without a last line that is being written, or was torn."""
    return data[: data.rfind(b"\n") + 1]


def without_tasks(data: bytes) -> bytes:
    """Return a transcript that tells of no task in the background, for another process to go on with.

    Such a task has ended with its process. 2.1.197 would begin with a turn that tells the model so, in
    which the prompt is lost. What the model itself was told stays.
    """
    return b"".join(_without_task(line) for line in data.splitlines(keepends=True))


def _without_task(line: bytes) -> bytes:
    if not any(mark in line for mark in _TASKS):
        return line
    record = parse(line)
    result = record.get("toolUseResult")
    if not isinstance(result, dict) or not _is_task(result):
        return line
    kept = {key: value for key, value in record.items() if key != "toolUseResult"}
    return json.dumps(kept, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _is_task(result: Mapping[str, Any]) -> bool:
    return "backgroundTaskId" in result or result.get("status") == "async_launched"


def find_end(data: bytes) -> tuple[str | None, Mapping[str, Any]] | None:
    """Return where the CLI goes on from; None if there is no conversation.

    That is behind the last record of the conversation itself, or where a rewind has gone back to.

    Returns:
        The uuid of the record; and the message that it is, or belongs to.
    """
    known: dict[str, Mapping[str, Any]] = {}
    rewound: Mapping[str, Any] | None = None
    for record in map(parse, data.splitlines()):
        uuid = record.get("uuid")
        if record.get("type") == "last-prompt" and record.get("explicit") is True:
            rewound = record
        elif isinstance(uuid, str) and record.get("isSidechain") is not True:
            known[uuid], rewound = record, None
    if rewound is not None:
        leaf = rewound.get("leafUuid")
        if not isinstance(leaf, str):  # to before the first message
            return None, {}
    else:
        # 2.1.197 may write an answer before its prompt, so the last line need not be the last word.
        parents = [record.get("parentUuid") for record in known.values()]
        inner = {parent for parent in parents if isinstance(parent, str)}
        ends = [uuid for uuid in known if uuid not in inner]
        if not ends:
            return None
        leaf = max(reversed(ends), key=lambda uuid: str(known[uuid].get("timestamp", "")))
    # What stands behind a message, such as what was attached to it, leads up to it.
    chain = chain_of(known, leaf)
    last = next((r for r in chain if str(r.get("type")) in {"user", "assistant"}), {})
    return leaf, last


def lines_until(data: bytes, leaf: str) -> bytes | None:
    """Return the beginning of a transcript that has a record and all that leads up to it.

    None, if something of that is not there. A parent may stand behind its child: see `find_end`.
    """
    lines = data.splitlines(keepends=True)
    places: dict[str, int] = {}
    known: dict[str, Mapping[str, Any]] = {}
    for place, record in enumerate(map(parse, lines)):
        if isinstance(uuid := record.get("uuid"), str):
            places[uuid], known[uuid] = place, record
    chain = [*chain_of(known, leaf)]
    if not chain or chain[-1].get("parentUuid") is not None:
        return None
    needed = b"".join(lines[: max(places[record["uuid"]] for record in chain) + 1])
    return needed if needed.endswith(b"\n") else needed + b"\n"


def chain_of(known: Mapping[str, Mapping[str, Any]], leaf: object) -> Iterator[Mapping[str, Any]]:
    """Return a record and all that lead up to it, the first one last.

    Args:
        known: The records by their uuids.
        leaf: The uuid of the record.
    """
    seen: set[object] = set()
    name = leaf
    while isinstance(name, str) and name in known and name not in seen:
        seen.add(name)
        yield known[name]
        name = known[name].get("parentUuid")


def parse(line: bytes) -> Mapping[str, Any]:
    """Return the record in a line of a transcript; an empty one if there is none."""
    return parse_object(line) or {}


def next_records(
    data: bytes,
    prompt: Said,
    *,
    session_id: str,
    cwd: str,
    model: str | None,
    now: datetime.datetime,
) -> bytes:
    """Return the lines to add to a transcript, so that a CLI that takes it up answers a prompt.

    Nothing, if the transcript ends with just this prompt: it was never answered.

    Args:
        data: The transcript.
        prompt: The user's new message.
        session_id: The conversation that it is added to.
        cwd: The directory of the session, links resolved.
        model: As for `write_transcript`.
        now: The time of the record.

    Raises:
        ValueError: There is no conversation in the transcript.
    """
    end = find_end(data)
    if end is None:
        raise ValueError("it holds no conversation")
    leaf, last = end
    written = write_transcript(
        (prompt,), session_id=session_id, cwd=cwd, model=model, now=now, parent=leaf
    )
    if last.get("type") == "user" and _content(last) == _content(json.loads(written.data)):
        return b""
    lines = written.data + end_record(written.uuids[-1], session_id)
    return lines if data.endswith(b"\n") else b"\n" + lines


def rewind_record(data: bytes, *, session_id: str) -> bytes:
    """Return what to add to a transcript that has grown, so that a CLI goes on from where it ended.

    Args:
        data: The transcript as it was.
        session_id: Its session.
    """
    leaf, _ = find_end(data) or (None, None)
    return end_record(leaf, session_id, explicit=True)


def version_of(data: bytes) -> str | None:
    """Return the version of the CLI that was the last to write into a transcript, if any says so."""
    for line in reversed(data.splitlines()):
        if isinstance(version := parse(line).get("version"), str):
            return version
    return None


def _content(record: Mapping[str, Any]) -> object:
    message = record.get("message")
    content = message.get("content") if isinstance(message, dict) else None
    return [{"type": "text", "text": content}] if isinstance(content, str) else content
