"""A run as Markdown (pure)."""

from collections.abc import Iterable, Sequence
from itertools import groupby

from benchmarks.result import Part, Result

PROCESSES = ("relay-0", "relay-1", "redis", "worker", "postgres", "bridge")


def markdown(result: Result, titles: dict[str, str]) -> str:
    """Return a table for each workload, under its title."""
    about = " · ".join(f"{name} {value}" for name, value in result.about.items())
    sections = [
        f"## {workload} {titles.get(workload, '')}\n\n{_table(list(parts))}"
        for workload, parts in groupby(result.parts, key=lambda part: part.workload)
    ]
    return "\n\n".join([about, *sections]) + "\n"


def _table(parts: Sequence[Part]) -> str:
    figures = list(dict.fromkeys(name for part in parts for name in part.figures))
    has_latency = any(part.latency for part in parts)
    head = ["", "n", "CPU µs each", *PROCESSES]
    head += ["p50 ms", "p90", "p99", "max"] if has_latency else []
    head += ["load busy", "others busy", *(name.replace("_", " ") for name in figures)]
    rows = [_row(part, figures, has_latency=has_latency) for part in parts]
    return table(head, rows)


def _row(part: Part, figures: Sequence[str], *, has_latency: bool) -> list[str]:
    row = [f"{part.name}, per {part.unit}", str(part.units), number(part.cpu_us())]
    row += [number(part.cpu_us(process)) for process in PROCESSES]
    if has_latency:
        taken = part.latency
        row += [number(taken.percentile_us(percent) / 1000) if taken else "" for percent in (50, 90, 99, 100)]
    row += [f"{part.load_busy:.0%}", f"{part.others_busy:.0%}"]
    return row + [number(part.figures[name]) if name in part.figures else "" for name in figures]


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table, numbers to the right."""
    heads = list(head)
    rule = [":--", *("--:" for _ in heads[1:])]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (heads, rule, *rows))


def number(value: float) -> str:
    """Return a number with about three digits that matter."""
    size = abs(value)
    if value == round(value) or size >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if size >= 10 else f"{value:.2f}"
