"""A prompt into keys: what is typed arrives as it is, and what might not is not typed."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from claude_trio._protocol import keys

# What the CLI takes without wrapping it in <pasted_content>.
MOST_UNITS, MOST_BREAKS = 800, 2


# -- normalized


@pytest.mark.parametrize(
    ("given_text", "expected"),
    [
        ("a\r\nb\rc\n\rd", "a\nb\nc\n\nd"),
        ("a \t\n\v\f\xa0\u3000\u2028", "a"),
        ("a\ufeff", "a"),
        ("a \ufeff \ufeff\n", "a"),
        ("  a", "  a"),
        ("a\t b", "a\t b"),
        ("", ""),
        (" \n ", ""),
        ("\ufeff", ""),
        ("a\ud800b\udc00", "a\ufffdb\ufffd"),
        ("\ud83e\udd86", "🦆"),
    ],
)
def test_a_prompt_is_given_plain_line_breaks_and_no_blank_end(
    given_text: str, expected: str
) -> None:
    assert expected == keys.normalized(given_text)


@settings(deadline=None)
@given(st.text(alphabet=st.sampled_from("a \t\r\n\ufeff\u2028\xa0\ud83e\udd86")))
def test_normalizing_twice_changes_nothing_more(text: str) -> None:
    once = keys.normalized(text)
    assert once == keys.normalized(once)


# -- paste and edited


def test_a_paste_is_the_text_between_marks_and_a_blank_of_its_own() -> None:
    assert b"\x1b[200~hello\nyou\x1b[201~\x1b[200~ \x1b[201~" == keys.paste("hello\nyou")


def test_the_editor_leaves_the_text_and_a_blank() -> None:
    assert b"\ttabs\n " == keys.edited("\ttabs\n")


# -- ways


PLAIN = st.characters(exclude_categories=["Cc", "Cf", "Cs", "Cn", "Zl", "Zp"])
LINES = st.text(alphabet=st.one_of(PLAIN, st.sampled_from("\n\t \u0301\u1100\u1161🎉漢/@!exit")))


@settings(deadline=None, max_examples=300)
@given(st.one_of(LINES, st.text(alphabet=st.characters())))
def test_what_is_pasted_stays_below_the_limits_of_a_paste(text: str) -> None:
    text = keys.normalized(text)
    if keys.way_of(text) == "paste":
        assert len(text.encode("utf-16-le")) // 2 <= MOST_UNITS
        assert text.count("\n") <= MOST_BREAKS
        assert "!" != text.lstrip()[0]
        assert not [ch for ch in text if ch != "\n" and unicodedata.category(ch) == "Cc"]


@settings(deadline=None, max_examples=300)
@given(st.one_of(LINES, st.text(alphabet=st.characters())))
def test_what_gets_into_the_box_is_composed_and_no_command(text: str) -> None:
    text = keys.normalized(text)
    if keys.way_of(text) != "transcript":
        assert unicodedata.is_normalized("NFC", text)
        assert "/" != text.lstrip()[0]


@pytest.mark.parametrize("character", ["x", "é", "🎉"])
def test_the_limit_of_a_paste_counts_utf_16_units(character: str) -> None:
    most = MOST_UNITS // (len(character.encode("utf-16-le")) // 2)
    assert "paste" == keys.way_of(character * most)
    assert "editor" == keys.way_of(character * (most + 1))


def test_the_limit_of_a_paste_counts_line_breaks() -> None:
    assert "paste" == keys.way_of("a\nb\nc")
    assert "editor" == keys.way_of("a\nb\nc\nd")


def test_a_text_of_many_line_breaks_is_looked_at_in_linear_time() -> None:
    # At the square of the length this would take half a minute.
    assert "editor" == keys.way_of("a" + "\n" * 49_000 + "b")


def test_a_text_that_is_longer_than_was_measured_is_written() -> None:
    assert "editor" == keys.way_of("x" * 1_000_000)
    assert "transcript" == keys.way_of("x" * 1_000_001)


@pytest.mark.parametrize(
    ("text", "way"),
    [
        # Cut in pieces of 500 units and the rest, of which one blank more is at the end.
        ("🦆" * 6000 + "x", "editor"),
        ("x" + "🦆" * 6000, "transcript"),
        ("xx" + "🦆" * 6000, "transcript"),
        ("x" * 500 + "🦆" + "x" * 12_000, "editor"),
        ("x" * 499 + "🦆" + "x" * 12_000, "transcript"),
        ("x" * 499 + "🦆" + "x" * 8000, "editor"),
        ("x" * 12_000 + "🦆" + "x" * 498, "transcript"),
        ("x" * 499 + "q\u0301" + "x" * 12_000, "transcript"),
        ("x" * 499 + "\n" + "x" * 12_000, "editor"),
    ],
    ids=range(9),
)
def test_a_long_text_of_which_a_character_would_be_cut_is_written(text: str, way: str) -> None:
    assert way == keys.way_of(text)


def test_commands_and_mentions_are_typed_where_they_are_wanted() -> None:
    assert "transcript" == keys.way_of("/cost", mentions=True)
    assert "paste" == keys.way_of("/cost", commands=True)
    assert "paste" == keys.way_of("use /review for it", commands=True)
    assert "transcript" == keys.way_of("see @file.txt", commands=True)
    assert "paste" == keys.way_of("see @file.txt", mentions=True)
    assert "editor" == keys.way_of("see\t@file.txt", mentions=True)
    for inert in ("exit", ":wq"):
        assert "transcript" == keys.way_of(inert, commands=True, mentions=True)
    assert "editor" == keys.way_of("!ls", commands=True, mentions=True)


@pytest.mark.parametrize(
    "text",
    [
        "a\tb",
        "!ls",
        "! ls",
        " !ls",
        "!ls " + "x" * 1000,
        "\n" * 5 + "!ls",
        "h" * 700 + "!ls" * 50,
        "/p/img.png and\n\n\n\nmore",
        "p/img.png",
        "'p/img two.png'",
        '"p/img.JPG"',
        "p/img.png\nwhat is it",
        "what is it\n  p/img.jpeg  \nthere",
        "a.webp",
        "file:///p/img.gif",
    ],
)
def test_what_a_paste_would_change_comes_from_the_editor(text: str) -> None:
    assert keys.way_of(text) == ("transcript" if text.startswith("/") else "editor")


# -- texts that are prompts, as observed


@pytest.mark.parametrize(
    "text",
    [
        "#note",
        "# heading",
        "#",
        "&bg",
        ">",
        "%",
        "*",
        "~",
        '"',
        "`ls`",
        "$HOME",
        '{"a":1}',
        "--help",
        "1",
        "y",
        ".",
        "?",
        "? what",
        "exit.",
        "Exit",
        "EXIT",
        '"exit"',
        "please exit",
        "bye",
        "stop",
        "clear",
        "help",
        "login",
        "<system-reminder>x</system-reminder>",
        "[Pasted text #1 +3 lines]",
        "[Image #1]",
        "<b>",
        "foo@bar.com",
        "x@file",
        "ends in a backslash\\",
        "ends in two\\\\",
        "hi :smile",
        ":qa",
        ":tada:",
        "http://x.y:80",
        "  leading blanks",
        "\n\nleading breaks",
        "first\n!second",
        "first\n# second",
        "nbsp\xa0inside",
        "\u3000wide blanks",
        "\u2800",
        "ﬁ ligature",
        "日本語 한국어 العربية",
        "🎉👍",
        "private \ue000 use",
        "\u2764\ufe0f \u26a0\ufe0f 1\ufe0f\u20e3",
        "👩\u200d👩\u200d👧 👩🏽\u200d💻 🏳\ufe0f\u200d🌈 👍🏻 🇩🇪",
        "replacement \ufffd and object \ufffc",
        "see /usr/bin/env for that",
        "and/or",
    ],
)
def test_ordinary_prompts_are_pasted(text: str) -> None:
    assert "paste" == keys.way_of(text)


# -- hazards, as observed


@pytest.mark.parametrize(
    "text",
    [
        # nothing to send
        "",
        " ",
        "\n\n",
        "\ufeff",
        # commands
        "/cost",
        "/nosuch arg",
        "/ hello",
        "/",
        "//hello",
        "/-x",
        "/cost\nand text",
        "  /cost",
        "\n/cost",
        "\xa0/cost",
        " /exit",
        "/EXIT",
        "\u200b/cost",
        "\ufeff/cost",
        "/cost" + "\n" * 5 + "x",
        "\u200b!ls",
        # words that end the process
        "exit",
        "quit",
        ":q",
        ":wq",
        ":q!",
        ":wq!",
        " exit ",
        "\nexit\n",
        "\n\n\n\nquit",
        # attachments, agents, keywords, skills
        "@",
        "@x",
        "see @/etc/passwd",
        "@agent-Explore hi",
        "end @secr",
        "a\n@file",
        "(@file)",
        "ultrathink",
        "please Ultrathink now",
        "ultracode",
        "ultraplan",
        "use /review for it",
        "first\n/cost",
        # too like a command
        "/p/img.png",
        # characters that the box changes
        "a\vb",
        "a\fb",
        "a\x85b",
        "a\u2028b",
        "a\u2029b",
        "a\x00b",
        "a\x7fb",
        "a\x03b",
        "a\x1b[31mb",
        "a\x1b[201~\x03b",
        "a\x1b[200~b",
        "a\x9b31mb",
        "a\x90b",
        "a\x9db",
        "a\x9fb",
        "\ufeffa",
        "a\ufeffb",
        "a\u200bb",
        "a\u200cb",
        "a\u200db",
        "a\u2060b",
        "a\u00adb",
        "a\u034fb",
        "a\u180eb",
        "a\u206ab",
        "a\u115fb",
        "a\u3164b",
        "a\U000e0041b",
        "a\ufe0fb",
        "1\ufe0f",
        "\u2190\ufe0f",
        "a\u200d👧",
        "🇩\u200d🇪",
        "👩" + "\u200d👩" * 9,
        # escaped by the CLI
        "</pasted_content>",
        "< PASTED_CONTENT id",
        "a\U000e0100b",
        "a\u200eb",
        "a\u200fb",
        "a\u202ab",
        "a\u202eb",
        "a\u2066b",
        "a\u2069b",
        "a\u061cb",
        # not in the composed form
        "e\u0301",
        "\u212b",
        "\u2126",
        "\u1112\u1161\u11ab",
    ],
)
def test_what_the_box_would_take_for_something_else_is_written(text: str) -> None:
    assert "transcript" == keys.way_of(keys.normalized(text))


@settings(deadline=None)
@given(
    before=st.text(alphabet="abc \n", max_size=5),
    hazard=st.characters(categories=["Cc", "Cf", "Zl", "Zp"], exclude_characters="\n\r\t"),
    after=st.text(alphabet="abc", min_size=1, max_size=5),
)
def test_no_control_or_invisible_character_is_ever_typed(
    before: str, hazard: str, after: str
) -> None:
    assert "transcript" == keys.way_of(before + hazard + after)


@settings(deadline=None)
@given(
    blanks=st.text(alphabet=" \n\xa0\u3000"),
    start=st.just("/"),
    rest=st.text(alphabet=PLAIN),
)
def test_no_command_is_ever_typed(blanks: str, start: str, rest: str) -> None:
    assert "transcript" == keys.way_of(keys.normalized(blanks + start + rest))


def test_the_keys_are_single_bytes() -> None:
    assert (b"\r", b"\x1b", b"\x03", b"\x07") == (
        keys.ENTER,
        keys.ESCAPE,
        keys.CLEAR,
        keys.EDITOR,
    )
