"""Whether a CLI that was started is ready, or stands at a screen that it will not leave."""

from __future__ import annotations

import attrs

from ._files import SessionFiles
from ._protocol import screens, startup
from ._pty import PtyClaudeProcess
from .errors import AuthError, BackendError, StartupError


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


def exit_error(session_id: str, process: PtyClaudeProcess) -> BackendError:
    """Return the error for a CLI that ended before it was ready, by its last words.

    Args:
        session_id: The conversation that was to begin.
        process: The CLI.
    """
    code, signal = process.exit_code, process.exit_signal
    screen = screens.recognise_exit(process.screen.render(), by_signal=signal is not None)
    if screen is None:
        how = f"with exit code {code}" if signal is None else f"by signal {signal}"
        what = f"it ended before it was ready, {how}"
        return startup_error("exited", what, session_id, process)
    return _error(screen, session_id, process)


@attrs.define(eq=False)
class StartupWatch:
    """Looks at the screen of a CLI that is not ready yet.

    Args:
        session_id: The conversation that is to begin.
    """

    session_id: str
    _watch: startup.StartupWatch = attrs.field(factory=startup.StartupWatch)

    def failure(
        self, process: PtyClaudeProcess, files: SessionFiles, now: float
    ) -> BackendError | None:
        """Return the error for what keeps the CLI from its prompt, once that is known.

        Args:
            process: The CLI.
            files: Its files; the status has just been read.
            now: Seconds by trio's clock.
        """
        screen = self._watch.look(
            now,
            quiet=now - process.last_output_at,
            status=files.status,
            has_status_file=files.has_status_file,
            render=process.screen.render,
        )
        return None if screen is None else _error(screen, self.session_id, process)


def _error(screen: screens.Screen, session_id: str, process: PtyClaudeProcess) -> BackendError:
    if screen.kind == "login":
        return AuthError(screen.advice, kind="auth", session_id=session_id)
    return startup_error(screen.kind, screen.advice, session_id, process)
