"""Which seeds a run of the fuzzers uses: the kept ones; fresh ones too with FUZZ_SEEDS, one alone with FUZZ_SEED.

The kept ones do the same each time: a change is not to be blamed for what it has not brought.

FUZZ_SEEDS=200 pytest tests/fuzz/test_fuzz_updates.py       a long run
FUZZ_SEED=1234 pytest tests/fuzz/test_fuzz_updates.py       one seed again, as a failure prints it
"""

import os
import secrets
from collections.abc import Sequence

SEED_BITS = 31


def seeds(kept: Sequence[int]) -> list[int]:
    """Return the seeds of this run."""
    if "FUZZ_SEED" in os.environ:
        return [int(os.environ["FUZZ_SEED"])]
    fresh = int(os.environ.get("FUZZ_SEEDS", "0"))
    return [*kept, *(secrets.randbits(SEED_BITS) for _ in range(fresh))]


def again(seed: int, module: str) -> str:
    """Return the command that replays a seed."""
    return f"FUZZ_SEED={seed} .venv/bin/pytest {module.replace('.', '/')}.py"
