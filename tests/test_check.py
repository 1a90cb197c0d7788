"""`check` and ``python -m claude_trio doctor``, on the real CLI."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from functools import partial
from pathlib import Path
from typing import Any, Final

import attrs
import pytest
import trio
from asking import Options

import claude_trio
from claude_trio import (
    TESTED_CLI_VERSIONS,
    BackendOptions,
    CheckReport,
    Finding,
    check,
    open_pty_process,
)
from claude_trio.__main__ import main
from claude_trio._doctor import table
from claude_trio._sweep import find
from claude_trio._trust import read_config
from claude_trio.testing import LoopbackApi, World, cancel_everywhere

README: Final = Path(claude_trio.__file__).parent.parent / "README.md"


async def states(options: BackendOptions, **how: Any) -> tuple[CheckReport, dict[str, str]]:
    with trio.fail_after(100):
        report = await check(options, **how)
    return report, {finding.name: finding.state for finding in report.findings}


WELL: Final = {
    "cli": "ok",
    "version": "ok",
    "config": "ok",
    "setup": "ok",
    "trust": "ok",
    "login": "ok",
    "turn": "skipped",
}


@pytest.mark.real_cli
async def test_where_all_is_well_nothing_failed_and_nothing_was_asked(
    options: Options, api: LoopbackApi, world: World, real_cli: Path
) -> None:
    report, found = await states(options())
    assert report.cli_version is not None
    tested = "ok" if report.cli_version in TESTED_CLI_VERSIONS else "warning"
    assert {**WELL, "version": tested} == found
    assert [*WELL] == [*found]
    assert (True, True) == (report.ok, report.logged_in)
    assert (real_cli, world.config_dir) == (report.cli_path, report.config_directory)
    assert "oauth_token" in report["login"].text
    assert "made-up" not in json.dumps(report.to_dict())
    assert [] == api.conversations
    with pytest.raises(KeyError):
        report["nothing"]


@pytest.mark.real_cli
async def test_one_real_turn_if_asked(options: Options, api: LoopbackApi) -> None:
    api.reply("ready")
    report, found = await states(options(prestart=2), turn=True)
    assert "ok" == found["turn"]
    assert "answered in" in report["turn"].text
    assert 1 == len(api.conversations)


@pytest.mark.real_cli
async def test_a_turn_that_fails_is_told(options: Options, api: LoopbackApi) -> None:
    api.error(401)
    report, found = await states(options(), turn=True)
    assert ("failed", "AuthError, kind 'auth'") == (found["turn"], report["turn"].text)
    assert not report.ok


@pytest.mark.real_cli
async def test_not_logged_in(options: Options, api: LoopbackApi) -> None:
    report, found = await states(options(env={"ANTHROPIC_AUTH_TOKEN": ""}), turn=True)
    assert ("failed", "skipped") == (found["login"], found["turn"])
    assert report.logged_in is False
    assert "claude /login" in report["login"].advice
    assert [] == api.conversations


@pytest.mark.real_cli
async def test_a_login_is_told_by_its_kind_and_by_nothing_else(
    options: Options, world: World
) -> None:
    login = {
        "accessToken": "sk-ant-oat01-made-up",
        "refreshToken": "sk-ant-ort01-made-up",
        "expiresAt": 4102444800000,
        "scopes": ["user:inference", "user:profile"],
        "subscriptionType": "max",
    }
    credentials = world.config_dir / ".credentials.json"
    credentials.write_text(json.dumps({"claudeAiOauth": login}))
    account = {"emailAddress": "somebody@example.com", "organizationName": "Acme"}
    config = world.config_dir / ".claude.json"
    config.write_text(json.dumps({**read_config(config), "oauthAccount": account}))
    report, found = await states(options(env={"ANTHROPIC_AUTH_TOKEN": ""}))
    assert "ok" == found["login"]
    shown = json.dumps(report.to_dict()) + table(report, colour=False)
    assert "claude.ai" in shown
    for secret in ("made-up", "somebody", "Acme"):
        assert secret not in shown


@pytest.mark.real_cli
async def test_not_trusted(options: Options, tmp_path: Path, world: World) -> None:
    before = read_config(world.config_dir / ".claude.json")["projects"]
    report, found = await states(options(cwd=tmp_path), turn=True)
    assert ("failed", "skipped") == (found["trust"], found["turn"])
    assert "trust_workspace=True" in report["trust"].advice
    report, found = await states(options(cwd=tmp_path, trust_workspace=True))
    assert ("ok", True) == (found["trust"], report.ok)
    assert before == read_config(world.config_dir / ".claude.json")["projects"]


@pytest.mark.real_cli
async def test_trusted_from_above(options: Options, world: World) -> None:
    below = world.cwd / "below"
    below.mkdir()
    report, found = await states(options(cwd=below))
    assert ("warning", True) == (found["trust"], report.ok)
    assert str(world.cwd) in report["trust"].text


async def test_not_found(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("claude_trio._cli._ELSEWHERE", ())
    env = {**world.env("http://127.0.0.1:9"), "PATH": str(tmp_path)}
    report, found = await states(BackendOptions(cwd=world.cwd, env=env), turn=True)
    expected = {"cli": "failed", "version": "skipped", "login": "skipped", "turn": "skipped"}
    assert {**WELL, **expected} == found
    assert (None, None, None, False) == (
        *(report.cli_path, report.cli_version, report.logged_in),
        report.ok,
    )
    assert str(tmp_path) in report["cli"].advice


def program(path: Path, script: str) -> Path:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("script", "version", "login"),
    [
        ("echo 9.9.9", "warning", "warning"),
        ("echo nonsense", "failed", "warning"),
        ("exit 3", "failed", "warning"),
        ("echo '[1.2]'", "warning", "warning"),
        ("sleep 1000 & sleep 1000", "failed", "warning"),
    ],
)
async def test_a_strange_program_is_no_surprise(
    world: World, tmp_path: Path, script: str, version: str, login: str
) -> None:
    strange = program(tmp_path / "claude", script)
    env = world.env("http://127.0.0.1:9")
    options = BackendOptions(cwd=world.cwd, cli_path=strange, env=env, startup_timeout=1)
    report, found = await states(options)
    assert (version, login) == (found["version"], found["login"])
    assert report.logged_in is None


async def test_a_program_that_cannot_be_executed(world: World, tmp_path: Path) -> None:
    broken = program(tmp_path / "claude", "")
    put(broken, "#!/no/such/interpreter\n")
    env = world.env("http://127.0.0.1:9")
    report, found = await states(BackendOptions(cwd=world.cwd, cli_path=broken, env=env))
    assert "failed" == found["version"]
    assert "cannot be run" in report["version"].text


def put(file: Path, text: str) -> None:
    file.write_text(text)


@pytest.mark.parametrize(
    ("config", "name", "state"),
    [
        ("{bad", "setup", "failed"),
        ("{bad", "trust", "skipped"),
        ("{}", "setup", "failed"),
        ("{}", "trust", "failed"),
        ('{"projects": [], "hasCompletedOnboarding": true}', "setup", "ok"),
        ('{"projects": [], "hasCompletedOnboarding": true}', "trust", "failed"),
    ],
)
async def test_the_configuration_is_looked_at(
    world: World, tmp_path: Path, config: str, name: str, state: str
) -> None:
    (world.config_dir / ".claude.json").write_text(config)
    options = BackendOptions(
        cwd=world.cwd,
        cli_path=program(tmp_path / "claude", "exit 1"),
        env=world.env("http://127.0.0.1:9"),
    )
    _, found = await states(options)
    assert state == found[name]


async def test_a_directory_that_cannot_be_written_is_told(world: World, tmp_path: Path) -> None:
    (world.config_dir / "sessions").write_text("in the way")
    strange = program(tmp_path / "claude", "exit 1")
    env = world.env("http://127.0.0.1:9")
    report, found = await states(BackendOptions(cwd=world.cwd, cli_path=strange, env=env))
    assert "failed" == found["config"]
    assert str(world.config_dir / "sessions") in report["config"].text


async def test_a_directory_that_is_still_to_be_made_is_fine(world: World, tmp_path: Path) -> None:
    strange = program(tmp_path / "claude", "exit 1")
    env = {**world.env("http://127.0.0.1:9"), "CLAUDE_CONFIG_DIR": str(world.root / "a" / "b")}
    _, found = await states(BackendOptions(cwd=world.cwd, cli_path=strange, env=env))
    assert "ok" == found["config"]
    assert not (world.root / "a").exists()


async def test_cancelled_anywhere_no_program_is_left(world: World, tmp_path: Path) -> None:
    note = tmp_path / "markers"
    slow = program(tmp_path / "claude", f'echo "$CLAUDE_TRIO_SESSION" >>{note}; sleep 0.05 & wait')
    options = BackendOptions(
        cwd=world.cwd, cli_path=slow, env=world.env("http://127.0.0.1:9"), startup_timeout=20
    )

    async def look() -> None:
        await trio.lowlevel.checkpoint()
        for marker in lines_of(note):
            assert set() == await find(marker)
        put(note, "")

    with trio.fail_after(200):
        assert await cancel_everywhere(lambda: check(options), look) > 5


async def test_what_a_program_left_running_is_named(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("claude_trio._sweep._POLITE", 1000.0)  # it is only asked
    stubborn = program(
        tmp_path / "claude",
        "(trap '' TERM; exec sleep 1040) >/dev/null 2>&1 &\necho '2.1.331 (Claude Code)'",
    )
    options = BackendOptions(
        cwd=world.cwd, cli_path=stubborn, env=world.env("http://127.0.0.1:9"), startup_timeout=60
    )
    with trio.fail_after(100), pytest.warns(ResourceWarning) as caught:
        _, found = await states(options)
    told = [str(warning.message) for warning in caught]
    for command, text in zip(("--version", "auth status"), told, strict=True):
        assert f"`claude {command}` was over" in text
        match = re.search(r"Still running: (\d+) \(sleep\); they carry CLAUDE_TRIO_SESSION=", text)
        assert match is not None, text
        os.kill(int(match.group(1)), signal.SIGKILL)
    assert "ok" == found["version"]


def lines_of(file: Path) -> list[str]:
    return file.read_text().split() if file.exists() else []


# -- the command


@attrs.frozen
class Doctor:
    """The command in a process of its own, and its CLI in a world of its own."""

    world: World
    base_url: str
    cli: Path

    def command(self, *more: str, **env: str) -> list[str]:
        world, variables = self.world, self.world.env(self.base_url, **env)
        given = [part for name, value in variables.items() for part in ("--env", f"{name}={value}")]
        here = [sys.executable, "-m", "claude_trio", "doctor", "--cwd", str(world.cwd)]
        return [*here, "--cli", str(self.cli), *given, *more]

    def environment(self) -> dict[str, str]:
        package = str(Path(claude_trio.__file__).parent.parent)
        return {"PATH": os.environ["PATH"], "HOME": str(self.world.home), "PYTHONPATH": package}

    async def run(self, *more: str, **env: str) -> tuple[int, str]:
        with trio.fail_after(100):
            done = await trio.run_process(
                self.command(*more, **env),
                env=self.environment(),
                capture_stdout=True,
                check=False,
            )
        return done.returncode, done.stdout.decode()


@pytest.fixture
def doctor(world: World, api: LoopbackApi, real_cli: Path) -> Doctor:
    return Doctor(world, api.base_url, real_cli)


@pytest.mark.real_cli
async def test_the_doctor_prints_a_table_and_exits_with_0(doctor: Doctor) -> None:
    code, printed = await doctor.run()
    assert 0 == code
    rows = {line.split()[0]: line.split()[1] for line in printed.splitlines() if line[0] != " "}
    assert [*WELL] == [*rows]
    assert {"cli": "ok", "trust": "ok", "login": "ok", "turn": "skipped"}.items() <= rows.items()
    assert "\x1b" not in printed
    assert "made-up" not in printed


@pytest.mark.real_cli
async def test_the_doctor_exits_with_1_and_says_what_to_do(doctor: Doctor) -> None:
    code, printed = await doctor.run(ANTHROPIC_AUTH_TOKEN="")
    assert 1 == code
    assert "not logged in" in printed
    assert "claude /login" in printed


@pytest.mark.real_cli
async def test_the_doctor_prints_json_and_runs_a_turn(doctor: Doctor, api: LoopbackApi) -> None:
    api.reply("ready")
    code, printed = await doctor.run("--json", "--turn")
    said = json.loads(printed)
    assert (0, True) == (code, said["ok"])
    assert {"name": "turn", "state": "ok"}.items() <= said["findings"][-1].items()
    assert 1 == len(api.conversations)


@pytest.mark.real_cli
async def test_the_doctor_colours_on_a_terminal_only(doctor: Doctor) -> None:
    async with open_pty_process(
        doctor.command(), cwd=doctor.world.cwd, env=doctor.environment()
    ) as process:
        with trio.fail_after(100):
            await process.wait()
            await process.drained.wait()
        assert b"\x1b[32mok" in b"".join(process.screen._chunks)


async def test_a_table_that_nobody_reads_ends_the_doctor_in_silence(world: World) -> None:
    doctor = Doctor(world, "http://127.0.0.1:9", world.root / "none")
    reader, writer = os.pipe()
    os.close(reader)
    with trio.fail_after(100):
        done = await trio.run_process(
            doctor.command(),
            env=doctor.environment(),
            stdout=writer,
            capture_stderr=True,
            check=False,
        )
    os.close(writer)
    assert (141, b"") == (done.returncode, done.stderr)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["doctor", "--cwd", "/no/such/place"], "existing directory"),
        (["doctor", "--env", "A"], "NAME=VALUE"),
        (["doctor", "--env", "=A"], "no environment can hold"),
    ],
)
def test_wrong_arguments_exit_with_2(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert 2 == main(arguments)
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["nothing"], ["doctor", "--nothing"]])
def test_unknown_arguments_exit_with_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert 2 == caught.value.code
    assert "usage: python -m claude_trio" in capsys.readouterr().err


def test_the_help_tells_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["doctor", "--help"])
    assert not caught.value.code
    assert "0 nothing failed" in capsys.readouterr().out


async def test_an_interrupted_command_exits_as_a_shell_expects_and_leaves_nothing(
    world: World, tmp_path: Path
) -> None:
    note = tmp_path / "markers"
    slow = program(tmp_path / "claude", f'echo "$CLAUDE_TRIO_SESSION" >>{note}; exec sleep 1000')
    doctor = Doctor(world, "http://127.0.0.1:9", slow)
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            process: trio.Process = await nursery.start(
                partial(
                    trio.run_process,
                    doctor.command(),
                    env=doctor.environment(),
                    check=False,
                    capture_stderr=True,
                )
            )
            while not lines_of(note):  # noqa: ASYNC110 - a file
                await trio.sleep(0.01)
            process.send_signal(signal.SIGINT)
    assert 130 == process.returncode
    (marker,) = lines_of(note)
    assert set() == await find(marker)


def test_a_table_can_be_read_and_coloured() -> None:
    findings = (Finding("cli", "ok", "/bin/claude"), Finding("login", "failed", "no", "Do " * 60))
    report = CheckReport(findings, Path("/bin/claude"), None, Path("/config"), None)
    plain = table(report, colour=False).splitlines()
    assert "cli       ok       /bin/claude" == plain[0]
    assert "login     failed   no" == plain[1]
    assert all(len(line) <= 100 for line in plain)
    assert len(plain) > 3
    assert "\x1b[31mfailed  \x1b[0m" in table(report, colour=True)


def test_the_readme_names_the_tested_versions() -> None:
    if not README.exists():
        pytest.skip("not beside an installed package")
    newest, *older = reversed(TESTED_CLI_VERSIONS)
    assert f"Tested on CLI {' and '.join([newest, *older])}" in README.read_text()
