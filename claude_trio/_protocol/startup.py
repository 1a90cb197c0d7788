"""From a process that was started to one that is ready, or to the reason why it will not be.

===========================================  ====================================================
seen                                         what it is
===========================================  ====================================================
the status file of the process says idle     ready: decided by the session, and the only way there
a known dialog, painted to its end           its kind
the prompt, and words that nothing is saved  ``state_dir``
the prompt, and no status file for 10 s      ``state_dir``
a status that waits, and no known dialog     ``dialog``
another text, the same for 15 s              ``unknown_screen``
the process has ended                        the kind of its last words, or ``exited``
none of these                                it is still starting; the session has a time limit
===========================================  ====================================================

A slow machine shows an empty screen, or goes on painting; neither is a reason to give up early.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import attrs

from .screens import SILENCE, Screen, input_text, recognise, says_silence
from .status import Status

_PAINTED: Final = 0.5  # seconds of quiet; a dialog is painted in several steps
_INTERVAL: Final = 0.25  # seconds between two renderings of the screen
_RESTLESS: Final = 1.0  # the same, while the terminal prints
_SILENT: Final = 10.0  # seconds from the prompt to a status file
_UNKNOWN: Final = 15.0  # seconds that an unknown screen is given


@attrs.define(eq=False)
class StartupWatch:
    """What was seen of one start. It needs no clock and no terminal: both are passed in."""

    _looked_at: float = -1e9
    _text: str = ""
    _text_since: float = 0.0
    _prompt_since: float | None = None

    def look(
        self,
        now: float,
        *,
        quiet: float,
        status: Status,
        has_status_file: bool,
        render: Callable[[], str],
    ) -> Screen | None:
        """Return what keeps the CLI from its prompt, once that is known.

        Args:
            now: Seconds, by any clock that only goes forward.
            quiet: Seconds since the terminal last printed something.
            status: What the status file says, which is not that the CLI is ready.
            has_status_file: Whether there is a status file at all.
            render: Gives the screen; called only when it is worth it.
        """
        at_rest = quiet > _PAINTED
        if now - self._looked_at < (_INTERVAL if at_rest else _RESTLESS):
            return None
        self._looked_at = now
        text = render()
        if text != self._text:
            self._text, self._text_since = text, now
        painted = at_rest or now - self._text_since >= _RESTLESS
        if input_text(text) is not None:
            # What looks like a dialog above an input box is the text of a conversation.
            return self._at_the_prompt(text, now, has_status_file=has_status_file)
        self._prompt_since = None
        if painted and (dialog := recognise(text)) is not None:
            return dialog
        if painted and status.state == "waiting":
            return Screen("dialog", (), f"it opened a dialog ({status.waiting_for})")
        if text.strip() and now - self._text_since >= _UNKNOWN:
            return Screen(
                "unknown_screen",
                (),
                f"it has stood for {_UNKNOWN:g} seconds at a screen that is not known",
            )
        return None

    def _at_the_prompt(self, text: str, now: float, *, has_status_file: bool) -> Screen | None:
        if self._prompt_since is None:
            self._prompt_since = now
        if has_status_file:
            return None
        silent = now - self._prompt_since >= _SILENT
        return SILENCE if silent or says_silence(text) else None
