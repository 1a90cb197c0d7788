"""Generated lists of messages, valid in the Messages API."""

from __future__ import annotations

import base64
from typing import Any, Final

from hypothesis import strategies as st

Message = dict[str, Any]

# The smallest PNG and PDF that a CLI may look into.
PNG: Final = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
PDF: Final = b"%PDF-1.1\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[]/Count 0>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"

CHARACTERS = st.characters(exclude_categories=["Cs"])
WORDS = st.one_of(
    st.text(CHARACTERS, max_size=20),
    st.sampled_from(
        [
            *("Grüße, 漢字, 🦆", "/cost", "!ls", "@file.txt", "exit", "[Image #1]", "a\nb\n\n\nc"),
            *("No response requested.", "[Request interrupted by user]", "API Error: 500"),
            *(
                "<system-reminder>not the CLI's</system-reminder>",
                "<command-name>/x</command-name>",
            ),
            *(
                "\x00\x1b[31m\x07",
                "e\u0301 \u212b \u2028 \ufeff \u200d",
                "x" * 3000,
                "(no content)",
            ),
        ]
    ),
)
#: Never blank, and without white space at its ends.
TEXT = WORDS.map(lambda words: f"«{words}»")
NUMBERS = st.one_of(
    st.integers(-(2**53), 2**53),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([1.0, -0.0, 1e21, 1e-7, 123456789.5, 5e-324]),
)
KEYS = st.one_of(st.text(CHARACTERS, max_size=5), st.sampled_from(["b", "10", "9", "é"])).filter(
    lambda key: key not in {"__proto__", "cache_control"}
)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, WORDS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=6,
)
INPUTS = st.dictionaries(KEYS, JSON, max_size=4)


def text(words: str) -> Message:
    return {"type": "text", "text": words}


def media(kind: str, media_type: str, data: bytes) -> Message:
    encoded = base64.b64encode(data).decode()
    return {
        "type": kind,
        "source": {"type": "base64", "media_type": media_type, "data": encoded},
    }


IMAGES = st.sampled_from(
    [
        media("image", "image/png", PNG),
        {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
    ]
)
DOCUMENTS = st.sampled_from(
    [
        media("document", "application/pdf", PDF),
        {
            "type": "document",
            "title": "notes",
            "source": {"type": "text", "media_type": "text/plain", "data": "Grüße"},
        },
    ]
)
TEXTS = TEXT.map(text)
#: Half of the messages of a user are one string.
PROMPTS = st.one_of(TEXT, st.lists(st.one_of(TEXTS, IMAGES, DOCUMENTS), min_size=1, max_size=3))
RESULTS = st.one_of(TEXT, st.lists(st.one_of(TEXTS, IMAGES), max_size=2), st.none())
FAILURES = st.one_of(TEXT, st.lists(TEXTS, max_size=2), st.none())
TOOLS = st.sampled_from(["Bash", "mcp__made__up", "no_such_tool"])


@st.composite
def replies(draw: st.DrawFn, number: int, *, thinking: bool) -> list[Message]:
    """Draw what follows a user's message: rounds of tools, and then words."""
    messages: list[Message] = []
    for turn in range(draw(st.integers(0, 2))):
        names = [f"call_{number}-{turn}-{i}" for i in range(draw(st.integers(1, 3)))]
        calls = [
            {"type": "tool_use", "id": name, "name": draw(TOOLS), "input": draw(INPUTS)}
            for name in names
        ]
        messages.append(_assistant([*draw(st.lists(TEXTS, max_size=2)), *calls], draw, thinking))
        results = [_result(draw, name) for name in draw(st.permutations(names))]
        messages.append({"role": "user", "content": [*results, *draw(st.lists(TEXTS, max_size=1))]})
    words = draw(st.one_of(TEXT, st.lists(TEXTS, min_size=1, max_size=2)))
    messages.append(_assistant(words, draw, thinking))
    return messages


def _assistant(content: str | list[Message], draw: st.DrawFn, thinking: bool) -> Message:
    if thinking and draw(st.booleans()):
        blocks = [text(content)] if isinstance(content, str) else content
        thought = {"type": "thinking", "thinking": draw(WORDS), "signature": "bG9vcGJhY2s="}
        content = [thought, *blocks]
    return {"role": "assistant", "content": content}


def _result(draw: st.DrawFn, name: str) -> Message:
    result: Message = {"type": "tool_result", "tool_use_id": name}
    if draw(st.booleans()):
        result["is_error"] = draw(st.booleans())
    # Of an error the API takes text only.
    kinds = FAILURES if result.get("is_error") else RESULTS
    if (content := draw(kinds)) is not None:
        result["content"] = content
    return result


@st.composite
def conversations(
    draw: st.DrawFn, *, least: int = 0, most: int = 4, systems: bool = True, thinking: bool = False
) -> list[Message]:
    """Draw a list of messages that ends with a user's.

    Args:
        draw: Of hypothesis.
        least: How many exchanges there are before the last message, at least.
        most: How many there are at most.
        systems: Whether there may be system messages in it.
        thinking: Whether there may be thinking in it.
    """
    messages: list[Message] = []
    for number in range(draw(st.integers(least, most))):
        messages.append({"role": "user", "content": draw(PROMPTS)})
        messages += draw(replies(number, thinking=thinking))
        if systems and draw(st.integers(0, 4)) == 0:
            messages.append({"role": "system", "content": draw(TEXT)})
    return [*messages, {"role": "user", "content": draw(PROMPTS)}]
