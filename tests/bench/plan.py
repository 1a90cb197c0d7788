"""How much the benchmark measures, by its command line."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import attrs


@attrs.frozen
class Plan:
    """How much is measured.

    Args:
        starts: New processes of each.
        rounds: Warm turns in each of them, with a model that answers at once.
        slow: Warm turns of each with a model of human speed.
        held: Turns of each in which nothing happens.
        silence: Seconds that those last.
        lines: Lines of a transcript.
        sessions: Conversations at rest.
        rest: Seconds that they are watched.
    """

    starts: int
    rounds: int
    slow: int
    held: int
    silence: int
    lines: int
    sessions: int
    rest: int

    @classmethod
    def chosen(cls, arguments: Sequence[str]) -> Plan:
        """Return what the command line asks for."""
        parser = argparse.ArgumentParser(description="Measure the speed; print a table.")
        parser.add_argument("--rounds", type=int, help="new processes of each; the rest is scaled")
        parser.add_argument("--sessions", type=int, help="conversations at rest")
        parser.add_argument("--quick", action="store_true", help="about a minute, and less exact")
        given = parser.parse_args(arguments)
        starts = max(1, given.rounds or (3 if given.quick else 10))
        return cls(
            starts=starts,
            rounds=5 if given.quick else 15,
            slow=1 if given.quick else 8,
            held=1 if given.quick else 2,
            silence=1 if given.quick else 5,
            lines=30 * starts,
            sessions=given.sessions or (10 if given.quick else 20),
            rest=2 if given.quick else 10,
        )
