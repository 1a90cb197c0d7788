"""`isolated_world`: a home for a `claude` that knows nothing of the one it is tested on."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import tempfile
import time
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Final

import attrs

#: Names the CLI that `find_real_cli` returns.
TEST_CLI_VARIABLE: Final = "CLAUDE_TRIO_TEST_CLI"
_REMOVAL_GRACE: Final = 5.0  # seconds in which a CLI that is ending may still write


@attrs.frozen
class World:
    """A home directory, a configuration and a working directory, all made up.

    Attributes:
        root: What holds all of it.
        home: The home directory.
        config_directory: Where the CLI keeps its configuration and its transcripts.
        cwd: A working directory that the CLI trusts.
    """

    root: Path
    home: Path
    config_directory: Path
    cwd: Path

    def env(self, base_url: str, **extra: str) -> dict[str, str]:
        """Return a whole environment for a CLI: nothing in it is inherited.

        Args:
            base_url: The Messages API it talks to, for example `LoopbackAPI.base_url`.
            extra: Variables on top.
        """
        temporary = str(self.root / "tmp")
        return {
            "PATH": os.defpath,
            "TERM": "xterm-256color",
            "LANG": "C.UTF-8",
            "HOME": str(self.home),
            "TMPDIR": temporary,
            "CLAUDE_CODE_TMPDIR": temporary,
            "CLAUDE_CONFIG_DIR": str(self.config_directory),
            "ANTHROPIC_BASE_URL": base_url,
            "ANTHROPIC_AUTH_TOKEN": "made-up",
            # Ten, its own default, take three minutes.
            "CLAUDE_CODE_MAX_RETRIES": "1",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "CLAUDE_CODE_DISABLE_OFFICIAL_MARKETPLACE_AUTOINSTALL": "1",
            "DISABLE_AUTOUPDATER": "1",
            "CLAUDE_CODE_NO_FLICKER": "1",
            # A proxy is asked even for the loopback interface.
            "NO_PROXY": "127.0.0.1,localhost",
            **extra,
        }

    def transcripts(self) -> list[Path]:
        """Return the transcripts that were written in this world."""
        return sorted(self.config_directory.glob("projects/*/*.jsonl"))


@contextlib.contextmanager
def isolated_world() -> Generator[World, None, None]:
    """Make a world for the length of a block, and remove it afterwards.

    In it a CLI starts without a question: its first steps are done, and `World.cwd`, and nothing
    else, is trusted.
    """
    root = Path(os.path.realpath(tempfile.mkdtemp(prefix="claude-trio-")))
    world = World(root, root / "home", root / "home" / ".claude", root / "work")
    try:
        for directory in (world.config_directory, world.cwd, root / "tmp"):
            directory.mkdir(parents=True)
        settings: Mapping[str, object] = {
            "hasCompletedOnboarding": True,
            "projects": {str(world.cwd): {"hasTrustDialogAccepted": True}},
        }
        (world.config_directory / ".claude.json").write_text(json.dumps(settings))
        yield world
    finally:
        _remove(root)


def _remove(root: Path) -> None:
    patience = time.monotonic() + _REMOVAL_GRACE
    while True:
        try:
            shutil.rmtree(root)
        except FileNotFoundError:
            if not root.exists():
                return
        except OSError:
            if time.monotonic() > patience:
                raise
        else:
            return


def find_real_cli() -> Path | None:
    """Return a real CLI to test with, or None.

    That is the one that the variable ``CLAUDE_TRIO_TEST_CLI`` names, else the one that comes with an
    installed ``claude-agent-sdk``. The `claude` on ``PATH`` is the user's, and is not looked for.
    """
    if chosen := os.environ.get(TEST_CLI_VARIABLE):
        return Path(chosen)
    package = importlib.util.find_spec("claude_agent_sdk")
    if package is None or package.origin is None:
        return None
    bundled = Path(package.origin).parent / "_bundled" / "claude"
    return bundled if bundled.exists() else None
