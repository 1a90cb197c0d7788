"""`Steering`: further words of the user's for a CLI that is at work.

They are typed into the input box as a prompt is. The box is there while the CLI works, but where a dialog
opens it takes the keys, and an Enter consents to what it asks. So this is for a mode without dialogs
alone, and not while the host has an answer out for which the CLI opens one.
"""

from __future__ import annotations

from typing import Final

import attrs
import trio

from ._follower import Follower
from ._inbox import Inbox
from ._prompter import Prompter, Unusable
from ._protocol import failures, keys
from ._protocol.table import State
from ._pty import PtyClaudeProcess
from .errors import ProcessError, SessionError

_INTERVAL: Final = 0.02  # seconds between two looks
# Seconds. A CLI at work paints all the time, so what it has painted does not say that it has the text.
_GAP: Final = 0.15


@attrs.frozen(eq=False)
class Steering:
    """Adds to one turn of a session.

    Args:
        process: The CLI.
        follower: Knows what the CLI is doing.
        inbox: Where the events of the turn go; another turn may begin meanwhile.
        prompter: Types.
        grace: Seconds that the typing may take.
    """

    _process: PtyClaudeProcess
    _follower: Follower
    _inbox: Inbox
    _prompter: Prompter
    _grace: float

    async def send(self, text: str, way: keys.Way) -> None:
        """Add a text to the turn; return when the CLI has taken it.

        Cancelled before the typing begins, nothing is sent; later on, that stops the waiting only.

        Args:
            text: The text.
            way: How it gets into the box.

        Raises:
            SessionError: It was not taken.
        """
        await self._until_at_work()
        further = self._follower.turns.add(text)
        # With half a text in the box nobody knows what the CLI would be told next.
        with trio.CancelScope(shield=True):
            await self._type(text, way)
        if not further.enters:
            further.lost = True
            raise self._refusal("the CLI did not take what was typed, and is being ended")
        # The session's own task looks at what the CLI writes.
        while further.open and not further.taken and self._runs:  # noqa: ASYNC110
            await trio.sleep(_INTERVAL)
        if not further.taken:
            raise self._refusal("the CLI did not take what was typed, and is being ended")

    async def _type(self, text: str, way: keys.Way) -> None:
        await trio.lowlevel.checkpoint()
        with trio.move_on_after(self._grace):  # noqa: ASYNC912 - putting it is one
            try:
                await self._prompter.put(text, way)
                await trio.sleep(_GAP)
                if self._runs and not self._in_the_way:
                    await self._process.write(keys.ENTER)
                    self._follower.turns.entered(trio.current_time())
            except (Unusable, ProcessError):
                return

    async def _until_at_work(self) -> None:
        """Wait until the CLI works at the prompt and no dialog can open."""
        await trio.lowlevel.checkpoint()
        # The session's own task looks at what the CLI writes.
        while True:
            if not self._runs:
                raise self._refusal("it is over, or is being interrupted")
            at_work = self._follower.files.status.state == "busy"
            if self._follower.turns.state is State.RUNNING and at_work and not self._in_the_way:
                return
            await trio.sleep(_INTERVAL)

    @property
    def _runs(self) -> bool:
        follower = self._follower
        ours = follower.delivery.inbox is self._inbox
        return ours and follower.in_turn and follower.turns.outcome is None

    @property
    def _in_the_way(self) -> bool:
        guest = self._follower.guest
        asking = guest is not None and guest.may_open_dialog
        return asking or self._follower.turns.dialog is not None

    def _refusal(self, why: str) -> SessionError:
        return failures.not_steered(why, self._follower.session_id)
