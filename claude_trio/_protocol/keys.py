"""A prompt into the bytes that type it, and the keys that steer the CLI.

The input box is a user interface: it runs commands, completes paths, trims, normalises and drops
characters. So there is one question first: does the model receive exactly this text when it is put
there? `way_of` answers it, with the cheapest way that certainly does:

* one **paste**, for a short text without surprises;
* the **editor**: the CLI is made to fetch the text from a pipe, as if from an editor of the user's
  (`_editor`). Nothing in it can press a key, and it may be long, or hold tabs. It takes some 50 ms
  more than a paste, and 0.3 s more the first time of a process;
* the **transcript**: a new process on a written history, in which nothing is interpreted. It takes
  about a second more, and it costs the process and the model's cache, so it is for what the box
  takes for something else, and for what is no text.

Pasting a long text in several pieces would take as long as the editor does, and is not exact: to
2.1.197 an exclamation mark at the beginning of any piece begins a shell command.
``tests/bench/ways.py`` measures all three.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final, Literal, TypeAlias

#: How a prompt gets to the CLI; see the top of this file.
Way: TypeAlias = Literal["paste", "editor", "transcript"]

ENTER: Final = b"\r"
#: Interrupts a running turn. Never send it twice: on an empty box two open a dialog.
ESCAPE: Final = b"\x1b"
#: Empties the input box of an idle CLI. Twice within a second on an empty box ends the process.
CLEAR: Final = b"\x03"

#: Opens the editor on what stands in the input box.
EDITOR: Final = b"\x07"

_PASTE_START: Final = b"\x1b[200~"
_PASTE_END: Final = b"\x1b[201~"

# One paste of more than 800 UTF-16 units, or of three line breaks or more, reaches the model
# inside <pasted_content> tags.
_MOST_UNITS: Final = 800
_MOST_BREAKS: Final = 2
# Characters; what the editor was measured with. The model takes no more by far.
_LONGEST: Final = 1_000_000

# UTF-16 units: from somewhat more on (10 000) a text is abridged in the input box, and what stays of it
# there at either end.
_ABRIDGED: Final = 9_900
_KEPT: Final = 500

_EXIT_WORDS: Final = frozenset({"exit", "quit", ":q", ":wq", ":q!", ":wq!"})
# The CLI adds to a text with one of these, or escapes it.
_KEYWORDS: Final = re.compile(r"ultra(think|code|plan)|pasted_content", re.IGNORECASE)
# An @ that does not stand inside a word may attach a file or name an agent.
_MENTION: Final = re.compile(r"(?<![\w.+-])@")
# A /word in the text that is the name of a skill adds a note for the model.
_SKILL: Final = re.compile(r"(?:^|(?<=\s))/[A-Za-z_][\w:-]*(?=$|[\s.,;:!?)])", re.MULTILINE)
# A line that is only the path of an image becomes the image.
_IMAGE_LINE: Final = re.compile(
    r"^[^\S\n]*['\"]?\S.*\.(png|jpe?g|gif|webp|bmp|tiff?|heic|svg)['\"]?[^\S\n]*$",
    re.IGNORECASE | re.MULTILINE,
)
# Characters that the CLI takes for pictures: behind one of them U+FE0F stays, and between two U+200D.
_PICTURE: Final = (
    "[©®‼⁉™↔-↙↩↪⌚⌛⌨⏏⏩-⏳⏸-⏺Ⓜ▪▫▶◀◻-◾☀-☄☎☑☔☕☘☝☠☢☣☦☪☮☯☸-☺♀♂♈-♓♟♠♣♥♦♨♻♾♿⚒-⚗⚙⚛⚜⚠⚡⚧⚪⚫⚰⚱⚽⚾⛄⛅⛈⛎⛏⛑⛓⛔"
    "⛩⛪⛰-⛵⛷-⛺⛽✂✅✈-✍✏✒✔✖✝✡✨✳✴❄❇❌❎❓-❕❗❣❤\u2795-\u2797➡➰➿⤴⤵⬅-⬇⬛⬜⭐⭕〰㊗㊙"
    "\U0001f300-\U0001f321\U0001f324-\U0001f393\U0001f399-\U0001f39b\U0001f39e-\U0001f3f0"
    "\U0001f3f3-\U0001f3f5\U0001f3f7-\U0001f3fa\U0001f400-\U0001f4fd\U0001f573-\U0001f57a"
    "\U0001f5fa-\U0001f64f\U0001f680-\U0001f6c5\U0001f90c-\U0001f93a\U0001f93c-\U0001f945"
    "\U0001f947-\U0001f9ff][\U0001f3fb-\U0001f3ff]?\ufe0f?"
)
_EMOJI: Final = re.compile(f"{_PICTURE}(?:\u200d{_PICTURE}){{0,8}}|[0-9#*]\ufe0f\u20e3")
# Combining and filling characters that the CLI counts as invisible, though Unicode has them as
# letters or marks: grapheme joiner, Hangul fillers, Mongolian and other variation selectors.
_INVISIBLE: Final = re.compile(
    "[\u034f\u115f\u1160\u180b-\u180f\u3164\uffa0\ufe00-\ufe0f\U000e0100-\U000e01ef]"
)


# What both Python and the CLI trim, and U+FEFF, which only the CLI does.
_BLANK: Final = "".join(ch for ch in map(chr, range(0x3001)) if ch.isspace()) + "\ufeff"


def normalized(text: str) -> str:
    r"""Return the text as a prompt carries it.

    Line breaks are ``\n``, there is no white space at the end (U+FEFF counts as such), and half of a
    surrogate pair is U+FFFD, as nothing else of it can be encoded. This is the only change that is
    made to a prompt, whichever way it is sent: a text that is typed cannot end in white space, so
    none does.
    """
    return encodable(text).replace("\r\n", "\n").replace("\r", "\n").rstrip(_BLANK)


def encodable(text: str) -> str:
    """Return the text with U+FFFD for what is no character: half of a surrogate pair."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def way_of(text: str, *, commands: bool = False, mentions: bool = False) -> Way:
    """Return how a text, which is `normalized`, gets to the model exactly as it is.

    Args:
        text: The text.
        commands: A text that begins with a slash is a command, and skills may be named in one.
        mentions: ``@`` before a path attaches the file.
    """
    start = text.lstrip()
    besides_emoji = _EMOJI.sub("", text)
    if (
        not start
        or len(text) > _LONGEST
        or (start[0] == "/" and not commands)
        or start in _EXIT_WORDS
        or any(ch not in "\n\t" and not _is_plain(ch) for ch in besides_emoji)
        or not unicodedata.is_normalized("NFC", text)
        or _INVISIBLE.search(besides_emoji)
        or _KEYWORDS.search(text)
        or (_MENTION.search(text) and not mentions)
        or (_SKILL.search(text) and not commands)
        or _is_torn(text)
    ):
        return "transcript"
    if (
        len(text.encode("utf-16-le")) > 2 * _MOST_UNITS
        or text.count("\n") > _MOST_BREAKS
        or "\t" in text
        or start[0] == "!"
        or _IMAGE_LINE.search(text)
    ):
        return "editor"
    return "paste"


def _is_plain(character: str) -> bool:
    # Cc: controls, Cf: invisible, Cn: unassigned, Zl and Zp: line breaks that become LF.
    return unicodedata.category(character) not in {"Cc", "Cf", "Cn", "Zl", "Zp"}


def _is_torn(text: str) -> bool:
    """Return whether the CLI would take a character of a long text apart.

    It shows the middle of one as a placeholder, and cuts where 500 UTF-16 units are left at either
    end; a surrogate pair that is cut reaches the model as two U+FFFD.
    """
    units = text.encode("utf-16-le")
    length = len(units) // 2
    if length < _ABRIDGED:
        return False
    for cut in (_KEPT, length + 1 - _KEPT):  # what is typed has one more blank at its end
        before, after = (
            chr(int.from_bytes(units[2 * at : 2 * at + 2], "little")) for at in (cut - 1, cut)
        )
        # Nor is it known how a part is cleaned that begins or ends inside of a composed character.
        composed = {"Mn", "Mc", "Me", "Cf"} & {*map(unicodedata.category, (before, after))}
        if "\ud800" <= before <= "\udbff" or composed:
            return True
    return False


def paste(text: str) -> bytes:
    """Return the bytes that paste a text into an empty input box; the Enter is not among them.

    Args:
        text: A text whose way that is.
    """
    # A text ending in a path, a backslash or an emoji name has a completion open that would take
    # the Enter. One more blank closes it, and the CLI trims the blank.
    return _PASTE_START + text.encode() + _PASTE_END + _PASTE_START + b" " + _PASTE_END


def edited(text: str) -> bytes:
    """Return what the editor is to leave in the file of the CLI.

    Args:
        text: A text whose way that is.
    """
    return text.encode() + b" "  # the blank: as in `paste`
