"""Records as the CLI writes them, trimmed to the fields that matter, for the tests of the core."""

from __future__ import annotations

import json
from typing import Any, TypeAlias

import attrs

from claude_trio import Record, parse_record

Raw: TypeAlias = dict[str, Any]

SESSION = "97ad0000-0000-4000-8000-000000000000"


def to_line(raw: Raw) -> bytes:
    return json.dumps(raw).encode()


def to_record(raw: Raw) -> Record:
    return parse_record(to_line(raw))


def text(words: str) -> Raw:
    return {"type": "text", "text": words}


def thinking(words: str) -> Raw:
    return {"type": "thinking", "thinking": words, "signature": "c2ln"}


def tool_use(tool_id: str, name: str = "Bash", **arguments: Any) -> Raw:
    return {"type": "tool_use", "id": tool_id, "name": name, "input": arguments}


@attrs.define
class Script:
    """Makes the records of one transcript, each hanging on the one made before it."""

    last: str | None = None
    made: int = 0

    def record(self, kind: str, **fields: Any) -> Raw:
        self.made += 1
        own = f"00000000-0000-4000-8000-{self.made:012d}"
        raw = {
            "parentUuid": self.last,
            "isSidechain": False,
            "type": kind,
            "uuid": own,
            "timestamp": f"2026-01-02T03:04:{self.made % 60:02d}.000Z",
            "sessionId": SESSION,
            **fields,
        }
        self.last = own
        return raw

    # -- the user's role

    def user(self, content: str | list[Raw], **fields: Any) -> Raw:
        return self.record("user", message={"role": "user", "content": content}, **fields)

    def prompt(self, words: str = "hello", source: str = "typed", **fields: Any) -> Raw:
        human = {"promptId": "9dc3", "origin": {"kind": "human"}, "promptSource": source}
        return self.user(words, **human, **fields)

    def auto_prompt(self, words: str = "<task-notification>done</task-notification>") -> Raw:
        origin = {"kind": "task-notification"}
        return self.user(words, promptId="4db9", origin=origin, promptSource="system")

    def tool_result(self, tool_id: str, words: str = "ok", *, is_error: bool = False) -> Raw:
        block = {
            "tool_use_id": tool_id,
            "type": "tool_result",
            "content": words,
            "is_error": is_error,
        }
        return self.user([block], toolUseResult={"stdout": words, "stderr": ""})

    def subagent_result(self, tool_id: str, words: str | None = "found") -> Raw:
        """Give the result of a subagent; without words it goes on in the background."""
        block = {"tool_use_id": tool_id, "type": "tool_result", "content": words or "launched"}
        told: Raw = {"agentId": "a1", "status": "async_launched"}
        if words is not None:
            told = {**told, "status": "completed", "content": [text(words)]}
        return self.user([block], toolUseResult=told)

    def continuation(self, words: str = "Output token limit hit. Resume directly") -> Raw:
        return self.user(words, isMeta=True, turnCompanion=True)

    def interrupt_mark(self, words: str = "[Request interrupted by user]") -> Raw:
        return self.user([text(words)], promptId="9dc3", interruptedMessageId="msg_01")

    # -- the assistant's role

    def answer(
        self,
        *content: Raw,
        stop: str | None = "end_turn",
        message_id: str = "msg_01",
        tokens: tuple[int, int] = (11, 7),
        model: str = "claude-x",
        **fields: Any,
    ) -> Raw:
        message = {
            "id": message_id,
            "type": "message",
            "role": "assistant",
            "model": model,
            "content": list(content),
            "stop_reason": stop,
            "stop_sequence": None,
            "usage": {"input_tokens": tokens[0], "output_tokens": tokens[1]},
        }
        return self.record("assistant", message=message, **fields)

    def filler(self, words: str = "No response requested.") -> Raw:
        return self.answer(
            text(words),
            stop="stop_sequence",
            message_id=f"filler-{self.made}",
            tokens=(0, 0),
            model="<synthetic>",
            isApiErrorMessage=False,
        )

    def error(self, words: str, code: str, *, stop: str = "stop_sequence", **fields: Any) -> Raw:
        return self.answer(
            text(words),
            stop=stop,
            message_id=f"error-{self.made}",
            tokens=(0, 0),
            model="<synthetic>",
            isApiErrorMessage=True,
            error=code,
            **fields,
        )

    # -- the CLI's own voice

    def system(self, subtype: str, **fields: Any) -> Raw:
        return self.record("system", subtype=subtype, **fields)

    def done(self, duration_ms: int = 1200, **fields: Any) -> Raw:
        return self.system("turn_duration", durationMs=duration_ms, messageCount=2, **fields)

    def notice(self, words: str, level: str = "warning", **fields: Any) -> Raw:
        return self.system("informational", content=words, level=level, **fields)

    def attachment(self, kind: str = "skill_listing", **fields: Any) -> Raw:
        return self.record("attachment", attachment={"type": kind, **fields})


def queue_operation(operation: str, words: str = "hello") -> Raw:
    return {
        "type": "queue-operation",
        "operation": operation,
        "timestamp": "2026-01-02T03:04:00.000Z",
        "sessionId": SESSION,
        "content": words,
    }
