"""The files that a CLI is started with: what is confidential, or too long for an argument.

They lie in a directory that only this user can enter, which lives as long as a backend does. A
backend may live for days, and somebody may tidy up the temporary files meanwhile: so they are restored
before each use.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import shutil
import warnings
from collections.abc import Generator, Iterable, Mapping
from pathlib import Path

import attrs

from ._host.host import Host
from ._launch import merge_settings
from ._private import PrivateDirectory, restore_file
from ._protocol.hooks import merged
from .errors import ProcessError
from .options import BackendOptions


@attrs.frozen
class StartFiles:
    """The files of one backend.

    Attributes:
        flags: Each of them, by the flag that gives it to the CLI.
    """

    flags: Mapping[str, Path]
    _place: PrivateDirectory
    _contents: Mapping[str, str] = attrs.field(repr=False)
    _host: Host | None = attrs.field(default=None, repr=False)

    @property
    def directory(self) -> Path:
        """What they lie in."""
        return self._place.path

    def restore(self) -> None:
        """Write again what is not there any more, or not as it was written.

        Raises:
            ProcessError: It could not be written.
        """
        _restore(self._place, self.flags, self._contents)

    def new_status_line(self) -> Path:
        """Return where one process is to leave what it tells its status line."""
        return self.directory / f"{secrets.token_hex(8)}.json"

    def new_debug_file(self) -> Path:
        """Return where one process is to write its debug file."""
        return self.directory / f"{secrets.token_hex(8)}.debug.txt"

    @contextlib.contextmanager
    def flags_for(self, options: BackendOptions) -> Generator[Mapping[str, Path], None, None]:
        """Have the files of one process for the length of a block.

        They are those of the backend, unless something was chosen that stands in them.

        Args:
            options: The backend's, with what was chosen for one call.

        Raises:
            ProcessError: They could not be written.
        """
        contents = _contents(options, self._host)
        if contents == self._contents:
            yield self.flags
            return
        mark = secrets.token_hex(8)
        flags = {flag: self.directory / f"{mark}{flag}.txt" for flag in contents}
        try:
            _restore(self._place, flags, contents)
            yield flags
        finally:
            with contextlib.suppress(OSError):  # the directory goes with all that is in it
                for path in flags.values():
                    path.unlink(missing_ok=True)


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
    contents = _contents(options, host)
    try:
        place = PrivateDirectory.make()
    except OSError as exc:
        raise _not_written("a temporary directory", exc) from exc
    flags = {flag: place.path / f"{flag.strip('-')}.txt" for flag in contents}
    files = StartFiles(flags, place, contents, host)
    try:
        files.restore()
        yield files
    finally:
        _remove(place.path, flags.values())


def _contents(options: BackendOptions, host: Host | None) -> dict[str, str]:
    settings, servers = merge_settings(options), dict(options.other_servers)
    if host is not None:
        settings = merged(settings, host.settings())
        servers |= host.mcp_servers(options)
    contents = {"--settings": json.dumps(settings)}
    if options.system_prompt is not None:
        contents["--system-prompt-file"] = options.system_prompt
    if options.append_system_prompt is not None:
        contents["--append-system-prompt-file"] = options.append_system_prompt
    if servers:
        contents["--mcp-config"] = json.dumps({"mcpServers": servers})
    return contents


def _restore(
    place: PrivateDirectory, flags: Mapping[str, Path], contents: Mapping[str, str]
) -> None:
    try:
        place.restore()
        for flag, path in flags.items():
            restore_file(path, contents[flag].encode())
    except OSError as exc:
        raise _not_written(str(place.path), exc) from exc


def _not_written(where: str, reason: OSError) -> ProcessError:
    return ProcessError(
        f"cannot write the files that the CLI is to be started with into {where}: {reason}",
        kind="not_started",
    )


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
