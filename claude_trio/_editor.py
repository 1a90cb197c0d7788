"""The editor of the CLI: a pipe through which a prompt gets into the input box.

The CLI is told that the user's editor is ``cp`` with the name of a pipe. When the key for the editor
is pressed, it starts ``cp PIPE FILE`` and takes what is then in the file for what the user wrote. So
the text is no key press, whatever it holds, and ``cp`` opening the pipe says that the input box has
the focus: it does not come up in a dialog.

The variable reaches what the CLI starts. There is a pipe only while a prompt is sent, so anything
else that starts this editor fails at once.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Final

import attrs
import trio

from ._private import PrivateDirectory
from ._protocol import keys
from ._pty import PtyClaudeProcess

_HANDSHAKE: Final = 5.0  # seconds until the CLI must have started it: at first 0.3, then 0.02
_LOOK: Final = 0.003  # seconds between two looks whether it has
_TRANSFER: Final = 10.0  # seconds until ``cp`` must have taken everything
_PAINTED: Final = 0.5  # seconds until the box must have been painted anew
_SETTLE: Final = 0.05  # seconds from the first paint of it until it takes an Enter
# The CLI cuts the variable at blanks, and gives it to no shell.
_SAFE: Final = re.compile(r"[\w./+-]+")


@attrs.frozen
class Editor:
    """The way into the input box of one CLI. Made by `open_editor`.

    Attributes:
        environment: What the CLI needs in its environment.
    """

    environment: Mapping[str, str]
    _place: PrivateDirectory
    _pipe: Path

    async def put(self, process: PtyClaudeProcess, text: str) -> bool:
        """Put a text into the input box, in place of what stands there.

        When cancelled, or when False is returned, it is not known what stands there.

        Args:
            process: The CLI, at its prompt.
            text: The text.

        Returns:
            Whether the CLI took it. It does not where the user has given the key another meaning.

        Raises:
            ProcessError: The terminal is closed.
            OSError: The pipe could not be made or opened: no descriptor is left, say.
        """
        self._place.restore()  # who tidies up temporary files may have removed it
        os.mkfifo(self._pipe, 0o600)
        try:
            await process.write(keys.EDITOR)
            stream = None
            with trio.move_on_after(_HANDSHAKE):
                stream = await self._open(process)
            if stream is None:
                return False
            sent = False
            with trio.move_on_after(_TRANSFER):
                async with stream:
                    await stream.send_all(keys.edited(text))
                sent = True
            if sent:
                await self._until_painted(process)
        except trio.BrokenResourceError:  # ``cp`` was ended
            await trio.lowlevel.checkpoint()
            return False
        finally:
            self._pipe.unlink(missing_ok=True)
        return sent

    async def _until_painted(self, process: PtyClaudeProcess) -> None:
        """Wait until the text stands in the box: when ``cp`` has ended, the CLI paints it."""
        taken = trio.current_time()
        with trio.move_on_after(_PAINTED):
            await trio.sleep(_LOOK)
            while process.last_output_at <= taken:  # noqa: ASYNC110 - a terminal
                await trio.sleep(_LOOK)
        # 2.1.197 may swallow an Enter close upon it, and then writes blanks for tabs.
        await trio.sleep(_SETTLE)

    async def _open(self, process: PtyClaudeProcess) -> trio.lowlevel.FdStream:
        """Wait until somebody reads the pipe; return its other end."""
        await trio.lowlevel.checkpoint()
        while process.running:
            try:
                return trio.lowlevel.FdStream(os.open(self._pipe, os.O_WRONLY | os.O_NONBLOCK))
            except OSError as exc:
                if exc.errno != errno.ENXIO:
                    raise
            await trio.sleep(_LOOK)
        raise process.death("cannot type into it")


@contextlib.contextmanager
def open_editor(environment: Mapping[str, str]) -> Generator[Editor | None, None, None]:
    """Make the place for the pipe of one CLI, for the length of a block.

    Args:
        environment: The whole environment of that CLI.

    Yields:
        The editor; None if the environment names one, or there is nothing to make one of.
    """
    program = shutil.which("cp", path=environment.get("PATH", os.defpath))
    editor, place = None, None
    try:
        if program is not None and not {"EDITOR", "VISUAL"} & environment.keys():
            with contextlib.suppress(OSError):  # no room for temporary files: there is another way
                # Of mode 0700, so that nobody else gets at the pipe.
                place = PrivateDirectory.make()
                pipe = place.path / "prompt"
                if _SAFE.fullmatch(program) and _SAFE.fullmatch(str(pipe)):
                    command = f"{program} {pipe}"
                    editor = Editor({"EDITOR": command, "VISUAL": command}, place, pipe)
        yield editor
    finally:
        if place is not None:
            with contextlib.suppress(OSError):  # it is empty, unless somebody else uses it
                place.path.rmdir()  # which needs no descriptor, as looking through it would
