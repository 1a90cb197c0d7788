"""A prompt into keys: what is typed arrives as it is, and what might not is not typed."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from claude_trio._protocol import keys

START, END = b"\x1b[200~", b"\x1b[201~"
# What the CLI takes without wrapping it in <pasted_content>.
MOST_UNITS, MOST_BREAKS = 800, 2


def pastes(data: bytes) -> list[str]:
    """Return the texts between the paste marks; fail if there is anything else."""
    found: list[str] = []
    while data:
        assert data.startswith(START)
        body, end, data = data[len(START) :].partition(END)
        assert END == end
        found.append(body.decode())
    return found


def pieces_of(text: str) -> list[str]:
    """Return the pieces that a text is typed in, checked, without the blank behind them."""
    data = keys.typed(text)
    assert data is not None, f"not typable: {text!r}"
    *pieces, last = pastes(data)
    assert " " == last
    for piece in pieces:
        assert piece
        assert len(piece.encode("utf-16-le")) // 2 <= MOST_UNITS
        assert piece.count("\n") <= MOST_BREAKS
        assert not [ch for ch in piece if ch != "\n" and unicodedata.category(ch) == "Cc"]
    return pieces


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
    ],
)
def test_a_prompt_is_given_plain_line_breaks_and_no_blank_end(
    given_text: str, expected: str
) -> None:
    assert expected == keys.normalized(given_text)


@settings(deadline=None)
@given(st.text(alphabet=st.sampled_from("a \t\r\n\ufeff\u2028\xa0")))
def test_normalizing_twice_changes_nothing_more(text: str) -> None:
    once = keys.normalized(text)
    assert once == keys.normalized(once)


# -- typed


def test_a_short_text_is_one_paste_and_a_blank() -> None:
    assert START + b"hello" + END + START + b" " + END == keys.typed("hello")


def test_the_text_is_normalized_first() -> None:
    assert ["a\nb"] == pieces_of("a\r\nb \n")


PLAIN = st.characters(exclude_categories=["Cc", "Cf", "Cs", "Cn", "Co", "Zl", "Zp"])
LINES = st.text(alphabet=st.one_of(PLAIN, st.sampled_from("\n \u0301\u1100\u1161🎉漢/@!exit")))


@settings(deadline=None, max_examples=300)
@given(LINES)
def test_what_is_typed_is_the_normalized_text(text: str) -> None:
    if keys.typed(text) is not None:
        assert keys.normalized(text) == "".join(pieces_of(text))


@settings(deadline=None, max_examples=300)
@given(st.text(alphabet=st.characters()))
def test_any_text_is_typed_exactly_or_not_at_all(text: str) -> None:
    if keys.typed(text) is not None:
        assert keys.normalized(text) == "".join(pieces_of(text))
        assert unicodedata.is_normalized("NFC", keys.normalized(text))


LONG = st.lists(
    st.tuples(
        st.sampled_from(["x", "é", "漢", "🎉", "\n", "ab c", "q\u0323\u0301"]), st.integers(1, 900)
    ),
    min_size=1,
    max_size=4,
)


@settings(deadline=None, max_examples=60)
@given(LONG)
def test_long_texts_are_cut_into_pieces_below_the_limits(runs: list[tuple[str, int]]) -> None:
    text = "." + "".join(part * count for part, count in runs)
    assert keys.normalized(text) == "".join(pieces_of(text))


def test_a_piece_does_not_begin_with_a_combining_mark() -> None:
    text = "q\u0323" * 1000
    pieces = pieces_of(text)
    assert text == "".join(pieces)
    assert not [piece for piece in pieces if unicodedata.combining(piece[0])]


def test_combining_marks_without_end_do_not_make_a_piece_too_long() -> None:
    text = "q" + "\u0301" * 3000
    assert text == "".join(pieces_of(text))


@pytest.mark.parametrize("character", ["x", "é", "🎉"])
def test_the_limit_counts_utf_16_units(character: str) -> None:
    text = character * 2000
    assert text == "".join(pieces_of(text))


def test_a_text_of_many_line_breaks_is_looked_at_in_linear_time() -> None:
    # At the square of the length this would take half a minute.
    text = "a" + "\n" * 49_000 + "b"
    assert text == "".join(pieces_of(text))


def test_a_text_that_is_slower_to_type_than_to_write_is_not_typed() -> None:
    assert keys.typed("x" * 50_000) is not None
    assert keys.typed("x" * 50_001) is None


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
        "replacement \ufffd and object \ufffc",
        "see /usr/bin/env for that",
        "and/or",
    ],
)
def test_ordinary_prompts_are_typed(text: str) -> None:
    assert text == "".join(pieces_of(text))


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
        "!ls",
        "! ls",
        " !ls",
        "\u200b!ls",
        "!ls " + "x" * 1000,
        "\n" * 5 + "!ls",
        " " * 2000 + "!ls",
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
        # an image by its path
        "/p/img.png",
        "p/img.png",
        "'/p/img two.png'",
        '"/p/img.JPG"',
        "/p/img\\ two.png",
        "p/img.png\nwhat is it",
        "what is it\n  p/img.jpeg  \nthere",
        "a.webp",
        "file:///p/img.gif",
        # characters that the box changes
        "a\tb",
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
        # cannot be encoded
        "a\ud800b",
    ],
)
def test_what_the_box_would_take_for_something_else_is_not_typed(text: str) -> None:
    assert keys.typed(text) is None


@settings(deadline=None)
@given(
    before=st.text(alphabet="abc \n", max_size=5),
    hazard=st.characters(categories=["Cc", "Cf", "Cs", "Zl", "Zp"], exclude_characters="\n\r"),
    after=st.text(alphabet="abc", min_size=1, max_size=5),
)
def test_no_control_or_invisible_character_is_ever_typed(
    before: str, hazard: str, after: str
) -> None:
    assert keys.typed(before + hazard + after) is None


@settings(deadline=None)
@given(
    blanks=st.text(alphabet=" \n\xa0\u3000"),
    start=st.sampled_from("/!"),
    rest=st.text(alphabet=PLAIN),
)
def test_no_command_is_ever_typed(blanks: str, start: str, rest: str) -> None:
    assert keys.typed(blanks + start + rest) is None


def test_the_keys_are_single_bytes() -> None:
    assert (b"\r", b"\x1b", b"\x03") == (keys.ENTER, keys.ESCAPE, keys.CLEAR)
