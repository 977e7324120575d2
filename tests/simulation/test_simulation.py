"""The whole system by seed: every guarantee, under every fault, in hundreds of runs.

`python -m tests.simulation SEED` replays one run and prints what happened. As many seeds are run here as
SIMULATION_SECONDS allows, SIMULATION_SEEDS at most.
"""

import multiprocessing
import os
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from tests.simulation.conftest import SEEDS_RUN
from tests.simulation.simulation import Simulation

SEEDS_MAX = int(os.environ.get("SIMULATION_SEEDS", "1500"))
SECONDS_MAX = float(os.environ.get("SIMULATION_SECONDS", "60"))
"""After that no more are begun: machines differ by a factor of three, and a check has to end."""
PROCESSES = 2
SEEDS_AT_ONCE = 40
KEPT = Path(__file__).with_name("kept_seeds.txt")
"""Seeds that once found something, with a word on what it was."""


def wrong_with(seed: int) -> tuple[int, list[str]]:
    return seed, Simulation(seed).run()


def kept_seeds() -> list[int]:
    return [int(line.split()[0]) for line in KEPT.read_text().splitlines() if not line.startswith("#")]


@pytest.mark.timeout(SECONDS_MAX + 300)
def test_G1_to_G8_and_L1_to_L16_hold_under_all_faults(pytestconfig: pytest.Config) -> None:
    seeds, run, failed = [*kept_seeds(), *range(SEEDS_MAX)], 0, {}
    began = time.monotonic()
    with ProcessPoolExecutor(PROCESSES, multiprocessing.get_context("spawn")) as processes:
        while run < len(seeds) and time.monotonic() - began < SECONDS_MAX:
            some = seeds[run : run + SEEDS_AT_ONCE]
            failed.update({seed: wrong for seed, wrong in processes.map(wrong_with, some, chunksize=2) if wrong})
            run += len(some)
    pytestconfig.stash[SEEDS_RUN].append(f"{run} seeds, {len(failed)} failed, {time.monotonic() - began:.0f} s")
    lines = [f"python -m tests.simulation {seed}: {wrong[0]}" for seed, wrong in failed.items()]
    assert not failed, f"{len(failed)} of {run} seeds failed:\n" + "\n".join(lines[:20])


def test_a_seed_does_the_same_again() -> None:
    """In another process too, where sets and dicts of texts have another order."""
    code = "from tests.simulation.simulation import Simulation as S; s = S(7); s.run(); print(s.fingerprint, s.trace)"
    runs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert len(runs) == 1
