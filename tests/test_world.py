"""The isolated world, the guard around it, and the real CLI in it, driven by hand."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import ptyprocess
import pytest
import trio

from claude_trio import open_pty_process
from claude_trio._protocol.transcript import project_key
from claude_trio.testing import LoopbackApi, World, find_real_cli, isolated_world

BASE_URL = "http://127.0.0.1:9"


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """Give a program that is called `claude` and is none."""
    path = tmp_path / "claude"
    path.write_text("#!/bin/sh\nexit 0\n")
    path.chmod(0o755)
    return path


def test_a_world_is_complete_private_and_gone_afterwards() -> None:
    with isolated_world() as world:
        for directory in (world.home, world.config_dir, world.cwd, world.temporary):
            assert directory.is_dir()
            assert directory.is_relative_to(world.root)
            assert directory == directory.resolve()
        assert 0o700 == world.root.stat().st_mode & 0o777
        config = json.loads((world.config_dir / ".claude.json").read_text())
        assert [str(world.cwd)] == list(config["projects"])
        # A process that ended uncleanly may leave what cannot be entered.
        (world.cwd / "locked").mkdir(mode=0)
    assert not world.root.exists()


def test_its_environment_is_built_from_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "x")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "x")
    env = world.env(BASE_URL, EXTRA="1", DISABLE_AUTOUPDATER="0")
    assert "SECRET" not in env
    assert "ANTHROPIC_API_KEY" not in env
    assert (BASE_URL, "made-up", "1", "0") == (
        *(env["ANTHROPIC_BASE_URL"], env["ANTHROPIC_AUTH_TOKEN"]),
        *(env["EXTRA"], env["DISABLE_AUTOUPDATER"]),
    )
    for name in ("HOME", "CLAUDE_CONFIG_DIR", "TMPDIR", "CLAUDE_CODE_TMPDIR"):
        assert Path(env[name]).is_relative_to(world.root)


def test_the_tests_see_nothing_of_the_user_s_environment() -> None:
    assert [] == [name for name in os.environ if name.startswith(("ANTHROPIC", "CLAUDE_CODE"))]
    assert [] == os.listdir(os.environ["HOME"])  # noqa: PTH208 - as short as it gets


@pytest.mark.parametrize("missing", ["HOME", "CLAUDE_CONFIG_DIR", "ANTHROPIC_BASE_URL", "all"])
@pytest.mark.parametrize("way", ["terminal", "subprocess"])
def test_a_claude_outside_a_world_is_refused(
    world: World, program: Path, cli_guard: Any, missing: str, way: str
) -> None:
    env = world.env(BASE_URL)
    for name in env if missing == "all" else [missing]:
        env = {key: value for key, value in env.items() if key != name}
    with pytest.raises(AssertionError, match="outside an isolated world"):
        if way == "terminal":
            ptyprocess.PtyProcess.spawn([str(program)], env=env)
        else:
            subprocess.run([program], env=env, check=True)
    assert 1 == len(cli_guard.refused)
    cli_guard.refused.clear()


def test_one_on_the_real_api_is_refused(world: World, program: Path, cli_guard: Any) -> None:
    env = world.env("https://api.example.com")
    with pytest.raises(AssertionError, match="ANTHROPIC_BASE_URL is 'https"):
        subprocess.run([program], env=env, check=True)
    cli_guard.refused.clear()


def test_one_inside_is_not(world: World, program: Path) -> None:
    subprocess.run([program], env=world.env(BASE_URL), check=True)
    child = ptyprocess.PtyProcess.spawn([str(program)], env=world.env(BASE_URL))
    assert 0 == child.wait()
    child.close()


def test_the_cli_of_the_tests_is_the_one_that_is_named(
    monkeypatch: pytest.MonkeyPatch, program: Path
) -> None:
    monkeypatch.setenv("CLAUDE_TRIO_TEST_CLI", str(program))
    assert program == find_real_cli()


@pytest.mark.parametrize(("ci", "outcome"), [("1", "failed"), ("", "skipped")])
def test_a_missing_cli_fails_in_ci_and_skips_elsewhere(
    ci: str, outcome: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    module = request.config.pluginmanager.get_plugin("conftest")
    conftest = module or __import__("conftest")
    monkeypatch.setattr(conftest, "find_real_cli", lambda: None)
    monkeypatch.setenv("CI", ci)
    expected = {"failed": pytest.fail.Exception, "skipped": pytest.skip.Exception}[outcome]
    with pytest.raises(expected, match="no real CLI"):
        conftest.real_cli.__wrapped__()


@pytest.mark.real_cli
async def test_the_real_cli_lives_in_it_and_answers_by_the_loopback_api(
    world: World, api: LoopbackApi, real_cli: Path
) -> None:
    """By hand, without a line of the driver but its terminal."""
    api.reply("The answer.")
    env = world.env(api.base_url)
    argv = [str(real_cli), "--permission-mode", "dontAsk", "--", "the question"]
    with trio.fail_after(60):
        async with open_pty_process(argv, cwd=world.cwd, env=env):
            (request,) = await api.wait_for_requests(1)
            assert "the question" in request.prompt
            directory = world.config_dir / "projects" / project_key(str(world.cwd))
            while not any(
                b"The answer." in path.read_bytes() for path in directory.glob("*.jsonl")
            ):
                await trio.sleep(0.01)
