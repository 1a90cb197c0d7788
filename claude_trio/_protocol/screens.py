"""The text of a screen into the start-up dialog that it shows.

A CLI that asks something before its prompt has no status file yet, and waits for ever. Nothing is
ever typed at such a screen; it becomes an error that says what the CLI wants and how to settle it.
"""

from __future__ import annotations

from typing import Final

import attrs

#: How the first line of the input box begins: a glyph and a no-break space.
PROMPT: Final = "\u276f\xa0"


@attrs.frozen
class Screen:
    """A start-up screen that stops a driven CLI.

    Attributes:
        kind: The `StartupError.kind` it becomes; ``login`` becomes an `AuthError`.
        marks: Texts of which each is enough to know it.
        advice: What it means and what to do.
    """

    kind: str
    marks: tuple[str, ...]
    advice: str


SCREENS: Final = (
    Screen(
        "trust",
        ("Quick safety check:", "Adding a new directory:"),
        "the CLI does not trust this directory yet. Run `claude` in it once and accept",
    ),
    Screen(
        "bypass",
        ("running in Bypass Permissions mode",),
        "the CLI warns about skipped permissions. Pass dangerously_skip_permissions=True to consent",
    ),
    Screen(
        "api_key",
        ("Do you want to use this API key?",),
        "the CLI asks about an API key in its environment. Remove it from `env`, or approve it once "
        "in an interactive `claude`",
    ),
    Screen(
        "onboarding",
        ("Let's get started.", "Security notes:"),
        "the CLI has never been set up for this user. Run `claude` once and finish its first steps",
    ),
    Screen(
        "login",
        ("Select login method:",),
        "the CLI is not logged in. Run `claude` once and log in",
    ),
    Screen(
        "unreachable",
        ("Unable to connect to Anthropic services",),
        "the CLI cannot reach its service. Check the network and the proxy variables",
    ),
    Screen(
        "mcp",
        ("new MCP server found in this project", "new MCP servers found in this project"),
        "the CLI asks about the servers in .mcp.json. Run `claude` in this directory once and decide",
    ),
    Screen(
        "imports",
        ("Allow external CLAUDE.md file imports?",),
        "the CLI asks about files that CLAUDE.md imports. Run `claude` here once and decide",
    ),
    Screen(
        "settings",
        ("Settings Error", "Settings Warning"),
        "a settings file of the CLI has errors. The screen names it; mend it",
    ),
    Screen(
        "config",
        ("Configuration error",),
        "the CLI's configuration file is broken. The screen names it; mend it",
    ),
    Screen(
        "picker",
        ("Resume session",),
        "the CLI asks which session to resume, instead of taking the one that was named",
    ),
)


def recognise(text: str) -> Screen | None:
    """Return the start-up screen that a rendered screen shows, or None.

    Args:
        text: The screen's lines. White space does not count: the CLI moves the cursor over blanks
            and breaks lines where the screen is narrow.
    """
    squeezed = "".join(text.split()).casefold()
    for screen in SCREENS:
        if any("".join(mark.split()).casefold() in squeezed for mark in screen.marks):
            return screen
    return None


def input_text(text: str) -> str | None:
    """Return what stands in the input box on a rendered screen; None if no box is on it.

    Args:
        text: The screen's lines.
    """
    for line in reversed(text.split("\n")):
        if line.startswith(PROMPT):
            return line.removeprefix(PROMPT).strip()
    return None
