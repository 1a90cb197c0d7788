"""Which transcript somebody means: by its path, by its id, or as the newest one of a directory."""

from __future__ import annotations

import contextlib
import uuid
from pathlib import Path
from typing import Final

from ._protocol.past import find_end
from ._protocol.transcript import project_key

_PROJECTS: Final = "projects"
_SUFFIX: Final = ".jsonl"


class NoSessionError(ValueError):
    """There is no such transcript; the text says where it was looked for."""


def newest_transcript(config_directory: Path, cwd: Path) -> Path:
    """Return the transcript of a directory that was written to last, and holds a conversation.

    Args:
        config_directory: Where the CLI keeps its sessions.
        cwd: The directory, links resolved.

    Raises:
        NoSessionError: There is none.
    """
    folder = config_directory / _PROJECTS / project_key(str(cwd))
    found: list[tuple[int, Path]] = []
    for path in folder.glob(f"*{_SUFFIX}"):
        with contextlib.suppress(OSError):  # it has just been removed
            if _is_id(path.stem):
                found.append((path.stat().st_mtime_ns, path))
    for _, path in sorted(found, reverse=True):
        with contextlib.suppress(OSError):
            if find_end(path.read_bytes()) is not None:
                return path
    raise NoSessionError(f"no conversation was had in {cwd}: there is none in {folder}")


def named_transcript(name: str, config_directory: Path) -> Path:
    """Return the transcript that a path or an id names, of whatever directory.

    Args:
        name: A path that ends in ``.jsonl``, or a session's id.
        config_directory: Where the CLI keeps its sessions.

    Raises:
        NoSessionError: There is none, or the name is neither.
    """
    if name.endswith(_SUFFIX):
        if not Path(name).is_file():
            raise NoSessionError(f"there is no file {name}")
        return Path(name)
    if not _is_id(name):
        raise NoSessionError(f"{name!r} is neither the id of a session nor a file *{_SUFFIX}")
    folder = config_directory / _PROJECTS
    for path in sorted(folder.glob(f"*/{name.lower()}{_SUFFIX}")):
        return path
    raise NoSessionError(f"there is no session {name} below {folder}")


def _is_id(name: str) -> bool:
    try:
        uuid.UUID(name)
    except ValueError:
        return False
    return True
