"""`isolated_world`: a home, a configuration and a working directory for a `claude`, and no other.

Nothing that a CLI does in it reaches the user's own files, logins or sessions.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Generator
from pathlib import Path
from typing import Final

import attrs

from .._launch import QUIET_ENVIRONMENT

#: How the name of a world's root begins. Short: sockets below it have names of 100 bytes at most.
WORLD_PREFIX: Final = "ct-world-"
_REMOVAL: Final = 5.0  # seconds
_AGAIN: Final = 0.05  # seconds


@attrs.frozen
class World:
    """The directories of one isolated world; all are real paths, and all exist.

    Args:
        root: Everything else lies below it.
        home: ``HOME``; empty but for the configuration.
        config_dir: ``CLAUDE_CONFIG_DIR``. Onboarding is done there, and `cwd` is trusted.
        cwd: An empty directory to work in; the only one that is trusted.
    """

    root: Path
    home: Path
    config_dir: Path
    cwd: Path

    @property
    def temporary(self) -> Path:
        """``TMPDIR`` and ``CLAUDE_CODE_TMPDIR``."""
        return self.root / "tmp"

    def env(self, base_url: str, **extra: str) -> dict[str, str]:
        """Return the whole environment for a CLI in this world.

        It is built from nothing; only ``PATH`` is inherited. The login is made up. A failed
        request is not repeated (``CLAUDE_CODE_MAX_RETRIES=0``).

        It also does as `BackendOptions.env`, on top of what a backend inherits: a login or a proxy
        of yours is not used.

        Args:
            base_url: The API that the CLI talks to; usually that of `open_loopback_api`.
            **extra: More variables, or other values.
        """
        return {
            **QUIET_ENVIRONMENT,
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "C.UTF-8",
            "HOME": str(self.home),
            "CLAUDE_CONFIG_DIR": str(self.config_dir),
            "TMPDIR": str(self.temporary),
            # Where it puts its sockets and the output of tasks, which are not below TMPDIR.
            "CLAUDE_CODE_TMPDIR": str(self.temporary),
            "ANTHROPIC_BASE_URL": base_url,
            "ANTHROPIC_AUTH_TOKEN": "made-up",
            "CLAUDE_CODE_OAUTH_TOKEN": "",
            "CLAUDE_CODE_MAX_RETRIES": "0",
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
            # Root may skip permissions only where the machine is said to be a sandbox.
            "IS_SANDBOX": "1",
            **extra,
        }


@contextlib.contextmanager
def isolated_world() -> Generator[World, None, None]:
    """Make a world for the length of a block, in the directory for temporary files.

    End what runs in it before the block is left. Removing it is tried for a few seconds, for the
    sake of a process that is just ending and still writes; meanwhile the thread sleeps, and with it
    an event loop that the block was left in.

    Yields:
        Its directories, and the environment to start a CLI with.

    Warns:
        ResourceWarning: The world could not be removed.
    """
    root = Path(os.path.realpath(tempfile.mkdtemp(prefix=WORLD_PREFIX)))
    try:
        home = root / "home"
        world = World(root=root, home=home, config_dir=home / ".claude", cwd=root / "work")
        for directory in (world.config_dir, world.cwd, world.temporary):
            directory.mkdir(parents=True)
        config = {
            "hasCompletedOnboarding": True,
            "projects": {str(world.cwd): {"hasTrustDialogAccepted": True}},
        }
        (world.config_dir / ".claude.json").write_text(json.dumps(config), encoding="utf-8")
        yield world
    finally:
        _remove(root)


def find_real_cli() -> Path | None:
    """Return the `claude` program for tests, or None.

    That is the one that the variable ``CLAUDE_TRIO_TEST_CLI`` names, or the one that lies in the
    installed package `claude_agent_sdk`. A `claude` on the ``PATH`` is somebody's own, and is not
    taken.
    """
    if named := os.environ.get("CLAUDE_TRIO_TEST_CLI"):
        return Path(named).absolute()
    package = importlib.util.find_spec("claude_agent_sdk")
    for folder in (package and package.submodule_search_locations) or ():
        bundled = Path(folder, "_bundled", "claude")
        if bundled.is_file():
            return bundled
    return None


def _remove(root: Path) -> None:
    deadline = time.monotonic() + _REMOVAL
    failure = "it comes back"
    while True:
        try:
            shutil.rmtree(root)
        except OSError as exc:
            failure = str(exc)
            _make_writable(root)
        if not root.exists():
            return
        if time.monotonic() > deadline:
            warnings.warn(f"{root} could not be removed: {failure}", ResourceWarning, stacklevel=4)
            return
        time.sleep(_AGAIN)


def _make_writable(root: Path) -> None:
    for directory, _, _ in os.walk(root):
        with contextlib.suppress(OSError):
            Path(directory).chmod(0o700)
