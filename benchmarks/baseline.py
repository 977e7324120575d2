"""A run against an earlier one (pure): ratios only, for absolute times are a machine's own."""

from collections.abc import Iterator

from benchmarks.report import PROCESSES, number, table
from benchmarks.result import Part, Result

SHOWN_US_MIN = 1.0
"""A process that took less than this for a unit, before and now, is not compared: it is noise."""


def compared(now: Result, before: Result) -> str:
    """Return a Markdown table of new / old for every metric of the parts that both have, below what sets them apart."""
    old = {(part.workload, part.name): part for part in before.parts}
    rows = [
        [f"{part.workload} {part.name}", metric, number(was), number(value), f"{value / was:.2f}"]
        for part in now.parts
        if (earlier := old.get((part.workload, part.name)))
        for metric, value, was in _metrics(part, earlier)
    ]
    differs = [
        f"The baseline's {name} was {before.about.get(name, 'unknown')}."
        for name in ("size", "processor", "Python", "compiled")
        if now.about.get(name) != before.about.get(name)
    ]
    return "\n".join([*differs, *([""] if differs else []), table(["", "metric", "old", "new", "new / old"], rows)])


def _metrics(now: Part, before: Part) -> Iterator[tuple[str, float, float]]:
    """Yield the metrics that can be compared: name, new value, old value."""
    yield f"CPU µs a {now.unit}", now.cpu_us(), before.cpu_us()
    for process in PROCESSES:
        if min(now.cpu_us(process), before.cpu_us(process)) >= SHOWN_US_MIN:
            yield f"{process} µs a {now.unit}", now.cpu_us(process), before.cpu_us(process)
    if now.latency and before.latency:
        for percent in (50, 99):
            was = before.latency.percentile_us(percent)
            if was:
                yield f"p{percent} ms", now.latency.percentile_us(percent) / 1000, was / 1000
    for name, value in now.figures.items():
        if before.figures.get(name):
            yield name.replace("_", " "), value, before.figures[name]
