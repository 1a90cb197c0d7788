"""Start-up dialogs as they stand on the screen, and the screen itself."""

# ruff: noqa: RUF001 - the CLI paints such signs

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from claude_trio._protocol.screens import SCREENS, recognise
from claude_trio._screen import Screen as Terminal

# As painted by 2.1.330 or 2.1.197, without the frames.
PAINTED = {
    "trust": (
        "Accessing workspace:\n\n/home/me/new\n\n"
        "Quick safety check: Is this a project you created or one you trust?\n\n"
        "❯ No, exit\n  Yes, I trust this folder\n\nEnter to confirm · Esc to cancel"
    ),
    "add_dir": (
        "Adding a new directory:\n\n/home/me/more\n\nThis session hasn't worked here before.\n\n"
        "❯ No, exit\n  Yes, add it"
    ),
    "bypass": (
        "WARNING: Claude Code running in Bypass Permissions mode\n\n❯ No, exit\n  Yes, I accept"
    ),
    "api_key": (
        "Detected a custom API key in your environment\n\nANTHROPIC_API_KEY: sk-ant-...\n\n"
        "Do you want to use this API key?\n\n  1. Yes\n❯ 2. No (recommended) ✔"
    ),
    "onboarding": (
        "Let's get started.\n\nChoose the text style that looks best with your terminal\n"
        "❯ 1. Auto (match terminal) ✔\n  2. Dark mode"
    ),
    "login": "Select login method:\n❯ 1. Claude account with subscription",
    "unreachable": (
        "Unable to connect to Anthropic services\n"
        "Failed to connect to api.anthropic.com: ECONNREFUSED"
    ),
    "mcp": "New MCP server found in this project: files\n❯ Continue without using this MCP server",
    "imports": "Allow external CLAUDE.md file imports?\n❯ No, disable external imports",
    "settings": "Settings Error\n\nFiles with errors are skipped entirely\n❯ 1. Fix with Claude",
    "config": "Configuration error\n\n.claude.json contains invalid JSON.\n❯ 1. Exit and fix manually",
    "picker": "Resume session\n⌕ Search…\nNo sessions match",
}
MORE = [
    ("onboarding", "Security notes:\n1. Claude can make mistakes\nPress Enter to continue…"),
    ("mcp", "2 new MCP servers found in this project\nSelect any you wish to enable."),
    ("settings", "Settings Warning\n❯ 1. Continue"),
]


@pytest.mark.parametrize(("kind", "text"), [*PAINTED.items(), *MORE])
def test_a_dialog_is_known_by_its_words(kind: str, text: str) -> None:
    screen = recognise(text)
    assert screen is not None
    assert kind == screen.kind


@pytest.mark.parametrize(("kind", "text"), [*PAINTED.items(), *MORE])
def test_a_dialog_is_known_on_a_narrow_screen(kind: str, text: str) -> None:
    narrow = "\n".join(text[i : i + 9] for i in range(0, len(text), 9))
    screen = recognise(narrow)
    assert screen is not None
    assert kind == screen.kind


def test_there_is_an_example_of_every_dialog_and_each_has_advice() -> None:
    assert [screen.kind for screen in SCREENS] == [*PAINTED]
    assert all(screen.advice for screen in SCREENS)


@pytest.mark.parametrize(
    "text",
    [
        "",
        '❯\xa0Try "edit <filepath> to…"\n  ? for shortcuts',
        "⎿  Not logged in · Please run /login",
        "▎ Auto mode is now Claude Code's default permission mode.",
        "✘ Auto-update failed · Run claude doctor",
        "⚠ Transcript saving is off",
        "Resume this session with:\nclaude --resume 97ad",
        "  ⏵⏵ bypass permissions on (shift+tab to cycle)",
    ],
)
def test_a_notice_is_no_dialog(text: str) -> None:
    assert recognise(text) is None


# -- the screen


def terminal(*chunks: bytes, rows: int = 5, columns: int = 20) -> Terminal:
    made = Terminal(rows, columns)
    for chunk in chunks:
        made.feed(chunk)
    return made


def test_a_screen_shows_what_a_terminal_would() -> None:
    shown = terminal(b"\r\n\x1b[31mone\x1b[0m  \r\n", b"\x1b[3Ctwo\r\n\xe2\x9d", b"\xaf x")
    assert "one\n   two\n❯ x" == shown.render()


def test_what_was_erased_is_not_shown() -> None:
    assert "new" == terminal(b"old", b"\x1b[2J\x1b[H", b"new").render()


def test_only_the_newest_output_is_kept() -> None:
    shown = terminal(b"first\r\n", *[b"x" * 19 + b"\r\n"] * 10_000, b"last")
    assert "last" == shown.tail(1)
    assert sum(map(len, shown._chunks)) < 200_000


def test_one_large_output_is_kept_whole() -> None:
    assert "last" == terminal(b"x" * 100_000 + b"\r\nlast").tail(1)


def test_a_sequence_that_cannot_be_rendered_costs_no_later_output() -> None:
    assert "one\ntwo" == terminal(b"one\r\n\x1b[?25m", b"two").render()


def test_the_tail_leaves_blank_lines_out() -> None:
    shown = terminal(b"a\r\n\r\nb\r\n \r\nc")
    assert "b\nc" == shown.tail(2)
    assert "a\nb\nc" == shown.tail()
    assert "" == terminal().tail()


def test_a_screen_can_be_rendered_at_another_size() -> None:
    shown = terminal(b"x" * 20, rows=5, columns=10)
    assert "xxxxxxxxxx\nxxxxxxxxxx" == shown.render()
    shown.resize(5, 20)
    assert "x" * 20 == shown.render()


@settings(deadline=None, max_examples=100)
@given(
    st.lists(
        st.one_of(st.binary(max_size=40), st.from_regex(rb"\x1b[\[\]PX^_][ -~]{0,8}")), max_size=12
    )
)
def test_no_output_makes_rendering_fail(chunks: list[bytes]) -> None:
    lines = terminal(*chunks).render().split("\n")
    assert len(lines) <= 5


@pytest.mark.parametrize(
    ("printed", "shown"),
    [
        ("漢字漢字\ra", "a字漢字"),
        ("👍 ok\x1b[1;2Hx", "👍x ok"),
        ("漢字\x1b[1;1H\x1b[P", "字"),
        ("漢字\x1b[1;1H\x1b[2Pb", "b"),
        ("漢\u0301字", "漢\u0301字"),
        ("x" * 39 + "漢", "x" * 39),
    ],
)
def test_a_wide_character_that_is_half_overwritten_can_be_drawn(printed: str, shown: str) -> None:
    terminal = Terminal(5, 40)
    terminal.feed(printed.encode())
    assert shown in terminal.render()


PIECES = st.one_of(
    st.text(max_size=5).map(str.encode),
    st.sampled_from(["漢字", "👍🏽", "e\u0301", "\r", "\n", "\b", "\t", "\x1b7", "\x1b8"]).map(
        str.encode
    ),
    st.builds(
        lambda a, b, end: f"\x1b[{a};{b}{end}".encode(),
        st.integers(0, 9),
        st.integers(0, 12),
        st.sampled_from("HPX@LMJKACDGdrhlm"),
    ),
    st.binary(max_size=4),
)


@settings(deadline=None, max_examples=300)
@given(st.lists(PIECES, max_size=30))
def test_whatever_was_printed_can_be_drawn(pieces: list[bytes]) -> None:
    terminal = Terminal(4, 10)
    for piece in pieces:
        terminal.feed(piece)
    assert len(terminal.render().split("\n")) <= 4
