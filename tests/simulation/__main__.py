"""`python -m tests.simulation SEED` replays one seed and prints what happened; `--count N` runs N seeds from there on.

`--bug NAME` plants one of the bugs of `bugs.py` first.
"""

import argparse
import sys
import time
from contextlib import ExitStack

from tests.simulation.bugs import BUGS, planted
from tests.simulation.simulation import Simulation


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("seed", type=int)
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--bug", choices=BUGS)
    arguments = parser.parse_args()
    failed = 0
    began = time.perf_counter()
    for seed in range(arguments.seed, arguments.seed + arguments.count):
        with ExitStack() as stack:
            if arguments.bug:
                stack.enter_context(planted(arguments.bug))
            simulation = Simulation(seed)
            wrong = simulation.run()
        failed += bool(wrong)
        if wrong or arguments.count == 1:
            print(f"seed {seed}: {'; '.join(wrong) or 'all is well'}")  # noqa: T201
        if arguments.count == 1:
            print("\n".join(simulation.trace))  # noqa: T201
    print(f"{arguments.count} seeds, {failed} failed, {time.perf_counter() - began:.1f} s")  # noqa: T201
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
