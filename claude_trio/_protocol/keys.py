"""A prompt into the bytes that type it, and the keys that steer the CLI.

The input box is a user interface: it runs commands, completes paths, trims, normalises and drops
characters. `typed` therefore answers one question first: does the model receive exactly this text
when it is typed? Where the answer is not certainly yes it returns None, and the caller takes the
other way, a written transcript, in which nothing is interpreted.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

ENTER: Final = b"\r"
#: Interrupts a running turn. Never send it twice: on an empty box two open a dialog.
ESCAPE: Final = b"\x1b"
#: Empties the input box of an idle CLI. Twice within a second on an empty box ends the process.
CLEAR: Final = b"\x03"

_PASTE_START: Final = b"\x1b[200~"
_PASTE_END: Final = b"\x1b[201~"

# One paste of more than 800 UTF-16 units, or of three line breaks or more, reaches the model
# inside <pasted_content> tags. Several smaller ones behind each other are joined and left alone.
_PIECE_UNITS: Final = 700
_MOST_UNITS: Final = 800
_PIECE_BREAKS: Final = 2
# Beyond this, typing in pieces is slower than starting a process on a written transcript.
_LONGEST: Final = 50_000

_EXIT_WORDS: Final = frozenset({"exit", "quit", ":q", ":wq", ":q!", ":wq!"})
_KEYWORDS: Final = re.compile(r"ultra(think|code|plan)", re.IGNORECASE)
# An @ that does not stand inside a word may attach a file or name an agent.
_MENTION: Final = re.compile(r"(?<![\w.+-])@")
# A /word in the text that is the name of a skill adds a note for the model.
_SKILL: Final = re.compile(r"(?:^|(?<=\s))/[A-Za-z_][\w:-]*(?=$|[\s.,;:!?)])", re.MULTILINE)
# A line that is only the path of an image becomes the image.
_IMAGE_LINE: Final = re.compile(
    r"^[^\S\n]*['\"]?\S.*\.(png|jpe?g|gif|webp|bmp|tiff?|heic|svg)['\"]?[^\S\n]*$",
    re.IGNORECASE | re.MULTILINE,
)
# Combining and filling characters that the CLI counts as invisible, though Unicode has them as
# letters or marks: grapheme joiner, Hangul fillers, Mongolian and other variation selectors.
_INVISIBLE: Final = re.compile(
    "[\u034f\u115f\u1160\u180b-\u180f\u3164\uffa0\ufe00-\ufe0f\U000e0100-\U000e01ef]"
)


# What both Python and the CLI trim, and U+FEFF, which only the CLI does.
_BLANK: Final = "".join(ch for ch in map(chr, range(0x3001)) if ch.isspace()) + "\ufeff"


def normalized(text: str) -> str:
    r"""Return the text as a prompt carries it: line breaks as ``\n``, no white space at the end.

    This is the only change that is made to a prompt. A text that is typed cannot end in white
    space, so no way of sending does.
    """
    return text.replace("\r\n", "\n").replace("\r", "\n").rstrip(_BLANK)


def is_typable(text: str) -> bool:
    """Whether the model receives exactly this text, which is `normalized`, when it is typed."""
    start = text.lstrip()
    return not (
        not start
        or len(text) > _LONGEST
        or start[0] in "/!"
        or start in _EXIT_WORDS
        or any(ch != "\n" and not _is_plain(ch) for ch in text)
        or not unicodedata.is_normalized("NFC", text)
        or _INVISIBLE.search(text)
        or _KEYWORDS.search(text)
        or _MENTION.search(text)
        or _SKILL.search(text)
        or _IMAGE_LINE.search(text)
    )


def _is_plain(character: str) -> bool:
    # Cc: controls, Cf: invisible, Cs: lone surrogates, Cn: unassigned, Zl and Zp: line breaks that
    # become LF. Emoji joined by U+200D are Cf and go the other way: slower, and exact.
    return unicodedata.category(character) not in {"Cc", "Cf", "Cs", "Cn", "Co", "Zl", "Zp"}


def typed(text: str) -> bytes | None:
    """Return the bytes that put a text into an empty input box, or None if they might not.

    The Enter that sends it is not among them.

    Args:
        text: The prompt; it is `normalized` first.
    """
    text = normalized(text)
    if not is_typable(text):
        return None
    pieces = [_PASTE_START + piece.encode() + _PASTE_END for piece in _pieces(text)]
    # A text ending in a path, a backslash or an emoji name has a completion open that would take
    # the Enter. One more blank closes it, and the CLI trims the blank.
    return b"".join([*pieces, _PASTE_START, b" ", _PASTE_END])


def _pieces(text: str) -> list[str]:
    pieces: list[str] = []
    start = units = breaks = 0
    for i, ch in enumerate(text):
        width = 2 if ch > "\uffff" else 1
        # A combining mark stays with its base, as long as there is room for it.
        fits = units + width <= _PIECE_UNITS and breaks + (ch == "\n") <= _PIECE_BREAKS
        if not fits and (units + width > _MOST_UNITS or not unicodedata.combining(ch)):
            pieces.append(text[start:i])
            start, units, breaks = i, 0, 0
        units += width
        breaks += ch == "\n"
    return [*pieces, text[start:]]
