"""From started to ready or to a reason, without a process: what is seen, when, and what it means."""

# ruff: noqa: RUF001 - the CLI paints such signs

from __future__ import annotations

import inspect
import re
from pathlib import Path

import attrs
import pytest

import claude_trio
from claude_trio import StartupError
from claude_trio._protocol.screens import (
    EXITS,
    SCREENS,
    SILENCE,
    Screen,
    input_text,
    recognise_exit,
)
from claude_trio._protocol.startup import StartupWatch
from claude_trio._protocol.status import Status

PROMPT = "Claude Code v2.1.331\n────\n❯\xa0Try something\n────\n  ? for shortcuts"
STARTING = Status()
TRUST = "Quick safety check: Is this yours?\n\n❯ No, exit\n  Yes, I trust this folder"


@attrs.define(eq=False)
class Seen:
    """A start as it is seen by its watch, every 20 ms."""

    watch: StartupWatch = attrs.field(factory=StartupWatch)
    now: float = 100.0
    rendered: int = 0

    def for_seconds(
        self,
        seconds: float,
        text: str,
        *,
        status: Status = STARTING,
        has_status_file: bool = False,
        quiet: bool = True,
    ) -> str | None:
        """Show a screen for a while; return the kind that it becomes, if any."""
        printed_at = self.now
        end = self.now + seconds

        def render() -> str:
            self.rendered += 1
            return text

        while self.now < end:
            self.now += 0.02
            stop = self.watch.look(
                self.now,
                quiet=self.now - printed_at if quiet else 0.0,
                status=status,
                has_status_file=has_status_file,
                render=render,
            )
            if stop is not None:
                assert stop.advice
                return stop.kind
        return None


def test_a_dialog_is_believed_once_it_is_painted() -> None:
    seen = Seen()
    assert seen.for_seconds(0.4, TRUST) is None
    assert "trust" == seen.for_seconds(0.5, TRUST)


def test_a_dialog_on_a_terminal_that_prints_on_is_believed_when_it_stays() -> None:
    seen = Seen()
    assert seen.for_seconds(0.9, TRUST, quiet=False) is None
    assert "trust" == seen.for_seconds(2, TRUST, quiet=False)


def test_an_empty_screen_is_a_slow_machine() -> None:
    assert Seen().for_seconds(300, "") is None


def test_a_screen_that_changes_is_a_slow_machine() -> None:
    seen = Seen()
    for number in range(30):
        assert seen.for_seconds(4, f"Loading {number}") is None


def test_a_strange_screen_is_given_time() -> None:
    seen = Seen()
    assert seen.for_seconds(14, "Please choose a colour") is None
    assert "unknown_screen" == seen.for_seconds(3, "Please choose a colour")


def test_a_strange_screen_that_prints_on_is_given_the_same_time() -> None:
    assert "unknown_screen" == Seen().for_seconds(20, "Please choose a colour", quiet=False)


def test_a_prompt_without_a_status_file_is_given_time() -> None:
    seen = Seen()
    assert seen.for_seconds(9, PROMPT) is None
    assert "state_dir" == seen.for_seconds(3, PROMPT)


def test_a_prompt_that_says_that_nothing_is_saved_is_believed_at_once() -> None:
    said = f"{PROMPT}\n  ⚠ Transcript saving is off — inherited CLAUDE_CODE_CHILD_SESSION marker"
    assert "state_dir" == Seen().for_seconds(1, said)


def test_a_prompt_with_a_status_file_is_left_to_the_time_limit() -> None:
    assert Seen().for_seconds(300, PROMPT, has_status_file=True) is None


def test_a_prompt_counts_from_its_last_coming() -> None:
    seen = Seen()
    assert seen.for_seconds(9, PROMPT) is None
    assert seen.for_seconds(2, "Loading") is None
    assert seen.for_seconds(9, PROMPT) is None
    assert "state_dir" == seen.for_seconds(3, PROMPT)


def test_a_conversation_about_a_dialog_is_no_dialog() -> None:
    talk = f"❯ What does this ask?\n\n● Quick safety check: it asks for trust.\n\n{PROMPT}"
    assert Seen().for_seconds(9, talk) is None


def test_a_status_that_waits_is_a_dialog_of_its_kind_or_an_unknown_one() -> None:
    waits = Status(state="waiting", waiting_for="dialog open")
    login = "Select login method:\n❯ 1. Claude account with subscription"
    assert "login" == Seen().for_seconds(2, login, status=waits, has_status_file=True)
    other = "Choose a plan\n❯ 1. This"
    assert "dialog" == Seen().for_seconds(2, other, status=waits, has_status_file=True)


def test_the_screen_is_rendered_a_few_times_a_second() -> None:
    seen = Seen()
    seen.for_seconds(10, "")
    assert 10 <= seen.rendered <= 50


@pytest.mark.parametrize("text", ["❯\xa0", "❯\xa0Try this", "a\n❯\xa0\nb"])
def test_the_input_box_is_known_by_its_mark(text: str) -> None:
    assert input_text(text) is not None


@pytest.mark.parametrize("text", ["", "❯ No, exit", "❯ 1. Yes", "a ❯", "> ", "$"])
def test_a_row_of_a_dialog_is_no_input_box(text: str) -> None:
    assert input_text(text) is None


# As printed by 2.1.331 or 2.1.197.
LAST_WORDS = [
    (
        "root",
        "--dangerously-skip-permissions cannot be used with root/sudo privileges for security",
    ),
    ("flag", "error: unknown option '--nope'\n(Did you mean --name?)"),
    (
        "flag",
        "error: option '--permission-mode <mode>' argument 'nope' is invalid. Allowed choices",
    ),
    ("flag", "Error processing --setting-sources: Invalid setting source: nope."),
    ("flag", "Error: --input-format=stream-json requires output-format=stream-json."),
    ("session_id", "Error: Invalid session ID. Must be a valid UUID."),
    ("session_id", "Error: Session ID 1 is already in use."),
    ("session_id", "Error: --session-id with --continue or --resume also needs --fork-session."),
    ("session_id", "Error: --session-id can only be used with --continue or --resume if"),
    ("resume", "No conversation found with session ID: 1"),
    ("resume", "No conversation found to continue"),
    ("settings", "Error: Settings file not found: /nope"),
    ("mcp_config", "Error: Invalid MCP configuration:\nMCP config file not found: /nope.json"),
    ("agent", "--agent 'nope' not found. Available agents: claude, Explore"),
    ("agent", "Error: Invalid --agents configuration:\ninvalid JSON"),
    ("prompt_file", "Error: System prompt file not found: /nope"),
    ("prompt_file", "Error: Append system prompt file not found: /nope"),
    ("prompt_file", "Error reading system prompt file: EISDIR: illegal operation on a directory"),
    ("prompt_file", "Error reading append system prompt file: EISDIR: illegal operation on a"),
    (
        "flag",
        "Error: Cannot use both --system-prompt and --system-prompt-file. Please use only one",
    ),
    ("unreachable", " Unable to connect to Anthropic services\n Failed to connect to api"),
]


@pytest.mark.parametrize(("kind", "text"), LAST_WORDS)
def test_last_words_are_known(kind: str, text: str) -> None:
    screen = recognise_exit(f"\n  {text}\nu")
    assert screen is not None
    assert kind == screen.kind


@pytest.mark.parametrize("text", ["", "error: preload not found", "I said: error: unknown option"])
def test_other_last_words_are_not(text: str) -> None:
    assert recognise_exit(text) is None


@pytest.mark.parametrize(("kind", "text"), LAST_WORDS)
def test_words_of_a_conversation_are_no_last_words(kind: str, text: str) -> None:
    assert recognise_exit(f"● As you asked:\n  {text}\n{PROMPT}") is None


@pytest.mark.parametrize("text", [TRUST, *(text for _, text in LAST_WORDS)])
def test_who_is_ended_by_a_signal_has_no_last_words(text: str) -> None:
    assert recognise_exit(text) is not None
    assert recognise_exit(text, by_signal=True) is None


@pytest.mark.parametrize("screen", EXITS, ids=lambda screen: screen.kind)
def test_each_kind_of_last_words_has_an_example_and_advice(screen: Screen) -> None:
    assert screen.kind in {kind for kind, _ in LAST_WORDS}
    assert screen.advice


KINDS = {screen.kind for screen in (*SCREENS, *EXITS, SILENCE)} - {"login"}
KINDS |= {"dialog", "unknown_screen", "exited", "timeout"}


def test_each_kind_is_documented_and_no_other() -> None:
    documented = inspect.getdoc(StartupError)
    assert documented is not None
    words = set(re.findall(r"``([a-z_]+)``", documented.replace("``startup_timeout``", "")))
    assert KINDS == words
    readme = Path(claude_trio.__file__).parent.parent / "README.md"
    if readme.exists():  # not beside an installed package
        table = readme.read_text().partition("| kind | the CLI |")[2].partition("\n\n")[0]
        rows = [row.split(" | ")[0] for row in table.splitlines()]
        assert KINDS == {kind for row in rows for kind in re.findall(r"`([a-z_]+)`", row)}
