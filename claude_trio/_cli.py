"""`find_cli`: where the `claude` program is; and the versions of it that the tests run on."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from .errors import CLINotFoundError

#: The versions of the CLI on which the whole test suite passes, the oldest first.
TESTED_CLI_VERSIONS: Final[tuple[str, ...]] = ("2.1.197", "2.1.331")

# Where installers and version managers put it: below the home directory, below a directory that a
# variable names, and elsewhere. A star stands for any version; the newest is taken.
_BELOW_HOME: Final = (
    ".local/bin/claude",  # the native installer
    ".claude/local/claude",  # `claude migrate-installer`
    ".npm-global/bin/claude",
    ".yarn/bin/claude",
    ".bun/bin/claude",
    "node_modules/.bin/claude",
    ".volta/bin/claude",
    ".local/share/pnpm/claude",
    ".local/share/pnpm/bin/claude",
    "Library/pnpm/claude",
    "Library/pnpm/bin/claude",
    ".nvm/versions/node/*/bin/claude",
    ".config/nvm/versions/node/*/bin/claude",
    ".local/share/fnm/node-versions/*/installation/bin/claude",
    "Library/Application Support/fnm/node-versions/*/installation/bin/claude",
    ".fnm/node-versions/*/installation/bin/claude",
    ".local/share/mise/shims/claude",
    ".local/share/mise/installs/node/*/bin/claude",
    # Its shims need `asdf` on the PATH.
    ".asdf/installs/nodejs/*/bin/claude",
)
_BELOW_VARIABLE: Final = (
    ("npm_config_prefix", "bin/claude"),
    ("NPM_CONFIG_PREFIX", "bin/claude"),
    ("BUN_INSTALL", "bin/claude"),
    ("VOLTA_HOME", "bin/claude"),
    ("PNPM_HOME", "claude"),
    ("PNPM_HOME", "bin/claude"),
    ("NVM_DIR", "versions/node/*/bin/claude"),
    ("FNM_DIR", "node-versions/*/installation/bin/claude"),
    ("MISE_DATA_DIR", "shims/claude"),
    ("MISE_DATA_DIR", "installs/node/*/bin/claude"),
    ("ASDF_DATA_DIR", "installs/nodejs/*/bin/claude"),
    ("XDG_DATA_HOME", "pnpm/claude"),
    ("XDG_DATA_HOME", "fnm/node-versions/*/installation/bin/claude"),
    ("XDG_DATA_HOME", "mise/shims/claude"),
    ("HOMEBREW_PREFIX", "bin/claude"),
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

    It is looked for on the ``PATH``, then in the places where installers and version managers put it:
    below the home directory, in npm's prefix, where nvm, fnm, Volta, pnpm, Bun, mise and asdf keep
    things, in the directories of Homebrew and of the system. Of several versions the newest is taken.
    Links are not resolved. Nothing is run.

    Args:
        cli_path: The program, where it is known; then nothing is looked for.
        environment: What gives ``PATH``, ``HOME`` and the directories of version managers. Default:
            that of this process.

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
    for root, pattern in install_places(env, _npmrc(env)):
        for place in sorted(Path(root).glob(pattern), key=_version, reverse=True):
            if _is_program(place):
                return _absolute(place)
        searched.append(os.path.join(root, pattern))  # noqa: PTH118 - not to be tidied
    raise CLINotFoundError(
        f"there is no `claude` program. Looked in: {', '.join(dict.fromkeys(searched))}. "
        f"{_HOW_TO_INSTALL}",
        kind="not_found",
        searched=tuple(dict.fromkeys(searched)),
    )


def install_places(env: Mapping[str, str], npmrc: str = "") -> Iterator[tuple[str, str]]:
    """Yield where a `claude` may have been put: a directory, and a path below it that may have stars.

    Args:
        env: What gives the home directory, and those of version managers.
        npmrc: What stands in the user's configuration of npm.
    """
    home = env.get("HOME", "")
    if home:
        yield from ((home, place) for place in _BELOW_HOME)
    for variable, place in _BELOW_VARIABLE:
        if env.get(variable):
            yield env[variable], place
    for line in npmrc.splitlines():
        key, equals, value = line.partition("=")
        if key.strip() == "prefix" and equals and home:
            written = value.strip().strip("\"'").replace("${HOME}", home)
            yield os.path.join(home, written.removeprefix("~/")), "bin/claude"  # noqa: PTH118
    for path in _ELSEWHERE:
        yield "/", path.removeprefix("/")


def _npmrc(env: Mapping[str, str]) -> str:
    if not env.get("HOME"):
        return ""
    try:
        return Path(env["HOME"], ".npmrc").read_text(errors="replace")
    except OSError:
        return ""


def _version(place: Path) -> list[int]:
    """Return the numbers in the name of a place, by which versions are ordered."""
    return [int(number) for number in re.findall(r"\d+", str(place))]


def _is_program(path: Path) -> bool:
    return os.path.isfile(path) and os.access(path, os.X_OK)  # noqa: PTH113 - it never raises


def _absolute(path: str | os.PathLike[str]) -> Path:
    # The CLI starts in a directory of its own.
    return Path(os.path.abspath(path))  # noqa: PTH100 - not resolved
