"""Options: what is refused, and what the CLI is started with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from claude_trio import BackendOptions
from claude_trio._launch import (
    INHERITED,
    LEFT_OUT,
    QUIET_ENVIRONMENT,
    QUIET_SETTINGS,
    SWITCHED_OFF_TOOLS,
    config_directory,
    config_file,
)


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
        ("env", {"CLAUDE_CODE_CHILD_SESSION": "1"}, ValueError),
        ("env", {"CLAUDE_CODE_SKIP_PROMPT_HISTORY": "true"}, ValueError),
        ("settings", "{}", TypeError),
        ("settings", {1: "x"}, TypeError),
        ("settings", {"a": {"b": {2: 3}}}, TypeError),
        ("settings", {"a": {1, 2}}, TypeError),
        ("settings", {"a": [b"x"]}, TypeError),
        ("settings", {"a": float("nan")}, ValueError),
        ("settings", {"a": "x" * 130_100}, ValueError),
        ("settings", {"env": {"CLAUDE_CODE_CHILD_SESSION": "1"}}, ValueError),
        ("trust_workspace", 1, TypeError),
        ("trust_workspace", None, TypeError),
        ("prestart", -1, ValueError),
        ("prestart", True, TypeError),
        ("prestart", 1.0, TypeError),
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
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
        **QUIET_ENVIRONMENT,
        "MINE": "1",
        "DISABLE_AUTOUPDATER": "0",
    } == options.environment(inherited)


def test_a_variable_is_inherited_or_set_or_left_out() -> None:
    assert set() == INHERITED & set(LEFT_OUT)
    assert set() == set(QUIET_ENVIRONMENT) & set(LEFT_OUT)
    everything = dict.fromkeys([*INHERITED, *LEFT_OUT], "given")
    assert set() == set(BackendOptions(cwd=".").environment(everything)) & set(LEFT_OUT)


@pytest.mark.parametrize(
    ("inherited", "env", "expected"),
    [
        ({}, {}, "127.0.0.1,localhost"),
        ({"NO_PROXY": "intra.net"}, {}, "intra.net,127.0.0.1,localhost"),
        ({"no_proxy": " a, ,localhost", "NO_PROXY": "b"}, {}, "a,localhost,127.0.0.1"),
        ({"NO_PROXY": "a,*"}, {}, "*"),
        ({"no_proxy": "a"}, {"NO_PROXY": "mine"}, "mine"),
        ({"NO_PROXY": "a"}, {"no_proxy": ""}, ""),
    ],
)
def test_the_loopback_interface_is_never_reached_by_a_proxy_unless_asked_for(
    inherited: dict[str, str], env: dict[str, str], expected: str
) -> None:
    environment = BackendOptions(cwd=".", env=env).environment(inherited)
    assert (expected, expected) == (environment["NO_PROXY"], environment["no_proxy"])


def test_settings_replace_the_quiet_ones_key_by_key() -> None:
    given: dict[str, Any] = {
        "autoContinueAtUsageLimit": True,
        "skipDangerousModePermissionPrompt": False,
        "permissions": {"allow": ("Bash(ls)",)},
        "größe": 1.5,
    }
    options = BackendOptions(cwd=".", settings=given, dangerously_skip_permissions=True)
    given["permissions"]["allow"] = ()
    passed = json.loads(options.arguments()[-1])
    assert {
        **QUIET_SETTINGS,
        "autoContinueAtUsageLimit": True,
        "skipDangerousModePermissionPrompt": False,
        "permissions": {"allow": ["Bash(ls)"]},
        "größe": 1.5,
    } == passed


def test_settings_that_hold_themselves_are_refused() -> None:
    given: dict[str, Any] = {}
    given["again"] = given
    with pytest.raises(ValueError, match="settings are nested more than 50 deep"):
        BackendOptions(cwd=".", settings=given)


@pytest.mark.parametrize("value", ["", "0", "false", "No"])
def test_a_variable_that_is_off_may_be_given(value: str) -> None:
    env = {"CLAUDE_CODE_CHILD_SESSION": value}
    assert env == BackendOptions(cwd=".", env=env, settings={"env": env}).env


def test_the_arguments_always_name_a_permission_mode() -> None:
    plain = BackendOptions(cwd=".").arguments()
    assert ["--permission-mode", "dontAsk"] == plain[:2]
    assert ["--disallowedTools", *SWITCHED_OFF_TOOLS, "--settings"] == plain[2:-1]
    assert QUIET_SETTINGS == json.loads(plain[-1])


def test_each_choice_becomes_its_argument() -> None:
    arguments = BackendOptions(
        cwd=".",
        model="opus",
        system_prompt="Be brief.",
        append_system_prompt="Really.",
        dangerously_skip_permissions=True,
    ).arguments()
    assert [
        *("--dangerously-skip-permissions", "--disallowedTools", *SWITCHED_OFF_TOOLS),
        *("--model", "opus", "--system-prompt", "Be brief."),
        *("--append-system-prompt", "Really.", "--settings"),
    ] == arguments[:-1]
    assert json.loads(arguments[-1])["skipDangerousModePermissionPrompt"] is True


def test_secrets_are_not_shown() -> None:
    shown = repr(BackendOptions(cwd=".", env={"TOKEN": "secret"}, system_prompt="private"))
    assert "secret" not in shown
    assert "private" not in shown
    assert "secret" not in repr(BackendOptions(cwd=".", settings={"env": {"TOKEN": "secret"}}))


@pytest.mark.parametrize(
    ("environment", "directory", "file"),
    [
        (
            {"CLAUDE_CONFIG_DIR": "/config", "HOME": "/home/me"},
            *("/config", "/config/.claude.json"),
        ),
        (
            {"CLAUDE_CONFIG_DIR": "relative", "HOME": "/home/me"},
            *("/work/relative", "/work/relative/.claude.json"),
        ),
        ({"HOME": "/home/me"}, "/home/me/.claude", "/home/me/.claude.json"),
    ],
)
def test_the_cli_keeps_its_sessions_where_its_environment_says(
    environment: dict[str, str], directory: str, file: str
) -> None:
    assert Path(directory) == config_directory(environment, Path("/work"))
    assert Path(file) == config_file(environment, Path("/work"))


def test_a_file_of_an_early_version_is_used_unless_it_is_empty(tmp_path: Path) -> None:
    early, usual = tmp_path / ".config.json", tmp_path / ".claude.json"
    environment = {"CLAUDE_CONFIG_DIR": str(tmp_path)}
    early.touch()
    assert usual == config_file(environment, Path("/work"))
    early.write_text("{}")
    assert early == config_file(environment, Path("/work"))


def test_an_environment_without_a_home_is_refused() -> None:
    with pytest.raises(ValueError, match="neither CLAUDE_CONFIG_DIR nor HOME"):
        config_directory({}, Path("/work"))
    with pytest.raises(ValueError, match="neither CLAUDE_CONFIG_DIR nor HOME"):
        config_file({}, Path("/work"))
