"""The text of a screen into what keeps a CLI from its prompt: a dialog, or the words it ended with.

A CLI that asks something before its prompt has no status yet, and waits for ever. Nothing is ever
typed at such a screen; it becomes an error that says what the CLI wants and how to settle it.
"""

from __future__ import annotations

from typing import Final

import attrs

#: How the first line of the input box begins: a glyph and a no-break space. The rows of a dialog have
#: an ordinary one.
PROMPT: Final = "\u276f\xa0"


@attrs.frozen
class Screen:
    """A screen that stops a driven CLI.

    Attributes:
        kind: The `StartupError.kind` it becomes; ``login`` becomes an `AuthError`.
        marks: Texts of which each is enough to know it.
        advice: What it means and what to do.
    """

    kind: str
    marks: tuple[str, ...]
    advice: str


#: Dialogs, known by a text anywhere on the screen.
SCREENS: Final = (
    Screen(
        "trust",
        ("Quick safety check:",),
        "it does not trust this directory yet. Run `claude` there once and accept, or consent with "
        "BackendOptions(trust_workspace=True)",
    ),
    Screen(
        "add_dir",
        ("Adding a new directory:",),
        "it does not trust a further directory that it was given. Run `claude` in that one once and "
        "accept, or name it in settings['permissions']['additionalDirectories']",
    ),
    Screen(
        "bypass",
        ("running in Bypass Permissions mode",),
        "it warns about skipped permissions. Pass dangerously_skip_permissions=True to consent",
    ),
    Screen(
        "api_key",
        ("Do you want to use this API key?",),
        "it asks about the API key in its environment. Remove the key from `env`, or approve it once "
        "in an interactive `claude`",
    ),
    Screen(
        "onboarding",
        ("Let's get started.", "Security notes:"),
        "it has never been set up for this user. Run `claude` once and finish its first steps",
    ),
    Screen(
        "login",
        ("Select login method:",),
        "the CLI is not logged in. Run `claude /login` once",
    ),
    Screen(
        "unreachable",
        ("Unable to connect to Anthropic services",),
        "it cannot reach its service. Check the network and the proxy variables",
    ),
    Screen(
        "mcp",
        ("new MCP server found in this project", "new MCP servers found in this project"),
        "it asks about the servers in .mcp.json. Run `claude` in this directory once and decide, or "
        "decide with enabledMcpjsonServers and disabledMcpjsonServers in `settings`",
    ),
    Screen(
        "imports",
        ("Allow external CLAUDE.md file imports?",),
        "it asks about files outside of the directory that CLAUDE.md imports. Run `claude` there "
        "once and decide",
    ),
    Screen(
        "settings",
        ("Settings Error", "Settings Warning"),
        "settings have errors. The screen names them; mend the file, or `settings` if it names "
        "claude-settings-….json",
    ),
    Screen(
        "config",
        ("Configuration error",),
        "its configuration file is broken. The screen names it; mend it",
    ),
    Screen(
        "picker",
        ("Resume session ╭", "Resume session ⌕"),
        "it asks which session to resume, instead of taking the one that was named",
    ),
)

#: What a CLI says when it ends at once: how one of the lines begins.
EXITS: Final = (
    Screen(
        "root",
        ("--dangerously-skip-permissions cannot be used with root",),
        "root may not skip permissions. Run as another user, or, if this machine is a sandbox that "
        "may be lost, pass env={'IS_SANDBOX': '1'}",
    ),
    Screen(
        "session_id",
        ("Error: Invalid session ID", "Error: Session ID", "Error: --session-id "),
        "it does not take the session id. Give another one",
    ),
    Screen(
        "resume",
        ("No conversation found",),
        "it does not know the conversation that it is to resume, in this directory and with this "
        "configuration",
    ),
    Screen(
        "settings",
        ("Error: Settings file not found", "Error processing --settings"),
        "it cannot read its settings",
    ),
    Screen(
        "mcp_config",
        ("Error: Invalid MCP configuration",),
        "it cannot read the configuration of its MCP servers",
    ),
    Screen(
        "agent",
        ("--agent ", "Error: Invalid --agents configuration"),
        "it does not know the agent, or cannot read the agents",
    ),
    Screen(
        "prompt_file",
        (
            *("Error: System prompt file not found", "Error: Append system prompt file not found"),
            *("Error reading system prompt file", "Error reading append system prompt file"),
        ),
        "it cannot read the file of the system prompt",
    ),
    Screen(
        "flag",
        (
            *("error: unknown option", "error: option ", "error: unknown command"),
            *("Error processing --", "Error: --", "Error: Cannot use both --"),
        ),
        "it does not take one of its flags, or the value of one. Another version of the CLI may: "
        "`python -m claude_trio doctor` shows yours and the tested ones",
    ),
)

#: A CLI that shows its prompt and writes nothing; the marks are of those that say so themselves.
SILENCE: Final = Screen(
    "state_dir",
    ("Transcript saving is off", "Transcript writes are failing"),
    "it shows its prompt and writes no status file, so nothing of it could be read. Make its "
    "configuration directory writable, with room on the disk, and remove CLAUDE_CODE_CHILD_SESSION "
    "and CLAUDE_CODE_SKIP_PROMPT_HISTORY from its environment and its settings",
)


def recognise(text: str) -> Screen | None:
    """Return the start-up dialog that a rendered screen shows, or None.

    Args:
        text: The screen's lines. White space does not count: the CLI moves the cursor over blanks
            and breaks lines where the screen is narrow.
    """
    squeezed = _squeeze(text)
    for screen in SCREENS:
        if any(_squeeze(mark) in squeezed for mark in screen.marks):
            return screen
    return None


def recognise_exit(text: str, *, by_signal: bool = False) -> Screen | None:
    """Return why a CLI that has ended would not start, from its last screen; None if it is unknown.

    A CLI that a signal ended has said no last words, and one that has shown its input box would have
    started: what else stands on the screen may be the text of a conversation.

    Args:
        text: The screen's lines.
        by_signal: Whether a signal ended it.
    """
    if by_signal or input_text(text) is not None:
        return None
    lines = [line.strip() for line in text.split("\n")]
    for screen in EXITS:
        if any(line.startswith(screen.marks) for line in lines):
            return screen
    return recognise(text)


def input_text(text: str) -> str | None:
    """Return what stands in the input box on a rendered screen; None if no box is on it.

    Args:
        text: The screen's lines.
    """
    for line in reversed(text.split("\n")):
        if line.startswith(PROMPT):
            return line.removeprefix(PROMPT).strip()
    return None


def says_silence(text: str) -> bool:
    """Return whether a rendered screen says that no transcript is written.

    Args:
        text: The screen's lines.
    """
    squeezed = _squeeze(text)
    return any(_squeeze(mark) in squeezed for mark in SILENCE.marks)


def _squeeze(text: str) -> str:
    return "".join(text.split()).casefold()
