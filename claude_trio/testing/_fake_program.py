"""The scripted `claude` itself: a program of its own, started in a terminal by its driver.

Standard library only, and started with ``python -S -I``, so that it is ready in a twentieth of a
second. What it does comes from a scenario, a JSON file that `FakeCLI` writes; how it looks from
outside (flags, status file, transcript, keys, exits) is modelled on the real CLI, and held to it by
the conformance tests.
"""

from __future__ import annotations

import base64
import datetime
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
import tty
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

SCENARIO = "FAKE_CLAUDE_SCENARIO"
PASTE_START, PASTE_END = b"\x1b[200~", b"\x1b[201~"
EXIT_WORDS = {"exit", "quit", "/exit", "/quit"}
VALUE_FLAGS = {
    "--session-id",
    "--resume",
    "--model",
    "--permission-mode",
    "--disallowedTools",
    "--system-prompt-file",
    "--append-system-prompt-file",
    "--settings",
    "--effort",
    "--tools",
    "--setting-sources",
    "--mcp-config",
}
FLAGS = {"--reply-on-resume", "--dangerously-skip-permissions", "--strict-mcp-config"}
ZERO = {"input_tokens": 0, "output_tokens": 0}


class Interrupted(Exception):  # noqa: N818 - what it is
    """Esc was pressed while a turn ran."""


def project_key(cwd: str) -> str:
    return "".join(c if c.isascii() and c.isalnum() else "-" for c in cwd)


def refuse(text: str) -> NoReturn:
    sys.stdout.write(text + "\r\n")
    sys.stdout.flush()
    sys.exit(1)


def parse_arguments(argv: list[str]) -> dict[str, str]:
    found, rest = {}, list(argv)
    while rest:
        flag = rest.pop(0)
        if flag in FLAGS:
            found[flag] = ""
        elif flag in VALUE_FLAGS and rest:
            found[flag] = rest.pop(0)
        else:
            refuse(f"error: unknown option '{flag}'")
    return found


class Cli:
    """One run of the program."""

    def __init__(self, scenario_path: Path, arguments: dict[str, str], session_id: str) -> None:
        self.scenario_path = scenario_path
        self.arguments = arguments
        self.scenario = json.loads(scenario_path.read_text())
        self.cwd = str(Path.cwd().resolve())
        config = os.environ.get("CLAUDE_CONFIG_DIR")
        self.config = Path(config) if config else Path(os.environ["HOME"], ".claude")
        self.session_id = session_id
        key = project_key(self.cwd)
        self.transcript = self.config / "projects" / key / f"{self.session_id}.jsonl"
        self.status_path = self.config / "sessions" / f"{os.getpid()}.json"
        self.status: dict[str, Any] = {}
        self.version = self.scenario["version"]
        self.model = arguments.get("--model", "claude-fake-1")
        self.parent: str | None = None
        self.prompt_id = ""
        self.box = ""
        self.input = b""
        self.queue: list[str] = []
        self.resumed_with: str | None = None
        self.busy = self.waiting = False
        self.spoken = False
        self.swallowed = 0
        self.armed: dict[bytes, float] = {}

    # -- what others see --------------------------------------------------------------------------

    def log(self, **entry: Any) -> None:
        with (self.scenario_path.parent / "log.jsonl").open("a") as file:
            file.write(json.dumps({"pid": os.getpid(), **entry}) + "\n")

    def say(self, text: str) -> None:
        data = text.encode()
        while data:
            data = data[os.write(1, data) :]

    def set_status(self, state: str | None, waiting_for: str | None = None) -> None:
        if self.scenario["startup"]["kind"] == "no_status_file":
            return
        now = round(time.time() * 1000)
        new = {
            "pid": os.getpid(),
            "sessionId": self.session_id,
            "cwd": self.cwd,
            "startedAt": self.status.get("startedAt", now),
            "version": self.version,
            "kind": "interactive",
            "entrypoint": "cli",
        }
        if sys.platform == "linux":
            stat = Path("/proc/self/stat").read_text()
            new["procStart"] = stat.rpartition(")")[2].split()[19]
        if state is not None:
            new |= {"status": state, "statusUpdatedAt": now, "updatedAt": now}
        if waiting_for is not None:
            new["waitingFor"] = waiting_for
        self.status = new
        self.status_path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # In place, as the real one does: a reader may see half of it.
        descriptor = os.open(self.status_path, os.O_WRONLY | os.O_CREAT, 0o644)
        data = json.dumps(new).encode()
        os.write(descriptor, data)
        os.ftruncate(descriptor, len(data))
        os.close(descriptor)

    def append(self, data: bytes) -> None:
        self.transcript.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self.transcript, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.write(descriptor, data)
        os.close(descriptor)

    def record(self, *, chained: bool = True, **fields: Any) -> str:
        """Append a record; return its uuid."""
        own = str(uuid.uuid4())
        record: dict[str, Any] = {}
        if chained:
            record = {"parentUuid": self.parent, "isSidechain": False}
        record |= fields
        if chained:
            now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
            record |= {
                "uuid": own,
                "timestamp": now.replace("+00:00", "Z"),
                "userType": "external",
                "entrypoint": "cli",
                "cwd": self.cwd,
                "version": self.version,
                "gitBranch": "HEAD",
            }
            self.parent = own
        record["sessionId"] = self.session_id
        line = json.dumps(record).encode() + b"\n"
        for piece in self.pieces(line):
            self.append(piece)
        return own

    def pieces(self, line: bytes) -> Iterator[bytes]:
        size = self.scenario["write_bytes"]
        if not size:
            yield line
            return
        for start in range(0, len(line), size):
            yield line[start : start + size]
            time.sleep(self.scenario["write_pause"])

    # -- keys ---------------------------------------------------------------------------------------

    def read_keys(self, timeout: float) -> None:
        """Take what was typed, for at most so long, and act on it."""
        if self.scenario["deaf_to_input"] and self.busy:
            time.sleep(timeout)
            return
        if not select.select([0], [], [], timeout)[0]:
            if self.input == b"\x1b":  # nothing follows it: it was the key
                self.input = b""
                self.press(b"\x1b")
            return
        try:
            data = os.read(0, 65_536)
        except OSError:
            data = b""
        if not data:
            self.quit(129)
        self.input += data
        while self.input:
            if self.input.startswith(PASTE_START):
                text, end, rest = self.input[6:].partition(PASTE_END)
                if not end:
                    return
                self.input = rest
                self.paste(text.decode("utf-8", "replace"))
            elif PASTE_START.startswith(self.input) and self.input[:1] == b"\x1b":
                return  # the start of a paste, or of nothing: the time-out tells
            else:
                key, self.input = self.input[:1], self.input[1:]
                self.press(key)

    def paste(self, text: str) -> None:
        self.log(event="paste", text=text)
        if not self.waiting:
            self.box += text.replace("\r\n", "\n").replace("\r", "\n")
            self.say(f"\x1b[2K\r\u276f\xa0{self.box[:40]}")

    def press(self, key: bytes) -> None:
        self.log(event="key", key=key.decode("latin-1"))
        twice = time.monotonic() - self.armed.get(key, -10.0) < 0.8
        if key == b"\x1b":
            if self.busy and not self.scenario["deaf_to_escape"]:
                raise Interrupted
            self.waiting = False
        elif key == b"\x03" and self.busy:
            raise Interrupted
        elif key in {b"\x03", b"\x04"} and not self.busy:
            if twice and not self.box:
                self.quit(0)
            self.armed[key] = time.monotonic()
            if key == b"\x03":
                self.box = ""
        elif key == b"\r":
            self.enter()
        elif key == b"\x07" and not (self.waiting or self.scenario["deaf_to_editor"]):
            self.edit()
        elif not self.waiting and key >= b" ":
            self.box += key.decode("utf-8", "replace")

    def edit(self) -> None:
        """Let the user's editor change what stands in the box."""
        editor = os.environ.get("VISUAL") or os.environ.get("EDITOR")
        with tempfile.NamedTemporaryFile("w+", suffix=".md") as file:
            file.write(self.box)
            file.flush()
            if (
                editor
                and not subprocess.run([*editor.split(" "), file.name], check=False).returncode
            ):
                file.seek(0)
                self.box = Path(file.name).read_text(encoding="utf-8")

    def enter(self) -> None:
        text = self.box.rstrip()
        if self.waiting or not text.strip():
            return
        if self.swallowed < self.scenario["swallow_enters"]:
            self.swallowed += 1
            return
        self.box = ""
        self.log(event="prompt", text=text)
        if text.strip() in EXIT_WORDS:
            self.quit(0)
        if self.busy:
            self.record(chained=False, type="queue-operation", operation="enqueue", content=text)
        self.queue.append(text)

    def quit(self, code: int) -> NoReturn:
        self.log(event="exit", code=code)
        self.status_path.unlink(missing_ok=True)
        os._exit(code)

    # -- turns --------------------------------------------------------------------------------------

    def next_turn(self) -> dict[str, Any]:
        """Claim the next scripted turn; several processes may take from one scenario."""
        turns = json.loads(self.scenario_path.read_text())["turns"]
        for number, turn in enumerate(turns):
            try:
                (self.scenario_path.parent / f"turn-{number}.taken").open("x").close()
            except FileExistsError:
                continue
            return dict(turn)
        return {"steps": [{"do": "echo"}], "ends": True}

    def run_turn(self, prompt: str, *, recorded: bool = False) -> None:
        """Do what the scenario says; a prompt that is recorded already has no record of its own."""
        turn = self.next_turn()
        started = time.monotonic()
        self.busy, self.spoken = True, False
        self.prompt_id = str(uuid.uuid4())
        before = self.parent
        self.set_status("busy")
        self.say("\x1b[2K\r✻ Thinking…")
        try:
            self.begin_turn()
            if not recorded:
                self.take_prompt(turn.get("prompt", prompt))
            for step in turn["steps"]:
                self.do(step, prompt)
            if turn["ends"]:
                milliseconds = round((time.monotonic() - started) * 1000)
                self.end_turn(milliseconds)
        except Interrupted:
            self.interrupt(prompt, before)
        self.busy = self.waiting = False
        time.sleep(turn.get("lag", 0))
        self.set_status("idle")
        self.say(f"\x1b[2K\r\u276f\xa0{self.box[:40]}")
        if turn.get("panel"):
            self.show_panel(turn["panel"])
        if turn.get("late"):  # the records of a turn that was already left
            time.sleep(turn["late"])
            self.end_turn(1)

    def show_panel(self, waiting_for: str) -> None:
        """Open a panel, as after a usage limit: nothing is typed into the box until it is closed."""
        self.waiting = True
        self.set_status("waiting", waiting_for)
        while self.waiting:
            self.read_keys(0.02)
        self.set_status("idle")

    def begin_turn(self) -> None:
        mode = self.arguments.get("--permission-mode", "default")
        self.record(chained=False, type="mode", mode="normal")
        self.record(chained=False, type="permission-mode", permissionMode=mode)

    def take_prompt(self, text: str | None) -> None:
        """Write the prompt's record, with whatever text; None leaves it out."""
        self.record(chained=False, type="file-history-snapshot", snapshot={})
        if text is None:
            return
        self.record(
            promptId=self.prompt_id,
            type="user",
            message={"role": "user", "content": text},
            permissionMode=self.arguments.get("--permission-mode", "default"),
            origin={"kind": "human"},
            promptSource="typed",
            turnOrigin="human",
        )
        self.record(type="attachment", attachment={"type": "date", "date": "2026-01-01"})

    def end_turn(self, milliseconds: int) -> None:
        self.record(
            type="system",
            subtype="turn_duration",
            durationMs=milliseconds,
            messageCount=2,
            isMeta=False,
        )
        self.record(chained=False, type="last-prompt", lastPrompt="…", leafUuid=self.parent)

    def interrupt(self, prompt: str, before: str | None) -> None:
        """Write the mark, or, before the first word, put everything back as it was."""
        if self.spoken or self.waiting:
            self.record(
                promptId=self.prompt_id,
                type="user",
                message={
                    "role": "user",
                    "content": [{"type": "text", "text": "[Request interrupted by user]"}],
                },
            )
        else:
            self.parent = before
            self.box = prompt

    def wait(self, until: float) -> None:
        while (left := until - time.monotonic()) > 0:
            self.read_keys(min(left, 0.02))

    def do(self, step: dict[str, Any], prompt: str) -> None:  # noqa: C901, PLR0912 - one case a step
        match step["do"]:
            case "echo":
                self.answer({"blocks": [{"type": "text", "text": f"echo: {prompt}"}]})
            case "answer":
                self.answer(step)
            case "result":
                self.tool_result(step)
            case "sleep":
                self.wait(time.monotonic() + step["seconds"])
            case "gate":
                while not Path(step["path"]).exists():
                    self.read_keys(0.01)
            case "hang":
                while True:
                    self.read_keys(0.02)
            case "error":
                self.error(step)
            case "record":
                self.record(**step["fields"])
            case "raw":
                self.append(base64.b64decode(step["data"]))
            case "status":
                self.set_status(step["state"], step.get("waiting_for"))
            case "dialog":
                self.waiting = True
                self.set_status("waiting", step["waiting_for"])
                while True:
                    self.read_keys(0.02)
            case "spawn":
                # Made to be left behind: that is what the driver has to find.
                subprocess.Popen(
                    step["argv"],
                    start_new_session=True,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            case "close_terminal":
                signal.signal(signal.SIGHUP, signal.SIG_IGN)
                nowhere, _ = os.pipe()  # nothing to read from it, and never at its end
                os.dup2(nowhere, 0)
                for descriptor in (1, 2):
                    os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
            case "die":
                if step["signal"]:
                    os.kill(os.getpid(), step["signal"])
                self.quit(step["code"])

    def answer(self, step: dict[str, Any]) -> None:
        name = step.get("message_id") or f"msg_{uuid.uuid4().hex[:24]}"
        for index, block in enumerate(step["blocks"]):
            self.record(
                message={
                    "id": name,
                    "type": "message",
                    "role": "assistant",
                    "model": self.model,
                    "content": [block],
                    "stop_reason": step.get("stop_reason", "end_turn"),
                    "stop_sequence": None,
                    "usage": step.get("usage") or {"input_tokens": 10, "output_tokens": 5},
                    "stop_details": None,
                },
                apiBlockIndex=index,
                type="assistant",
            )
        self.spoken = True

    def tool_result(self, step: dict[str, Any]) -> None:
        block = {
            "tool_use_id": step["tool_use_id"],
            "type": "tool_result",
            "content": step["content"],
            "is_error": step["is_error"],
        }
        self.record(
            promptId=self.prompt_id,
            type="user",
            message={"role": "user", "content": [block]},
            toolUseResult={"stdout": step["content"], "stderr": ""},
            sourceToolAssistantUUID=self.parent,
        )

    def error(self, step: dict[str, Any]) -> None:
        self.record(
            type="assistant",
            message={
                "id": str(uuid.uuid4()),
                "type": "message",
                "role": "assistant",
                "model": "<synthetic>",
                "content": [{"type": "text", "text": step["text"]}],
                "stop_reason": "stop_sequence",
                "stop_sequence": "",
                "usage": ZERO,
            },
            error=step["error"],
            isApiErrorMessage=True,
            apiErrorStatus=step["status"],
            **step["fields"],
        )
        self.spoken = True

    # -- the whole ------------------------------------------------------------------------------------

    def start(self) -> None:
        startup = self.scenario["startup"]
        time.sleep(startup.get("seconds", 0))
        if startup["kind"] == "exit":
            self.say(startup["text"] + "\r\n")
            sys.exit(startup["code"])
        self.say("\x1b7\x1b[r\x1b8\x1b[?25h\x1b[?2004h\x1b[?1004h")
        if startup["kind"] == "dialog":
            self.say(startup["text"].replace("\n", "\r\n"))
        while startup["kind"] in {"dialog", "hang"}:
            self.read_keys(0.05)
        if startup["kind"] == "stale_status":
            self.session_id, own = str(uuid.uuid4()), self.session_id
            self.set_status("idle")
            self.session_id = own
            while True:
                self.read_keys(0.05)
        self.set_status(None)
        self.say("\x1b]0;✳ Claude Code\x07\x1b[2J\x1b[H\u276f\xa0")
        if startup["kind"] != "without_status":
            self.set_status("idle")

    def load(self) -> None:
        """Take up a transcript, and the place of its last record."""
        lines = self.transcript.read_bytes().splitlines() if self.transcript.exists() else []
        records = [json.loads(line) for line in lines]
        chain = [record for record in records if record.get("uuid")]
        if not chain:
            refuse(f"No conversation found with session ID: {self.session_id}")
        self.parent = chain[-1]["uuid"]
        messages = [record for record in chain if record["type"] != "attachment"]
        if "--reply-on-resume" in self.arguments and messages[-1]["type"] == "user":
            content = messages[-1]["message"]["content"]
            words = content if isinstance(content, str) else content[-1].get("text", "")
            self.log(event="resumed", text=words)
            self.resumed_with = words

    def run(self) -> None:
        if "--resume" in self.arguments:
            self.load()
        elif self.transcript.exists():
            refuse(f"Error: Session ID {self.session_id} is already in use.")
        tty.setraw(0)
        self.start()
        if self.resumed_with is not None:
            self.run_turn(self.resumed_with, recorded=True)
        while True:
            while self.queue:
                prompt = self.queue.pop(0)
                self.run_turn(prompt)
            self.read_keys(0.05)


def main() -> None:
    scenario = Path(os.environ[SCENARIO])
    if sys.argv[1:] == ["--version"]:
        print(f"{json.loads(scenario.read_text())['version']} (Claude Code)")  # noqa: T201
        return
    arguments = parse_arguments(sys.argv[1:])
    session_id = arguments.get("--session-id") or arguments.get("--resume") or str(uuid.uuid4())
    try:
        uuid.UUID(session_id)
    except ValueError:
        refuse("Error: Invalid session ID. Must be a valid UUID.")
    cli = Cli(scenario, arguments, session_id)
    cli.log(event="start", argv=sys.argv[1:], cwd=cli.cwd)

    def terminate(number: int, _frame: object) -> None:
        cli.log(event="signal", number=number)
        if not (number == signal.SIGTERM and cli.scenario["deaf_to_sigterm"]):
            cli.quit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, terminate)
    cli.run()


if __name__ == "__main__":
    main()
