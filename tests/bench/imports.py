"""How long it takes to import the package, and how long trio alone, each in new processes."""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Sequence
from typing import Final

import attrs
from wire import PATIENCE

_CODE: Final = """\
import time
begun = time.perf_counter()
import {}
print(time.perf_counter() - begun)
"""


@attrs.frozen
class Imports:
    """Seconds, each in a process of its own."""

    library: Sequence[float]
    trio: Sequence[float]

    def to_line(self) -> str:
        """Return what a reader may want to know."""
        ours, trios = (statistics.median(each) for each in (self.library, self.trio))
        return (
            f"Import of claude_trio / of trio, which is a part of it: {ours / trios:.2f} "
            f"({1000 * ours:.0f} ms, {1000 * trios:.0f} ms)."
        )


def measure_imports(rounds: int) -> Imports:
    """Measure in alternation.

    Args:
        rounds: How often; once more is not counted, as it may write bytecode.
    """
    pairs = [(_seconds("claude_trio"), _seconds("trio")) for _ in range(rounds + 1)][1:]
    return Imports([ours for ours, _ in pairs], [trios for _, trios in pairs])


def _seconds(module: str) -> float:
    done = subprocess.run(
        [sys.executable, "-c", _CODE.format(module)],
        check=True,
        capture_output=True,
        timeout=PATIENCE,
    )
    return float(done.stdout)
