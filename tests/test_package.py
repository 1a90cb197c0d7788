"""The package as a whole: its names, its layers, its errors."""

from __future__ import annotations

import ast
import inspect
import pickle
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest
from diagram import diagram

import claude_trio
from claude_trio import BackendError, ProcessError, TextBlock, UserMessage, errors
from claude_trio._protocol.failures import classify, failure
from claude_trio._protocol.records import parse_record
from claude_trio._protocol.screens import SCREENS, Screen, recognise

PACKAGE = Path(claude_trio.__file__).parent
USE = {
    *("open_backend", "ClaudeCodeBackend", "BackendOptions", "Turn", "SessionInfo"),
    *("AssistantMessage", "UserMessage", "SystemMessage", "ResultMessage", "Event", "Usage"),
    *("ContextWindow", "RateLimit"),
    *("TextBlock", "ThinkingBlock", "ToolUseBlock", "ToolResultBlock", "UnknownBlock"),
    *("PermissionRequest", "Allow", "Deny", "QuestionRequest", "Question", "QuestionOption"),
    *("PlanRequest", "HookMatcher", "HookInput", "HookOutput", "HookContext", "TextDelta"),
    *("tool", "Tool"),
    *("ContentBlock", "check", "CheckReport", "Finding", "find_cli", "TESTED_CLI_VERSIONS"),
    "hash_history",
}
ERRORS = {
    *("BackendError", "AuthError", "ProcessError", "CLINotFoundError", "RateLimitError"),
    *("SessionError", "MessageParseError", "StartupError", "TurnTimeout"),
}
LOWER = {
    *("PtyClaudeProcess", "open_pty_process", "JsonlWatcher", "TurnManager", "normalize"),
    *("Record", "parse_record"),
}


def test_the_public_names_are_the_documented_ones() -> None:
    public = {
        name
        for name, value in vars(claude_trio).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    }
    assert USE | ERRORS | LOWER == public
    readme = PACKAGE.parent / "README.md"
    if readme.exists():  # not beside an installed package
        words = readme.read_text()
        assert [] == sorted(name for name in public if name not in words)


def imports(path: Path) -> Iterator[str]:
    """Yield what a file imports, relative names made absolute."""
    package = ["claude_trio", *path.relative_to(PACKAGE).parent.parts]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


PURE = {
    *("__future__", "base64", "binascii", "collections", "datetime", "decimal", "enum", "hashlib"),
    *("json", "math", "re", "typing", "unicodedata", "uuid", "attrs", "cattrs"),
    "zoneinfo",  # values, out of the system's table of time zones
}


@pytest.mark.parametrize("path", sorted((PACKAGE / "_protocol").glob("*.py")), ids=lambda p: p.name)
def test_the_protocol_does_no_input_or_output(path: Path) -> None:
    for name in imports(path):
        top = name.partition(".")[0]
        if top == "claude_trio":
            allowed = ("_protocol", "errors", "events", "callbacks")
            assert name.split(".")[1] in allowed, f"{path.name} imports {name}"
        else:
            assert top in PURE, f"{path.name} imports {name}"


#: Each module may import those that stand before it.
ORDER = [
    *(
        "errors",
        "events",
        "callbacks",
        "tools",
        "_launch",
        "_protocol",
        "_validators",
    ),
    *("_cli_rules", "_host_rules", "options", "_http", "_host", "_private", "_start_files"),
    *(
        "_cli",
        "_util",
        "_message_channel",
        "_message_response",
        "messages_api",
        "_screen",
        "_sweep",
        "_notices",
        "_trust",
        "_pool",
        "_lock",
    ),
    *(
        "_pty",
        "_jsonl",
        "_subagents",
        "_ways",
        "_editor",
        "_files",
        "_cost",
        "_startup",
        "_inbox",
        "_archive",
        "_cold",
        "_session_info",
        "_opening",
        "_mcp_watch",
        "_delivery",
        "_follower",
        "_prompter",
        "_steering",
        "_session",
        "_prestart",
        "_fleet",
        "_turn",
        "_backend",
        "_check",
        "__init__",
        "_arguments",
        "_console",
        "_doctor",
        "_find_session",
        "_printers",
        "_stop",
        "_print",
        "_watch",
        "__main__",
    ),
]


@pytest.mark.parametrize("name", ORDER)
def test_imports_run_in_one_direction(name: str) -> None:
    path = PACKAGE / f"{name}.py"
    if not path.exists():
        return
    before = ORDER[: ORDER.index(name)]
    text = path.read_text()
    for imported in imports(path):
        parts = imported.split(".")
        if parts[0] == "claude_trio" and f"if TYPE_CHECKING:\n    from .{parts[1]}" not in text:
            assert parts[1] in before, f"{name} imports {imported}"


def test_the_readme_shows_the_table_of_states() -> None:
    readme = (PACKAGE.parent / "README.md").read_text()
    assert f"```mermaid\n{diagram()}\n```" in readme


def test_every_module_has_its_place_in_the_order() -> None:
    found = {module.name for module in pkgutil.iter_modules([str(PACKAGE)])}
    assert set(ORDER) - {"__init__"} | {"testing"} == found


@pytest.mark.parametrize("name", sorted(ERRORS))
def test_every_error_pickles_with_what_it_knows(name: str) -> None:
    error = getattr(errors, name)(message="what happened", kind="some_kind")
    error.partial = (UserMessage(content=(TextBlock("x"),)),)
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    assert isinstance(again, BackendError)
    assert type(again) is type(error)
    assert attrs.asdict(error, recurse=False) == attrs.asdict(again, recurse=False)
    assert "what happened" in str(again)


def test_a_process_error_shows_the_last_screen() -> None:
    assert str(ProcessError("it died")) == "it died"
    assert str(ProcessError("it died", screen_tail="oops")).endswith("oops")


@pytest.mark.parametrize(
    ("code", "status", "text", "extra", "kind"),
    [
        ("unknown", 400, "API Error: 400 odd", "", "unknown"),
        ("invalid_request", 400, "Prompt is too long", "", "context_overflow"),
        ("billing_error", 400, "Credit balance is too low", "", "billing"),
        ("unknown", 402, "API Error: 402 x", "", "billing"),
        ("authentication_failed", 401, "Please run /login", "", "auth"),
        ("oauth_org_not_allowed", 403, "Your organization", "", "auth"),
        ("unknown", 403, "API Error: 403", "", "auth"),
        ("model_not_found", 404, "There's an issue", "", "model_not_found"),
        ("invalid_request", 413, "Request too large (max 32MB)", "", "request_too_large"),
        ("rate_limit", 429, "API Error: Request rejected (429)", "", "rate_limit"),
        ("server_error", 529, "API Error: 529 Overloaded.", "", "server"),
        ("server_error", None, "API Error: Connection refused", "", "connection"),
        ("server_error", None, "Unable to connect to API (ECONNRESET)", "", "connection"),
        ("server_error", None, "Request timed out", "", "timeout"),
        ("server_error", None, "API Error: Connection lost mid-response.", "", "truncated"),
        ("server_error", None, "odd", '"truncatedAfterOutput": true,', "truncated"),
        ("unknown", None, "odd", '"apiError": "stream_idle_timeout",', "timeout"),
        ("max_output_tokens", None, "API Error: The m…", "", "max_output_tokens"),
        ("invalid_request", None, "API Error: 422", "", "invalid_request"),
        ("server_error", None, "odd", "", "connection"),
    ],
)
def test_an_error_record_is_classified(
    code: str, status: int | None, text: str, extra: str, kind: str
) -> None:
    record = parse_record(
        f'{{"type": "assistant", {extra} "error": "{code}", "requestId": "req_1",'
        f' "apiErrorStatus": {status or "null"}, "sessionId": "s",'
        f' "message": {{"content": [{{"type": "text", "text": "{text}"}}]}}}}'.encode()
    )
    assert kind == classify(record)
    error = failure(record)
    assert (kind, status, text, "req_1", "s") == (
        *(error.kind, error.status, error.message),
        *(error.request_id, error.session_id),
    )


def test_a_refusal_is_told_from_an_invalid_request() -> None:
    record = parse_record(
        b'{"type": "assistant", "error": "invalid_request", "message": {"stop_reason": "refusal"}}'
    )
    assert classify(record) == "refusal"
    assert failure(record).message == "the CLI recorded an error without a text"


@pytest.mark.parametrize("screen", SCREENS, ids=lambda screen: screen.kind)
def test_a_start_up_screen_is_known_by_each_of_its_marks(screen: Screen) -> None:
    for mark in screen.marks:
        spaced = mark.replace(" ", "\n   ")
        assert recognise(f"╭───\n│ {spaced} │\n") is screen


def test_an_ordinary_screen_is_none_of_them() -> None:
    assert recognise("\u276f\xa0Try something\n? for shortcuts") is None
