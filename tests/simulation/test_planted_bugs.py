"""Every bug that is planted is found: a simulation that finds nothing says nothing."""

from itertools import chain

import pytest

from tests.simulation.bugs import BUGS, planted
from tests.simulation.simulation import Simulation

SEEDS_MAX = 400
KNOWN: dict[str, list[int]] = {
    "shared_retry_policy": [5, 6],
    "snapshot_loaded_before_the_stream": [21, 39],
    "snapshot_stored_whatever_its_version": [115, 116],
    "link_not_checked": [19, 29],
    "entries_without_tags": [0, 35],
    "trim_without_its_own_check": [10, 16],
    "append_creates_the_stream": [5, 35],
    "attached_before_the_load": [0, 1],
    "pending_dropped": [27, 31],
    "difference_of_a_document": [27, 30],
    "marks_lost_for_good": [26, 80],
    "writer_ends_with_its_socket": [5, 16],
    "seen_before_logged": [0, 1],
    "saved_when_read": [14, 16],
    "loss_told_to_nobody": [12, 17],
    "node_gives_nothing_back": [5, 6],
    "bridge_gives_nothing_back": [6, 20],
    "no_rebase": [11, 12],
    "no_audit": [42, 50],
    "overtaken": [24, 48],
    "copy_kept_after_a_failed_append": [4, 6],
    "client_id_kept_after_a_reload": [6, 16],
    "quiet_clients_left_alone": [0, 1],
}
"""Seeds that found a bug when it was last looked for: tried first. Any change of the code changes what a seed does."""


@pytest.mark.timeout(600)
@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_found(bug: str) -> None:
    with planted(bug):
        for seed in chain(KNOWN.get(bug, ()), range(SEEDS_MAX)):
            if Simulation(seed).run():
                return
    pytest.fail(f"{bug} is not found by {SEEDS_MAX} seeds")
