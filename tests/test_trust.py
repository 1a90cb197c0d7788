"""Consent to trust, written into the file that every running CLI rewrites."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import trio

from claude_trio import BackendOptions, StartupError, open_backend, open_pty_process
from claude_trio._trust import _STALE, _record, accept_trust, lock_of, read_config, trusts
from claude_trio.testing import LoopbackApi, World, cancel_everywhere

CONFIG: dict[str, Any] = {
    "hasCompletedOnboarding": True,
    "tipsHistory": {"größe": 3, "deep": [1, 2.5, None, "😀"]},
    "projects": {"/other": {"hasTrustDialogAccepted": False, "lastCost": 1e-07}},
}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / ".claude.json"
    file.write_text(json.dumps(CONFIG))
    return file


def put(file: Path, text: str) -> None:
    file.write_text(text)


def text_of(file: Path) -> str:
    return file.read_text()


def says(file: Path) -> Any:
    return json.loads(file.read_text())


def mode(file: Path) -> int:
    return file.stat().st_mode & 0o777


def set_mode(file: Path, to: int) -> None:
    file.chmod(to)


def identity(file: Path) -> tuple[int, int]:
    return file.stat().st_ino, file.stat().st_mtime_ns


def left_over(file: Path) -> list[str]:
    return sorted(other.name for other in file.parent.iterdir() if other != file)


async def test_only_the_own_key_changes(config: Path) -> None:
    set_mode(config, 0o640)
    with trio.fail_after(60):
        await accept_trust(config, Path("/new"))
        await accept_trust(config, Path("/other"))
    expected = json.loads(json.dumps(CONFIG))
    expected["projects"]["/new"] = {"hasTrustDialogAccepted": True}
    expected["projects"]["/other"]["hasTrustDialogAccepted"] = True
    assert expected == says(config)
    assert 0o640 == mode(config)
    assert [] == left_over(config)


async def test_nothing_is_written_where_it_is_there_already(config: Path) -> None:
    with trio.fail_after(60):
        await accept_trust(config, Path("/new"))
        before = identity(config)
        lock_of(config).mkdir()  # not even the lock is needed
        await accept_trust(config, Path("/new"))
    assert before == identity(config)


async def test_a_file_that_is_not_there_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "new" / ".claude.json"
    with trio.fail_after(60):
        await accept_trust(file, Path("/new"))
    assert {"projects": {"/new": {"hasTrustDialogAccepted": True}}} == says(file)
    assert (0o600, 0o700) == (mode(file), mode(file.parent))


async def test_a_link_stays_and_the_lock_is_beside_it(tmp_path: Path, config: Path) -> None:
    link = tmp_path / "link" / ".claude.json"
    link.parent.mkdir()
    link.symlink_to("../.claude.json")
    lock_of(link).mkdir()
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(accept_trust, link, Path("/new"))
            await trio.testing.wait_all_tasks_blocked(0.2)
            assert not trusts(read_config(config), Path("/new"))
            lock_of(link).rmdir()
    assert link.is_symlink()
    assert trusts(read_config(config), Path("/new"))
    assert ["link"] == left_over(config)
    assert [] == left_over(link)


async def test_a_lock_that_somebody_left_behind_is_removed(config: Path) -> None:
    lock = lock_of(config)
    lock.mkdir()
    long_ago = time.time() - _STALE - 1
    os.utime(lock, (long_ago, long_ago))
    with trio.fail_after(60):
        await accept_trust(config, Path("/new"))
    assert [] == left_over(config)


async def test_a_lock_that_is_held_on_and_on_is_an_error(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("claude_trio._trust._LIMIT", 0.5)
    lock_of(config).mkdir()
    with (
        trio.fail_after(60),
        pytest.raises(StartupError, match=r"have held .*json\.lock") as caught,
    ):
        await accept_trust(config, Path("/new"))
    assert "config" == caught.value.kind
    assert [lock_of(config).name] == left_over(config)
    assert CONFIG == read_config(config)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{bad", "is not valid JSON"),
        ("[]", "does not hold a JSON object"),
        ('{"projects": 5}', "no object under 'projects'"),
        ('{"projects": {"/new": []}}', "no object for /new"),
        ('{"n": 1e999}', "holds what JSON cannot"),
    ],
)
async def test_a_broken_file_is_left_as_it_is(config: Path, text: str, reason: str) -> None:
    put(config, text)
    with trio.fail_after(60), pytest.raises(StartupError, match=reason) as caught:
        await accept_trust(config, Path("/new"))
    assert "config" == caught.value.kind
    assert text == text_of(config)
    assert [] == left_over(config)


async def test_what_cannot_be_written_is_an_error(config: Path) -> None:
    with trio.fail_after(60), pytest.raises(StartupError, match="cannot be written"):
        await accept_trust(config / "below" / ".claude.json", Path("/new"))


async def test_cancelled_anywhere_no_lock_and_no_unfinished_file_is_left(config: Path) -> None:
    async def body() -> None:
        put(config, json.dumps(CONFIG))
        await accept_trust(config, Path("/new"))

    async def check() -> None:
        await trio.lowlevel.checkpoint()
        assert [] == left_over(config)
        changed = json.loads(json.dumps(CONFIG))
        changed["projects"]["/new"] = {"hasTrustDialogAccepted": True}
        assert says(config) in (json.loads(json.dumps(CONFIG)), changed)

    with trio.fail_after(120):
        assert await cancel_everywhere(body, check) > 1


async def test_the_loop_runs_on_while_the_disk_does_not_answer(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asleep, awake = trio.Event(), threading.Event()
    token = trio.lowlevel.current_trio_token()

    def slow(_descriptor: int) -> None:
        token.run_sync_soon(asleep.set)
        assert awake.wait(60)

    monkeypatch.setattr(os, "fsync", slow)
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(accept_trust, config, Path("/new"))
            await asleep.wait()
            # And a cancellation waits for the disk, so that nothing is left.
            nursery.cancel_scope.cancel()
            awake.set()
    assert [] == left_over(config)


async def test_what_a_writer_without_the_lock_undoes_is_done_again(config: Path) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(accept_trust, config, Path("/new"))
        with trio.fail_after(60):
            for _ in range(3):
                while not trusts(read_config(config), Path("/new")):
                    await trio.sleep(0.001)
                put(config, json.dumps(CONFIG))
    assert trusts(read_config(config), Path("/new"))


async def test_many_writers_lose_nothing(config: Path) -> None:
    async def add(name: str) -> None:
        for number in range(4):
            await accept_trust(config, Path(f"/{name}/{number}"))

    with trio.fail_after(120):
        async with trio.open_nursery() as nursery:
            for name in "abcdef":
                nursery.start_soon(add, name)
    config_says = says(config)
    assert [] == [
        f"/{name}/{number}"
        for name in "abcdef"
        for number in range(4)
        if not trusts(config_says, Path(f"/{name}/{number}"))
    ]
    assert [] == left_over(config)


async def test_nobody_else_s_change_is_lost(config: Path) -> None:
    """Another program counts in the file, under the lock."""
    changes = 150

    def count() -> None:
        for _ in range(changes):
            while True:
                with contextlib.suppress(FileExistsError):
                    lock_of(config).mkdir()
                    break
                time.sleep(0.0005)
            read = says(config)
            time.sleep(0.0005)
            read["count"] = read.get("count", 0) + 1
            other = config.with_name("other")
            put(other, json.dumps(read))
            other.replace(config)
            lock_of(config).rmdir()

    async def write(name: str) -> None:
        number = 0
        while says(config).get("count", 0) < changes:
            _record(config, Path(f"/{name}/{number}"))
            number += 1
            await trio.sleep(0.001)

    with trio.fail_after(120):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, count)
            nursery.start_soon(write, "a")
    assert changes == says(config)["count"]


@pytest.mark.real_cli
async def test_many_writers_lose_nothing_while_real_clis_start(
    world: World, api: LoopbackApi, real_cli: Path
) -> None:
    file = world.config_dir / ".claude.json"
    env = world.env(api.base_url)
    written: list[Path] = []
    starting = 3

    async def start() -> None:
        nonlocal starting
        argv = [str(real_cli), "--permission-mode", "dontAsk"]
        async with open_pty_process(argv, cwd=world.cwd, env=env) as process:
            status = world.config_dir / "sessions" / f"{process.pid}.json"
            while not (status.is_file() and '"status"' in status.read_text()):
                assert process.running
                await trio.sleep(0.05)
        starting -= 1

    async def write(name: str) -> None:
        number = 0
        while starting or number < 3:
            path = world.root / name / str(number)
            await accept_trust(file, path)
            written.append(path)
            number += 1
            await trio.sleep(0.05)

    with trio.fail_after(120):
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(start)
            for name in ("a", "b"):
                nursery.start_soon(write, name)
    read = read_config(file)
    assert [] == [path for path in written if not trusts(read, path)]
    assert len(written) > 5
    assert read["hasCompletedOnboarding"] is True
    assert [] == [*file.parent.glob(".claude.json.*")]


@pytest.mark.real_cli
async def test_a_directory_is_trusted_by_the_caller_s_word(
    world: World, api: LoopbackApi, real_cli: Path, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "real").mkdir()
    env = world.env(api.base_url)

    def options(**how: Any) -> BackendOptions:
        return BackendOptions(cwd=tmp_path / "link", cli_path=real_cli, env=env, **how)

    question = [{"role": "user", "content": "hi"}]
    with trio.fail_after(120):
        async with open_backend(options()) as backend:
            with pytest.raises(StartupError, match="trust_workspace=True") as caught:
                await backend.complete(question).get_final_text()
        assert "trust" == caught.value.kind
        api.reply("Hello.")
        async with open_backend(options(trust_workspace=True)) as backend:
            assert "Hello." == await backend.complete(question).get_final_text()
    assert trusts(read_config(world.config_dir / ".claude.json"), tmp_path / "real")


@pytest.mark.real_cli
async def test_the_file_of_an_early_version_is_used_where_the_cli_uses_it(
    world: World, api: LoopbackApi, real_cli: Path, tmp_path: Path
) -> None:
    early = world.config_dir / ".config.json"
    (world.config_dir / ".claude.json").rename(early)
    env = world.env(api.base_url)
    options = BackendOptions(cwd=tmp_path, cli_path=real_cli, env=env, trust_workspace=True)
    api.reply("Hello.")
    with trio.fail_after(120):
        async with open_backend(options) as backend:
            turn = backend.complete([{"role": "user", "content": "hi"}])
            assert "Hello." == await turn.get_final_text()
    assert trusts(read_config(early), tmp_path)
    assert not (world.config_dir / ".claude.json").exists()


@pytest.mark.real_cli
async def test_the_home_directory_can_be_trusted(
    world: World, api: LoopbackApi, real_cli: Path
) -> None:
    env = world.env(api.base_url)
    options = BackendOptions(cwd=world.home, cli_path=real_cli, env=env, trust_workspace=True)
    api.reply("Hello.")
    with trio.fail_after(120):
        async with open_backend(options) as backend:
            turn = backend.complete([{"role": "user", "content": "hi"}])
            assert "Hello." == await turn.get_final_text()
