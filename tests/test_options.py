"""Options: what is refused, and what the CLI is started with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from claude_trio import BackendOptions
from claude_trio.options import QUIET_ENVIRONMENT, QUIET_SETTINGS, config_directory


@pytest.mark.parametrize(
    ("argument", "value", "error"),
    [
        ("cwd", "no/such/place", ValueError),
        ("model", "", ValueError),
        ("model", 7, TypeError),
        ("model", "a\0b", ValueError),
        ("system_prompt", "x" * 131_072, ValueError),
        ("append_system_prompt", b"x", TypeError),
        ("permission_mode", "yolo", ValueError),
        ("permission_mode", None, ValueError),
        ("dangerously_skip_permissions", "yes", TypeError),
        ("env", {"A": 1}, TypeError),
        ("env", {"A=B": "x"}, ValueError),
        ("env", {"": "x"}, ValueError),
        ("env", {"A": "\0"}, ValueError),
        ("env", "A=B", TypeError),
        ("turn_timeout", 0, ValueError),
        ("turn_timeout", "5", TypeError),
        ("turn_timeout", float("nan"), ValueError),
        ("startup_timeout", None, TypeError),
        ("startup_timeout", True, TypeError),
        ("interrupt_grace", -1, ValueError),
        ("exit_grace", -0.5, ValueError),
    ],
)
def test_an_impossible_value_is_refused_by_name(
    argument: str, value: Any, error: type[Exception]
) -> None:
    with pytest.raises(error, match=argument):
        BackendOptions(**{"cwd": ".", argument: value})


def test_paths_are_resolved_as_the_cli_does(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    options = BackendOptions(cwd=str(tmp_path / "link"), cli_path=tmp_path / "link" / "claude")
    assert tmp_path / "real" == options.cwd
    assert tmp_path / "link" / "claude" == options.cli_path


def test_the_environment_holds_what_is_listed_and_nothing_else() -> None:
    inherited = {
        "HOME": "/home/me",
        "LC_ALL": "C",
        "HTTPS_PROXY": "http://proxy",
        "CLAUDE_CODE_OAUTH_TOKEN": "login",
        "ANTHROPIC_API_KEY": "key",
        "ANTHROPIC_BASE_URL": "http://elsewhere",
        "CLAUDE_CODE_CHILD_SESSION": "1",
        "CLAUDECODE": "1",
        "NODE_OPTIONS": "--inspect",
        "SECRET": "x",
        "TERM": "dumb",
    }
    options = BackendOptions(cwd=".", env={"MINE": "1", "DISABLE_AUTOUPDATER": "0"})
    kept = ("HOME", "LC_ALL", "HTTPS_PROXY", "CLAUDE_CODE_OAUTH_TOKEN")
    assert {
        **{name: inherited[name] for name in kept},
        **QUIET_ENVIRONMENT,
        "MINE": "1",
        "DISABLE_AUTOUPDATER": "0",
    } == options.environment(inherited)


def test_the_arguments_always_name_a_permission_mode() -> None:
    plain = BackendOptions(cwd=".").arguments()
    assert ["--permission-mode", "dontAsk", "--settings"] == plain[:3]
    assert QUIET_SETTINGS == json.loads(plain[3])


def test_each_choice_becomes_its_argument() -> None:
    arguments = BackendOptions(
        cwd=".",
        model="opus",
        system_prompt="Be brief.",
        append_system_prompt="Really.",
        dangerously_skip_permissions=True,
    ).arguments()
    assert [
        *("--dangerously-skip-permissions", "--model", "opus", "--system-prompt", "Be brief."),
        *("--append-system-prompt", "Really.", "--settings"),
    ] == arguments[:-1]
    assert json.loads(arguments[-1])["skipDangerousModePermissionPrompt"] is True


def test_secrets_are_not_shown() -> None:
    shown = repr(BackendOptions(cwd=".", env={"TOKEN": "secret"}, system_prompt="private"))
    assert "secret" not in shown
    assert "private" not in shown


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"CLAUDE_CONFIG_DIR": "/config", "HOME": "/home/me"}, "/config"),
        ({"CLAUDE_CONFIG_DIR": "relative", "HOME": "/home/me"}, "/work/relative"),
        ({"HOME": "/home/me"}, "/home/me/.claude"),
    ],
)
def test_the_cli_keeps_its_sessions_where_its_environment_says(
    environment: dict[str, str], expected: str
) -> None:
    assert Path(expected) == config_directory(environment, Path("/work"))


def test_an_environment_without_a_home_is_refused() -> None:
    with pytest.raises(ValueError, match="neither CLAUDE_CONFIG_DIR nor HOME"):
        config_directory({}, Path("/work"))
