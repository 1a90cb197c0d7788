"""Every failure a caller is expected to meet, as one tree with attributes.

`BackendError` is the root: catching it catches everything this package raises on purpose. Wrong
arguments are not in the tree; they are plain `ValueError` and `TypeError`, raised before anything
starts. All of these pickle, so they can cross a process boundary with their attributes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from .events import Event, ResultMessage


@attrs.define(eq=False, slots=False)
class BackendError(Exception):
    """The root of the tree, and the class of failures that need no class of their own.

    Attributes:
        message: What happened, to what, and what to do about it.
        kind: A stable word to branch on. A turn that the API refused has one of ``billing``,
            ``model_not_found``, ``context_overflow``, ``request_too_large``, ``server``,
            ``connection``, ``timeout``, ``truncated``, ``max_output_tokens``, ``refusal``,
            ``invalid_request`` or ``unknown``; one in which a callback of the caller's raised has
            ``callback``, and a defect of this package ``bug``. The classes below name theirs.
        session_id: The conversation it happened in, if there was one.
        request_id: The API's name for the failed request, if the CLI told.
        status: The HTTP status of the failed request, if the CLI told.
        partial: The events of the turn that had been read when it failed, in order.
        result: What the turn had used and said when it failed, with ``is_error`` set.
    """

    message: str = ""
    kind: str = "unknown"
    session_id: str | None = None
    request_id: str | None = None
    status: int | None = None
    partial: tuple[Event, ...] = attrs.field(default=(), repr=False)
    result: ResultMessage | None = attrs.field(default=None, repr=False)

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[object, ...]:
        """Rebuild from the attributes: ``args`` alone would lose what was set later."""
        return (type(self), tuple(getattr(self, field.name) for field in attrs.fields(type(self))))


@attrs.define(eq=False, slots=False)
class AuthError(BackendError):
    """The CLI is not logged in, or its login was refused (401, 403, revoked, organisation).

    `kind` is ``auth``.
    """


@attrs.define(eq=False, slots=False)
class RateLimitError(BackendError):
    """A usage limit or a rate limit stopped the turn. `kind` is ``rate_limit``.

    Attributes:
        resets_at: When the limit is lifted, in seconds since the epoch, if the CLI told.
        limit_type: Which limit, for example ``five_hour`` or ``seven_day``, if the CLI told.
        retry_after: Seconds from the error to `resets_at`, if the CLI told. The API's own
            ``retry-after`` is not among what the CLI passes on.
    """

    resets_at: float | None = None
    limit_type: str | None = None
    retry_after: float | None = None


@attrs.define(eq=False, slots=False)
class SessionError(BackendError):
    """One conversation cannot go on as asked.

    `kind` says why: ``dialog`` (the CLI asked something that nobody here can answer),
    ``not_ready`` (the CLI was ready for a prompt and then was not), ``not_accepted`` (the prompt was
    typed and the CLI showed no sign of it, or was not to be sent any more), ``altered`` (the CLI
    recorded another text than was sent), ``rejected`` (a hook or the CLI refused the prompt),
    ``no_end`` (the CLI went idle without ending the turn), ``not_settled`` (it did not heed an
    interrupt), ``unreadable`` (its files cannot be read), ``closed`` (by the end of the backend, or by
    `ClaudeCodeBackend.close_session`), ``in_use`` (another process is in the session that is to be
    continued), ``not_found`` (there is no such session), ``not_steered`` (what was to be added to a turn
    was not taken), ``not_compacted`` (the CLI says why), ``not_seen`` (the model has not seen a written
    history; the turn begins again by itself) or ``not_loaded`` (a written history could not be written,
    or was not taken up).
    """


@attrs.define(eq=False, slots=False)
class TurnTimeout(BackendError, TimeoutError):  # noqa: N818 - a timeout, like the one it is
    """A turn took too long; it was interrupted, and settled or ended.

    `kind` is ``timeout`` if it took longer than `BackendOptions.turn_timeout`, ``stalled`` if the CLI
    gave no sign of life for `BackendOptions.stall_timeout`.
    """


@attrs.define(eq=False, slots=False)
class MessageParseError(BackendError):
    """A line of the transcript is not what this package understands. `kind` is ``unreadable``.

    Attributes:
        line: The line as it stands in the file, without its line break.
        problems: What is wrong with it, one phrase for each defect, with its path.
    """

    line: bytes = attrs.field(default=b"", repr=False)
    problems: tuple[str, ...] = ()


@attrs.define(eq=False, slots=False)
class ProcessError(BackendError):
    """The CLI's process ended, or could not be started, when it was needed.

    `kind` is ``died`` or ``not_started``.

    Attributes:
        exit_code: Its exit code, or None when a signal ended it, it never ran, or it is not known.
        signal: The number of the signal that ended it, or None.
        screen_tail: The last lines on its screen.
    """

    exit_code: int | None = None
    signal: int | None = None
    screen_tail: str = attrs.field(default="", repr=False)

    def __str__(self) -> str:
        if not self.screen_tail:
            return self.message
        return f"{self.message}\n--- last screen ---\n{self.screen_tail}"


@attrs.define(eq=False, slots=False)
class CLINotFoundError(ProcessError):
    """There is no executable `claude` where this package looked. `kind` is ``not_found``.

    Attributes:
        searched: The places, in order.
    """

    searched: tuple[str, ...] = ()


@attrs.define(eq=False, slots=False)
class StartupError(ProcessError):
    """The CLI started but never reached its prompt; nothing was typed.

    `screen_tail` has the last screen, and the message says what to do. `kind` is one of:

    It waits at a question that is the user's: ``trust`` (the directory), ``add_dir`` (a further
    one), ``bypass`` (skipped permissions), ``api_key`` (a key in its environment), ``mcp`` (servers
    in ``.mcp.json``), ``imports`` (files that ``CLAUDE.md`` imports), ``picker`` (which session to
    resume), ``dialog`` (another one, after its prompt came up).

    It must be set up or mended first: ``onboarding`` (never used before), ``unreachable`` (no way to
    its service), ``settings`` (a settings file or ``settings``), ``config`` (``.claude.json``),
    ``state_dir`` (it shows its prompt and writes no status file: its directory cannot be written, or
    its environment forbids it).

    It refused to start: ``root`` (permissions may not be skipped as root), ``flag`` (an unknown flag
    or value; the CLI is too old or too new for it), ``session_id`` (invalid or in use), ``resume``
    (no such conversation), ``mcp_config``, ``agent``, ``prompt_file``.

    None of these is known: ``exited`` (it ended), ``unknown_screen`` (it stands at another screen),
    ``timeout`` (not ready within ``startup_timeout``). Standing at its login is an `AuthError`.
    """
