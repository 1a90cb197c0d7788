"""`check`: whether a backend with certain options could work on this machine, found out beforehand."""

from __future__ import annotations

import os
import re
import secrets
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from subprocess import DEVNULL
from typing import Any, Final, Literal, TypeAlias

import attrs
import psutil
import trio

from ._backend import open_backend
from ._cli import TESTED_CLI_VERSIONS, find_cli
from ._launch import config_directory, config_file
from ._protocol.objects import parse_object
from ._sweep import MARKER, left_over, sweep
from ._trust import Unreadable, read_config, trusts
from .errors import BackendError, CLINotFoundError
from .options import BackendOptions

State: TypeAlias = Literal["ok", "warning", "failed", "skipped"]

_PROMPT: Final = "Reply with the single word ready."
_SWEEP_LIMIT: Final = 3.0  # seconds
_VERSION: Final = re.compile(r"\d+(?:\.\d+)+")


@attrs.frozen
class Finding:
    """One thing that was looked at.

    Attributes:
        name: ``cli``, ``version``, ``config``, ``setup``, ``trust``, ``login`` or ``turn``.
        state: ``ok``; ``warning``: it may work; ``failed``: it will not; ``skipped``: it could not
            be found out, or was not asked for.
        text: What was found.
        advice: What to do about it; empty where nothing is to be done.
    """

    name: str
    state: State
    text: str
    advice: str = ""


@attrs.frozen
class CheckReport:
    """What `check` found.

    Attributes:
        findings: One for each name of `Finding`, in that order.
        cli_path: The program; None if there is none.
        cli_version: What it says its version is; None if it did not.
        config_directory: Where it keeps its sessions.
        logged_in: Whether it has a login; None if it did not say. Whether the login is accepted
            only a turn shows.
    """

    findings: tuple[Finding, ...]
    cli_path: Path | None
    cli_version: str | None
    config_directory: Path
    logged_in: bool | None

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        return not any(finding.state == "failed" for finding in self.findings)

    def __getitem__(self, name: str) -> Finding:
        """Return the finding of a name.

        Raises:
            KeyError: There is no such name.
        """
        for finding in self.findings:
            if finding.name == name:
                return finding
        raise KeyError(name)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON can hold it."""
        return {
            "ok": self.ok,
            "cli_path": None if self.cli_path is None else str(self.cli_path),
            "cli_version": self.cli_version,
            "tested_versions": list(TESTED_CLI_VERSIONS),
            "config_directory": str(self.config_directory),
            "logged_in": self.logged_in,
            "findings": [attrs.asdict(finding) for finding in self.findings],
        }


async def check(options: BackendOptions, *, turn: bool = False) -> CheckReport:
    """Find out whether a backend with these options could work, and what is in the way.

    The CLI is asked for its version and its login, in the environment that a session would get; its
    configuration is read. Nothing is accepted, not even with ``trust_workspace``, unless a turn is
    asked for; the CLI may write to its configuration, as it does whenever it runs. Each question to
    it is bounded by ``options.startup_timeout``.

    **Cancellation:** a program that is being asked is ended first, with what it started; what cannot
    be ended within seconds is named in a `ResourceWarning`.

    Args:
        options: As for `open_backend`.
        turn: Also ask the model for one word, in a backend with these options; that takes a few
            seconds and a few tokens of your plan.

    Raises:
        ValueError: The environment for the CLI has no home.
    """
    environment = options.environment(os.environ)
    directory = config_directory(environment, options.cwd)
    try:
        program = find_cli(options.cli_path, {**os.environ, **options.env})
    except CLINotFoundError as exc:
        program, found = None, Finding("cli", "failed", "no `claude` program", exc.message)
    else:
        found = Finding("cli", "ok", str(program))
    version, version_finding = _version(await _ask(program, ["--version"], environment, options))
    logged_in, login = _login(await _ask(program, ["auth", "status"], environment, options))
    if program is None:  # said once is enough
        version_finding = attrs.evolve(version_finding, state="skipped", advice="")
        login = attrs.evolve(login, state="skipped", advice="")
    look = trio.to_thread.run_sync
    findings = [
        *(found, version_finding, await look(_writable, directory)),
        *await look(_configured, config_file(environment, options.cwd), options),
        login,
    ]
    doubtful = any(finding.state == "failed" for finding in findings)
    findings.append(await _turn(options, doubtful=doubtful) if turn else _NOT_ASKED)
    return CheckReport(tuple(findings), program, version, directory, logged_in)


_NOT_ASKED: Final = Finding("turn", "skipped", "not asked for")


@attrs.frozen
class _Answer:
    """What the CLI printed, or why it did not."""

    text: str = ""
    problem: str = ""


async def _ask(
    program: Path | None,
    arguments: list[str],
    environment: Mapping[str, str],
    options: BackendOptions,
) -> _Answer:
    await trio.lowlevel.checkpoint()
    if program is None:
        return _Answer(problem="there is no program to ask")
    marker = secrets.token_hex(16)
    try:
        with trio.move_on_after(options.startup_timeout):
            # The exit code says less than the text: 1 is a plain answer of `auth status`.
            done = await trio.run_process(
                [str(program), *arguments],
                stdin=DEVNULL,
                capture_stdout=True,
                stderr=DEVNULL,
                check=False,
                cwd=options.cwd,
                env={**environment, MARKER: marker},
            )
            return _Answer(done.stdout.decode("utf-8", "replace"))
    except OSError as exc:
        return _Answer(problem=f"it cannot be run: {exc}")
    finally:
        kin: set[psutil.Process] = set()
        with trio.move_on_after(_SWEEP_LIMIT, shield=True) as scope:
            await sweep(marker, kin)  # noqa: ASYNC102 - shielded and bounded
        if scope.cancelled_caught:
            warnings.warn(
                f"`{program.name} {' '.join(arguments)}` was over, and {_SWEEP_LIMIT:g} seconds were "
                f"not enough to end all that it started. {left_over(kin, marker)}",
                ResourceWarning,
                stacklevel=3,
            )
    return _Answer(problem=f"no answer within {options.startup_timeout:g} seconds")


def _version(answer: _Answer) -> tuple[str | None, Finding]:
    name = "version"
    match = _VERSION.search(answer.text)
    if match is None:
        why = answer.problem or "it does not tell its version"
        return None, Finding(name, "failed", why, "Run `claude --version` to see why")
    version = match.group()
    if version in TESTED_CLI_VERSIONS:
        return version, Finding(name, "ok", version)
    tested = ", ".join(TESTED_CLI_VERSIONS)
    return version, Finding(
        name, "warning", f"{version}, which is not tested", f"Tested versions: {tested}"
    )


def _login(answer: _Answer) -> tuple[bool | None, Finding]:
    name = "login"
    said = parse_object(answer.text) or {}
    logged_in, method = said.get("loggedIn"), said.get("authMethod")
    if not isinstance(logged_in, bool):
        why = answer.problem or "it does not tell"
        return None, Finding(name, "warning", why, "Run `claude auth status` to see why")
    if not logged_in:
        return False, Finding(name, "failed", "not logged in", "Run `claude /login` once")
    # Of what it tells only this is shown: the rest has an address and an organisation in it.
    known = method if isinstance(method, str) else "unknown"
    return True, Finding(name, "ok", f"there is a login ({known}); only a turn shows if it holds")


def _writable(directory: Path) -> Finding:
    """Try each directory that a session writes into; those that are not there, above them."""
    for place in (directory, directory / "sessions", directory / "projects"):
        there = place
        while not os.path.lexists(there) and there != there.parent:
            there = there.parent
        try:
            with tempfile.TemporaryFile(dir=there):
                pass
        except OSError as exc:
            advice = "Make it writable; without it there is no transcript to read"
            return Finding("config", "failed", f"{there} cannot be written: {exc.strerror}", advice)
    return Finding("config", "ok", str(directory))


def _configured(file: Path, options: BackendOptions) -> tuple[Finding, Finding]:
    try:
        config = read_config(file)
    except (Unreadable, OSError) as exc:
        broken = Finding("setup", "failed", str(exc), "Mend it, or move it away")
        return broken, Finding("trust", "skipped", "the configuration cannot be read")
    if config.get("hasCompletedOnboarding") is True:
        setup = Finding("setup", "ok", "its first steps are done")
    else:
        setup = Finding(
            "setup",
            "failed",
            "it was never used with this configuration",
            "Run `claude` once and finish its first steps",
        )
    return setup, _trust(config, options)


def _trust(config: Mapping[str, Any], options: BackendOptions) -> Finding:
    name, cwd = "trust", options.cwd
    if trusts(config, cwd):
        return Finding(name, "ok", str(cwd))
    if options.trust_workspace:
        return Finding(name, "ok", f"{cwd} will be trusted by trust_workspace=True")
    advice = (
        f"Run `claude` in {cwd} once and accept, or consent with "
        "BackendOptions(trust_workspace=True)"
    )
    above = next((parent for parent in cwd.parents if trusts(config, parent)), None)
    if above is not None:
        text = f"only {above} is trusted; in a git repository below it newer versions ask again"
        return Finding(name, "warning", text, advice)
    return Finding(name, "failed", f"{cwd} is not trusted", advice)


async def _turn(options: BackendOptions, *, doubtful: bool) -> Finding:
    await trio.lowlevel.checkpoint()
    if doubtful:
        return Finding("turn", "skipped", "what failed above comes first")
    limit = options.turn_timeout or options.startup_timeout
    try:
        async with open_backend(attrs.evolve(options, prestart=0, turn_timeout=limit)) as backend:
            turn = backend.complete([{"role": "user", "content": _PROMPT}])
            await turn.get_final_text()
    except BackendError as exc:
        return Finding("turn", "failed", f"{type(exc).__name__}, kind {exc.kind!r}", str(exc))
    assert turn.result is not None
    seconds = turn.result.duration_ms / 1000
    return Finding("turn", "ok", f"answered in {seconds:.1f} s by {turn.result.model}")
