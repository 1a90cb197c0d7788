"""The package as somebody gets it: a wheel, in an environment with nothing else."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import trio

from claude_trio.testing import LoopbackApi, World

REPOSITORY = Path(__file__).parent.parent
#: What pip needs to find its registry; taken before the tests get an environment of their own.
AROUND = {**os.environ}
WITHOUT = re.compile(r"(PYTHON|COV|PYTEST|VIRTUAL_ENV)\w*")
PATIENCE = 500.0  # seconds; packages are downloaded

pytestmark = [pytest.mark.slow, pytest.mark.real_cli]


def clean(env: Mapping[str, str]) -> dict[str, str]:
    """Return an environment in which no other package is found."""
    return {name: value for name, value in env.items() if not WITHOUT.fullmatch(name)}


async def run(command: Sequence[str], env: Mapping[str, str], cwd: Path) -> str:
    done = await trio.run_process(
        command,
        env=clean(env),
        cwd=cwd,
        capture_stdout=True,
        stderr=subprocess.STDOUT,
        check=False,
    )
    printed = done.stdout.decode()
    assert 0 == done.returncode, f"{command}: {printed}"
    return printed


async def test_a_wheel_in_an_empty_environment_runs_the_demo_and_the_commands(
    tmp_path: Path, real_cli: Path, world: World, api: LoopbackApi
) -> None:
    with trio.fail_after(PATIENCE):
        await run([sys.executable, "-m", "venv", "venv"], AROUND, tmp_path)
        programs = tmp_path / "venv" / "bin"
        pip = [str(programs / "python"), "-m", "pip", "--quiet", "--disable-pip-version-check"]
        build = [*pip, "wheel", "--no-deps", "--wheel-dir", str(tmp_path), str(REPOSITORY)]
        await run(build, AROUND, tmp_path)
        (wheel,) = await trio.Path(tmp_path).glob("*.whl")
        await run([*pip, "install", f"{wheel}[gateway]"], AROUND, tmp_path)

        with zipfile.ZipFile(wheel) as archive:
            names = archive.namelist()
        assert {"claude_trio"} == {
            name.split("/")[0] for name in names if ".dist-info/" not in name
        }
        assert "claude_trio/py.typed" in names
        assert any(name.endswith("/licenses/LICENSE") for name in names)

        env = {**os.environ, "CLAUDE_TRIO_TEST_CLI": str(real_cli)}
        where = "import claude_trio; print(claude_trio.__file__)"
        found = await run([str(programs / "python"), "-c", where], env, tmp_path)
        assert found.startswith(str(tmp_path))
        await run([*pip, "check"], env, tmp_path)
        demo = REPOSITORY / "examples" / "basic_usage.py"
        assert "The shell says: trio." in await run(
            [str(programs / "python"), str(demo)], env, tmp_path
        )

        given = [f"--env={name}={value}" for name, value in world.env(api.base_url).items()]
        there = ["--cwd", str(world.cwd), "--cli", str(real_cli), *given]
        command = str(programs / "claude-trio")
        assert "login     ok " in await run([command, "doctor", *there], env, tmp_path)
        assert "ok\n" == await run([command, "-p", "hi", *there], env, tmp_path)
        assert "usage: claude-trio " in await run([command, "--help"], env, tmp_path)

        await ask_the_gateway(str(programs / "python"), clean(env), tmp_path)


ASK = """
import json, os, sys, urllib.request
url, key = sys.argv[1:]
said = {"model": "haiku", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
headers = {"x-api-key": key, "content-type": "application/json"}
request = urllib.request.Request(url + "/v1/messages", json.dumps(said).encode(), headers)
print(json.load(urllib.request.urlopen(request))["role"])
"""


async def ask_the_gateway(python: str, env: Mapping[str, str], cwd: Path) -> None:
    """Start it as a program, with its scripted model, and send it one request."""
    program = [python, str(REPOSITORY / "examples" / "gateway.py"), "--port", "0"]
    process = await trio.lowlevel.open_process(program, env=env, cwd=cwd, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        async with process.stdout as output:
            said = b""
            while not (found := re.search(rb"BASE_URL=(\S+) \S+API_KEY=(\S+)\n", said)):
                said += (more := await output.receive_some())
                assert more, "it has ended"
            url, key = (each.decode() for each in found.groups())
            assert "assistant\n" == await run([python, "-c", ASK, url, key], env, cwd)
    finally:
        process.send_signal(signal.SIGINT)
        with trio.CancelScope(shield=True), trio.move_on_after(60):
            await process.wait()
    assert process.returncode is not None
