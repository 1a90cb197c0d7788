"""Where the CLI is looked for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from claude_trio import CLINotFoundError, find_cli


@pytest.fixture(autouse=True)
def nothing_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("claude_trio._cli._ELSEWHERE", ("/no/such/place/claude",))


def program(path: Path, mode: int = 0o755) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(mode)
    return path


def test_one_that_is_named_is_taken_and_nothing_is_looked_for(tmp_path: Path) -> None:
    named = program(tmp_path / "mine" / "other-name")
    on_path = program(tmp_path / "bin" / "claude")
    assert named == find_cli(named, {"PATH": str(on_path.parent)})
    with pytest.raises(CLINotFoundError, match=r"cli_path is .*nobody") as caught:
        find_cli(tmp_path / "nobody", {"PATH": str(on_path.parent)})
    assert (str(tmp_path / "nobody"),) == caught.value.searched


def test_the_path_comes_before_the_install_places(tmp_path: Path) -> None:
    program(tmp_path / ".local/bin/claude")
    on_path = program(tmp_path / "bin" / "claude")
    env = {"HOME": str(tmp_path), "PATH": f"/nowhere:{on_path.parent}"}
    assert on_path == find_cli(environment=env)


@pytest.mark.parametrize(
    "place",
    [
        *(".local/bin/claude", ".claude/local/claude", ".npm-global/bin/claude"),
        *(".yarn/bin/claude", ".bun/bin/claude", "node_modules/.bin/claude"),
    ],
)
def test_each_install_place_below_the_home_is_looked_at(tmp_path: Path, place: str) -> None:
    found = program(tmp_path / place)
    assert found == find_cli(environment={"HOME": str(tmp_path), "PATH": "/nowhere"})


def test_the_places_of_the_system_come_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = program(tmp_path / "system" / "claude")
    monkeypatch.setattr("claude_trio._cli._ELSEWHERE", (str(found),))
    env = {"HOME": str(tmp_path), "PATH": "/nowhere"}
    assert found == find_cli(environment=env)
    own = program(tmp_path / ".local/bin/claude")
    assert own == find_cli(environment=env)


@pytest.mark.parametrize(
    ("variables", "npmrc"),
    [
        ({"npm_config_prefix": "{home}/prefix"}, None),
        ({"NPM_CONFIG_PREFIX": "{home}/prefix"}, None),
        ({}, "registry=x\n prefix = ~/prefix\n"),
        ({}, 'prefix="${HOME}/prefix"'),
        ({}, "prefix={home}/prefix"),
    ],
)
def test_npm_s_prefix_is_looked_at(
    tmp_path: Path, variables: dict[str, str], npmrc: str | None
) -> None:
    if npmrc is not None:
        (tmp_path / ".npmrc").write_text(npmrc.replace("{home}", str(tmp_path)))
    found = program(tmp_path / "prefix" / "bin" / "claude")
    given = {name: value.format(home=tmp_path) for name, value in variables.items()}
    assert found == find_cli(environment={"HOME": str(tmp_path), "PATH": "/nowhere", **given})


def test_what_cannot_be_run_is_not_taken(tmp_path: Path) -> None:
    program(tmp_path / ".local/bin/claude", 0o644)
    (tmp_path / ".claude/local/claude").mkdir(parents=True)
    with pytest.raises(CLINotFoundError):
        find_cli(environment={"HOME": str(tmp_path), "PATH": "/nowhere"})


def test_the_error_names_each_place_and_how_to_install(tmp_path: Path) -> None:
    with pytest.raises(CLINotFoundError) as caught:
        find_cli(environment={"HOME": str(tmp_path), "PATH": "/nowhere:/no/bin"})
    error = caught.value
    assert "not_found" == error.kind
    assert error.searched[:3] == ("/nowhere", "/no/bin", f"{tmp_path}/.local/bin/claude")
    assert "/no/such/place/claude" == error.searched[-1]
    assert all(place in error.message for place in error.searched)
    assert "npm install -g @anthropic-ai/claude-code" in error.message
    assert "BackendOptions(cli_path=" in error.message


def test_without_a_home_the_path_is_enough(tmp_path: Path) -> None:
    found = program(tmp_path / "claude")
    assert found == find_cli(environment={"PATH": str(tmp_path)})
    with pytest.raises(CLINotFoundError):
        find_cli(environment={"PATH": ""})


def test_the_path_of_this_process_is_the_default_and_the_result_is_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = program(tmp_path / "bin" / "claude")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "bin")
    assert found == find_cli()
    assert found == find_cli(os.path.join("bin", "claude"))  # noqa: PTH118 - a str
