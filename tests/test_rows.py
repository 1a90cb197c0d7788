"""Each row of the observed truth table, on the real CLI."""

from __future__ import annotations

from pathlib import Path

import pytest
from rows.play import Row, differences, is_old, play, version_of
from rows.table import ROWS

from claude_trio.testing import LoopbackApi, World

pytestmark = pytest.mark.real_cli


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
async def test_a_turn_ends_as_the_table_says(
    row: Row, real_cli: Path, api: LoopbackApi, world: World
) -> None:
    old = is_old(await version_of(real_cli, world.env(api.base_url)))
    if old and row.old is None:
        pytest.skip("this CLI cannot do that")
    seen = await play(row, real_cli, api, world)
    assert "" == differences(row.expected(old=old), seen)
