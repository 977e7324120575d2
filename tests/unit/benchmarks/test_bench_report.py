"""What a run tells: its JSON, the tables, the comparison with a baseline, the charts."""

import json
from xml.etree import ElementTree as ET

import pytest

from benchmarks.baseline import compared
from benchmarks.histogram import Histogram
from benchmarks.plots import Chart, charts, svg
from benchmarks.report import markdown, number
from benchmarks.result import Part, Result

SVG = "{http://www.w3.org/2000/svg}"


def part(name: str = "50 readers, 30/s", *, cpu: float = 0.5, readers: int = 50, **figures: float) -> Part:
    return Part(
        workload="W1",
        name=name,
        parameters={"readers": readers, "rate": 30},
        unit="delivery",
        units=1000,
        seconds=5.0,
        cpu_seconds={"relay-0": cpu, "redis": 0.1},
        load_busy=0.25,
        others_busy=0.0,
        latency=Histogram.of_seconds([0.001, 0.002, 0.004]),
        figures=figures,
    )


def run(*parts: Part, **about: str) -> Result:
    return Result({"commit": "abc", **about}, list(parts))


def cells(table: str, row: str) -> list[str]:
    (line,) = (line for line in table.splitlines() if line.startswith(f"| {row}"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_result_survives_json() -> None:
    result = run(part(frames=2.0), part("other"))
    told = Result.from_json(json.loads(json.dumps(result.to_json())))
    assert told.to_json() == result.to_json()
    assert markdown(told, {}) == markdown(result, {})


def test_a_result_of_another_format_is_refused() -> None:
    with pytest.raises(ValueError, match="format"):
        Result.from_json({"format": 0})


def test_the_table_tells_the_cost_of_a_unit_by_process() -> None:
    told = markdown(run(part(frames=2.5)), {"W1": "Fan-out"})
    assert "## W1 Fan-out" in told
    assert "commit abc" in told
    row = cells(told, "50 readers")
    assert row[:4] == ["50 readers, 30/s, per delivery", "1000", "600", "500"]
    assert "25%" in row
    assert row[-1] == "2.50"


def test_every_row_has_a_cell_for_every_column() -> None:
    told = markdown(run(part(frames=2.5), part("other", kib=3.0)), {})
    rows = [line for line in told.splitlines() if line.startswith("|")]
    assert len({row.count("|") for row in rows}) == 1


@pytest.mark.parametrize(
    ("value", "told"), [(0, "0"), (3.0, "3"), (0.1234, "0.12"), (12.345, "12.3"), (1234.5, "1,234")]
)
def test_numbers_are_short(value: float, told: str) -> None:
    assert number(value) == told


def test_the_baseline_is_compared_by_ratio() -> None:
    told = compared(run(part(cpu=1.0, kib=3.0)), run(part(cpu=0.5, kib=6.0)))
    assert [line.split("|")[-2].strip() for line in told.splitlines() if "relay-0" in line] == ["2.00"]
    assert [line.split("|")[-2].strip() for line in told.splitlines() if "| kib " in line] == ["0.50"]
    assert [line.split("|")[-2].strip() for line in told.splitlines() if "p99" in line] == ["1.00"]


def test_only_what_both_runs_have_is_compared() -> None:
    told = compared(run(part("new")), run(part("old")))
    assert "new |" not in told.replace("new / old", "").replace("| new |", "")


def test_a_baseline_of_another_machine_is_said_to_be_one() -> None:
    assert "The baseline's processor was slow." in compared(run(processor="fast"), run(processor="slow"))


def test_a_chart_has_a_line_for_each_rate_and_a_point_for_each_number_of_readers() -> None:
    parts = [part(f"{readers}", readers=readers, cpu=cpu) for readers, cpu in ((300, 3.0), (1, 0.1), (50, 1.0))]
    (cost, *_) = charts(run(*parts))
    assert cost.lines == {"30 updates/s": [(1, 200.0), (50, 1100.0), (300, 3100.0)]}


@pytest.mark.parametrize("points", [[(1, 5.0)], [(1, 5.0), (10, 9.0)], [(1, 0.01), (300, 900.0)], [(5, 0.0)]])
def test_every_point_is_inside_the_picture(points: list[tuple[float, float]]) -> None:
    root = ET.fromstring(svg(Chart("file", "A & B", "readers", "µs", {"a < b": points})))
    width, height = (float(side) for side in root.attrib["viewBox"].split()[2:])
    circles = root.findall(f"{SVG}circle")
    assert len(circles) == len(points)
    assert all(0 < float(circle.attrib["cx"]) < width for circle in circles)
    assert all(0 < float(circle.attrib["cy"]) < height for circle in circles)


def test_a_chart_reads_on_dark_pages_too() -> None:
    assert "prefers-color-scheme: dark" in svg(Chart("file", "t", "x", "y", {"a": [(1, 1.0)]}))
