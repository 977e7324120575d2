"""A run as line charts, in SVG that reads well on light and dark pages (pure)."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from benchmarks.report import PROCESSES, number
from benchmarks.result import Part, Result

WIDTH, HEIGHT = 640, 360
LEFT, RIGHT, TOP, BOTTOM = 64, 150, 44, 48
"""Margins; the legend stands in the right one."""
TICKS = 5
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #1f2328 } .title { font-size: 14px; font-weight: 600 }
.grid { stroke: #d1d9e0 } .line { fill: none; stroke-width: 2 }
.c0 { stroke: #0969da; fill: #0969da } .c1 { stroke: #bc4c00; fill: #bc4c00 } .c2 { stroke: #1a7f37; fill: #1a7f37 }
.c3 { stroke: #8250df; fill: #8250df } .c4 { stroke: #bf3989; fill: #bf3989 } .c5 { stroke: #6e7781; fill: #6e7781 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .grid { stroke: #3d444d }
.c0 { stroke: #4493f8; fill: #4493f8 } .c1 { stroke: #f0883e; fill: #f0883e } .c2 { stroke: #3fb950; fill: #3fb950 }
.c3 { stroke: #ab7df8; fill: #ab7df8 } .c4 { stroke: #f778ba; fill: #f778ba } .c5 { stroke: #9198a1; fill: #9198a1 }
}"""
COLOURS = 6

Lines = Mapping[str, Sequence[tuple[float, float]]]
"""By their names in the legend: points from left to right."""


@dataclass(frozen=True, slots=True)
class Chart:
    """One picture: what it is called, what is along its axes, and its lines."""

    file: str
    title: str
    x: str
    y: str
    lines: Lines


def charts(result: Result) -> list[Chart]:
    """Return the charts of which the run has anything."""
    joins = [part for part in result.parts if part.workload == "W3"]
    back = [part for part in joins if "missed" in part.parameters]
    fresh = [part for part in joins if "missed" not in part.parameters]

    def of(workload: str) -> list[Part]:
        return [part for part in result.parts if part.workload == workload]

    made = [
        _chart("fan-out-cost", "A delivery on one node", "readers", "CPU µs", of("W1"), _cpu, _rate),
        _chart("fan-out-latency", "Latency by the rate", "rate", "p99 ms", of("W1"), _p99, _readers),
        _chart("two-nodes-cost", "A delivery on two nodes", "readers", "CPU µs", of("W5"), _cpu, _rate),
        _processes("boards-cost", "An update among many boards", "boards", of("W2")),
        _chart("join-cost", "A join", "shapes", "CPU ms", fresh, _cpu_ms, _kind),
        _chart("reconnect-cost", "A reconnect", "missed", "CPU ms", back, _cpu_ms, _shapes),
        _chart("reconnect-bytes", "What a reconnect sends", "missed", "KiB", back, _figure("kib_per_join"), _shapes),
        _processes("presence-cost", "A cursor's move", "people", of("W6")),
        _chart(
            "presence-bytes",
            "Presence for each member",
            "people",
            "KiB/s",
            of("W6"),
            _figure("kib_per_member_and_second"),
            lambda _part: "received",
        ),
        _chart("fold-cost", "Folding", "waiting", "CPU µs an update", of("W7"), _cpu, lambda _part: "all processes"),
    ]
    return [chart for chart in made if chart.lines]


def _chart(
    file: str,
    title: str,
    x: str,
    y: str,
    parts: Sequence[Part],
    value: Callable[[Part], float],
    line: Callable[[Part], str],
) -> Chart:
    lines: dict[str, list[tuple[float, float]]] = {}
    for part in parts:
        lines.setdefault(line(part), []).append((part.parameters[x], value(part)))
    return Chart(file, title, _LABELS[x], y, {name: sorted(points) for name, points in lines.items()})


def _processes(file: str, title: str, x: str, parts: Sequence[Part]) -> Chart:
    """Chart the cost of a unit by process."""
    points = {process: [(part.parameters[x], part.cpu_us(process)) for part in parts] for process in PROCESSES}
    return Chart(file, title, _LABELS[x], "CPU µs", points if parts else {})


_LABELS = {
    "readers": "readers",
    "rate": "updates a second",
    "boards": "boards",
    "shapes": "shapes on the board",
    "missed": "changes missed",
    "people": "people",
    "waiting": "updates that wait",
}


def _figure(name: str) -> Callable[[Part], float]:
    return lambda part: part.figures[name]


def _cpu(part: Part) -> float:
    return part.cpu_us()


def _cpu_ms(part: Part) -> float:
    return part.cpu_us() / 1000


def _p99(part: Part) -> float:
    return part.latency.percentile_us(99) / 1000 if part.latency else 0.0


def _rate(part: Part) -> str:
    return f"{part.parameters['rate']} updates/s"


def _readers(part: Part) -> str:
    return part.name.partition(", ")[0]


def _shapes(part: Part) -> str:
    return f"{part.parameters['shapes']} shapes"


def _kind(part: Part) -> str:
    return part.name.partition(", ")[2]


def svg(chart: Chart) -> str:
    """Return a chart as SVG: the horizontal axis logarithmic, the vertical one too if its values span a hundredfold."""
    xs = sorted({x for points in chart.lines.values() for x, _ in points})
    ys = [y for points in chart.lines.values() for _, y in points if y > 0] or [1.0]
    across = _Axis.logarithmic(xs[0], xs[-1], LEFT, WIDTH - RIGHT)
    is_wide = max(ys) > 100 * min(ys)
    axis = _Axis.logarithmic if is_wide else _Axis.linear
    up = axis(_power_down(min(ys)) if is_wide else 0.0, max(ys), HEIGHT - BOTTOM, TOP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        f"<title>{escape(chart.title)}</title><style>{STYLE}</style>",
        _text(LEFT, 22, f"{chart.title}: {chart.y}", "start", "title"),
        _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, chart.x, "middle"),
    ]
    for y in up.ticks:
        at = up.place(y)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(_text(LEFT - 8, at + 4, number(y), "end"))
    parts += [_text(across.place(x), HEIGHT - BOTTOM + 18, number(x), "middle") for x in xs]
    for index, (name, points) in enumerate(chart.lines.items()):
        parts += _line(index, name, [(across.place(x), up.place(y)) for x, y in points if y > 0 or not is_wide])
    return "\n".join([*parts, "</svg>\n"])


@dataclass(frozen=True, slots=True)
class _Axis:
    """Where values stand along an axis, in pixels."""

    first: float
    last: float
    begin: float
    end: float
    ticks: Sequence[float]
    scale: Callable[[float], float]

    @classmethod
    def linear(cls, first: float, last: float, begin: float, end: float) -> "_Axis":
        """Make an axis from 0 whose last tick is a round number."""
        step = _round_up((last - first) / TICKS or 1.0)
        count = math.ceil((last - first) / step) or 1
        return cls(first, step * count, begin, end, [first + step * index for index in range(count + 1)], float)

    @classmethod
    def logarithmic(cls, first: float, last: float, begin: float, end: float) -> "_Axis":
        """Make an axis with a tick at each power of ten."""
        powers = range(math.ceil(math.log10(first)), math.floor(math.log10(last)) + 1)
        return cls(first, max(last, first * 1.0001), begin, end, [10.0**power for power in powers], math.log10)

    def place(self, value: float) -> float:
        """Return where a value stands."""
        scale = self.scale
        share = (scale(value) - scale(self.first)) / (scale(self.last) - scale(self.first))
        return self.begin + share * (self.end - self.begin)


def _power_down(value: float) -> float:
    return 10.0 ** math.floor(math.log10(value))


def _round_up(value: float) -> float:
    """Return the next of 1, 2, 5, 10, … or the like that is not below `value`."""
    power = _power_down(value)
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= value * 0.999)


def _line(index: int, name: str, points: Sequence[tuple[float, float]]) -> list[str]:
    colour = f"c{index % COLOURS}"
    at = TOP + 10 + 20 * index
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return [
        f'<polyline class="line {colour}" style="fill: none" points="{path}"/>',
        *(f'<circle class="{colour}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in points),
        f'<line class="line {colour}" x1="{WIDTH - RIGHT + 16}" x2="{WIDTH - RIGHT + 34}" y1="{at}" y2="{at}"/>',
        _text(WIDTH - RIGHT + 40, at + 4, name, "start"),
    ]


def _text(x: float, y: float, text: str, anchor: str, kind: str = "") -> str:
    of_kind = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{of_kind}>{escape(text)}</text>'
