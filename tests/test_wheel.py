"""The package as somebody gets it: a wheel, in an environment with nothing else."""

from __future__ import annotations

import os
import re
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


async def run(command: Sequence[str], env: Mapping[str, str], cwd: Path) -> str:
    done = await trio.run_process(
        command,
        env={name: value for name, value in env.items() if not WITHOUT.fullmatch(name)},
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
        await run([*pip, "install", str(wheel)], AROUND, tmp_path)

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
