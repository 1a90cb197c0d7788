"""Whether the model has seen a history that was written for it.

A CLI takes up a transcript with forbearance: what it cannot use it leaves out without a word. So the
first answer of the model is believed only if it hangs on our last record, and if the request behind
it, of which newer CLIs record a digest for each message, had our messages in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from .javascript import digest
from .records import Record
from .transcript import Message, Transcript

#: The CLI's own conversation with the model, as its records of requests call it.
_CONVERSATION: Final = "repl_main_thread"
_FILLER: Final = "<synthetic>"


@attrs.define(eq=False)
class HistoryCheck:
    """Judges the first answer to a history. Feed it every record that the CLI adds to it, in order.

    Args:
        written: The history.
    """

    written: Transcript
    #: Whether the model has answered, so that `problem` is final.
    answered: bool = False
    #: Why the model has not seen the history; None if it has, or has not answered yet.
    problem: str | None = None
    _parents: dict[str, str | None] = attrs.field(factory=dict)
    _requests: dict[str, list[str]] = attrs.field(factory=dict)
    _changed: dict[str, list[Any]] = attrs.field(factory=dict)
    _sent: list[str] | None = None
    _compacted: bool = False

    def feed(self, record: Record) -> None:
        """Take the next record."""
        if self.answered:
            return
        match record.type:
            case "api-request":
                self._take_request(record.raw)
            case "api-request-blob":
                message = record.raw.get("message")
                if isinstance(message, Mapping) and isinstance(message.get("content"), list):
                    self._changed[str(record.raw.get("hash"))] = message["content"]
                    self._changed[digest(message)] = message["content"]
        if record.uuid is None or record.is_sidechain:
            return
        logical = record.raw.get("logicalParentUuid")  # of the boundary that a compaction draws
        self._parents[record.uuid] = record.parent_uuid or (
            logical if isinstance(logical, str) else None
        )
        # What was too long was put into other words, as in a live process.
        self._compacted |= record.subtype == "compact_boundary"
        if record.type == "assistant" and not record.is_api_error:
            self.answered = True
            self.problem = self._judge(record)

    def _take_request(self, raw: Mapping[str, Any]) -> None:
        tail, keep = raw.get("tail"), raw.get("keep")
        if not isinstance(tail, list) or not isinstance(keep, int):
            return
        base = self._requests.get(str(raw.get("base")), [])
        if keep > len(base):
            return  # what it goes on from is not known
        sent = self._requests[str(raw.get("id"))] = [*base[:keep], *map(str, tail)]
        if str(raw.get("querySource")).startswith(_CONVERSATION):
            self._sent = sent

    def _judge(self, answer: Record) -> str | None:
        if answer.message.get("model") == _FILLER:
            return "the CLI has put in an answer of its own"
        place = answer.parent_uuid
        for _ in range(len(self._parents)):
            if place not in self._parents:
                break
            place = self._parents[place]
        if place != self.written.uuids[-1]:
            return "the answer does not hang on the last record that was written"
        return None if self._sent is None or self._compacted else self._compare(self._sent)

    def _compare(self, sent: Sequence[str]) -> str | None:
        """Look for each message among those sent, in order; the CLI may have added others."""
        place, count = 0, len(self.written.messages)
        for number, message in enumerate(self.written.messages):
            ours = _digests(message)
            while place < len(sent) and not (
                sent[place] in ours or self._holds(sent[place], message.blocks)
            ):
                place += 1
            if place == len(sent):
                return f"message {number + 1} of {count} is not in the request as it was written"
            place += 1
        return None

    def _holds(self, sent: str, blocks: Sequence[Mapping[str, Any]]) -> bool:
        """Whether a message that the CLI has put something into holds these blocks side by side."""
        content, ours = self._changed.get(sent, ()), [digest(block) for block in blocks]
        theirs = [digest(block) for block in content]
        return any(
            theirs[start : start + len(ours)] == ours
            for start in range(len(theirs) - len(ours) + 1)
        )


def _digests(message: Message) -> set[str]:
    """Return the digests that a message may have: newer CLIs empty the citations of a text."""
    plain = message.to_dict()
    bare = [{**b, "citations": []} if b.get("citations") else b for b in plain["content"]]
    return {digest(plain), digest({**plain, "content": bare})}
