"""The whole system by seed: every guarantee, under every fault, in thousands of runs.

`python -m tests.simulation SEED` replays one run and prints what happened. SIMULATION_SEEDS sets how many are run here.
"""

import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from tests.simulation.simulation import Simulation

SEEDS = int(os.environ.get("SIMULATION_SEEDS", "1500"))
PROCESSES = 2
KEPT = Path(__file__).with_name("kept_seeds.txt")
"""Seeds that once found something, with a word on what it was."""


def wrong_with(seed: int) -> tuple[int, list[str]]:
    return seed, Simulation(seed).run()


def kept_seeds() -> list[int]:
    return [int(line.split()[0]) for line in KEPT.read_text().splitlines() if not line.startswith("#")]


@pytest.mark.timeout(1200)
def test_G1_to_G8_and_L1_to_L16_hold_under_all_faults() -> None:
    seeds = [*kept_seeds(), *range(SEEDS)]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(PROCESSES, context) as processes:
        failed = {seed: wrong for seed, wrong in processes.map(wrong_with, seeds, chunksize=20) if wrong}
    lines = [f"python -m tests.simulation {seed}: {wrong[0]}" for seed, wrong in failed.items()]
    assert not failed, f"{len(failed)} of {len(seeds)} seeds failed:\n" + "\n".join(lines[:20])


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
