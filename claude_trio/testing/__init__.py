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
