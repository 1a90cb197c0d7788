"""The public API as a program would use it: never run, checked by the type checkers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, assert_type

import claude_trio
from claude_trio import (
    TESTED_CLI_VERSIONS,
    Allow,
    AssistantMessage,
    BackendError,
    BackendOptions,
    CheckReport,
    ClaudeCodeBackend,
    CLINotFoundError,
    ContentBlock,
    ContextWindow,
    Deny,
    Event,
    Finding,
    HookContext,
    HookInput,
    HookMatcher,
    HookOutput,
    JsonlWatcher,
    MessageParseError,
    PermissionRequest,
    PlanRequest,
    ProcessError,
    PtyClaudeProcess,
    Question,
    QuestionOption,
    QuestionRequest,
    RateLimit,
    RateLimitError,
    Record,
    ResultMessage,
    SessionInfo,
    SystemMessage,
    TextBlock,
    TextDelta,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
    Turn,
    TurnManager,
    TurnTimeout,
    UnknownBlock,
    Usage,
    UserMessage,
    check,
    find_cli,
    hash_history,
    normalize,
    open_backend,
    open_pty_process,
    parse_record,
    tool,
)


def options() -> None:
    made = BackendOptions(
        cwd=".",
        cli_path=Path("/usr/bin/claude"),
        model="opus",
        permission_mode="acceptEdits",
        env={"A": "b"},
        turn_timeout=5,
        settings={"permissions": {"allow": ["Bash(ls)"]}},
        trust_workspace=True,
        prestart=2,
        max_sessions=None,
        idle_timeout=60,
        effort="low",
        thinking={"type": "enabled", "budget_tokens": 2000},
        output_format={"type": "json_schema", "schema": {"type": "object"}},
        extra_body={"temperature": 0.5},
        tools=["Bash"],
        allowed_tools=("Bash(ls *)",),
        add_dirs=["/tmp", Path("/")],
        mcp_servers={"words": {"command": "words", "args": ["-v"]}},
        agents={"critic": {"description": "Judges", "prompt": "You judge."}},
        setting_sources=["user", "project"],
        extra_args={"debug": None, "name": "x"},
        include_cost=True,
        history="concat_message",
    )
    assert_type(made, BackendOptions)
    assert_type(made.cwd, Path)
    assert_type(made.cli_path, Path | None)
    assert_type(made.env, Mapping[str, str])
    assert_type(made.turn_timeout, float | None)
    assert_type(made.settings, Mapping[str, Any])
    assert_type(made.trust_workspace, bool)
    assert_type(made.prestart, int)
    assert_type(made.tools, Sequence[str] | None)
    assert_type(made.add_dirs, Sequence[Path])
    assert_type(made.mcp_servers, Mapping[str, Any] | None)
    assert_type(BackendOptions.for_chat(cwd=".", model="opus"), BackendOptions)
    assert_type(BackendOptions.for_agent(cwd=".", tools=["Read"]), BackendOptions)
    BackendOptions(cwd=".", effort="huge")  # type: ignore[arg-type]  # no such effort
    BackendOptions(cwd=".", permission_mode="yolo")  # type: ignore[arg-type]  # no such mode
    BackendOptions(cwd=".", history="fold")  # type: ignore[arg-type]  # no such strategy
    BackendOptions(".")  # type: ignore[call-arg]  # by keyword only


async def machine() -> None:
    assert_type(find_cli(), Path)
    assert_type(find_cli("claude", {"PATH": "/bin"}), Path)
    assert_type(TESTED_CLI_VERSIONS[0], str)
    assert_type(hash_history([{"role": "user", "content": "hi"}]), str)
    report = await check(BackendOptions(cwd="."), turn=True)
    assert_type(report, CheckReport)
    assert_type(report.ok, bool)
    assert_type(report.cli_version, str | None)
    assert_type(report.logged_in, bool | None)
    assert_type(report["trust"], Finding)
    assert_type(report["trust"].advice, str)
    assert_type(report.to_dict(), dict[str, Any])


async def conversation() -> None:
    async with open_backend(BackendOptions(cwd=".")) as backend:
        assert_type(backend, ClaudeCodeBackend)
        turn = backend.complete([{"role": "user", "content": "hi"}])
        assert_type(turn, Turn)
        assert_type(backend.complete([], session_id="…", fork=True), Turn)
        assert_type(backend.sessions, tuple[SessionInfo, ...])
        assert_type(backend.sessions[0].idle_since, float | None)
        assert_type(backend.sessions[0].context_tokens, int | None)
        assert_type(await backend.close_session("…"), bool)
        chosen = backend.complete([], model="opus", effort="max", permission_mode="plan")
        assert_type(chosen, Turn)
        backend.complete([], effort="huge")  # type: ignore[arg-type]  # no such effort
        async for event in turn:
            assert_type(event, Event)
            handle(event)
        async with backend.complete([{"role": "user", "content": "hi"}]) as turn:
            assert_type(turn, Turn)
            assert_type(await turn.receive(), Event)
            assert_type(await turn.get_final_text(), str)
            assert_type(turn.result, ResultMessage | None)
            assert_type(turn.session, SessionInfo | None)
            if turn.result is not None:
                assert_type(turn.result.resumed, bool)
            if turn.session is not None:
                assert_type(turn.session.pid, int | None)
                assert_type(turn.session.transcript, Path)


def handle(event: Event) -> str | None:
    match event:
        case AssistantMessage():
            assert_type(event.content, tuple[ContentBlock, ...])
            assert_type(event.usage, Usage)
            assert_type(event.to_dict(), dict[str, Any])
            return "".join(shown(block) for block in event.content)
        case UserMessage(origin="tool"):
            return None
        case UserMessage() | SystemMessage():
            assert_type(event.raw, Mapping[str, Any])
            return event.uuid
        case TextDelta(text=piece, index=index, final=final):
            assert_type((index, final), tuple[int, bool])
            return piece
        case ResultMessage(is_error=failed):
            assert_type(failed, bool)
            assert_type(event.usage + Usage(), Usage)
            assert_type(event.model_usage, Mapping[str, Usage])
            assert_type(event.total_cost_usd, float | None)
            assert_type(event.context_window, ContextWindow | None)
            assert_type(event.rate_limits, Mapping[str, RateLimit] | None)
            return event.result


def shown(block: ContentBlock) -> str:
    match block:
        case TextBlock(text):
            return text
        case ThinkingBlock(thinking):
            return thinking
        case ToolUseBlock(tool_id, name, arguments):
            assert_type(arguments, Mapping[str, Any])
            return tool_id + name
        case ToolResultBlock(content=content):
            return content if isinstance(content, str) else str(len(content))
        case UnknownBlock(type=kind):
            return kind


def handle_timeout(error: TimeoutError) -> None: ...


async def errors(turn: Turn) -> None:  # noqa: ASYNC910 - only its types count
    try:
        await turn.receive()
    except RateLimitError as error:
        assert_type(error.resets_at, float | None)
    except CLINotFoundError as error:
        assert_type(error.searched, tuple[str, ...])
    except ProcessError as error:
        assert_type(error.exit_code, int | None)
        assert_type(error.screen_tail, str)
    except TurnTimeout as error:
        assert_type(error.partial, tuple[Event, ...])
        handle_timeout(error)
    except MessageParseError as error:
        assert_type(error.line, bytes)
    except BackendError as error:
        assert_type(error.kind, str)
        assert_type(error.result, ResultMessage | None)


def parse_error(error: MessageParseError) -> None: ...


async def lower_layers() -> None:
    async with open_pty_process(["claude"], cwd=Path(), env={}) as process:
        assert_type(process, PtyClaudeProcess)
        assert_type(process.pid, int)
        await process.write(b"\r")
    watcher = JsonlWatcher("t.jsonl", offset=5, on_parse_error=parse_error)
    assert_type(watcher.read(), list[Record])
    turns = TurnManager()
    async for record in watcher:
        assert_type(record, Record)
        assert_type(turns.feed(record, 0.0), list[Event])
        assert_type(normalize(record, parent_tool_use_id="t"), Event | None)
    assert_type(turns.events, tuple[Event, ...])
    assert_type(parse_record(b"{}"), Record)


def names_are_exported() -> None:
    assert_type(claude_trio.Usage(1, 2).input_tokens, int)
    TextBlock("a").text = "b"  # type: ignore[misc]  # events are values


async def decide(request: PermissionRequest) -> Allow | Deny:
    assert_type(request.input, Mapping[str, Any])
    assert_type(request.agent_id, str | None)
    return Deny("no", interrupt=True) if request.agent_id else Allow(updated_input={"a": 1})


async def answer(request: QuestionRequest) -> Mapping[str, str | Sequence[str]] | Deny:
    assert_type(request.questions, tuple[Question, ...])
    assert_type(request.questions[0].options, tuple[QuestionOption, ...])
    return {question.question: "yes" for question in request.questions}


async def approve(request: PlanRequest) -> Allow | Deny:
    assert_type(request.plan, str | None)
    return Allow()


async def hook(body: HookInput, tool_use_id: str | None, context: HookContext) -> HookOutput | None:
    assert_type(body["session_id"], str)
    assert_type(context.in_turn, bool)
    return {"continue_": False} if tool_use_id else None


@tool
async def add(a: int, b: int) -> int:
    """Add."""
    return a + b


async def host_in_the_loop() -> None:
    assert_type(await add(1, 2), int)
    assert_type(add.name, str)
    add("x")  # type: ignore[call-arg, arg-type]  # it takes what the function takes
    BackendOptions(
        cwd=".",
        on_permission=decide,
        on_question=answer,
        on_plan=approve,
        hooks={"Stop": [HookMatcher(None, hook)]},
        mcp_servers={"app": [add], "other": {"command": "x"}},
    )
    BackendOptions(cwd=".", on_permission=add)  # type: ignore[arg-type]  # it decides nothing


async def live(turn: Turn) -> None:
    async for piece in turn.text_stream:
        assert_type(piece, str)
