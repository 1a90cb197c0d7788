"""Numbers into cells, and cells into the Markdown table that the benchmark prints."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import Final

import attrs

_NONE: Final = ""
COLUMNS: Final = ("claude_trio", "bare terminal", "official SDK")


@attrs.frozen
class Spread:
    """The median of some numbers, and the range that eight tenths of them lie in."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, numbers: Iterable[float]) -> Spread:
        """Return it for at least one number."""
        given = sorted(numbers)
        if len(given) == 1:
            return cls(given[0], given[0], given[0])
        tenths = statistics.quantiles(given, n=10, method="inclusive")
        return cls(statistics.median(given), tenths[0], tenths[-1])

    def milliseconds(self) -> str:
        """Return the cell for seconds that are shown in milliseconds."""
        numbers = [1000 * number for number in (self.median, self.low, self.high)]
        digits = 0 if numbers[0] >= 1000 else 1
        median, low, high = (f"{number:.{digits}f}" for number in numbers)
        return f"{median} ms [{low} - {high}]"

    def share(self) -> str:
        """Return the cell for a share of a core."""
        if self.low == self.high:
            return percent(self.median)
        return f"{percent(self.median)} [{100 * self.low:.2f} - {100 * self.high:.2f}]"


def percent(share: float) -> str:
    """Return a share as a percentage."""
    return f"{100 * share:.2f} %"


def megabytes(count: float) -> str:
    """Return a number of bytes in MB."""
    return f"{count / 1e6:.1f} MB"


@attrs.define
class Table:
    """The rows so far."""

    rows: list[Sequence[str]] = attrs.field(factory=list)

    def add(self, name: str, *cells: str) -> None:
        """Add a row; cells that are not given are empty."""
        missing = [_NONE] * (len(COLUMNS) - len(cells))
        self.rows.append([name, *cells, *missing])

    def to_markdown(self) -> str:
        """Return the table."""
        head = ["median [p10 - p90]", *COLUMNS]
        rule = ["---", *("---:" for _ in COLUMNS)]
        return "\n".join("| " + " | ".join(row) + " |" for row in [head, rule, *self.rows])
