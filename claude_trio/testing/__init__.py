"""What the tests of a program that uses claude_trio need: a model, a world and a scripted CLI.

Needs ``pip install claude-trio[testing]``.
"""

from ._cancel import cancel_everywhere as cancel_everywhere
from ._loopback import LoopbackAPI as LoopbackAPI
from ._loopback import open_loopback_api as open_loopback_api
from ._reply import HttpError as HttpError
from ._reply import Reply as Reply
from ._reply import text as text
from ._reply import thinking as thinking
from ._reply import tool_use as tool_use
from ._requests import RecordedRequest as RecordedRequest
from ._world import World as World
from ._world import find_real_cli as find_real_cli
from ._world import isolated_world as isolated_world
