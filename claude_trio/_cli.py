"""`find_cli`: where the `claude` program is; and the versions of it that the tests run on."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from .errors import CLINotFoundError

#: The versions of the CLI on which the whole test suite passes, the oldest first.
TESTED_CLI_VERSIONS: Final[tuple[str, ...]] = ("2.1.197", "2.1.331")

# Where its installers put it, below the home directory and elsewhere.
_BELOW_HOME: Final = (
    ".local/bin/claude",  # the native installer
    ".claude/local/claude",  # `claude migrate-installer`
    ".npm-global/bin/claude",
    ".yarn/bin/claude",
    ".bun/bin/claude",
    "node_modules/.bin/claude",
)
_ELSEWHERE: Final = (
    "/usr/local/bin/claude",
    "/opt/homebrew/bin/claude",
    "/home/linuxbrew/.linuxbrew/bin/claude",
)
_HOW_TO_INSTALL: Final = (
    "Install Claude Code (curl -fsSL https://claude.ai/install.sh | bash, or "
    "npm install -g @anthropic-ai/claude-code), or give its path as BackendOptions(cli_path=…)"
)


def find_cli(
    cli_path: str | os.PathLike[str] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Path:
    """Return the `claude` program, as an absolute path.

    It is looked for on the ``PATH``, then in the places where the installers put it: below the home
    directory, in npm's prefix, in the directories of Homebrew and of the system. Links are not
    resolved. Nothing is run.

    Args:
        cli_path: The program, where it is known; then nothing is looked for.
        environment: What gives ``PATH``, ``HOME`` and npm's prefix. Default: that of this process.

    Raises:
        CLINotFoundError: There is none; the message and ``searched`` name each place.
    """
    if cli_path is not None:
        program = _absolute(cli_path)
        if _is_program(program):
            return program
        raise CLINotFoundError(
            f"cli_path is {str(program)!r}, which is not an executable file. {_HOW_TO_INSTALL}",
            kind="not_found",
            searched=(str(program),),
        )
    env = os.environ if environment is None else environment
    path = env.get("PATH", os.defpath)
    if found := shutil.which("claude", path=path):
        return _absolute(found)
    searched = [folder for folder in path.split(os.pathsep) if folder]
    for place in _install_places(env):
        if _is_program(place):
            return _absolute(place)
        searched.append(str(place))
    raise CLINotFoundError(
        f"there is no `claude` program. Looked in: {', '.join(dict.fromkeys(searched))}. "
        f"{_HOW_TO_INSTALL}",
        kind="not_found",
        searched=tuple(dict.fromkeys(searched)),
    )


def _install_places(env: Mapping[str, str]) -> Iterator[Path]:
    home = Path(env["HOME"]) if env.get("HOME") else None
    if home is not None:
        yield from (home / place for place in _BELOW_HOME)
    for prefix in _npm_prefixes(env, home):
        yield prefix / "bin" / "claude"
    yield from map(Path, _ELSEWHERE)


def _npm_prefixes(env: Mapping[str, str], home: Path | None) -> Iterator[Path]:
    for name in ("npm_config_prefix", "NPM_CONFIG_PREFIX"):
        if env.get(name):
            yield Path(env[name])
    if home is None:
        return
    try:
        lines = (home / ".npmrc").read_text(errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        key, equals, value = line.partition("=")
        if key.strip() == "prefix" and equals:
            written = value.strip().strip("\"'").replace("${HOME}", str(home))
            yield home / written.removeprefix("~/")


def _is_program(path: Path) -> bool:
    return os.path.isfile(path) and os.access(path, os.X_OK)  # noqa: PTH113 - it never raises


def _absolute(path: str | os.PathLike[str]) -> Path:
    # The CLI starts in a directory of its own.
    return Path(os.path.abspath(path))  # noqa: PTH100 - not resolved
