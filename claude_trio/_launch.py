"""What a driven CLI is started with: its environment, its settings and its arguments.

Inherited variables that are not in the table do not reach the CLI. `BackendOptions.env` and
`BackendOptions.settings` come last and override every row.

What is confidential or long does not go into arguments, which every user of the machine can read and
the system bounds, but into files: see `_start_files`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from .options import BackendOptions

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
#: JSON that goes into the body of every request.
EXTRA_BODY: Final = "CLAUDE_CODE_EXTRA_BODY"
#: Where the command of the status line is to leave what it is told.
STATUS_LINE: Final = "CLAUDE_TRIO_STATUS_LINE"
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


def option_variables(options: BackendOptions) -> dict[str, str]:
    """Return the variables that options become, for which an interactive CLI has no flag."""
    made: dict[str, str] = {}
    if options.thinking is not None:
        if options.thinking["type"] == "disabled":
            made["CLAUDE_CODE_DISABLE_THINKING"] = "1"
        elif options.thinking["type"] == "enabled":
            made["MAX_THINKING_TOKENS"] = str(options.thinking["budget_tokens"])
    if options.max_output_tokens is not None:
        made["CLAUDE_CODE_MAX_OUTPUT_TOKENS"] = str(options.max_output_tokens)
    if body := request_body(options):
        made[EXTRA_BODY] = json.dumps(body, separators=(",", ":"))
    return made


def request_body(options: BackendOptions) -> dict[str, Any]:
    """Return what the CLI is to merge into the body of each of its requests."""
    body = dict(options.extra_body)
    if options.output_format is not None:
        config = body.get("output_config", {})
        body["output_config"] = {**config, "format": dict(options.output_format)}
    return body


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


#: Keeps the newest of what the CLI tells its status line, whole at any moment. It needs no
#: interpreter but the shell that runs it, and prints nothing.
_KEEP_STATUS_LINE: Final = (
    f'umask 077; cat >"${STATUS_LINE}.$$" && mv -f "${STATUS_LINE}.$$" "${STATUS_LINE}"'
)


def merge_settings(options: BackendOptions) -> dict[str, Any]:
    """Return the settings of a CLI: the quiet ones, those that options become, the caller's own."""
    made: dict[str, Any] = {}
    if options.dangerously_skip_permissions:
        made["skipDangerousModePermissionPrompt"] = True
    if options.thinking is not None and options.thinking["type"] != "disabled":
        made["alwaysThinkingEnabled"] = True
    if options.tells_cost:
        made["statusLine"] = {"type": "command", "command": _KEEP_STATUS_LINE}
    merged = {**QUIET_SETTINGS, **made, **options.settings}
    # In the settings each rule stands by itself; a flag would split it at its commas. A directory
    # given by a flag makes newer versions ask whether to trust it.
    ours = {
        "allow": list(options.allowed_tools),
        "deny": list(options.disallowed_tools),
        "additionalDirectories": [str(path) for path in options.add_dirs],
    }
    if any(ours.values()):
        permissions = dict(merged.get("permissions", {}))
        for key, rules in ours.items():
            if rules:
                permissions[key] = [*permissions.get(key, []), *rules]
        merged["permissions"] = permissions
    return merged


# -- the arguments ----------------------------------------------------------------------------------

#: The first version that keeps the system prompt of a conversation, unless it is told not to.
_SNAPSHOTS_SINCE: Final = (2, 1, 330)


def arguments(options: BackendOptions, files: Mapping[str, Path]) -> list[str]:
    """Return the arguments that do not depend on the conversation.

    Args:
        options: The backend's, or those of one call.
        files: What is given in a file, by its flag.
    """
    if options.dangerously_skip_permissions:
        made = ["--dangerously-skip-permissions"]
    else:
        # Never left out: the CLI's own default asks, or decides by itself.
        made = ["--permission-mode", options.permission_mode]
    made += ["--disallowedTools", *SWITCHED_OFF_TOOLS]
    for flag, value in (
        ("--model", options.model),
        ("--fallback-model", options.fallback_model),
        ("--effort", options.effort),
        ("--tools", None if options.tools is None else ",".join(options.tools)),
        ("--agents", json.dumps(options.agents) if options.agents else None),
        ("--agent", options.agent),
        (
            "--setting-sources",
            None if options.setting_sources is None else ",".join(options.setting_sources),
        ),
    ):
        if value is not None:
            made += [flag, value]
    if options.only_given_servers:
        made.append("--strict-mcp-config")
    for name, text in options.extra_args.items():
        made.append(f"--{name}" if text is None else f"--{name}={text}")
    for flag, path in files.items():
        made += [flag, str(path)]
    return made


def snapshot_arguments(options: BackendOptions, version: str | None) -> list[str]:
    """Return what makes a CLI that goes on with its own transcript take the given system prompt.

    Args:
        options: Those of the call.
        version: That of the CLI, as it told; None if it did not.
    """
    given = options.system_prompt is not None or options.append_system_prompt is not None
    known = version is not None and version_numbers(version) >= _SNAPSHOTS_SINCE
    return ["--system-prompt-snapshot", "off"] if given and known else []


def version_numbers(version: str) -> tuple[int, ...]:
    """Return the numbers of a version, to be compared."""
    return tuple(int(number) for number in version.split(".") if number.isdigit())


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
