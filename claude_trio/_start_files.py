"""The files that a CLI is started with: what is confidential, or too long for an argument.

They lie in a directory that only this user can enter, which lives as long as a backend does.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import tempfile
import warnings
from collections.abc import Generator, Iterable, Mapping
from pathlib import Path
from typing import Final

import attrs

from ._host.host import Host
from ._launch import merge_settings
from ._protocol.hooks import merged
from .errors import ProcessError
from .options import BackendOptions

_PREFIX: Final = "claude-trio-"


@attrs.frozen
class StartFiles:
    """The files of one backend.

    Attributes:
        directory: What they lie in.
        flags: Each of them, by the flag that gives it to the CLI.
    """

    directory: Path
    flags: Mapping[str, Path]

    def new_status_line(self) -> Path:
        """Return where one process is to leave what it tells its status line."""
        return self.directory / f"{secrets.token_hex(8)}.json"


@contextlib.contextmanager
def start_files(
    options: BackendOptions, host: Host | None = None
) -> Generator[StartFiles, None, None]:
    """Have the files for the length of a block.

    Args:
        options: What the CLI is to be told.
        host: The server that it is to be told of.

    Raises:
        ProcessError: They could not be written.
    """
    settings, servers = merge_settings(options), dict(options.other_servers)
    if host is not None:
        settings = merged(settings, host.settings())
        servers |= host.mcp_servers()
    contents = {"--settings": json.dumps(settings)}
    if options.system_prompt is not None:
        contents["--system-prompt-file"] = options.system_prompt
    if options.append_system_prompt is not None:
        contents["--append-system-prompt-file"] = options.append_system_prompt
    if servers:
        contents["--mcp-config"] = json.dumps({"mcpServers": servers})
    with contextlib.ExitStack() as stack:
        try:
            directory = Path(tempfile.mkdtemp(prefix=_PREFIX))
            flags = {flag: directory / f"{flag.strip('-')}.txt" for flag in contents}
            stack.callback(_remove, directory, flags.values())
            for flag, path in flags.items():
                _write(path, contents[flag].encode())
        except OSError as exc:
            raise ProcessError(
                f"cannot write the files that the CLI is to be started with: {exc}",
                kind="not_started",
            ) from exc
        yield StartFiles(directory, flags)


def _remove(directory: Path, files: Iterable[Path]) -> None:
    try:
        # One by one: that works even where no descriptor is left.
        for path in files:
            path.unlink(missing_ok=True)
        try:
            directory.rmdir()
        except FileNotFoundError:
            return  # somebody has tidied up
        except OSError:  # there is what the status lines have told
            shutil.rmtree(directory)
    except OSError as exc:
        text = f"{directory} could not be removed: {exc}"
        warnings.warn(text, ResourceWarning, stacklevel=2)


def _write(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
