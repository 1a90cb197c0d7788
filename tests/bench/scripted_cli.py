"""A stand-in for the CLI that writes lines at random moments, and the time into each of them.

Run as the CLI is (``--session-id``), it takes any input that ends in Enter for its prompt. With
``append FILE COUNT`` it does nothing but append its lines to a file. The standard library only: it
is started as a program by itself.
"""

from __future__ import annotations

import json
import os
import random
import re
import sys
import time
import tty
from pathlib import Path
from typing import Any, Final

#: Seconds between two lines; their mean sets how long the measurement takes.
_SHORTEST, _LONGEST = 0.005, 0.055
#: Bytes of text in a line; those of a real transcript have one or two thousand.
_PADDING: Final = "x" * 1000


def append_lines(path: Path, count: int, session: str) -> None:
    """Append so many lines, each with the time of the clock that all processes share."""
    with path.open("ab", buffering=0) as file:
        for number in range(count):
            time.sleep(random.uniform(_SHORTEST, _LONGEST))
            record = answer(session, number, _PADDING)
            record["benchStamp"] = time.perf_counter_ns()
            file.write(json.dumps(record).encode() + b"\n")


def answer(session: str, number: int, text: str) -> dict[str, Any]:
    """Return a record of something that the model said."""
    message = {
        "id": f"msg_{number}",
        "type": "message",
        "role": "assistant",
        "model": "scripted",
        "content": [{"type": "text", "text": text}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }
    return {**base(session, f"a{number}"), "type": "assistant", "message": message}


def base(session: str, name: str) -> dict[str, Any]:
    """Return what every record has."""
    now = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
    return {"uuid": name, "parentUuid": None, "sessionId": session, "timestamp": now}


def be_the_cli(config: Path, session: str, count: int, silence: float) -> None:
    """Take prompts; answer the first with lines, and every later one with silence."""
    key = re.sub("[^A-Za-z0-9]", "-", os.path.realpath("."))
    transcript = config / "projects" / key / f"{session}.jsonl"
    transcript.parent.mkdir(parents=True, exist_ok=True)
    status = config / "sessions" / f"{os.getpid()}.json"
    status.parent.mkdir(parents=True, exist_ok=True)

    def say(state: str) -> None:
        now = time.time_ns() // 1_000_000
        said = {"sessionId": session, "version": "2.1.999", "status": state, "statusUpdatedAt": now}
        status.write_text(json.dumps(said))

    def write(record: dict[str, Any]) -> None:
        with transcript.open("ab", buffering=0) as file:
            file.write(json.dumps(record).encode() + b"\n")

    tty.setraw(0)
    say("idle")
    turns = 0
    while prompt := read_prompt():
        say("busy")
        message = {"role": "user", "content": prompt}
        user = base(session, f"u{turns}") | {"type": "user", "message": message}
        write(user | {"promptSource": "typed"})
        if turns == 0:
            append_lines(transcript, count, session)
        else:
            time.sleep(silence)
            write(answer(session, count + turns, "ok"))
        say("idle")
        end = {"type": "system", "subtype": "turn_duration", "durationMs": 1}
        write(base(session, f"d{turns}") | end)
        turns += 1


def read_prompt() -> str:
    """Return what was pasted before an Enter; empty at the end of the input."""
    data = b""
    while b"\r" not in data:
        more = os.read(0, 65_536)
        if not more:
            return ""
        data += more
    pasted = re.findall(rb"\x1b\[200~(.*?)\x1b\[201~", data, re.DOTALL)
    return b"".join(pasted).decode().rstrip()


def main() -> None:
    """Run as the program that the arguments want."""
    if sys.argv[1] == "append":
        append_lines(Path(sys.argv[2]), int(sys.argv[3]), "s")
        return
    session = sys.argv[sys.argv.index("--session-id") + 1]
    config = Path(os.environ["CLAUDE_CONFIG_DIR"])
    count, silence = int(os.environ["BENCH_LINES"]), float(os.environ["BENCH_SILENCE"])
    be_the_cli(config, session, count, silence)


if __name__ == "__main__":
    main()
