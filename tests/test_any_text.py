"""The model receives your text, or you get an error: generated texts through the real CLI.

One example is a handful of texts. Those that the input box takes, as a paste or from the editor, go
into one warm process, one after another; the others, and those again, into one written history. What
the API then receives is compared, message by message, with what `normalized` says of each text.

Some texts are tried each time: the longest one with tabs, every punctuation mark and every control
character as the first one, and all that could end a paste. The tally at the end counts by which way
each text really went.
"""

from __future__ import annotations

import string
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import attrs
import pytest
import trio
from asking import user
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from claude_trio import BackendOptions, PtyClaudeProcess, Turn, open_backend
from claude_trio._protocol import keys
from claude_trio._protocol.keys import Way, normalized, way_of
from claude_trio.testing import LoopbackApi, RecordedRequest, World

pytestmark = pytest.mark.real_cli

TOGETHER: Final = 12  # texts of one example
EXAMPLES: Final = 20
LEAST: Final = 300  # texts that arrive, in all
EACH_WAY: Final = 40
DEEP: Final = settings().max_examples > 100  # in the profile of this name
LONGEST: Final = 1_000_000  # characters

HAZARDS: Final = [
    *("\x1b[201~", "\x1b[200~", "\x1b[31m", "\x1b]0;x\x07", "\x1bP", "\x1b", "\x9b", "\x1b[97u"),
    *("\x03", "\x04", "\x07", "\x15", "\x1a", "\x00", "\x7f", "\t", "\v", "\f", "\r", "\r\n"),
    *("\n", "\n\n\n", "\x85", "\u2028", "\u2029", "\ufeff", "\u200b", "\u200d", "\u202a", "\xad"),
    *("e\u0301", "\u212b", "\ufe0f", "\u2764\ufe0f", "👩\u200d👩\u200d👧", "🇩🇪", "\U000e0041", "\ud800"),
    *("/", "/cost", "/clear", "/exit", "!", "!ls", "#", "?", "&", "exit", "quit", ":q", ":wq!"),
    *("@", "@file.txt", "@./", "@/etc/hosts", "@agent-Explore", "ultrathink", "ultracode"),
    *("ultraplan", "/p/image.png", "'a b.jpg'", ":smile", ":tada:", "\\", "\\\\", "`", "$(id)"),
    *("[Pasted text #1 +3 lines]", "[Image #1]", "</pasted_content", "<bash-input>x</bash-input>"),
    *("<system-reminder>x</system-reminder>", "<command-name>/clear</command-name>", "${HOME}"),
    *("[Request interrupted by user]", "No response requested.", "Caveat:", "\\n", "%s", "{}"),
]  # fmt: skip

ANY = st.characters(exclude_categories=[])
PART = st.one_of(
    st.text(ANY, min_size=1, max_size=8),
    st.text(string.printable, min_size=1, max_size=20),
    st.sampled_from(HAZARDS),
    st.sampled_from(
        ["word", " ", "two words", "Grüße", "漢字", "🦆", "line\n", "x" * 799, "é" * 801]
    ),
)


def long(parts: Sequence[tuple[str, int]]) -> str:
    return "".join(part * count for part, count in parts)[:LONGEST]


def counts(most: int) -> st.SearchStrategy[int]:
    return st.integers(1, most)


PLAIN = st.one_of(
    st.text(st.characters(exclude_categories=["C", "Zl", "Zp"]), min_size=1, max_size=12),
    st.text(string.ascii_letters + string.digits + string.punctuation + " ", min_size=1),
    st.sampled_from(
        ["word ", " ", ". ", "\n", "\n\n\n", "Grüße", "漢字", "🦆", "x" * 799, "é" * 801]
    ),
)
PLAIN_TEXT = st.lists(PLAIN, min_size=1, max_size=8).map("".join)
SHORT = st.lists(PART, min_size=1, max_size=8).map("".join)
LONG = st.lists(st.tuples(PART, counts(400)), min_size=1, max_size=6).map(long)
HUGE = st.lists(st.tuples(PART, counts(LONGEST)), min_size=1, max_size=3).map(long)
#: Each printable first character, before an ordinary text.
BEGINNING = st.builds("{}{}".format, st.sampled_from(string.punctuation), SHORT)
TEXT = st.integers(0, 99).flatmap(
    lambda n: (
        PLAIN_TEXT
        if n < 45
        else SHORT
        if n < 75
        else BEGINNING
        if n < 85
        else LONG
        if n < 98
        else HUGE
    )
)


#: A makefile of the greatest length that the editor takes.
HUGE_AND_TABBED: Final = ("all:\n\tcc -c *.c\t# a tab\n" * (LONGEST // 20))[: LONGEST - 1] + "."
#: Longer than what the input box shows whole, with characters of two units at every place.
ABRIDGED: Final = [
    "x" * before + "🦆" * 6000 + "x" * behind for before in (0, 1) for behind in (0, 1)
]
PUNCTUATED: Final = [f"{first} is the first" for first in string.punctuation]
CONTROLLED: Final = [f"{chr(code)} is the first" for code in (*range(32), 0x7F)]
ENDED: Final = [
    "a\x1b[201~\rb",
    "\x1b[201~\x03\x03",
    "x\x1b[201~\x1b[200~y",
    "\x1b[201~/exit\r",
    "tab\t\x1b[201~!touch nothing\r",
    "\x9b201~\rz",
]


def arrived(request: RecordedRequest) -> list[str]:
    """Return what the user said in a request; fail on what is neither that nor a reminder."""
    found = []
    for message in request.messages:
        if message["role"] != "user":
            continue
        content = message["content"]
        texts = [content] if isinstance(content, str) else [block["text"] for block in content]
        *added, own = texts
        assert [] == [words for words in added if not words.startswith("<system-reminder>")]
        found.append(own)
    return found


def pressed(written: Sequence[bytes]) -> Way:
    """Return by which way a text went, from what was typed into the terminal."""
    ways = {way for key, way in TYPED.items() if any(data.startswith(key) for data in written)}
    (way,) = ways or {"transcript"}
    return way


TYPED: Final[dict[bytes, Way]] = {b"\x1b[200~": "paste", keys.EDITOR: "editor"}


@attrs.frozen
class Sender:
    """Sends texts, and counts by which way each has gone."""

    options: BackendOptions
    api: LoopbackApi
    #: What was typed for the present text.
    written: list[bytes]
    tally: Counter[Way] = attrs.field(factory=Counter)

    async def send(self, texts: Sequence[str]) -> None:
        self.api.requests.clear()
        meant = [text for text in texts if normalized(text)]
        typed = [text for text in meant if way_of(normalized(text)) != "transcript"]
        rest = [text for text in meant if way_of(normalized(text)) == "transcript"]
        messages: list[dict[str, Any]] = []
        async with open_backend(self.options) as backend:
            for text in typed:
                messages.append(user(text))
                turn = backend.complete(messages)
                await self.finish(turn, text)
                assert way_of(normalized(text)) == self.count(turn)
                assert normalized(text) == arrived(self.api.conversations[-1])[-1]
                messages.append({"role": "assistant", "content": "ok"})
            for text in rest:
                messages += [user(text), {"role": "assistant", "content": "ok"}]
            if rest:
                turn = backend.complete(messages[:-1])
                await self.finish(turn, rest[-1])
                assert self.count(turn) == "transcript"
                self.tally["transcript"] += len(rest) - 1
            for text in set(texts) - set(meant):
                with pytest.raises(ValueError, match="is empty"):
                    backend.complete([user(text)])
        expected = [normalized(text) for text in (*typed, *rest)]
        if expected:
            assert expected == arrived(self.api.conversations[-1])

    async def finish(self, turn: Turn, text: str) -> None:
        self.written.clear()
        try:
            with trio.fail_after(120):
                assert await turn.get_final_text() == "ok"
        except BaseException as exc:
            exc.add_note(f"The text was {text[:100]!a}, of {len(text)} characters.")
            raise
        assert normalized(text) == turn.prompt

    def count(self, turn: Turn) -> Way:
        way = pressed(self.written)
        assert turn.session is not None
        assert turn.session.origin == ("resumed" if way == "transcript" else "fresh")
        self.tally[way] += 1
        return way


# Of a text that differs and is long: the assertion shows where.
@pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisWarning")
async def test_the_model_receives_any_text_exactly(
    api: LoopbackApi, world: World, real_cli: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = BackendOptions(cwd=world.cwd, cli_path=real_cli, env=world.env(api.base_url))
    (world.cwd / "file.txt").write_text("the content of a file")
    written: list[bytes] = []
    write = PtyClaudeProcess.write

    async def noted(process: PtyClaudeProcess, data: bytes) -> None:
        written.append(data)
        await write(process, data)

    monkeypatch.setattr(PtyClaudeProcess, "write", noted)
    sender = Sender(options, api, written)
    assert ("editor", LONGEST) == (way_of(HUGE_AND_TABBED), len(HUGE_AND_TABBED))

    @settings(
        max_examples=settings().max_examples // TOGETHER if DEEP else EXAMPLES,
        derandomize=not DEEP,
        database=None,
        deadline=None,
        phases=[Phase.generate],  # the assertion names the text that differs
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(TEXT, min_size=TOGETHER, max_size=TOGETHER))
    def each_arrives(texts: list[str]) -> None:
        trio.from_thread.run(sender.send, texts)

    # Not as explicit examples, which hypothesis would print in full.
    for texts in ([*PUNCTUATED, *ABRIDGED, HUGE_AND_TABBED], [*CONTROLLED, *ENDED]):
        await sender.send(texts)
    await trio.to_thread.run_sync(each_arrives)
    tally = dict(sender.tally)
    assert sender.tally.total() >= LEAST, tally
    assert min(sender.tally[way] for way in ("paste", "editor", "transcript")) >= EACH_WAY, tally
