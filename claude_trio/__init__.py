"""Drive the interactive ``claude`` CLI (Claude Code) from trio.

    async with open_backend(BackendOptions(cwd=".")) as backend:
        async for event in backend.complete([{"role": "user", "content": "say hi"}]):
            print(event)

Use
---
Run: `open_backend`, `BackendOptions`, `ClaudeCodeBackend`, `Turn`, `SessionInfo`, `hash_history`.
Messages: `Event` is an `AssistantMessage`, `UserMessage`, `SystemMessage`, `ResultMessage` or
`TextDelta`; `ContentBlock` a `TextBlock`, `ThinkingBlock`, `ToolUseBlock`, `ToolResultBlock` or
`UnknownBlock`; `Usage`, `ContextWindow` and `RateLimit` are what they count.
Decide: `PermissionRequest`, `QuestionRequest`, `Question`, `QuestionOption`, `PlanRequest`, `Allow`,
`Deny`; `HookMatcher`, `HookInput`, `HookOutput`, `HookContext`; `tool` makes a `Tool`.
Look at the machine: `check` returns a `CheckReport` of `Finding`s; `find_cli`, `TESTED_CLI_VERSIONS`.

Errors
------
All are `BackendError`: `AuthError`, `RateLimitError`, `TurnTimeout`, `SessionError`, `ProcessError`,
`StartupError`, `CLINotFoundError`, `MessageParseError`.

Lower layers
------------
`open_pty_process` and `PtyClaudeProcess`; `JsonlWatcher`; `parse_record`, `Record`, `normalize`,
`TurnManager`. The package `claude_trio.testing` is for the tests of your own program.

General layout
--------------
`_backend` and `_turn` are what a caller touches; `_session` is one live conversation; `_pty` and
`_jsonl` move bytes; `_host` is the server by which a CLI reaches functions of the caller; `_protocol`
holds everything that needs no input or output. `events`, `errors`, `callbacks`, `tools` and `options`
are the values that all of them share. `_cli`, `_launch`, `_trust` and `_check` are about
the machine: the program, what it is started with, and whether that will do. `__main__` is the command
line.
"""

# Use
from ._backend import ClaudeCodeBackend as ClaudeCodeBackend
from ._backend import open_backend as open_backend
from ._check import CheckReport as CheckReport
from ._check import Finding as Finding
from ._check import check as check
from ._cli import TESTED_CLI_VERSIONS as TESTED_CLI_VERSIONS
from ._cli import find_cli as find_cli
from ._protocol.canonical import hash_history as hash_history
from ._session_info import SessionInfo as SessionInfo
from ._turn import Turn as Turn
from .callbacks import Allow as Allow
from .callbacks import Deny as Deny
from .callbacks import HookContext as HookContext
from .callbacks import HookInput as HookInput
from .callbacks import HookMatcher as HookMatcher
from .callbacks import HookOutput as HookOutput
from .callbacks import PermissionRequest as PermissionRequest
from .callbacks import PlanRequest as PlanRequest
from .callbacks import Question as Question
from .callbacks import QuestionOption as QuestionOption
from .callbacks import QuestionRequest as QuestionRequest
from .events import AssistantMessage as AssistantMessage
from .events import ContentBlock as ContentBlock
from .events import ContextWindow as ContextWindow
from .events import Event as Event
from .events import RateLimit as RateLimit
from .events import ResultMessage as ResultMessage
from .events import SystemMessage as SystemMessage
from .events import TextBlock as TextBlock
from .events import TextDelta as TextDelta
from .events import ThinkingBlock as ThinkingBlock
from .events import ToolResultBlock as ToolResultBlock
from .events import ToolUseBlock as ToolUseBlock
from .events import UnknownBlock as UnknownBlock
from .events import Usage as Usage
from .events import UserMessage as UserMessage
from .options import BackendOptions as BackendOptions
from .tools import Tool as Tool
from .tools import tool as tool

# isort: split
# Errors
from .errors import AuthError as AuthError
from .errors import BackendError as BackendError
from .errors import CLINotFoundError as CLINotFoundError
from .errors import MessageParseError as MessageParseError
from .errors import ProcessError as ProcessError
from .errors import RateLimitError as RateLimitError
from .errors import SessionError as SessionError
from .errors import StartupError as StartupError
from .errors import TurnTimeout as TurnTimeout

# isort: split
# Lower layers
from ._jsonl import JsonlWatcher as JsonlWatcher
from ._protocol.normalize import normalize as normalize
from ._protocol.records import Record as Record
from ._protocol.records import parse_record as parse_record
from ._protocol.turns import TurnManager as TurnManager
from ._pty import PtyClaudeProcess as PtyClaudeProcess
from ._pty import open_pty_process as open_pty_process
