"""Where the CLI is looked for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from claude_trio import CLINotFoundError, find_cli
from claude_trio._cli import install_places


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
        *(".volta/bin/claude", ".nvm/versions/node/v22.9.0/bin/claude"),
        ".config/nvm/versions/node/v22.9.0/bin/claude",
        *(".local/share/pnpm/claude", ".local/share/pnpm/bin/claude"),
        *("Library/pnpm/claude", "Library/pnpm/bin/claude"),
        ".local/share/fnm/node-versions/v22.9.0/installation/bin/claude",
        "Library/Application Support/fnm/node-versions/v22.9.0/installation/bin/claude",
        ".fnm/node-versions/v22.9.0/installation/bin/claude",
        *(".local/share/mise/shims/claude", ".local/share/mise/installs/node/22.9.0/bin/claude"),
        ".asdf/installs/nodejs/22.9.0/bin/claude",
    ],
)
def test_each_install_place_below_the_home_is_looked_at(tmp_path: Path, place: str) -> None:
    found = program(tmp_path / place)
    assert found == find_cli(environment={"HOME": str(tmp_path), "PATH": "/nowhere"})


@pytest.mark.parametrize(
    ("variable", "place"),
    [
        *(("BUN_INSTALL", "bin/claude"), ("VOLTA_HOME", "bin/claude")),
        *(("PNPM_HOME", "claude"), ("PNPM_HOME", "bin/claude"), ("HOMEBREW_PREFIX", "bin/claude")),
        ("NVM_DIR", "versions/node/v22.9.0/bin/claude"),
        ("FNM_DIR", "node-versions/v22.9.0/installation/bin/claude"),
        *(("MISE_DATA_DIR", "shims/claude"), ("MISE_DATA_DIR", "installs/node/22.9.0/bin/claude")),
        ("ASDF_DATA_DIR", "installs/nodejs/22.9.0/bin/claude"),
        *(("XDG_DATA_HOME", "pnpm/claude"), ("XDG_DATA_HOME", "mise/shims/claude")),
        ("XDG_DATA_HOME", "fnm/node-versions/v22.9.0/installation/bin/claude"),
    ],
)
def test_the_directory_that_a_version_manager_s_variable_names_is_looked_at(
    tmp_path: Path, variable: str, place: str
) -> None:
    found = program(tmp_path / "of its own" / place)
    env = {variable: str(tmp_path / "of its own"), "PATH": "/nowhere"}
    assert found == find_cli(environment=env)
    assert found == find_cli(environment={**env, "HOME": str(tmp_path / "home")})


def test_of_several_versions_the_newest_that_can_be_run_is_taken(tmp_path: Path) -> None:
    places = tmp_path / ".nvm/versions/node"
    for version in ("v9.1.0", "v22.10.0", "v22.9.0"):
        program(places / version / "bin/claude")
    program(places / "v24.0.0/bin/claude", 0o644)
    (places / "v25.0.0/bin").mkdir(parents=True)
    env = {"HOME": str(tmp_path), "PATH": "/nowhere"}
    assert places / "v22.10.0/bin/claude" == find_cli(environment=env)


def test_stars_in_the_name_of_a_directory_are_no_pattern(tmp_path: Path) -> None:
    program(tmp_path / "ab" / ".local/bin/claude")
    (tmp_path / "a*").mkdir()
    with pytest.raises(CLINotFoundError):
        find_cli(environment={"HOME": str(tmp_path / "a*"), "PATH": "/nowhere"})


def test_every_place_is_known_without_looking() -> None:
    home = [os.path.join(*place) for place in install_places({"HOME": "/home/me"})]  # noqa: PTH118
    assert all(place.startswith("/home/me/") for place in home[:-1])
    assert len(home) == len({*home})
    assert [("/", "no/such/place/claude")] == [*install_places({})]
    named = [*install_places({"HOME": "/h", "NVM_DIR": "/n"}, "prefix=/p")]
    assert ("/n", "versions/node/*/bin/claude") in named
    assert ("/p", "bin/claude") in named


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
    assert f"{tmp_path}/.nvm/versions/node/*/bin/claude" in error.searched
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
