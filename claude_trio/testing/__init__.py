"""What the tests of a program that uses claude_trio need: a model, a world and a scripted CLI."""

# A model: a Messages API on the loopback interface
from ._loopback import LoopbackApi as LoopbackApi
from ._loopback import ReplyOptions as ReplyOptions
from ._loopback import Responder as Responder
from ._loopback import open_loopback_api as open_loopback_api
from ._replies import Block as Block
from ._replies import Cut as Cut
from ._replies import ErrorEvent as ErrorEvent
from ._replies import HttpError as HttpError
from ._replies import Reply as Reply
from ._replies import redacted_thinking as redacted_thinking
from ._replies import text as text
from ._replies import thinking as thinking
from ._replies import tool_use as tool_use
from ._requests import RecordedRequest as RecordedRequest
from ._requests import RequestKind as RequestKind

# isort: split
# A world: directories and an environment of its own for a CLI
from ._world import World as World
from ._world import find_real_cli as find_real_cli
from ._world import isolated_world as isolated_world

# isort: split
# Cancellation
from ._cancel import cancel_everywhere as cancel_everywhere

# isort: split
# A stand-in for the CLI, for faults and for speed
from ._fake_cli import Answer as Answer
from ._fake_cli import CloseTerminal as CloseTerminal
from ._fake_cli import Dialog as Dialog
from ._fake_cli import Die as Die
from ._fake_cli import Echo as Echo
from ._fake_cli import Fail as Fail
from ._fake_cli import FakeCLI as FakeCLI
from ._fake_cli import Gate as Gate
from ._fake_cli import Hang as Hang
from ._fake_cli import Raw as Raw
from ._fake_cli import Result as Result
from ._fake_cli import SetStatus as SetStatus
from ._fake_cli import Sleep as Sleep
from ._fake_cli import Spawn as Spawn
from ._fake_cli import Startup as Startup
from ._fake_cli import Write as Write
