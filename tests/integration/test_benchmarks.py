"""The benchmarks run: a small one against the whole system, so that they do not rot."""

import json
from pathlib import Path

from benchmarks.report import markdown
from benchmarks.result import Result
from benchmarks.system import TREE, running_system
from benchmarks.workloads import fan_out


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
