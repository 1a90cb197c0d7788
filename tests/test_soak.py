"""A short version of the soak; `nox -s soak` runs the long one."""

from __future__ import annotations

from pathlib import Path

import pytest
import soak

pytestmark = pytest.mark.real_cli


async def test_turns_interrupted_killed_and_cancelled_at_random_leave_nothing(
    real_cli: Path,
) -> None:
    tally = await soak.soak(real_cli, turns=20, conversations=3, seed=5)
    assert 20 == sum(tally[action] for action in soak.ACTIONS)
