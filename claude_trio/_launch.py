"""What a driven CLI is started with: its environment and its settings, each in one table.

Inherited variables that are not in the table do not reach the CLI. `BackendOptions.env` and
`BackendOptions.settings` come last and override every row.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

# -- the environment: what is inherited, what is set, and what is left out ------------------------

#: Inherited, where they are set: the user, the language, the network and the login, nothing else.
#: Every ``LC_…`` is inherited too.
INHERITED: Final = frozenset(
    {
        *("HOME", "USER", "LOGNAME", "PATH", "SHELL", "TMPDIR", "LANG", "TZ"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS"),
        *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
        *("http_proxy", "https_proxy", "all_proxy", "no_proxy"),
        *("XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS"),  # the keyring behind a stored login
        *("CLAUDE_CONFIG_DIR", "CLAUDE_CODE_OAUTH_TOKEN", "CLAUDE_CODE_TMPDIR"),
    }
)

#: Set for every driven CLI.
QUIET_ENVIRONMENT: Final[Mapping[str, str]] = {
    "TERM": "xterm-256color",
    # The full-screen renderer drops frames when nobody reads; the classic one blocks the process.
    "CLAUDE_CODE_NO_FLICKER": "1",
    "DISABLE_AUTOUPDATER": "1",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "CLAUDE_CODE_DISABLE_OFFICIAL_MARKETPLACE_AUTOINSTALL": "1",
    "CLAUDE_CODE_DISABLE_FEEDBACK_SURVEY": "1",
    "CLAUDE_CODE_DISABLE_TERMINAL_TITLE": "1",
    # Ghost text in the input box, and an API request of its own after some turns.
    "CLAUDE_CODE_ENABLE_PROMPT_SUGGESTION": "0",
    # A turn that goes on in the background ends twice; a driven turn ends once.
    "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS": "1",
    "CLAUDE_CODE_DISABLE_CRON": "1",
    # A dialog of 2.1.197 that swallows the first prompt of an old, large conversation.
    "CLAUDE_CODE_RESUME_THRESHOLD_MINUTES": "100000000",
}

#: Never sent through a proxy: the CLI would send even a loopback base URL there. Added to what
#: ``NO_PROXY`` says, and set in both spellings, of which programs read one or the other.
DIRECT: Final = ("127.0.0.1", "localhost")

#: Left out with everything else that is in no list above. These have a row since each is known to
#: change or to break a driven CLI; the text says how.
LEFT_OUT: Final[Mapping[str, str]] = {
    # Set for whatever runs below another `claude`, so for a program that an agent starts.
    "CLAUDE_CODE_CHILD_SESSION": "no transcript and no status file are written",
    "CLAUDE_CODE_SKIP_PROMPT_HISTORY": "no transcript is written",
    "CLAUDECODE": "another CLI's mark",
    "CLAUDE_CODE_SESSION_ID": "another CLI's conversation",
    "CLAUDE_CODE_ENTRYPOINT": "what that CLI was started by",
    "CLAUDE_CODE_SESSION_KIND": "the kind of that conversation; one of them drops the permissions",
    "CLAUDE_CODE_MESSAGING_SOCKET": "where that CLI takes messages",
    "AI_AGENT": "another agent's mark",
    # An account, a service and a model that the caller has not chosen here.
    "ANTHROPIC_API_KEY": "the CLI asks whether to use it before it starts, and bills it",
    "ANTHROPIC_AUTH_TOKEN": "another account",
    "ANTHROPIC_BASE_URL": "another service",
    "ANTHROPIC_MODEL": "another model",
    "CLAUDE_CODE_USE_BEDROCK": "another provider",
    "CLAUDE_CODE_USE_VERTEX": "another provider",
    # How the program runs and paints.
    "NODE_OPTIONS": "some values end the CLI at once, without a word",
    "BUN_OPTIONS": "some values end the CLI at once",
    "CLAUDE_CODE_SIMPLE": "no hooks, and a stored login is not used",
    "CLAUDE_CODE_DISABLE_ALTERNATE_SCREEN": "the classic renderer, which blocks when nobody reads",
    "TERM_PROGRAM": "another keyboard protocol",
    "TMUX": "another keyboard protocol",
    "BASH_ENV": "a script in every Bash tool",
}

#: With these the CLI writes nothing that could be read, so `BackendOptions` refuses them.
WITHOUT_TRANSCRIPT: Final = ("CLAUDE_CODE_CHILD_SESSION", "CLAUDE_CODE_SKIP_PROMPT_HISTORY")
_OFF: Final = frozenset({"", "0", "false", "no", "off"})


def child_environment(inherited: Mapping[str, str], chosen: Mapping[str, str]) -> dict[str, str]:
    """Return the whole environment of a CLI.

    Args:
        inherited: What the CLI would inherit; most of it is left out.
        chosen: The caller's own variables, which go in as they are.
    """
    kept = {k: v for k, v in inherited.items() if k in INHERITED or k.startswith("LC_")}
    # One spelling that the caller chose holds for both.
    direct = next((chosen[name] for name in ("no_proxy", "NO_PROXY") if name in chosen), None)
    if direct is None:
        direct = _without_proxy(kept.get("no_proxy") or kept.get("NO_PROXY") or "")
    return {**kept, "NO_PROXY": direct, "no_proxy": direct, **QUIET_ENVIRONMENT, **chosen}


def _without_proxy(hosts: str) -> str:
    named = [host for host in (host.strip() for host in hosts.split(",")) if host]
    return "*" if "*" in named else ",".join(dict.fromkeys([*named, *DIRECT]))


def is_on(value: object) -> bool:
    """Return whether the CLI takes the value of a variable for a yes."""
    return str(value).strip().lower() not in _OFF


# -- the settings -----------------------------------------------------------------------------------

#: Passed by ``--settings`` to every driven CLI. Unknown keys are ignored by older versions.
QUIET_SETTINGS: Final[Mapping[str, Any]] = {
    # After a usage limit: the CLI would go on by itself when it is lifted.
    "autoContinueAtUsageLimit": False,
    # Messages of other sessions on this machine would become turns that nobody asked for.
    "crossSessionInbound": "refuse",
    # Both change a text while it is typed.
    "emojiCompletionEnabled": False,
    "workflowKeywordTriggerEnabled": False,
    "promptSuggestionEnabled": False,
}

#: Tools that the CLI does not get: they start turns by themselves, and no other switch ends that.
SWITCHED_OFF_TOOLS: Final = ("ScheduleWakeup",)


def merge_settings(chosen: Mapping[str, Any], *, skip_permissions: bool) -> dict[str, Any]:
    """Return the settings of a CLI.

    Args:
        chosen: The caller's own; each key replaces the one in the table.
        skip_permissions: Whether the caller consents to the CLI's warning about that.
    """
    consent = {"skipDangerousModePermissionPrompt": True} if skip_permissions else {}
    return {**QUIET_SETTINGS, **consent, **chosen}


# -- where the CLI keeps things ---------------------------------------------------------------------


def config_directory(environment: Mapping[str, str], cwd: Path) -> Path:
    """Return the directory where a CLI with this environment keeps its sessions.

    Args:
        environment: The whole environment of the CLI.
        cwd: The directory it works in, to which it takes a relative name.

    Raises:
        ValueError: The environment names no home at all.
    """
    if chosen := environment.get("CLAUDE_CONFIG_DIR"):
        return cwd / chosen
    return _home(environment, cwd) / ".claude"


def config_file(environment: Mapping[str, str], cwd: Path) -> Path:
    """Return the file where a CLI with this environment keeps what it was told, trust among it.

    It is looked for: one that an early version has made, under another name, is still in use.

    Args:
        environment: The whole environment of the CLI.
        cwd: The directory it works in, to which it takes a relative name.

    Raises:
        ValueError: The environment names no home at all.
    """
    early = config_directory(environment, cwd) / ".config.json"
    if os.path.isfile(early) and os.path.getsize(early):  # noqa: PTH113, PTH202 - no exception
        return early
    if chosen := environment.get("CLAUDE_CONFIG_DIR"):
        return cwd / chosen / ".claude.json"
    return _home(environment, cwd) / ".claude.json"


def _home(environment: Mapping[str, str], cwd: Path) -> Path:
    if home := environment.get("HOME"):
        return cwd / home
    raise ValueError("the environment for the CLI has neither CLAUDE_CONFIG_DIR nor HOME; set one")
