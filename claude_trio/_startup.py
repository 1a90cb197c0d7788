"""Whether a CLI that was started is ready, or stands at a screen that it will not leave."""

from __future__ import annotations

from typing import Final

import attrs

from ._protocol import screens
from ._pty import PtyClaudeProcess
from .errors import AuthError, BackendError, StartupError

_QUIET: Final = 0.5  # seconds; a dialog is painted in several steps
_INTERVAL: Final = 0.25  # seconds between two renderings of the screen


def startup_error(
    kind: str, what: str, session_id: str, process: PtyClaudeProcess | None
) -> StartupError:
    """Return the error for a CLI that did not get ready.

    Args:
        kind: The error's kind.
        what: What happened, or what to do.
        session_id: The conversation that was to begin.
        process: The CLI, if it was started; its end and its screen go into the error.
    """
    return StartupError(
        f"the CLI did not reach its prompt: {what}",
        kind=kind,
        session_id=session_id,
        exit_code=process.exit_code if process is not None else None,
        signal=process.exit_signal if process is not None else None,
        screen_tail=process.screen.tail() if process is not None else "",
    )


@attrs.define(eq=False)
class StartupWatch:
    """Looks at the screen of a CLI that has no status yet.

    Args:
        session_id: The conversation that is to begin.
    """

    session_id: str
    _looked_at: float = 0.0

    def failure(self, process: PtyClaudeProcess, now: float) -> BackendError | None:
        """Return the error for the screen that stops the CLI, once one is known to.

        Args:
            process: The CLI.
            now: Seconds by trio's clock.
        """
        quiet = now - process.last_output_at > _QUIET
        if not quiet or now - self._looked_at < _INTERVAL:
            return None
        self._looked_at = now
        screen = screens.recognise(process.screen.render())
        if screen is None:
            return None
        if screen.kind == "login":
            return AuthError(screen.advice, kind="auth", session_id=self.session_id)
        return startup_error(screen.kind, screen.advice, self.session_id, process)
