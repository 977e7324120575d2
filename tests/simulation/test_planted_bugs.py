"""Every bug that is planted is found: a simulation that finds nothing says nothing."""

from itertools import chain

import pytest

from tests.simulation.bugs import BUGS, planted
from tests.simulation.simulation import Simulation

SEEDS_MAX = 400
KNOWN: dict[str, list[int]] = {}
"""Seeds that found a bug when it was last looked for: tried first. Any change of the code changes what a seed does."""


@pytest.mark.timeout(600)
@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_found(bug: str) -> None:
    with planted(bug):
        for seed in chain(KNOWN.get(bug, ()), range(SEEDS_MAX)):
            if Simulation(seed).run():
                return
    pytest.fail(f"{bug} is not found by {SEEDS_MAX} seeds")
