"""Options: what is refused, and what the CLI is started with."""

from __future__ import annotations

import dataclasses
import inspect
import json
import shutil
import stat
import tempfile
from pathlib import Path
from typing import Any

import attrs
import pytest

from claude_trio import BackendOptions, ProcessError
from claude_trio._cli_rules import REFUSED_FLAGS
from claude_trio._launch import (
    INHERITED,
    LEFT_OUT,
    QUIET_ENVIRONMENT,
    QUIET_SETTINGS,
    SWITCHED_OFF_TOOLS,
    arguments,
    config_directory,
    config_file,
    merge_settings,
    snapshot_arguments,
)
from claude_trio._start_files import _remove, start_files


@pytest.mark.parametrize(
    ("argument", "value", "error"),
    [
        ("cwd", "no/such/place", ValueError),
        ("model", "", ValueError),
        ("model", 7, TypeError),
        ("model", "a\0b", ValueError),
        ("system_prompt", "a\0b", ValueError),
        ("system_prompt", "\udcff", ValueError),
        ("append_system_prompt", b"x", TypeError),
        ("permission_mode", "yolo", ValueError),
        ("permission_mode", None, ValueError),
        ("model", "-x", ValueError),
        ("fallback_model", " ", ValueError),
        ("effort", "huge", ValueError),
        ("thinking", "off", TypeError),
        ("thinking", {"type": "on"}, ValueError),
        ("thinking", {"type": "enabled"}, ValueError),
        ("thinking", {"type": "enabled", "budget_tokens": 0}, ValueError),
        ("thinking", {"type": "disabled", "budget_tokens": 5}, ValueError),
        ("thinking", {"type": "adaptive", "display": "omitted"}, ValueError),
        ("max_output_tokens", 0, ValueError),
        ("max_output_tokens", True, TypeError),
        ("output_format", "json", TypeError),
        ("output_format", {"type": "json"}, ValueError),
        ("output_format", {"type": "json_schema"}, ValueError),
        ("extra_body", {"messages": []}, ValueError),
        ("extra_body", {"model": "x"}, ValueError),
        ("extra_body", {"output_config": 1}, TypeError),
        ("extra_body", {"metadata": "x" * 131_072}, ValueError),
        ("extra_body", None, TypeError),
        ("tools", "Bash", TypeError),
        ("tools", [1], TypeError),
        ("tools", ["Bash(ls)"], ValueError),
        ("tools", ["mcp__app"], ValueError),
        ("tools", ["Bash,Read"], ValueError),
        ("allowed_tools", None, TypeError),
        ("allowed_tools", "Bash", TypeError),
        ("allowed_tools", ["Bash(ls"], ValueError),
        ("allowed_tools", ["Bash Read"], ValueError),
        ("disallowed_tools", ["--model"], ValueError),
        ("add_dirs", ".", TypeError),
        ("add_dirs", ["no/such/place"], ValueError),
        ("add_dirs", [5], TypeError),
        ("mcp_servers", [], TypeError),
        ("mcp_servers", {"a b": {"command": "x"}}, ValueError),
        ("mcp_servers", {"a": []}, ValueError),
        ("mcp_servers", {"a": {"command": ""}}, ValueError),
        ("mcp_servers", {"a": {"command": "x", "args": "y"}}, TypeError),
        ("mcp_servers", {"a": {"command": "x", "env": {"Y": 1}}}, TypeError),
        ("mcp_servers", {"a": {"type": "http"}}, ValueError),
        ("mcp_servers", {"a": {"type": "sdk", "command": "x"}}, ValueError),
        ("strict_mcp_config", "yes", TypeError),
        ("agents", {"a": {"prompt": "x"}}, ValueError),
        ("agents", {"a": "x"}, TypeError),
        ("agents", {"a/b": {"description": "x", "prompt": "y"}}, ValueError),
        ("agents", {"a": {"description": "x", "prompt": "y" * 131_072}}, ValueError),
        ("agent", "", ValueError),
        ("setting_sources", "user", TypeError),
        ("setting_sources", ["everybody"], ValueError),
        ("extra_args", {"--debug": None}, ValueError),
        ("extra_args", {"debug=x": None}, ValueError),
        ("extra_args", {"name": 5}, TypeError),
        ("extra_args", {"name": "a\0"}, ValueError),
        ("extra_args", [], TypeError),
        ("include_cost", 1, TypeError),
        ("history", "fold", ValueError),
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
        ("settings", {"env": []}, TypeError),
        ("settings", {"permissions": 1}, TypeError),
        ("settings", {"permissions": {"allow": "Bash"}}, TypeError),
        ("settings", {"env": {"CLAUDE_CODE_CHILD_SESSION": "1"}}, ValueError),
        ("trust_workspace", 1, TypeError),
        ("trust_workspace", None, TypeError),
        ("max_sessions", 0, ValueError),
        ("max_sessions", -1, ValueError),
        ("max_sessions", 1.5, TypeError),
        ("max_sessions", True, TypeError),
        ("idle_timeout", 0, ValueError),
        ("idle_timeout", "5", TypeError),
        ("prestart", -1, ValueError),
        ("prestart", 8, ValueError),
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
    assert {
        **QUIET_SETTINGS,
        "autoContinueAtUsageLimit": True,
        "skipDangerousModePermissionPrompt": False,
        "permissions": {"allow": ["Bash(ls)"]},
        "größe": 1.5,
    } == merge_settings(options)


def test_settings_that_hold_themselves_are_refused() -> None:
    given: dict[str, Any] = {}
    given["again"] = given
    with pytest.raises(ValueError, match="settings is nested more than 50 deep"):
        BackendOptions(cwd=".", settings=given)


@pytest.mark.parametrize("value", ["", "0", "false", "No"])
def test_a_variable_that_is_off_may_be_given(value: str) -> None:
    env = {"CLAUDE_CODE_CHILD_SESSION": value}
    assert env == BackendOptions(cwd=".", env=env, settings={"env": env}).env


def test_the_arguments_always_name_a_permission_mode() -> None:
    plain = arguments(BackendOptions(cwd="."), {})
    assert ["--permission-mode", "dontAsk", "--disallowedTools", *SWITCHED_OFF_TOOLS] == plain
    assert QUIET_SETTINGS == merge_settings(BackendOptions(cwd="."))


def test_each_choice_becomes_its_argument() -> None:
    agents = {"a": {"description": "d", "prompt": "p"}}
    options = BackendOptions(
        cwd=".",
        model="opus",
        fallback_model="sonnet,haiku",
        effort="low",
        tools=["Bash", "Read"],
        agents=agents,
        agent="a",
        setting_sources=[],
        mcp_servers={},
        extra_args={"debug": None, "name": "-x"},
        dangerously_skip_permissions=True,
    )
    assert [
        *("--dangerously-skip-permissions", "--disallowedTools", *SWITCHED_OFF_TOOLS),
        *("--model", "opus", "--fallback-model", "sonnet,haiku", "--effort", "low"),
        *("--tools", "Bash,Read", "--agents", json.dumps(agents), "--agent", "a"),
        *("--setting-sources", "", "--strict-mcp-config", "--debug", "--name=-x"),
        *("--settings", "/somewhere"),
    ] == arguments(options, {"--settings": Path("/somewhere")})
    assert merge_settings(options)["skipDangerousModePermissionPrompt"] is True


def test_rules_and_directories_are_added_to_the_permissions(tmp_path: Path) -> None:
    options = BackendOptions(
        cwd=".",
        allowed_tools=["Bash(echo a, b)"],
        disallowed_tools=("WebFetch", "mcp__app__*"),
        add_dirs=[tmp_path],
        settings={"permissions": {"allow": ["Read"], "ask": ["Write"]}},
    )
    assert {
        "allow": ["Read", "Bash(echo a, b)"],
        "ask": ["Write"],
        "deny": ["WebFetch", "mcp__app__*"],
        "additionalDirectories": [str(tmp_path)],
    } == merge_settings(options)["permissions"]


@pytest.mark.parametrize(
    ("given", "variables"),
    [
        ({"thinking": {"type": "disabled"}}, {"CLAUDE_CODE_DISABLE_THINKING": "1"}),
        ({"thinking": {"type": "adaptive"}}, {}),
        (
            {"thinking": {"type": "enabled", "budget_tokens": 2000}},
            {"MAX_THINKING_TOKENS": "2000"},
        ),
        ({"max_output_tokens": 5}, {"CLAUDE_CODE_MAX_OUTPUT_TOKENS": "5"}),
        ({"extra_body": {"top_k": 1}}, {"CLAUDE_CODE_EXTRA_BODY": '{"top_k":1}'}),
        (
            {
                "extra_body": {"output_config": {"x": 1}},
                "output_format": {"type": "json_schema", "schema": {}},
            },
            {
                "CLAUDE_CODE_EXTRA_BODY": '{"output_config":{"x":1,"format":'
                '{"type":"json_schema","schema":{}}}}'
            },
        ),
    ],
)
def test_what_has_no_flag_becomes_a_variable(
    given: dict[str, Any], variables: dict[str, str]
) -> None:
    without = BackendOptions(cwd=".").environment({})
    assert {**without, **variables} == BackendOptions(cwd=".", **given).environment({})


@pytest.mark.parametrize(
    "given",
    [
        {"thinking": {"type": "disabled"}, "env": {"CLAUDE_CODE_DISABLE_THINKING": "0"}},
        {"max_output_tokens": 5, "settings": {"env": {"CLAUDE_CODE_MAX_OUTPUT_TOKENS": "6"}}},
        {"extra_body": {"a": 1}, "env": {"CLAUDE_CODE_EXTRA_BODY": "{}"}},
        {"env": {"CLAUDE_TRIO_STATUS_LINE": "/x"}},
        {
            "extra_body": {"output_config": {"format": {}}},
            "output_format": {"type": "json_schema", "schema": {}},
        },
        {"include_cost": True, "settings": {"statusLine": {}}},
        {"thinking": {"type": "adaptive"}, "settings": {"alwaysThinkingEnabled": False}},
    ],
)
def test_what_would_undo_another_option_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="leave one out"):
        BackendOptions(cwd=".", **given)


@pytest.mark.parametrize("flag", sorted(REFUSED_FLAGS))
def test_a_flag_that_is_ignored_or_taken_is_refused_with_a_reason(flag: str) -> None:
    with pytest.raises(ValueError, match="is refused: ") as refused:
        BackendOptions(cwd=".", extra_args={flag: None})
    field = str(refused.value).partition("use ")[2].partition("=")[0]
    assert not field or field in {each.name for each in attrs.fields(BackendOptions)}


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("2.1.330", ["--system-prompt-snapshot", "off"]),
        ("2.2.0", ["--system-prompt-snapshot", "off"]),
        ("2.1.197", []),
        (None, []),
    ],
)
def test_a_flag_of_newer_versions_is_left_out_for_older_ones(
    version: str | None, expected: list[str]
) -> None:
    given = BackendOptions(cwd=".", append_system_prompt="x")
    assert expected == snapshot_arguments(given, version)
    assert [] == snapshot_arguments(BackendOptions(cwd="."), version)


@pytest.mark.parametrize(
    ("given", "strict"),
    [
        ({}, False),
        ({"mcp_servers": {}}, True),
        ({"mcp_servers": {"a": {"command": "x"}}, "strict_mcp_config": False}, False),
        ({"strict_mcp_config": True}, True),
    ],
)
def test_given_servers_are_the_only_ones_unless_asked_otherwise(
    given: dict[str, Any], strict: bool
) -> None:
    assert strict == ("--strict-mcp-config" in arguments(BackendOptions(cwd=".", **given), {}))


def test_what_is_given_wins_over_a_profile() -> None:
    chat = BackendOptions.for_chat(
        cwd=".", system_prompt="Be brief.", tools=["Read"], settings={"a": 1}
    )
    assert ("Be brief.", ("Read",), (), {}) == (
        *(chat.system_prompt, chat.tools),
        *(chat.setting_sources, chat.mcp_servers),
    )
    assert {"includeGitInstructions": False, "a": 1} == chat.settings
    agent = BackendOptions.for_agent(cwd=".", tools=["Bash"], allowed_tools=["Bash(ls *)"])
    assert (("Bash",), ("Bash(ls *)",)) == (agent.tools, agent.allowed_tools)
    assert ("Bash",) == BackendOptions.for_agent(cwd=".", tools=["Bash"]).allowed_tools


def refuse(*_: object) -> None:
    raise OSError(24, "Too many open files")


def test_files_are_private_and_go_with_the_block(tmp_path: Path) -> None:
    options = BackendOptions(
        cwd=".",
        system_prompt="private",
        append_system_prompt="",
        mcp_servers={"a": {"type": "http", "url": "http://x", "headers": {"X": "secret"}}},
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(tmp_path))
        with start_files(options) as files:
            assert 0o700 == stat.S_IMODE(files.directory.stat().st_mode)
            assert {0o600} == {stat.S_IMODE(f.stat().st_mode) for f in files.flags.values()}
            assert "private" == files.flags["--system-prompt-file"].read_text()
            assert "" == files.flags["--append-system-prompt-file"].read_text()
            assert {"mcpServers": options.mcp_servers} == json.loads(
                files.flags["--mcp-config"].read_text()
            )
            assert "--settings" == next(iter(files.flags))
        assert [] == list(tmp_path.iterdir())
        with start_files(options) as files:
            (files.directory / "told").touch()
        assert [] == list(tmp_path.iterdir())
        with start_files(options) as files:
            patch.setattr(shutil, "rmtree", refuse)
            (files.directory / "told").touch()
            with pytest.warns(ResourceWarning, match="could not be removed"):
                _remove(files.directory, files.flags.values())
            # What is private went nevertheless, without a descriptor.
            assert ["told"] == [path.name for path in files.directory.iterdir()]
            (files.directory / "told").unlink()
        assert [] == list(tmp_path.iterdir())
        with pytest.raises(ProcessError, match="cannot write the files"):
            patch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
            with start_files(options):
                raise AssertionError


def test_the_readme_names_every_option_and_its_default() -> None:
    readme = Path(__file__).parent.parent / "README.md"
    if not readme.exists():
        pytest.skip("the README is not beside an installed package")
    table = readme.read_text().partition("## Options")[2].partition("\n\n**")[0]
    rows = [line.split(" | ") for line in table.splitlines() if line.startswith("| `")]
    told = {row[0].strip("| `"): row[1].strip() for row in rows}
    fields = attrs.fields_dict(BackendOptions)
    assert [*fields] == [*told]
    made = BackendOptions(cwd=".")
    for name in set(fields) - {"cwd", "on_parse_error"}:
        assert repr(getattr(made, name)) == told[name], name


def test_an_option_that_the_official_sdk_has_is_called_as_there() -> None:
    sdk = pytest.importorskip("claude_agent_sdk")
    theirs = {field.name for field in dataclasses.fields(sdk.ClaudeAgentOptions)}
    own = {
        *("agent", "append_system_prompt", "dangerously_skip_permissions", "extra_body"),
        *("max_output_tokens", "trust_workspace", "allow_commands", "expand_mentions"),  # flags
        *("on_permission", "on_question", "on_plan", "on_parse_error", "client_tools"),
        *("history", "include_cost", "max_sessions", "prestart", "idle_timeout", "turn_timeout"),
        *("stall_timeout", "startup_timeout", "interrupt_grace", "exit_grace"),
    }
    assert own == set(attrs.fields_dict(BackendOptions)) - theirs


def test_every_option_is_documented() -> None:
    documented = (inspect.getdoc(BackendOptions) or "").partition("Args:")[2]
    for field in attrs.fields(BackendOptions):
        assert f"\n    {field.name}: " in documented, field.name


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
