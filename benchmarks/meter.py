"""What processes use: CPU from the scheduler's own count, resident memory; over a process and all its descendants."""

import asyncio
import gc
import os
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

SAMPLE_SECONDS = 0.05
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def busy_seconds(pid: int) -> float:
    """Return the CPU seconds that a process and its descendants have used so far, those that have ended included."""
    total = 0.0
    for process in _family(pid):
        with suppress(OSError):
            for thread in Path(f"/proc/{process}/task").iterdir():
                with suppress(OSError):
                    total += int((thread / "schedstat").read_text().split()[0]) / 1e9
            ended = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[13:15]
            total += sum(map(int, ended)) / _TICKS_PER_SECOND
    return total


def resident_bytes(pid: int) -> int:
    """Return the resident memory of a process and its descendants; what they share counts for each."""
    total = 0
    for process in _family(pid):
        with suppress(OSError):
            total += int(Path(f"/proc/{process}/statm").read_text().split()[1]) * _PAGE_BYTES
    return total


def _family(pid: int) -> Iterator[int]:
    yield pid
    with suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError):
                for child in (thread / "children").read_text().split():
                    yield from _family(int(child))


def _machine_busy_seconds() -> float:
    user, nice, system, _idle, _waiting, *interrupts = map(int, Path("/proc/stat").read_text().split()[1:8])
    return (user + nice + system + sum(interrupts)) / _TICKS_PER_SECOND


@dataclass(slots=True)
class Used:
    """What a stretch of time took: the fields of a `result.Part` that every measurement has."""

    seconds: float = 0.0
    cpu_seconds: dict[str, float] = field(default_factory=dict)
    """By process."""
    load_busy: float = 0.0
    """Share of a core that this process used: near 1, it was the limit and not the system."""
    others_busy: float = 0.0
    """Cores that neither this process nor the system used: more than a little disturbs what is measured."""


@contextmanager
def measured(pids: Mapping[str, int]) -> Iterator[Used]:
    """Yield what is filled in at the end of the block. This process collects no garbage meanwhile."""
    used = Used()
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        began, own, machine = time.monotonic(), time.process_time(), _machine_busy_seconds()
        before = {name: busy_seconds(pid) for name, pid in pids.items()}
        yield used
        used.cpu_seconds = {name: busy_seconds(pid) - before[name] for name, pid in pids.items()}
        used.seconds = time.monotonic() - began
        used.load_busy = (time.process_time() - own) / used.seconds
        ours = used.load_busy + sum(used.cpu_seconds.values()) / used.seconds
        used.others_busy = max(0.0, (_machine_busy_seconds() - machine) / used.seconds - ours)
    finally:
        gc.enable()
        gc.unfreeze()


@dataclass(slots=True)
class Peak:
    """The most memory that was seen."""

    resident_bytes: int = 0


@asynccontextmanager
async def watched(pid: int) -> AsyncIterator[Peak]:
    """Yield the largest resident memory of a process and its descendants, looked at every SAMPLE_SECONDS."""
    peak = Peak(resident_bytes(pid))

    async def watch() -> None:
        while True:
            await asyncio.sleep(SAMPLE_SECONDS)
            peak.resident_bytes = max(peak.resident_bytes, resident_bytes(pid))

    watching = asyncio.create_task(watch())
    try:
        yield peak
    finally:
        watching.cancel()
