"""The table of faults at the end of a run: what was done to the system, how soon people were back, what was lost."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

HEAD = ("fault", "edits", "lost", "back: p50", "p99", "max", "")


@dataclass(frozen=True, slots=True)
class Row:
    """One fault, done to real processes under load."""

    fault: str
    edits: int
    """How many changes were made meanwhile by people and agents together."""
    lost: int
    """How many of them are nowhere afterwards."""
    recovery_seconds: Sequence[float]
    """From the fault until an edit of a client was on another one's screen again: one for each client that noticed."""
    note: str = ""


class Report:
    """Collects rows. Times are told, never asserted by the second."""

    def __init__(self) -> None:
        self._rows: list[Row] = []

    def add(self, fault: str, *, edits: int, lost: int, recovery_seconds: Sequence[float] = (), note: str = "") -> None:
        self._rows.append(Row(fault, edits, lost, sorted(recovery_seconds), note))

    def lines(self) -> list[str]:
        """Return the table, a line for each fault."""
        if not self._rows:
            return []
        cells = [HEAD, *(_cells(row) for row in self._rows)]
        widths = [max(len(line[column]) for line in cells) for column in range(len(HEAD))]
        return [
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells
        ]


def percentile(ascending: Sequence[float], share: float) -> float:
    """Return the value that this share of them does not exceed (nearest rank)."""
    return ascending[max(0, math.ceil(share * len(ascending)) - 1)]


def _cells(row: Row) -> tuple[str, ...]:
    times = row.recovery_seconds
    told = [f"{percentile(times, share):.2f} s" for share in (0.5, 0.99, 1.0)] if times else ["-"] * 3
    return (row.fault, str(row.edits), str(row.lost), *told, row.note)
