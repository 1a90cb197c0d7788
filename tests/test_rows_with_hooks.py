"""The same rows with hooks: they may change the time, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import attrs
import hypothesis
import pytest
from rows.play import Row, Seen, differences, is_old, play, version_of
from rows.table import ROWS

from claude_trio import HookContext, HookInput, HookMatcher
from claude_trio.testing import LoopbackApi, World

pytestmark = pytest.mark.real_cli

EVENTS: Final = (
    *("UserPromptSubmit", "PreToolUse", "PostToolUse", "PostToolBatch", "MessageDisplay"),
    *("Notification", "PermissionRequest", "Stop", "StopFailure", "SubagentStop", "PreCompact"),
)
#: One of each kind; HYPOTHESIS_PROFILE=deep makes it all of them.
SOME: Final = (
    *("2-text", "2-thinking-and-text", "2-parallel-tools", "2-stop-hook", "3-max_tokens-once"),
    *("4-subagent", "5-500", "6-streaming-text", "6-running-a-tool", "7-permission"),
    *("8-absorbed-in-mid-turn", "9-compact", "9-stop-hook-blocks-once"),
)
DEEP: Final = hypothesis.settings.get_profile("deep").max_examples
CHOSEN: Final = [
    row for row in ROWS if row.name in SOME or hypothesis.settings().max_examples == DEEP
]


async def nothing(_: HookInput, __: str | None, ___: HookContext) -> None:
    """Have no opinion."""


def without_summaries(seen: Seen) -> Seen:
    """Return a row without the records that say that hooks of the end have run."""
    return attrs.evolve(seen, events=re.sub(r"stop_hook_summary ?", "", seen.events))


@pytest.mark.parametrize("row", CHOSEN, ids=lambda row: row.name)
async def test_with_hooks_a_turn_ends_as_the_table_says(
    row: Row, real_cli: Path, api: LoopbackApi, world: World
) -> None:
    old = is_old(await version_of(real_cli, world.env(api.base_url)))
    if old and row.old is None:
        pytest.skip("this CLI cannot do that")
    hooks = {event: [HookMatcher(None, nothing)] for event in EVENTS}
    hooked = attrs.evolve(row, options={**row.options, "hooks": hooks})
    seen = await play(hooked, real_cli, api, world)
    assert "" == differences(without_summaries(row.expected(old=old)), without_summaries(seen))
