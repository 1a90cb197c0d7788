"""`PtyClaudeProcess` with real children that are no CLI."""

from __future__ import annotations

import concurrent.futures
import errno
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import psutil
import pytest
import trio

from claude_trio import CLINotFoundError, ProcessError, PtyClaudeProcess, _pty, open_pty_process
from claude_trio._sweep import MARKER, find, survivors, sweep
from claude_trio.testing import cancel_everywhere

ENV = {"PATH": os.defpath, "TERM": "xterm-256color"}
WAIT = "import time; time.sleep(1000)"


def python(code: str) -> list[str]:
    return [sys.executable, "-S", "-I", "-c", code]


async def until_screen_shows(process: PtyClaudeProcess, words: str) -> None:
    with trio.fail_after(60):
        while words not in process.screen.render():
            await trio.sleep(0.01)


async def test_the_child_leads_a_session_with_a_terminal_of_the_given_size(tmp_path: Path) -> None:
    code = (
        "import os; s = os.get_terminal_size(0); t = os.ctermid(); open(t).close();"
        "print(os.getsid(0) == os.getpid() == os.getpgrp(), s.lines, s.columns, os.getcwd());"
        + WAIT
    )
    async with open_pty_process(python(code), cwd=tmp_path, env=ENV) as process:
        await until_screen_shows(process, "True 50 160 ")
        assert str(tmp_path) in process.screen.render().replace("\n", "")
        assert process.running
        assert repr(process) == f"<PtyClaudeProcess pid={process.pid} running>"


async def test_what_is_typed_arrives_and_what_is_printed_is_kept(tmp_path: Path) -> None:
    code = "print('name?'); name = input(); print(f'hello, {name}'); " + WAIT
    async with open_pty_process(python(code), cwd=tmp_path, env=ENV) as process:
        await until_screen_shows(process, "name?")
        await process.write(b"heron\r")
        await until_screen_shows(process, "hello, heron")
        assert process.screen.tail(1) == "hello, heron"


async def test_more_than_the_terminal_holds_is_written_piece_by_piece(tmp_path: Path) -> None:
    code = (
        "import os, tty; tty.setraw(0); print('ready', flush=True); n = 0\n"
        "while n < 300_000: n += len(os.read(0, 4096))\n"
        "print('got', n, flush=True); " + WAIT
    )
    async with open_pty_process(python(code), cwd=tmp_path, env=ENV) as process:
        await until_screen_shows(process, "ready")
        with trio.fail_after(60):
            await process.write(b"x" * 300_000)
        await until_screen_shows(process, "got 300000")


async def test_resize_reaches_the_child(tmp_path: Path) -> None:
    code = (
        "import os, signal, time\n"
        # Not by `print`: the signal may come while the other one still prints.
        "show = lambda *_: os.write(1, b'now %d %d' % tuple(os.get_terminal_size(0)))\n"
        "signal.signal(signal.SIGWINCH, show); print('ready', flush=True)\n"
        "while True: time.sleep(1000)"
    )
    async with open_pty_process(python(code), cwd=tmp_path, env=ENV) as process:
        await until_screen_shows(process, "ready")
        process.resize(rows=30, columns=100)
        await until_screen_shows(process, "now 100 30")


@pytest.mark.parametrize(
    ("code", "exit_code", "exit_signal", "words"),
    [
        ("raise SystemExit(3)", 3, None, "exited with code 3"),
        ("import os; os.kill(os.getpid(), 9)", None, signal.SIGKILL, "was ended by SIGKILL"),
        pytest.param(
            *("import os; os.kill(os.getpid(), 40)", None, 40, "was ended by signal 40"),
            marks=pytest.mark.skipif(sys.platform != "linux", reason="a real-time signal"),
        ),
    ],
)
async def test_an_exit_is_reported_as_it_was(
    tmp_path: Path, code: str, exit_code: int | None, exit_signal: int | None, words: str
) -> None:
    code = f"print('last words', flush=True); {code}"
    async with open_pty_process(python(code), cwd=tmp_path, env=ENV) as process:
        with trio.fail_after(60):
            await process.wait()
            await process.drained.wait()
        assert (process.exit_code, process.exit_signal) == (exit_code, exit_signal)
        error = process.death("it cannot go on")
        assert words in error.message
        assert words in repr(process)
        assert (exit_code, exit_signal, "last words") == (
            error.exit_code,
            error.signal,
            error.screen_tail,
        )
        with pytest.raises(ProcessError):
            await process.write(b"more")


@pytest.fixture
def ignored_children() -> Generator[None, None, None]:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGCHLD, before)


async def test_where_the_application_ignores_its_children_no_exit_code_is_made_up(
    tmp_path: Path, ignored_children: None
) -> None:
    async with open_pty_process(python("raise SystemExit(3)"), cwd=tmp_path, env=ENV) as process:
        with trio.fail_after(60):
            await process.wait()
        assert (None, None) == (process.exit_code, process.exit_signal)
        assert not process.running
        assert "ended; how is not known" in process.death("it cannot go on").message
        assert "ended; how is not known" in repr(process)


async def test_two_tasks_may_type_and_what_one_types_stays_together(tmp_path: Path) -> None:
    code = (
        "import os, tty; tty.setraw(0); print('ready', flush=True); got = b''\n"
        "while len(got) < 300_000: got += os.read(0, 4096)\n"
        "print('whole', got.strip(b'a') == b'b' * 150_000 or got.strip(b'b') == b'a' * 150_000); "
        "import sys; sys.stdout.flush(); " + WAIT
    )
    async with open_pty_process(python(code), cwd=tmp_path, env=ENV) as process:
        await until_screen_shows(process, "ready")
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(process.write, b"a" * 150_000)
                nursery.start_soon(process.write, b"b" * 150_000)
        await until_screen_shows(process, "whole True")


async def test_sigterm_ends_a_willing_child_and_its_exit_code_is_kept(tmp_path: Path) -> None:
    code = (
        "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(7));"
        "print('ready', flush=True); time.sleep(1000)"
    )
    async with open_pty_process(python(code), cwd=tmp_path, env=ENV) as process:
        await until_screen_shows(process, "ready")
    assert process.exit_code == 7


async def test_a_child_that_is_deaf_to_sigterm_is_killed(tmp_path: Path) -> None:
    code = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "signal.signal(signal.SIGHUP, signal.SIG_IGN); print('ready', flush=True); time.sleep(1000)"
    )
    async with open_pty_process(python(code), cwd=tmp_path, env=ENV, exit_grace=1.5) as process:
        await until_screen_shows(process, "ready")
    assert process.exit_signal == signal.SIGKILL


DEAF = "import signal; [signal.signal(n, signal.SIG_IGN) for n in (1, 2, 15)]\n"


async def test_a_child_that_is_deaf_to_signals_is_ended_by_the_end_of_its_terminal(
    tmp_path: Path,
) -> None:
    code = DEAF + (
        "print('ready', flush=True)\n"
        "try:\n    while input(): pass\n"
        "except (EOFError, OSError): raise SystemExit(5)"
    )
    async with open_pty_process(python(code), cwd=tmp_path, env=ENV, exit_grace=6) as process:
        await until_screen_shows(process, "ready")
    assert process.exit_code == 5


async def test_a_child_blocked_in_writing_to_its_terminal_is_freed_by_the_end_of_it(
    tmp_path: Path,
) -> None:
    code = DEAF + (
        "import os\n"
        "try:\n    while True: os.write(1, b'x' * 10_000)\n"
        "except OSError: raise SystemExit(5)"
    )
    process = PtyClaudeProcess.spawn(python(code), cwd=tmp_path, env=ENV)
    try:
        await trio.lowlevel.wait_readable(process._stream.fileno())  # and nobody reads
        with trio.fail_after(60):
            await process.hang_up()
        assert process.exit_code == 5
    finally:
        await process.aclose()


async def test_a_child_that_was_stopped_ends_in_order(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(7));"
        "print('ready', flush=True); os.kill(os.getpid(), signal.SIGSTOP); time.sleep(1000)"
    )
    async with open_pty_process(python(code), cwd=tmp_path, env=ENV) as process:
        await until_screen_shows(process, "ready")
        with trio.fail_after(60):
            while psutil.Process(process.pid).status() != psutil.STATUS_STOPPED:
                await trio.sleep(0.01)
    assert process.exit_code == 7


async def test_what_emptied_its_environment_is_found_below_its_parent(tmp_path: Path) -> None:
    sleeper = shlex.join(python(DEAF + WAIT))
    script = f"env -i setsid {sleeper} & echo started; exec sleep 1004"
    async with open_pty_process(["/bin/sh", "-c", script], cwd=tmp_path, env=ENV) as process:
        await until_screen_shows(process, "started")
        with trio.fail_after(60):
            while len(found := await find(process.marker)) < 2:
                await trio.sleep(0.01)
    assert set() == survivors(found)


async def test_what_could_not_be_ended_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(process: psutil.Process) -> None:
        raise psutil.AccessDenied(process.pid)

    script = "setsid sleep 1006 & echo started; exec sleep 1007"
    async with open_pty_process(["/bin/sh", "-c", script], cwd=tmp_path, env=ENV) as process:
        await until_screen_shows(process, "started")
        with trio.fail_after(60):
            while len(await find(process.marker)) < 2:
                await trio.sleep(0.01)
        with monkeypatch.context() as patch:  # as for a program that runs as somebody else
            patch.setattr(psutil.Process, "terminate", refuse)
            patch.setattr(psutil.Process, "kill", refuse)
            with pytest.warns(ResourceWarning, match=r"Still running: \d+ \(sleep\)") as caught:
                await process.aclose(0.5)
    assert 1 == len(caught)
    assert process.marker in str(caught[0].message)
    assert set() == await find(process.marker)


async def test_what_could_not_be_ended_is_told_of_where_the_block_was_cancelled_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(*_: object) -> None:
        await trio.sleep_forever()

    async def body() -> None:
        with trio.CancelScope() as scope:
            async with open_pty_process(python(WAIT), cwd=tmp_path, env=ENV, exit_grace=1.5):
                scope.cancel()
                await trio.sleep_forever()
        assert scope.cancelled_caught

    monkeypatch.setattr(_pty, "sweep", never)
    with pytest.warns(ResourceWarning, match="seconds were not enough"):
        await body()


async def test_orphans_that_are_left_to_this_program_are_reaped(tmp_path: Path) -> None:
    # As in a container whose first process is a Python program. In a program of its own: the switch
    # is for the whole of it.
    program = f"""
import ctypes, os, trio
from claude_trio import open_pty_process
from claude_trio._sweep import find
ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER
async def main():
    script = "setsid sleep 1008 & setsid sleep 1009 & exec sleep 1010"
    env = {ENV!r}
    async with open_pty_process(["/bin/sh", "-c", script], cwd="/", env=env) as process:
        while len(await find(process.marker)) < 3:
            await trio.sleep(0.01)
trio.run(main)
try:
    print(os.waitpid(-1, os.WNOHANG))
except ChildProcessError:
    print("no children")
"""
    with trio.fail_after(60):
        done = await trio.run_process([sys.executable, "-c", program], capture_stdout=True)
    assert b"no children" == done.stdout.strip()


def test_other_children_of_the_application_are_left_alone(tmp_path: Path) -> None:
    # In a thread, as an application may run trio, with children of its own: one that runs, and one
    # that has ended and was not waited for yet.
    async def main() -> PtyClaudeProcess:
        async with open_pty_process(python(WAIT), cwd=tmp_path, env=ENV) as process:
            assert process.running
        return process

    with (
        subprocess.Popen(python(WAIT)) as other,
        subprocess.Popen(python("raise SystemExit(3)")) as ended,
        concurrent.futures.ThreadPoolExecutor(1) as threads,
    ):
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
        process = threads.submit(trio.run, main).result()
        assert not process.running
        assert other.poll() is None
        assert 3 == ended.wait()
        other.kill()


async def test_what_detached_itself_is_found_and_ended(tmp_path: Path) -> None:
    sleeper = shlex.join(python("import signal; signal.signal(15, signal.SIG_IGN); " + WAIT))
    script = f"setsid {sleeper} & nohup sleep 1003 >/dev/null 2>&1 & echo started; exec sleep 1004"
    async with open_pty_process(["/bin/sh", "-c", script], cwd=tmp_path, env=ENV) as process:
        await until_screen_shows(process, "started")
        with trio.fail_after(60):
            while len(found := await find(process.marker)) < 3:
                await trio.sleep(0.01)
    assert [] == [p for p in found if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
    assert await find(process.marker) == set()


async def test_the_sweep_leaves_alone_what_does_not_carry_its_marker(tmp_path: Path) -> None:
    async with open_pty_process(python(WAIT), cwd=tmp_path, env=ENV) as process:
        await sweep("another marker")
        assert process.running
        (carrier,) = await find(process.marker)
        assert (carrier.pid, process.marker) == (process.pid, carrier.environ()[MARKER])


async def test_a_missing_program_is_named(tmp_path: Path) -> None:
    with pytest.raises(CLINotFoundError, match="no-such-program is not an executable file"):
        async with open_pty_process([str(tmp_path / "no-such-program")], cwd=tmp_path, env=ENV):
            pass


async def test_a_program_that_the_system_cannot_run_is_an_error_and_no_zombie(
    tmp_path: Path,
) -> None:
    program = tmp_path / "nonsense"
    program.write_bytes(b"\x00\x01\x02")
    program.chmod(0o755)
    with pytest.raises(ProcessError, match="cannot start"):
        PtyClaudeProcess.spawn([str(program)], cwd=tmp_path, env=ENV)


async def test_a_directory_that_is_not_there_is_an_error_and_no_zombie(tmp_path: Path) -> None:
    with pytest.raises(ProcessError, match="cannot start"):
        PtyClaudeProcess.spawn(python(WAIT), cwd=tmp_path / "gone", env=ENV)


async def test_without_a_descriptor_for_the_terminal_nothing_runs_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(_: int) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "dup", exhausted)
    with pytest.raises(ProcessError, match="Too many open files"):
        PtyClaudeProcess.spawn(python(WAIT), cwd=tmp_path, env=ENV)


async def test_the_body_is_not_wrapped_in_a_group(tmp_path: Path) -> None:
    own = KeyError("mine")
    with pytest.raises(KeyError) as caught:
        async with open_pty_process(python(WAIT), cwd=tmp_path, env=ENV):
            raise own
    assert caught.value is own


async def test_whatever_the_first_step_of_its_end_raises_the_others_are_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = KeyError("mine")

    async def fail(_: str) -> None:
        monkeypatch.undo()
        raise own

    with trio.fail_after(60), pytest.raises(KeyError) as caught:
        async with open_pty_process(python(WAIT), cwd=tmp_path, env=ENV) as process:
            monkeypatch.setattr(_pty, "find", fail)
    assert caught.value is own
    assert process.exit_signal in {
        signal.SIGTERM,
        signal.SIGHUP,
    }  # both are sent: it was not killed
    assert process.drained.is_set()
    assert set() == await find(process.marker)


async def test_cancelled_anywhere_it_leaves_nothing(tmp_path: Path) -> None:
    seen: list[PtyClaudeProcess] = []

    async def body() -> None:
        async with open_pty_process(python(WAIT), cwd=tmp_path, env=ENV) as process:
            seen.append(process)
            await process.write(b"x")
            await trio.sleep(0.01)

    async def check() -> None:
        for process in seen:
            assert not process.running
            assert await find(process.marker) == set()
        seen.clear()

    with trio.fail_after(60):
        assert await cancel_everywhere(body, check) > 3
