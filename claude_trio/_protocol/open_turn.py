"""`OpenTurn`: what is known of one turn of ours while it lasts."""

from __future__ import annotations

import math

import attrs

from ..errors import BackendError
from ..events import AssistantMessage, Event, ToolUseBlock
from .keys import normalized
from .normalize import normalize
from .outcome import is_answer
from .records import Record
from .signals import Signal


@attrs.define(eq=False)
class Further:
    """A prompt that is sent while the turn runs.

    Attributes:
        text: The text, normalized.
        taken: Whether the CLI has taken it.
        given: Whether it was given to the model.
        lost: Whether it is not known what became of it.
    """

    text: str
    taken: bool = False
    given: bool = False
    lost: bool = False
    entered_at: float = math.inf
    enters: int = 0

    @property
    def open(self) -> bool:
        """Whether it is still to be given to the model."""
        return not (self.given or self.lost)


@attrs.define(eq=False)
class OpenTurn:
    """What is known of one turn of ours while it lasts."""

    prompt: str | None = None
    submitted_at: float = 0.0
    entered_at: float = 0.0
    enters: int = 1
    acknowledged: bool = False
    interrupt_sent: bool = False
    #: When Esc was pressed last.
    escaped_at: float = -math.inf
    #: How often, at the dialog that is open.
    escapes: int = 0
    #: What the dialog asked for that was refused.
    refused: str | None = None
    status_moved: bool = False
    duration_ms: int | None = None
    #: It was paused: the CLI's figure counts what the caller took.
    went_on: bool = False
    error: Record | None = None
    open_tools: set[str] = attrs.field(factory=set)
    #: Of these, the calls that the caller is to answer.
    asked: dict[str, ToolUseBlock] = attrs.field(factory=dict)
    #: Calls that became events before their records were there.
    told: list[ToolUseBlock] = attrs.field(factory=list)
    #: By the ids of such calls in the records, those in the events.
    told_as: dict[str, str] = attrs.field(factory=dict)
    #: How many events there were when it was paused.
    paused_at: int = 0
    #: Every tool call of the turn, those of its subagents included.
    calls: set[str] = attrs.field(factory=set)
    #: By the call of each of its subagents, its last words; None for one that goes on.
    last_words: dict[str, str | None] = attrs.field(factory=dict)
    #: By the call of each subagent that was heard, its newest words.
    heard: dict[str, str] = attrs.field(factory=dict)
    #: The record that ends the turn, while subagents are still to be heard; and when it was read.
    end: list[Record] = attrs.field(factory=list)
    ended_at: float = 0.0
    #: What the turn fails by, however it ends.
    doom: BackendError | None = None
    further: list[Further] = attrs.field(factory=list)
    #: The CLI has ended its turn, and a further prompt is still to come.
    ended: bool = False
    #: How long the CLI's turns were that ended before what was added.
    before_ms: int = 0
    #: The subtype of the limit by which the turn is being ended.
    limit: str | None = None
    held: list[Record] = attrs.field(factory=list)
    #: What subagents have said whose calls are not known, with those calls.
    subagents: list[tuple[Record, str]] = attrs.field(factory=list)
    events: list[Event] = attrs.field(factory=list)
    taken: int = 0

    def note(self, record: Record, signal: Signal) -> None:
        """Keep what a record of the turn says about it."""
        match signal:
            case Signal.ANSWER | Signal.FILLER:
                self.error = None
                self.open_tools |= calls_in(record)
                self.calls |= calls_in(record)
            case Signal.TOOL_RESULT:
                self.error = None
                done = {str(block.get("tool_use_id")) for block in record.blocks}
                self.open_tools -= done
                for call_id in done:
                    self.asked.pop(call_id, None)
                self.last_words |= record.last_words
            case Signal.CONTINUATION:
                self.error = None
            case Signal.ERROR:
                self.error = record
            case Signal.END:
                duration = record.raw.get("durationMs")
                if isinstance(duration, int):
                    self.duration_ms = self.before_ms + duration

    @property
    def unheard(self) -> bool:
        """Whether there are words of the turn's subagents that are still to come."""
        return any(
            call not in self.heard or (words and words != self.heard[call])
            for call, words in self.last_words.items()
        )

    def release_subagents(self) -> None:
        """Deliver what subagents have said whose calls are known now."""
        while known := [said for said in self.subagents if said[1] in self.calls]:
            for record, tool_use_id in known:
                self.subagents.remove((record, tool_use_id))
                self.calls |= calls_in(record)  # it may have subagents of its own
                self.heard[tool_use_id] = record.text if record.type == "assistant" else ""
                if (event := normalize(record, parent_tool_use_id=tool_use_id)) is not None:
                    self.events.append(event)

    def goes_on(self) -> bool:
        """Whether our turn goes on behind the end of the CLI's, with what was added to it."""
        return any(further.open for further in self.further) and not self.interrupt_sent

    def find_further(self, text: str) -> Further | None:
        """Return what was added with this text and is still to be given to the model."""
        found = [each for each in self.further if each.open and each.text == normalized(text)]
        return found[0] if found else None

    def untaken(self) -> Further | None:
        """Return what was added first and the CLI has not taken."""
        waiting = [each for each in self.further if each.open and not each.taken]
        return waiting[0] if waiting else None

    def final_error(self) -> Record | None:
        """Return the error record that ends the turn if nothing follows; None for one in the middle."""
        error = self.error
        if error is None or self.open_tools:
            return None
        return None if error.message.get("stop_reason") == "tool_use" else error

    def is_cut(self) -> bool:
        """Whether the model's last words have no end, which the API itself never leaves out.

        2.1.197 takes a body that ends without ``message_stop`` for a whole one.
        """
        last = self.last_answer()
        if last is None or last.stop_reason is not None or last.model == "<synthetic>":
            return False
        return bool(last.text)

    def last_answer(self) -> AssistantMessage | None:
        """Return what the model of the conversation itself said last in this turn."""
        for event in reversed(self.events):
            if isinstance(event, AssistantMessage) and is_answer(event):
                return event
        return None


def calls_in(record: Record) -> set[str]:
    """Return the ids of the tool calls in a record."""
    return {str(block.get("id")) for block in record.blocks if block.get("type") == "tool_use"}
