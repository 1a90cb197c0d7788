"""``-p``: one prompt from the command line, one turn, and its answer in the form that is asked for."""

from __future__ import annotations

import argparse
import os
import re
import signal
from collections.abc import Mapping
from typing import Final, get_args

import attrs
import trio

from ._arguments import NAME, USAGE, add_cli_arguments, variable
from ._backend import open_backend
from ._console import UNREAD, UNWRITABLE, Console
from ._find_session import newest_transcript
from ._launch import config_directory
from ._printers import FinalText, Json, LiveText, Printer, doing
from ._stop import Stop
from ._turn import Turn
from ._util import one_exception
from .errors import AuthError, BackendError, ProcessError, RateLimitError, SessionError, TurnTimeout
from .events import ResultMessage
from .options import BackendOptions, PermissionMode

OK: Final = 0
FAILED: Final = 1
NO_CLI: Final = 69
AGAIN: Final = 75
NO_LOGIN: Final = 77
TIMEOUT: Final = 124
INTERRUPTED: Final = 130

#: What each code means: for the help, and for whoever reads about it.
EXIT_CODES: Final[Mapping[int, str]] = {
    OK: "the turn was answered",
    FAILED: "the turn failed; standard error says why",
    USAGE: "the arguments are wrong, or there is no prompt or no such session",
    NO_CLI: "there is no `claude`, it did not start, or it died",
    UNWRITABLE: "the output cannot be written",
    AGAIN: "a limit was reached, or the service is overloaded or out of reach: later it may work",
    NO_LOGIN: "`claude` is not logged in, or its login was refused",
    TIMEOUT: "the turn took longer than --timeout, or the CLI gave no sign of life",
    INTERRUPTED: "Ctrl-C (another signal: 128 and its number)",
    UNREAD: "nobody reads the output any more",
}
_FORMATS: Final = ("text", "json", "stream-json")
#: Arguments that are called otherwise than the options that they become.
_OTHER_NAMES: Final = {"session_id": "resume", "turn_timeout": "timeout", "cli_path": "cli"}
#: Kinds of failure that pass by themselves.
_PASSING: Final = frozenset({"server", "connection", "timeout", "rate_limit"})
#: How long an input that stands beside a prompt is waited for, in seconds, as by ``claude -p``.
_PATIENCE: Final = 3.0
_TICK: Final = 1.0  # seconds
STARTING: Final = "starting"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments to a command line."""
    add = parser.add_argument
    add("prompt", nargs="?", help="the prompt; what is piped in is added to it, or takes its place")
    add("-p", "--print", action="store_true", required=True, help="print the answer and exit")
    add("--output-format", choices=_FORMATS, default="text", help="default: text")
    add("--model", help="a model's name or alias")
    add("--system-prompt", metavar="TEXT", help="in place of the CLI's; '' for none")
    add("--permission-mode", choices=get_args(PermissionMode), default="dontAsk",
        help="what happens to calls of tools that no rule allows; default: dontAsk, denied")  # fmt: skip
    add("--allowed-tools", "--allowedTools", metavar="RULES", nargs="+", action="extend",
        default=[], help="what may run unasked: 'Read,Bash(git log *)'")  # fmt: skip
    which = parser.add_mutually_exclusive_group()
    which.add_argument("-r", "--resume", metavar="ID", help="go on with this session")
    which.add_argument("-c", "--continue", dest="newest", action="store_true",
                       help="go on with the newest session of the directory")  # fmt: skip
    add_cli_arguments(parser)
    add("--trust-workspace", action="store_true", help="you trust that directory; it is recorded")
    add("--max-turns", type=int, metavar="N", help="how many messages may call tools")
    add("--max-budget-usd", type=float, metavar="USD", help="what the turn may cost")
    add("--timeout", type=float, metavar="SECONDS", help="how long it may take")
    add("--verbose", action="store_true", help="no effect; for scripts made for `claude -p`")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the turn, print, and return the exit code."""
    return trio.run(_main, arguments)


async def _main(arguments: argparse.Namespace) -> int:
    console = Console()
    code = OK
    with one_exception() as body:
        async with trio.open_nursery() as nursery:
            stop = Stop(console)
            await nursery.start(stop.run)
            with body, stop.scope:
                code = await _answer(arguments, console, stop)
            if stop.signal is not None:
                code = 128 + stop.signal
                await console.note(f"{NAME}: ended by {signal.Signals(stop.signal).name}")
            nursery.cancel_scope.cancel(reason="all is printed")
    return code


async def _answer(arguments: argparse.Namespace, console: Console, stop: Stop) -> int:
    try:
        options = to_options(arguments, live=console.live)
        session_id = _session_id(arguments, options)
        prompt = [{"role": "user", "content": await _read_prompt(arguments.prompt, console)}]
    except (ValueError, TypeError) as exc:
        await console.note(f"{NAME}: {_in_words_of_the_line(str(exc), arguments)}")
        return USAGE
    printer = _printer(arguments.output_format, options, console)
    try:
        async with open_backend(options) as backend:
            try:
                turn = backend.complete(prompt, session_id=session_id)
            except ValueError as exc:
                await console.note(f"{NAME}: {_in_words_of_the_line(str(exc), arguments)}")
                return USAGE
            stop.turn = turn
            async with turn:
                result = await _print_turn(turn, printer, console)
    except BackendError as exc:
        failed = ResultMessage(subtype="error", is_error=True)
        await console.write(printer.end(exc.result or failed, exc))
        await console.note(f"{NAME}: {' '.join(exc.message.split())}")
        return exit_code(exc)
    await console.write(printer.end(result))
    if result.subtype == "interrupted":
        return INTERRUPTED
    if result.is_error:
        await console.note(f"{NAME}: the turn was ended: {result.subtype}")
        return FAILED
    return OK


# -- what is asked


def to_options(arguments: argparse.Namespace, *, live: bool) -> BackendOptions:
    """Return the options of a backend for the arguments.

    Args:
        arguments: As `add_arguments` has them parsed.
        live: Whether a person sees the text while it is written.

    Raises:
        ValueError: They are impossible; the text names the argument.
    """
    text = arguments.output_format == "text"
    return BackendOptions(
        cwd=arguments.cwd,
        cli_path=arguments.cli,
        env=dict(variable(given) for given in arguments.env),
        model=arguments.model,
        system_prompt=arguments.system_prompt,
        permission_mode=arguments.permission_mode,
        allowed_tools=[rule for given in arguments.allowed_tools for rule in split_rules(given)],
        trust_workspace=arguments.trust_workspace,
        max_turns=arguments.max_turns,
        max_budget_usd=arguments.max_budget_usd,
        turn_timeout=arguments.timeout,
        max_sessions=1,
        include_partial_messages=live and text,
        include_cost=not text,
    )


def _in_words_of_the_line(text: str, arguments: argparse.Namespace) -> str:
    """Call an option by the argument that it was given by, where an error begins with its name."""
    name, rest = re.findall(r"\A([a-z_]*)(.*)\Z", text, re.DOTALL)[0]
    argument = _OTHER_NAMES.get(name, name if name in vars(arguments) else None)
    return text if argument is None else f"--{argument.replace('_', '-')}{rest}"


def split_rules(given: str) -> list[str]:
    """Return the rules in a list that has commas or spaces between them, as the CLI reads it."""
    rules, depth = [""], 0
    for character in given:
        depth += (character == "(") - (character == ")")
        if depth <= 0 and character in ", ":
            rules.append("")
        else:
            rules[-1] += character
    return [rule for rule in rules if rule]


def _session_id(arguments: argparse.Namespace, options: BackendOptions) -> str | None:
    if not arguments.newest:
        return arguments.resume  # type: ignore[no-any-return]
    directory = config_directory(options.environment(os.environ), options.cwd)
    return newest_transcript(directory, options.cwd).stem


async def _read_prompt(given: str | None, console: Console) -> str:
    piped: bytes | None = b""
    if not os.isatty(0):
        try:
            piped = await console.read_input(_PATIENCE if given else None)
        except OSError as exc:
            raise ValueError(f"standard input cannot be read: {exc.strerror}") from exc
        if piped is None:
            await console.note(
                f"{NAME}: nothing came in within {_PATIENCE:g} s, so the prompt goes alone; "
                "`< /dev/null` says so at once"
            )
    await trio.lowlevel.checkpoint()
    try:
        text = (piped or b"").decode()
    except UnicodeDecodeError as exc:
        raise ValueError(f"standard input is no UTF-8: {exc}") from None
    prompt = "\n".join(part for part in (given, text) if part)
    if not prompt.strip():
        raise ValueError("there is no prompt; give one after -p, or pipe one in")
    return prompt


# -- what is printed


def _printer(form: str, options: BackendOptions, console: Console) -> Printer:
    if form == "text":
        return LiveText() if console.live else FinalText()
    return Json(options, stream=form == "stream-json")


async def _print_turn(turn: Turn, printer: Printer, console: Console) -> ResultMessage:
    progress = Progress(console)
    with one_exception() as body:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(progress.run)
            with body:
                async for event in turn:
                    if progress.state == STARTING and turn.session is not None:
                        await console.write(printer.begin(turn.session))
                    progress.state = doing(event)
                    if not isinstance(event, ResultMessage):
                        await console.write(printer.event(event))
            nursery.cancel_scope.cancel(reason="the turn is over")
    assert turn.result is not None
    return turn.result


def exit_code(error: BackendError) -> int:
    """Return the exit code for a failure: see `EXIT_CODES`."""
    match error:
        case SessionError(kind="not_found"):
            return USAGE
        case TurnTimeout():
            return TIMEOUT
        case AuthError():
            return NO_LOGIN
        case ProcessError():
            return NO_CLI
        case RateLimitError():
            return AGAIN
    return AGAIN if error.kind in _PASSING else FAILED


@attrs.define(eq=False)
class Progress:
    """The line that says what goes on, and for how long, as long as nothing else is printed."""

    console: Console
    state: str = STARTING

    async def run(self) -> None:
        """Show it, now and then, until cancelled."""
        begun = trio.current_time()
        while True:
            await trio.sleep(_TICK)
            await self.console.progress(
                f"claude is {self.state}, {trio.current_time() - begun:.0f} s (Ctrl-C interrupts)"
            )
