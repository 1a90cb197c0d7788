"""What keeps the real CLI from its prompt, provoked one by one: a typed failure, and no key pressed."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

import attrs
import pytest
import trio

from claude_trio import (
    AuthError,
    BackendError,
    BackendOptions,
    PtyClaudeProcess,
    StartupError,
    check,
    open_backend,
)
from claude_trio._launch import LEFT_OUT
from claude_trio.testing import LoopbackApi, World

pytestmark = pytest.mark.real_cli

QUESTION: Final = [{"role": "user", "content": "hi"}]
KEY: Final = "sk-ant-made-up-0000000000000000000000"
APPENDED: Final = "--append-system-prompt-file"
SESSION: Final = "11111111-2222-4333-8444-555555555555"


@attrs.frozen
class Start:
    """A world that was made ready, and what to start in it.

    Args:
        how: Arguments for the options.
        env: Variables on top.
        flags: Given to the CLI after all others, by a program of its own that stands before it.
        instead: Given to it instead of all others.
        first: What the program that stands before it does first, as a line for the shell.
    """

    how: Mapping[str, Any] = attrs.field(factory=dict)
    env: Mapping[str, str] = attrs.field(factory=dict)
    flags: tuple[str, ...] = ()
    instead: tuple[str, ...] | None = None
    first: str = ""


Provoke: TypeAlias = Callable[[World], Start]


def make(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def directory(path: Path) -> Path:
    path.mkdir()
    return path


def servers(*names: str) -> str:
    return json.dumps({"mcpServers": {name: {"command": "true"} for name in names}})


def config(world: World) -> Path:
    return world.config_dir / ".claude.json"


def untrusted(world: World) -> Start:
    return Start(how={"cwd": directory(world.root / "new")})


def trust_later(world: World) -> Start:
    return Start(how={"cwd": directory(world.root / "new")}, first="echo Just a moment; sleep 3")


def add_dir(world: World) -> Start:
    return Start(flags=("--add-dir", str(directory(world.root / "new"))))


def bypass(_: World) -> Start:
    # The consent is taken back, as a user's own `settings` may.
    settings = {"skipDangerousModePermissionPrompt": False}
    return Start(how={"dangerously_skip_permissions": True, "settings": settings})


def api_key(_: World) -> Start:
    return Start(env={"ANTHROPIC_API_KEY": KEY})


def never_used(world: World) -> Start:
    make(config(world), "{}")
    return Start()


def unreachable(world: World) -> Start:
    make(config(world), "{}")
    return Start(env={"ANTHROPIC_AUTH_TOKEN": "", "HTTPS_PROXY": "http://127.0.0.1:9"})


def one_server(world: World) -> Start:
    make(world.cwd / ".mcp.json", servers("a"))
    return Start()


def two_servers(world: World) -> Start:
    make(world.cwd / ".mcp.json", servers("a", "b"))
    return Start()


def imports(world: World) -> Start:
    make(world.cwd / "CLAUDE.md", f"@{make(world.root / 'outside.md', 'hello')}\n")
    return Start()


def bad_user_settings(world: World) -> Start:
    make(world.config_dir / "settings.json", "{bad")
    return Start()


def bad_hook(world: World) -> Start:
    make(world.config_dir / "settings.json", '{"hooks": {"PreToolUse": "x"}}')
    return Start()


def bad_settings(_: World) -> Start:
    return Start(how={"settings": {"permissions": {"defaultMode": "nope"}}})


def broken_config(world: World) -> Start:
    make(config(world), "{bad")
    return Start()


def picker(_: World) -> Start:
    return Start(instead=("--resume", "nonsense", "--permission-mode", "dontAsk"))


def root(_: World) -> Start:
    return Start(how={"dangerously_skip_permissions": True}, env={"IS_SANDBOX": ""})


def two_prompts(world: World) -> Start:
    path = str(make(world.root / "prompt", "Be brief."))
    return Start(flags=("--append-system-prompt", "Be kind.", APPENDED, path))


def flag(*flags: str) -> Provoke:
    return lambda _: Start(flags=flags)


def only(*flags: str) -> Provoke:
    return lambda _: Start(instead=flags)


def used_session_id(world: World) -> Start:
    key = "".join(c if c.isalnum() else "-" for c in str(world.cwd))
    line = json.dumps({"type": "user", "uuid": SESSION, "sessionId": SESSION})
    make(world.config_dir / "projects" / key / f"{SESSION}.jsonl", f"{line}\n")
    return Start(instead=("--session-id", SESSION))


def child_session(_: World) -> Start:
    # As an options' own variable it is refused; here a wrapper of the user's sets it.
    return Start(env={"WRAPPED": "CLAUDE_CODE_CHILD_SESSION=1"})


def no_status_files(world: World) -> Start:
    make(world.config_dir / "sessions", "in the way")
    return Start()


def wordless(_: World) -> Start:
    return Start(env={"NODE_OPTIONS": "--inspect"})


#: Starts that one of the tested versions makes nothing of.
ONLY_NEW: Final = frozenset({"add_dir", "malformed agents", "impossible agents"})
ONLY_OLD: Final = frozenset({"two appended prompts"})

#: The kind, whether the CLI ends by itself, a word of the advice, and how it comes about.
TABLE: Final[Mapping[str, tuple[str, int | None, str, Provoke]]] = {
    "trust": ("trust", None, "trust_workspace=True", untrusted),
    "trust, later": ("trust", None, "trust_workspace=True", trust_later),
    "add_dir": ("add_dir", None, "additionalDirectories", add_dir),
    "bypass": ("bypass", None, "dangerously_skip_permissions", bypass),
    "api key": ("api_key", None, "approve it", api_key),
    "onboarding": ("onboarding", None, "first steps", never_used),
    "unreachable": ("unreachable", 1, "proxy", unreachable),
    "one server": ("mcp", None, ".mcp.json", one_server),
    "two servers": ("mcp", None, ".mcp.json", two_servers),
    "imports": ("imports", None, "CLAUDE.md", imports),
    "settings file": ("settings", None, "mend", bad_user_settings),
    "settings hook": ("settings", None, "mend", bad_hook),
    "settings argument": ("settings", None, "mend", bad_settings),
    "config": ("config", None, "mend", broken_config),
    "picker": ("picker", None, "which session", picker),
    "root": ("root", 1, "IS_SANDBOX", root),
    "unknown flag": ("flag", 1, "doctor", flag("--no-such-flag")),
    "bad choice": ("flag", 1, "doctor", flag("--permission-mode", "nope")),
    "bad sources": ("flag", 1, "doctor", flag("--setting-sources", "nope")),
    "bad format": ("flag", 1, "doctor", flag("--input-format", "stream-json")),
    "invalid session id": ("session_id", 1, "Give another", only("--session-id", "nope")),
    "used session id": ("session_id", 1, "Give another", used_session_id),
    "id and resume": ("session_id", 1, "another", flag("--resume", SESSION)),
    "unknown id to resume": ("resume", 1, "does not know", only("--resume", SESSION)),
    "nothing to continue": ("resume", 1, "does not know", only("--continue")),
    "missing settings": ("settings", 1, "settings", flag("--settings", "/nope.json")),
    "malformed settings": ("settings", 1, "settings", flag("--settings", "{bad")),
    "missing mcp config": ("mcp_config", 1, "MCP", flag("--mcp-config", "/nope.json")),
    "malformed mcp config": ("mcp_config", 1, "MCP", flag("--mcp-config", "{bad")),
    "unknown agent": ("agent", 1, "agent", flag("--agent", "nope")),
    "malformed agents": ("agent", 1, "agents", flag("--agents", "{bad")),
    "impossible agents": ("agent", 1, "agents", flag("--agents", '{"a": 1}')),
    "missing prompt file": ("prompt_file", 1, "prompt", flag("--system-prompt-file", "/nope")),
    "unreadable prompt file": ("prompt_file", 1, "prompt", flag("--system-prompt-file", "/")),
    "missing appended file": ("prompt_file", 1, "prompt", flag(APPENDED, "/nope")),
    "unreadable appended file": ("prompt_file", 1, "prompt", flag(APPENDED, "/")),
    "no appended file": ("flag", 1, "doctor", flag(APPENDED)),
    "two appended prompts": ("flag", 1, "doctor", two_prompts),
    "child session": ("state_dir", None, "CLAUDE_CODE_CHILD_SESSION", child_session),
    "no status file": ("state_dir", None, "writable", no_status_files),
    "no words": ("exited", 1, "exit code 1", wordless),
}


def stand_before(cli: Path, world: World, start: Start) -> Path:
    """Return a `claude` that starts the real one with other flags."""
    if not (start.flags or start.instead or start.first or "WRAPPED" in start.env):
        return cli
    given = '"$@"' if start.instead is None else shlex.join(start.instead)
    wrapped = shlex.quote(start.env.get("WRAPPED", "A=b"))
    program = make(
        world.root / "bin" / "claude",
        f"#!/bin/sh\n{start.first}\nexec env {wrapped} {shlex.quote(str(cli))} {given} {shlex.join(start.flags)}\n",
    )
    program.chmod(0o755)
    return program


@pytest.mark.parametrize("name", TABLE)
async def test_what_keeps_the_cli_from_its_prompt_has_its_kind(
    name: str, world: World, api: LoopbackApi, real_cli: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, exit_code, advice, provoke = TABLE[name]
    start = provoke(world)
    typed: list[bytes] = []

    async def write(_: PtyClaudeProcess, data: bytes) -> None:  # noqa: ASYNC910 - must not come
        typed.append(data)

    monkeypatch.setattr(PtyClaudeProcess, "write", write)
    env = world.env(api.base_url, **start.env)
    how = {"cwd": world.cwd, **start.how}
    options = BackendOptions(cli_path=stand_before(real_cli, world, start), env=env, **how)
    before = config(world).read_bytes()
    with trio.fail_after(100):
        if name in ONLY_NEW | ONLY_OLD:
            old = (await check(options)).cli_version == "2.1.197"
            if name in (ONLY_NEW if old else ONLY_OLD):
                pytest.skip("to this version that is no problem")
        async with open_backend(options) as backend:
            with pytest.raises(StartupError) as caught:
                await backend.complete(QUESTION).get_final_text()
    error = caught.value
    assert (kind, []) == (error.kind, typed)
    assert advice in error.message
    assert [] == api.conversations
    assert (exit_code, None) == (error.exit_code, error.signal)
    assert (name == "no words") == (not error.screen_tail)
    assert error.screen_tail in str(error)
    if name == "trust":  # and nothing was consented to
        assert json.loads(before)["projects"] == json.loads(config(world).read_text())["projects"]


#: The kind, the time limit of the start, and what the message says.
UNKNOWN: Final[Mapping[str, tuple[float, str]]] = {
    "unknown_screen": (90, "screen that is not known"),
    "timeout": (10, "not ready within 10 seconds"),
}


@pytest.mark.parametrize("kind", UNKNOWN)
async def test_a_screen_of_another_version_is_shown_and_nothing_is_typed(
    kind: str, world: World, api: LoopbackApi, real_cli: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit, message = UNKNOWN[kind]
    typed: list[bytes] = []

    async def write(_: PtyClaudeProcess, data: bytes) -> None:  # noqa: ASYNC910 - must not come
        typed.append(data)

    monkeypatch.setattr(PtyClaudeProcess, "write", write)
    monkeypatch.setattr("claude_trio._protocol.screens.SCREENS", ())  # not even that for trust
    cwd, env = directory(world.root / "new"), world.env(api.base_url)
    options = BackendOptions(cwd=cwd, cli_path=real_cli, env=env, startup_timeout=limit)
    with trio.fail_after(150):
        async with open_backend(options) as backend:
            with pytest.raises(StartupError, match=message) as caught:
                await backend.complete(QUESTION).get_final_text()
            assert () == backend.sessions
    error = caught.value
    assert (kind, [], None) == (error.kind, typed, error.exit_code)
    assert "Quick safety check" in error.screen_tail
    assert error.screen_tail in str(error)


async def test_a_cli_that_is_not_logged_in_says_so_at_its_first_turn(
    world: World, api: LoopbackApi, real_cli: Path
) -> None:
    env = world.env(api.base_url, ANTHROPIC_AUTH_TOKEN="")
    options = BackendOptions(cwd=world.cwd, cli_path=real_cli, env=env)
    with trio.fail_after(100):
        async with open_backend(options) as backend:
            with pytest.raises(AuthError, match="/login") as caught:
                await backend.complete(QUESTION).get_final_text()
    assert "auth" == caught.value.kind
    assert [] == api.conversations


#: Where "1" is no value that does harm.
HARM: Final = {
    "ANTHROPIC_API_KEY": KEY,
    "ANTHROPIC_AUTH_TOKEN": "somebody's",
    "ANTHROPIC_BASE_URL": "http://127.0.0.1:9",
    "ANTHROPIC_MODEL": "no-such-model",
    "NODE_OPTIONS": "--inspect",
    "BUN_OPTIONS": "--preload /no/such/file.js",
    "CLAUDE_CODE_SESSION_ID": SESSION,
    "CLAUDE_CODE_SESSION_KIND": "bg",
    "CLAUDE_CODE_ENTRYPOINT": "sdk-py",
    "TERM_PROGRAM": "iTerm.app",
    "TMUX": "/tmp/tmux-0/default,1,0",
    "BASH_ENV": "/no/such/file",
}


async def test_a_cli_started_below_another_one_and_among_strange_variables_works(
    world: World, api: LoopbackApi, real_cli: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in LEFT_OUT:
        monkeypatch.setenv(name, HARM.get(name, "1"))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "intra.net")
    env = world.env(api.base_url)
    del env["NO_PROXY"], env["no_proxy"]
    options = BackendOptions(cwd=world.cwd, cli_path=real_cli, env=env)
    api.reply("Hello.")
    with trio.fail_after(100):
        async with open_backend(options) as backend:
            assert "Hello." == await backend.complete(QUESTION).get_final_text()
    (request,) = api.conversations
    assert "no-such-model" != request.body["model"]
    # The proxy would have been used.
    options = attrs.evolve(options, env={**env, "NO_PROXY": ""})
    with trio.fail_after(100):
        async with open_backend(options) as backend:
            with pytest.raises(BackendError) as caught:
                await backend.complete(QUESTION).get_final_text()
    assert "connection" == caught.value.kind
    assert 1 == len(api.conversations)


async def one_turn(options: BackendOptions) -> bytes:
    """Run a turn; return what the CLI printed."""
    with trio.fail_after(100):
        async with open_backend(options) as backend:
            await backend.complete(QUESTION).get_final_text()
            (session,) = backend._sessions
            assert session._process is not None
            return b"".join(session._process.screen._chunks)


async def test_a_quiet_switch_is_turned_back_by_a_variable(
    world: World, api: LoopbackApi, real_cli: Path
) -> None:
    env = world.env(api.base_url)
    options = BackendOptions(cwd=world.cwd, cli_path=real_cli, env=env)
    titled = attrs.evolve(options, env={**env, "CLAUDE_CODE_DISABLE_TERMINAL_TITLE": ""})
    title = b"\x1b]0;"
    assert title not in await one_turn(options)
    assert title in await one_turn(titled)


async def test_settings_reach_the_cli(world: World, api: LoopbackApi, real_cli: Path) -> None:
    env, settings = world.env(api.base_url), {"env": {"ANTHROPIC_MODEL": "by-settings"}}
    await one_turn(BackendOptions(cwd=world.cwd, cli_path=real_cli, env=env, settings=settings))
    assert "by-settings" == api.conversations[0].body["model"]
