"""`Prompter`: puts a prompt into the input box of a CLI that waits for one, and nowhere else."""

from __future__ import annotations

from typing import Final

import attrs
import trio

from ._editor import Editor
from ._follower import Follower
from ._launch import version_numbers
from ._protocol import keys
from ._pty import PtyClaudeProcess
from ._ways import Ways

_PROMPT_GRACE: Final = 2.0  # seconds until an idle CLI has to take a prompt
_PROMPT_INTERVAL: Final = 0.01  # seconds between two looks meanwhile
_ENTER_GAP: Final = 0.05  # seconds; 2.1.197 swallows an Enter close upon the text
#: From this version on the Enter may follow at once.
_ENTER_AT_ONCE_SINCE: Final = (2, 1, 300)


class Unusable(Exception):  # noqa: N818 - a signal between modules, never shown
    """The session cannot take this prompt; another way has to be found."""


class NoEditor(Unusable):
    """The CLI does not fetch a prompt from the editor here."""


@attrs.frozen(eq=False)
class Prompter:
    """Types one prompt.

    Args:
        process: The CLI.
        follower: Knows what the CLI is doing.
        editor: Where it can fetch a text; None where it cannot.
        ways: How prompts get to the CLI.
        first: Whether the process has taken none yet.
    """

    _process: PtyClaudeProcess
    _follower: Follower
    _editor: Editor | None
    _ways: Ways
    _first: bool

    async def reach_prompt(self) -> None:
        """Wait until the CLI takes a prompt; close a panel that it opened after its last turn.

        Raises:
            Unusable: It takes none.
            ProcessError: It has ended.
        """
        await trio.lowlevel.checkpoint()
        # The record that ends a turn may be there before the status file says that it is over.
        with trio.move_on_after(_PROMPT_GRACE):  # noqa: ASYNC912 - the loop ends it
            escaped = False
            while self._process.running and not self._takes_prompt():
                if self._follower.turns.dialog is not None and not escaped:
                    escaped = True
                    await self._process.write(keys.ESCAPE)
                await trio.sleep(_PROMPT_INTERVAL)
        self.require_prompt()

    def require_prompt(self) -> None:
        """Raise `Unusable` if the CLI does not wait for a prompt: a dialog would take it."""
        if not self._takes_prompt():
            raise Unusable

    def _takes_prompt(self) -> bool:
        try:
            self._follower.look_at_status()
        except OSError as exc:  # the session's own task will say so, if it stays
            raise Unusable from exc
        return self._follower.turns.takes_prompt

    async def put(self, text: str, way: keys.Way) -> None:
        """Put a text into the box, with what has to pass until Enter may follow.

        Raises:
            NoEditor: The CLI did not fetch it.
            ProcessError: The CLI has ended.
        """
        await trio.lowlevel.checkpoint()
        if way == "paste":
            await self._process.write(keys.paste(text))
            await trio.sleep(self._enter_gap())
            return
        try:
            put = self._editor is not None and await self._editor.put(self._process, text)
        except OSError:  # which may pass: the next prompt may try again
            raise NoEditor from None
        if not put:
            self._ways.close("editor")
            raise NoEditor

    def _enter_gap(self) -> float:
        version = version_numbers(self._follower.files.status.version or "0")
        return _ENTER_GAP if self._first or version < _ENTER_AT_ONCE_SINCE else 0.0
