"""Records a caller's consent that the CLI trusts a directory, where the CLI itself records it.

That is its configuration file, ``.claude.json``, which every running CLI rewrites several times a
minute. All of them do it in the same way, and so does this: make the directory ``.claude.json.lock``
(which fails while somebody else has it), read the file again, change the one key, write another file,
flush it to the disk, rename it over the first, and remove the lock. Where the file is a symbolic link,
the lock stands beside the link, and the file that it leads to is replaced.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import trio

from .errors import StartupError

_LIMIT: Final = 20.0  # seconds for all of it
_AGAIN: Final = 0.02  # seconds between two attempts at first; doubled up to
_SELDOM: Final = 0.3
#: Seconds after which what was written is read again. A CLI that finds the lock taken may write without
#: it (2.1.197), and so undo a change that falls between its reading and its writing.
_SETTLED: Final = 0.25
#: Seconds after which a lock was left by a process that died. CLIs hold it for milliseconds.
_STALE: Final = 10.0


class Unreadable(Exception):  # noqa: N818 - becomes a finding, or a StartupError
    """The configuration file is there and is not an object in JSON."""


def read_config(file: Path) -> dict[str, Any]:
    """Return what the CLI's configuration file says; nothing if there is none.

    Raises:
        Unreadable: It is not JSON, or not an object.
        OSError: It cannot be read.
    """
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        return {}
    try:
        config = json.loads(data)
    except ValueError as exc:
        raise Unreadable(f"{file} is not valid JSON: {exc}") from None
    if not isinstance(config, dict):
        raise Unreadable(f"{file} does not hold a JSON object")
    return config


def trusts(config: Mapping[str, Any], directory: Path) -> bool:
    """Return whether a configuration says that exactly this directory is trusted."""
    projects = config.get("projects")
    project = projects.get(str(directory)) if isinstance(projects, dict) else None
    return isinstance(project, dict) and project.get("hasTrustDialogAccepted") is True


async def accept_trust(file: Path, directory: Path) -> None:
    """Record that the CLI may trust a directory; return when the file is seen to say so.

    Nothing is written if it says so already. What else the file holds stays as it is.

    **Cancellation:** the file is either as it was or as it is to be, and neither a lock nor an
    unfinished file is left. An attempt that has begun is finished first; it takes milliseconds on a
    disk that answers.

    Args:
        file: The CLI's configuration file; made if it is not there.
        directory: The directory, links resolved.

    Raises:
        StartupError: The file cannot be read or written, or others held its lock for 20 seconds.
    """
    pause = _AGAIN
    try:
        with trio.move_on_after(_LIMIT):
            # In a thread that is waited for, cancelled or not: it blocks for as long as the disk does.
            while not await trio.to_thread.run_sync(_is_recorded, file, directory):
                if await trio.to_thread.run_sync(_record, file, directory):
                    await trio.sleep(_SETTLED)
                else:
                    await trio.sleep(pause)
                    pause = min(2 * pause, _SELDOM)
            return
    except Unreadable as exc:
        raise _failure(directory, str(exc)) from exc
    except OSError as exc:
        raise _failure(directory, f"{file} cannot be written: {exc}") from exc
    raise _failure(directory, f"others have held {lock_of(file)} for {_LIMIT:g} seconds")


def lock_of(file: Path) -> Path:
    """Return the directory that exists while somebody rewrites the file."""
    return file.with_name(f"{file.name}.lock")


def _is_recorded(file: Path, directory: Path) -> bool:
    return trusts(read_config(file), directory)


def _record(file: Path, directory: Path) -> bool:
    """Write the key; return False if somebody else has the lock."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _locked(lock_of(file)) as locked:
        if not locked:
            return False
        config = read_config(file)
        projects = config.setdefault("projects", {})
        if not isinstance(projects, dict):
            raise Unreadable(f"{file} has no object under 'projects'")
        project = projects.setdefault(str(directory), {})
        if not isinstance(project, dict):
            raise Unreadable(f"{file} has no object for {directory} under 'projects'")
        project["hasTrustDialogAccepted"] = True
        _replace(Path(os.path.realpath(file)), config)
    return True


@contextlib.contextmanager
def _locked(lock: Path) -> Iterator[bool]:
    try:
        lock.mkdir()
    except FileExistsError:
        _remove_stale(lock)
        yield False
        return
    own = lock.stat()
    try:
        yield True
    finally:
        # A disk that did not answer for long: others took the lock for stale, and this is theirs.
        with contextlib.suppress(OSError):
            if os.path.samestat(own, lock.stat()):
                lock.rmdir()


def _remove_stale(lock: Path) -> None:
    with contextlib.suppress(OSError):  # it was released meanwhile, or is in use
        if time.time() - lock.stat().st_mtime > _STALE:
            lock.rmdir()


def _replace(file: Path, config: Mapping[str, Any]) -> None:
    """Put a new file in the place of one, whole from the moment it has its name."""
    try:
        data = json.dumps(config, indent=2, allow_nan=False).encode()
    except ValueError as exc:
        raise Unreadable(f"{file} holds what JSON cannot: {exc}") from None
    try:
        mode = file.stat().st_mode & 0o777
    except FileNotFoundError:
        mode = 0o600
    unfinished = file.with_name(f"{file.name}.tmp.{os.getpid()}.{secrets.token_hex(6)}")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as target:
            os.fchmod(descriptor, mode)  # whatever the umask is
            target.write(data)
            target.flush()
            os.fsync(descriptor)
        unfinished.replace(file)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def _failure(directory: Path, why: str) -> StartupError:
    return StartupError(
        f"trust_workspace=True could not be recorded for {directory}: {why}", kind="config"
    )
