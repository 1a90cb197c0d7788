"""`PtyClaudeProcess`: one program in a pseudo-terminal, owned from the instant it exists.

The program is started by ptyprocess; reading, writing and waiting are trio's. Nothing here knows
what the CLI says: it moves bytes, keeps the last screen, and ends the program and everything that
it started.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import signal
import struct
import sys
import termios
import warnings
from collections.abc import AsyncGenerator, Mapping, Sequence
from pathlib import Path
from typing import Final, Self

import attrs
import psutil
import ptyprocess
import trio

from ._screen import Screen
from ._sweep import MARKER, find, left_over, sweep
from ._util import one_exception
from .errors import CLINotFoundError, ProcessError

_ROWS: Final = 50
_COLUMNS: Final = 160  # dialogs can be read from about 80 x 24; lines of errors want more
_READ_SIZE: Final = 65_536
_REAP_INTERVAL: Final = 0.01
_ALREADY_GONE: Final = (ProcessLookupError, PermissionError)


@attrs.define(eq=False, repr=False)
class PtyClaudeProcess:
    """A running program in a terminal of its own.

    Made by `spawn`, or by `open_pty_process`, which also reads the terminal and ends the program.
    Whoever spawns must see to three things, whatever happens: `drain` runs as long as the program
    does, `aclose` is called, and the time it takes is bounded.
    """

    pid: int
    #: The value of the `MARKER` variable in the environment of the program and all it starts.
    marker: str
    screen: Screen
    #: Seconds by trio's clock when the terminal last printed something.
    last_output_at: float
    _stream: trio.lowlevel.FdStream
    #: Set when the terminal has been read to its end.
    drained: trio.Event = attrs.field(factory=trio.Event)
    #: What it has started, as far as anybody looked.
    _kin: set[psutil.Process] = attrs.field(factory=set)
    #: Whether it has ended; how, the status tells, where it is known.
    _ended: bool = False
    _wait_status: int | None = None
    #: Two tasks may type, and what one types stays together.
    _typing: trio.StrictFIFOLock = attrs.field(factory=trio.StrictFIFOLock)

    @classmethod
    @trio.lowlevel.enable_ki_protection
    def spawn(
        cls,
        argv: Sequence[str],
        *,
        cwd: str | os.PathLike[str],
        env: Mapping[str, str],
        rows: int = _ROWS,
        columns: int = _COLUMNS,
    ) -> Self:
        """Start a program as the leader of a new session with a new controlling terminal.

        There is no checkpoint inside, and Ctrl-C comes after it: once the program exists, the caller
        has it.

        Args:
            argv: The program and its arguments.
            cwd: The directory it starts in.
            env: Its whole environment; one variable that marks it is added.
            rows: The height of the terminal.
            columns: The width of the terminal.

        Raises:
            CLINotFoundError: The program is not there or cannot be executed.
            ProcessError: The system refused to start it.
        """
        program = Path(argv[0])
        if not (program.is_file() and os.access(program, os.X_OK)):
            raise CLINotFoundError(
                f"{argv[0]} is not an executable file; install Claude Code, or give its path as "
                "BackendOptions(cli_path=…)",
                kind="not_found",
            )
        marker = secrets.token_hex(16)

        def prepare() -> None:
            # Python ignores these two, and what is ignored stays ignored in the new program.
            for number in (signal.SIGPIPE, signal.SIGXFSZ):
                signal.signal(number, signal.SIG_DFL)
            # Here, where ptyprocess reports a failure; its own chdir would raise in the child and
            # let a copy of this program run on.
            os.chdir(cwd)

        try:
            with warnings.catch_warnings():
                # Python 3.12 and newer warn of a fork beside threads, of which trio has some. The
                # child does nothing but what stands here, and ptyprocess's few calls, before exec.
                warnings.filterwarnings("ignore", ".*forkpty", DeprecationWarning)
                child = ptyprocess.PtyProcess.spawn(
                    list(argv),
                    env={**env, MARKER: marker},
                    preexec_fn=prepare,
                    dimensions=(rows, columns),
                )
        except OSError as exc:
            # Not chained: the traceback would keep the half-made child from being reaped.
            reason = f"cannot start {argv[0]}: {exc}"
            raise ProcessError(reason, kind="not_started") from None
        # trio is to own the one descriptor of the terminal; ptyprocess would close and kill on its
        # own when it is collected, blocking the event loop. The copy is not inherited by children.
        try:
            terminal = os.dup(child.fd)
        except OSError as exc:  # no descriptor left
            child.close(force=True)
            reason = f"cannot use the terminal of {argv[0]}: {exc}"
            raise ProcessError(reason, kind="not_started") from exc
        child.fileobj.close()
        child.fd, child.closed = -1, True
        return cls(
            pid=child.pid,
            marker=marker,
            screen=Screen(rows, columns),
            last_output_at=trio.current_time(),
            stream=trio.lowlevel.FdStream(terminal),
        )

    def __repr__(self) -> str:
        state = self._end() if self._ended else "running"
        return f"<PtyClaudeProcess pid={self.pid} {state}>"

    def _end(self) -> str:
        if self.exit_signal is not None:
            return f"was ended by {_signal_name(self.exit_signal)}"
        if self.exit_code is not None:
            return f"exited with code {self.exit_code}"
        return "ended; how is not known"

    @property
    def exit_code(self) -> int | None:
        """The exit code; None while it runs, if a signal ended it, or if it is not known.

        It is not known where the application ignores SIGCHLD, or waits for every child itself.
        """
        if self._wait_status is None or not os.WIFEXITED(self._wait_status):
            return None
        return os.WEXITSTATUS(self._wait_status)

    @property
    def exit_signal(self) -> int | None:
        """The number of the signal that ended it, if one did."""
        if self._wait_status is None or not os.WIFSIGNALED(self._wait_status):
            return None
        return os.WTERMSIG(self._wait_status)

    @property
    def running(self) -> bool:
        """Whether it runs now."""
        return not self._reap()

    async def drain(self) -> None:
        """Read the terminal until it ends, keeping the last screen.

        Must run as long as the program does: a program whose output nobody takes stops. Cancelling
        it stops the reading and nothing else.
        """
        try:
            while (data := await self._read()) is not None:
                self.last_output_at = trio.current_time()
                self.screen.feed(data)
        finally:
            self.drained.set()

    async def _read(self) -> bytes | None:
        try:
            # At the end macOS returns b""; how Linux reports it stands below.
            return await self._stream.receive_some(_READ_SIZE) or None
        except trio.ClosedResourceError:
            return None  # noqa: ASYNC910 - the end is read once
        except trio.BrokenResourceError as exc:
            # The program, the last user of the terminal, is gone.
            if isinstance(exc.__cause__, OSError) and exc.__cause__.errno == errno.EIO:
                return None  # noqa: ASYNC910 - likewise
            raise

    async def write(self, data: bytes) -> None:
        """Type bytes into the terminal, waiting for room where it has none.

        When cancelled, an unknown part of the bytes has been typed.

        Args:
            data: The bytes.

        Raises:
            ProcessError: The terminal is closed; the program has ended or is ending.
        """
        async with self._typing:
            if not self.running or self.drained.is_set():
                raise self.death("cannot type into it")
            try:
                await self._stream.send_all(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                raise self.death("cannot type into it") from None

    def resize(self, rows: int, columns: int) -> None:
        """Change the size of the terminal; the program repaints.

        Args:
            rows: Its lines.
            columns: The characters in each.
        """
        size = struct.pack("HHHH", rows, columns, 0, 0)
        fcntl.ioctl(self._stream.fileno(), termios.TIOCSWINSZ, size)
        self.screen.resize(rows, columns)

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the program, if it still runs.

        Args:
            number: The signal.
        """
        # Until it is reaped the pid is its own, even when it is dead; and only `_reap` reaps.
        if not self._ended:
            with contextlib.suppress(*_ALREADY_GONE):
                os.kill(self.pid, number)

    def _kill_group(self) -> None:
        if not self._ended:
            with contextlib.suppress(*_ALREADY_GONE):
                os.killpg(self.pid, signal.SIGKILL)

    def _reap(self) -> bool:
        if not self._ended:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:
                # The application ignores SIGCHLD, or waited for all children: how it ended is lost.
                self._ended = True
            else:
                if pid == self.pid:
                    self._ended, self._wait_status = True, status
        return self._ended

    async def wait(self) -> None:
        """Wait until the program has ended, and reap it. Cancelling stops the waiting only."""
        await trio.lowlevel.checkpoint()
        if self._reap():
            return
        if sys.platform == "linux":
            with contextlib.ExitStack() as stack:
                try:
                    descriptor = os.pidfd_open(self.pid)
                except OSError:  # a kernel before 5.3, or no descriptor left: look now and then
                    pass
                else:
                    stack.callback(os.close, descriptor)
                    await trio.lowlevel.wait_readable(descriptor)
        while not self._reap():  # noqa: ASYNC110 - a process
            await trio.sleep(_REAP_INTERVAL)

    def death(self, what: str) -> ProcessError:
        """Return the error that says how the program ended.

        Args:
            what: What could not be done because of it.
        """
        how = self._end() if self._ended else "closed its terminal"
        return ProcessError(
            f"{what}: the CLI (pid {self.pid}) {how}",
            kind="died",
            exit_code=self.exit_code,
            signal=self.exit_signal,
            screen_tail=self.screen.tail(),
        )

    async def terminate(self) -> None:
        """Ask the program to end, orderly, and wait until it has.

        `drain` must go on meanwhile. When cancelled the program may be still running.
        """
        try:
            await self._find_kin()
        finally:
            self.send_signal(signal.SIGTERM)
            self.send_signal(signal.SIGCONT)  # one that is stopped would never hear of it
        await self.wait()

    async def _find_kin(self) -> None:
        """Look what there is below the program, before its end takes the tree apart."""
        await trio.lowlevel.checkpoint()
        with contextlib.suppress(OSError):  # no descriptor left to look with
            self._kin |= await find(self.marker)

    async def hang_up(self) -> None:
        """Close the terminal, and wait until the program has ended.

        That ends a program which is blocked in writing to its terminal, and heeds no signal. When
        cancelled it may be still running.
        """
        await self._stream.aclose()
        await self.wait()

    @trio.lowlevel.enable_ki_protection
    async def aclose(self, grace: float = 3.0) -> None:
        """End the program at once, reap it, and end everything that it left behind.

        Cancellation does not shorten it: a cancelled caller leaves nothing behind either.

        Args:
            grace: Seconds that all of it may take.

        Warns:
            ResourceWarning: Something still ran after that time; the message names it.
        """
        try:
            with trio.move_on_after(grace, shield=True) as scope:
                try:
                    await self._find_kin()
                finally:
                    self._kill_group()
                    try:
                        await self.wait()  # noqa: ASYNC102 - in the scope above
                    finally:
                        await sweep(self.marker, self._kin)  # noqa: ASYNC102 - likewise
        finally:
            self._stream.close()
        if scope.cancelled_caught:
            warnings.warn(
                f"the CLI (pid {self.pid}) was killed, and {grace:g} seconds were not enough for all "
                f"that it started. {left_over(self._kin, self.marker)}",
                ResourceWarning,
                stacklevel=2,
            )


@contextlib.asynccontextmanager
@trio.lowlevel.enable_ki_protection
async def open_pty_process(
    argv: Sequence[str],
    *,
    cwd: str | os.PathLike[str],
    env: Mapping[str, str],
    exit_grace: float = 10.0,
) -> AsyncGenerator[PtyClaudeProcess, None]:
    """Run a program in a terminal for the length of a block.

    Its output is read all the while. When the block is left, by whatever way, the program is asked
    to end; after half of the grace its terminal is closed, after two thirds it is killed, and then
    everything that it started.

    Args:
        argv: The program and its arguments.
        cwd: The directory it starts in.
        env: Its whole environment.
        exit_grace: Seconds within which all of it is gone. Cancellation does not shorten them.

    Raises:
        CLINotFoundError: The program is not there or cannot be executed.
        ProcessError: The system refused to start it.
    """
    process = PtyClaudeProcess.spawn(argv, cwd=cwd, env=env)
    try:
        with one_exception() as body:
            async with trio.open_nursery() as nursery:
                # A program that nobody reads from cannot end orderly, so the reading outlives a
                # cancelled block. The scope is made here: a task that shields itself could be
                # cancelled before it has, or never again.
                reading = trio.CancelScope(shield=True)
                nursery.start_soon(_drain, process, reading)
                try:
                    with body:
                        yield process
                finally:
                    # Ctrl-C may come out of a step, and must not skip the next.
                    try:
                        with trio.move_on_after(exit_grace / 2, shield=True):
                            await process.terminate()
                    finally:
                        reading.cancel()
                        with trio.move_on_after(exit_grace / 6, shield=True):
                            await process.hang_up()
    finally:
        await process.aclose(exit_grace / 3)  # noqa: ASYNC102 - shielded and bounded inside


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # most of the real-time signals have no name
        return f"signal {number}"


async def _drain(process: PtyClaudeProcess, scope: trio.CancelScope) -> None:
    with scope:
        await process.drain()
