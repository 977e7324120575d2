"""How long things took to reach a screen, for the lines at the end of a run. Told, never asserted."""

from collections import defaultdict
from collections.abc import Sequence
from statistics import median


class Latencies:
    """Milliseconds by what was measured and by the step."""

    def __init__(self) -> None:
        self._taken: defaultdict[str, defaultdict[str, list[float]]] = defaultdict(lambda: defaultdict(list))

    def add(self, subject: str, step: str, milliseconds: float) -> None:
        self._taken[subject][step].append(milliseconds)

    def lines(self) -> list[str]:
        """Return a line for each subject: `two tabs on two nodes: create 41 ms (max 60, n 8), move …`."""
        return [
            f"{subject}: {', '.join(_told(step, taken) for step, taken in steps.items())}"
            for subject, steps in self._taken.items()
        ]


def _told(step: str, taken: Sequence[float]) -> str:
    if len(taken) == 1:
        return f"{step} {taken[0]:.0f} ms"
    return f"{step} {median(taken):.0f} ms (max {max(taken):.0f}, n {len(taken)})"
