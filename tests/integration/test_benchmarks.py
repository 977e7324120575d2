"""The benchmarks run: a small one against the whole system, so that they do not rot."""

import json
from pathlib import Path

from benchmarks.report import markdown
from benchmarks.result import Result
from benchmarks.system import TREE, running_system
from benchmarks.workloads import fan_out, folding, idle, many_boards


async def test_a_small_fan_out_is_measured_whole() -> None:
    sizes = fan_out.Sizes(nodes=2, shapes=5, readers=(2,), rates=(50,), seconds=0.4)
    told: list[str] = []
    async with running_system() as system:
        pids = list(system.pids.values())
        parts = [part async for part in fan_out.measure(sizes, system, told.append)]
        assert system.is_compiled is any(TREE.glob("boardlog/lib0.*.so")), "it runs what was made for it"
    assert told == ["2 readers, 50 updates/s"]
    (part,) = Result.from_json(json.loads(json.dumps(Result({}, parts).to_json()))).parts
    assert part.units == 2 * 20, "every reader, one on each node, got every change"
    assert part.latency is not None
    assert part.latency.count == part.units
    assert set(part.cpu_seconds) == {"relay-0", "relay-1", "redis", "worker", "postgres", "bridge"}
    assert part.cpu_us("relay-0") > 0
    assert "2 readers, 50/s" in markdown(Result({}, parts), {})
    assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == [], "nothing is left running"


async def test_boards_on_one_node_are_read_by_their_writers_and_idle_connections_counted() -> None:
    boards = many_boards.Sizes(nodes=1, boards=(7,), rate=50, seconds=0.4)
    connections = idle.Sizes(connections=25, silent_seconds=0.5, renewing_seconds=0.5)
    async with running_system(sockets=25) as system:
        (busy,) = [part async for part in many_boards.measure(boards, system, lambda _: None)]
        silent, renewing = [part async for part in idle.measure(connections, system, lambda _: None)]
    assert (busy.name, busy.units) == ("7 boards on one node", 20), "each change came back to its author"
    assert silent.parameters == renewing.parameters == {"connections": 25, "boards": 2}


async def test_a_fold_is_measured_of_updates_that_are_joined_on_their_way() -> None:
    async with running_system() as system:
        (part,) = [part async for part in folding.measure(folding.Sizes(waiting=(200,)), system, lambda _: None)]
    assert (part.name, part.units) == ("200 updates", 200)
    assert part.cpu_us("worker") > 0
    assert part.figures["worker_peak_mib"] >= part.figures["worker_before_mib"] > 0
