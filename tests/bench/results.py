"""What the benchmark found out, and how it says so."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from typing import Final

import attrs
from idle import Idle
from imports import Imports
from lines import Lines
from plan import Plan
from serve import FIRST_TOKEN, TOKENS, TOKENS_PER_SECOND
from table import Spread, Table, megabytes, percent
from wire import Turn

LIBRARY: Final = "by_library.py"
BARE: Final = "by_pty.py"
SDK: Final = "by_sdk.py"
#: The files of the contestants, in the order of the table's columns.
CONTESTANTS: Final = (LIBRARY, BARE, SDK)


@attrs.frozen
class Results:
    """Everything that was measured; turns by contestant."""

    plan: Plan
    started: Mapping[str, list[Turn]]
    warm: Mapping[str, list[Turn]]
    slow: Mapping[str, list[Turn]]
    held: Mapping[str, list[Turn]]
    lines: Lines
    idle: Idle
    imports: Imports

    def to_table(self) -> Table:
        """Return the table."""
        plan, lines, idle = self.plan, self.lines, self.idle
        table = Table()

        def add(name: str, turns: Mapping[str, list[Turn]], of: Callable[[Turn], float]) -> None:
            table.add(name, *(spread.milliseconds() for spread in spreads(turns, of)))

        model = f"{FIRST_TOKEN:g} s, then {TOKENS} tokens at {TOKENS_PER_SECOND}/s"
        add("warm turn, the model answers at once", self.warm, _end)
        add(f"warm turn, model of human speed ({model})", self.slow, _end)
        add("start of a process to first event", self.started, lambda turn: turn.first)
        add("start of a process to result", self.started, _end)
        add("own CPU time of a warm turn", self.warm, lambda turn: turn.cpu)
        silent = spreads(self.held, lambda turn: turn.cpu / turn.end)
        table.add(
            f"own CPU while the model thinks for {plan.silence} s", *map(Spread.share, silent)
        )
        table.add("line on disk to event (scripted CLI)", Spread.of(lines.session).milliseconds())
        waiting = "own CPU while waiting for a line, terminal silent (scripted CLI)"
        table.add(waiting, percent(lines.waiting))
        watcher = Spread.of(lines.watcher).milliseconds()
        table.add("line on disk to record, `JsonlWatcher` alone (no CLI)", watcher)
        resting = f"{idle.sessions} conversations at rest"
        table.add(f"own CPU with {resting}", percent(idle.cpu))
        table.add(f"own memory with {resting}", megabytes(idle.memory))
        return table

    def to_ratios(self) -> list[str]:
        """Return what the aims are about, and what else is worth a line."""
        lines, idle = self.lines, self.idle
        pairs = zip(self.warm[LIBRARY], self.warm[BARE], strict=True)
        more = 1000 * statistics.median(ours.end - bare.end for ours, bare in pairs)
        ours, _, sdk = (spread.median for spread in spreads(self.warm, _end))
        ours_slow, _, sdk_slow = (spread.median for spread in spreads(self.slow, _end))
        each = f"{megabytes(idle.cli_memory)}, of which {megabytes(idle.cli_own)} are its own"
        delay = 1000 * statistics.median(lines.session)
        return [
            f"Warm turn, claude_trio minus bare terminal: {more:+.1f} ms (aim: at most 5 ms).",
            f"Warm turn, claude_trio / SDK: {ours / sdk:.2f}.",
            f"At human speed, claude_trio / SDK: {ours_slow / sdk_slow:.3f} (aim: at most 1.05).",
            f"Line to event: {delay:.1f} ms at {percent(lines.waiting)} of a core (aim: 5 ms at 1 %).",
            f"Own memory without a conversation: {megabytes(idle.base)}.",
            f"Each CLI at rest: {percent(idle.cli_cpu / idle.sessions)} of a core, {each}.",
            f"Start of a CLI, with its first turn: {idle.start_cpu:.1f} s of a core.",
            self.imports.to_line(),
        ]


def spreads(turns: Mapping[str, list[Turn]], of: Callable[[Turn], float]) -> list[Spread]:
    """Return a number of each contestant's turns."""
    return [Spread.of(of(turn) for turn in turns[name]) for name in CONTESTANTS]


def _end(turn: Turn) -> float:
    return turn.end
