"""Ends what a CLI started and left behind.

The CLI runs each tool in a session of its own, and a tool may detach further, so neither the process
group nor the terminal reaches them. But all of them inherit the environment, and in it a value that
was made for this one CLI: whoever carries it is ours to end, and so is what stands below it in the
tree of processes, whatever its environment. Nobody else is.

What escapes is a process that has both emptied its environment and left the tree before anybody
looked. macOS shows the environment of its own programs to nobody, so there one that has left the tree
escapes.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from typing import Final

import psutil
import trio

#: The variable that marks a CLI and everything below it.
MARKER: Final = "CLAUDE_TRIO_SESSION"
_POLITE: Final = 0.5  # seconds between SIGTERM and SIGKILL
_AGAIN: Final = 0.02  # seconds between two looks
_AT_A_TIME: Final = 50  # processes looked at between two checkpoints


async def sweep(marker: str, kin: set[psutil.Process] | None = None) -> None:
    """End every process that carries a marker, and what stands below it; return when none is left.

    When cancelled, some of them may be still running: `survivors` of `kin`.

    Args:
        marker: The value of the `MARKER` variable.
        kin: Processes found before, which may not be found again; it gets what is found now.
    """
    kin = set() if kin is None else kin
    patience = trio.current_time() + _POLITE
    asked: set[psutil.Process] = set()
    clean = 0
    while True:
        await trio.lowlevel.checkpoint()
        try:
            kin |= await find(marker)
        except OSError:  # no descriptor left to look with: there may be one soon
            looked = False
        else:
            looked = True
        left = survivors(kin)
        # A program that is just being started shows no environment for a moment.
        clean = clean + 1 if looked and not left else 0
        if clean == 2:
            return
        for process in left:
            # psutil checks the start time too, so a pid that was given to another is left alone;
            # for that it needs a descriptor.
            with contextlib.suppress(psutil.Error, OSError):
                if trio.current_time() > patience:
                    process.kill()
                elif process not in asked:
                    process.terminate()
        asked |= left
        await trio.sleep(_AGAIN)


async def find(marker: str) -> set[psutil.Process]:
    """Return the living processes that carry a marker, and all that stand below them.

    Args:
        marker: The value of the `MARKER` variable.

    Raises:
        OSError: No descriptor is left to look with.
    """
    await trio.lowlevel.checkpoint()
    carriers: set[psutil.Process] = set()
    children: dict[int, list[psutil.Process]] = {}
    for i, pid in enumerate(psutil.pids()):
        if i % _AT_A_TIME == _AT_A_TIME - 1:
            await trio.lowlevel.checkpoint()
        # Gone meanwhile, or somebody else's: not ours either way.
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(pid)
            children.setdefault(process.ppid(), []).append(process)
            if process.environ().get(MARKER) == marker:
                carriers.add(process)
    found: set[psutil.Process] = set()
    new = carriers
    while new:
        found |= new
        new = {child for parent in new for child in children.get(parent.pid, ())} - found
    return {process for process in found if _runs(process)}


def _runs(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def survivors(processes: Iterable[psutil.Process]) -> set[psutil.Process]:
    """Return those of some processes that still run, as far as can be seen.

    One that is dead and was left to this program, as orphans are to the first process of a
    container, is reaped; so the CLI itself must have been by then.
    """
    left: set[psutil.Process] = set()
    for process in processes:
        try:
            if not process.is_running():
                continue
            if process.status() != psutil.STATUS_ZOMBIE:
                left.add(process)
            elif process.ppid() == os.getpid():
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(process.pid, os.WNOHANG)
        except psutil.NoSuchProcess:
            pass
        except OSError:  # no descriptor left; whether there is such a process can be asked without
            with contextlib.suppress(ProcessLookupError):
                os.getpgid(process.pid)
                left.add(process)
    return left


def left_over(kin: Iterable[psutil.Process], marker: str) -> str:
    """Return for a warning what a sweep could not end in its time.

    Args:
        kin: What the sweep has found.
        marker: The value of the `MARKER` variable.
    """
    found = []
    for process in sorted(survivors(kin), key=lambda process: process.pid):
        with contextlib.suppress(psutil.Error):
            try:
                found.append(f"{process.pid} ({process.name()})")
            except OSError:  # no descriptor left to look with
                found.append(f"{process.pid}")
    listed = ", ".join(found) or "perhaps nothing that was found"
    return f"Still running: {listed}; they carry {MARKER}={marker}"
