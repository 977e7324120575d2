"""Latencies in a histogram: what an operator reads off it is within 3 % of what was measured."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.histogram import Histogram

LATENCIES = st.lists(st.integers(0, 10**9), min_size=1)


def exact(values: list[int], percent: float) -> int:
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


@given(LATENCIES, st.sampled_from([1, 50, 90, 99, 100]))
def test_a_percentile_is_the_measured_one_or_at_most_3_percent_more(values: list[int], percent: int) -> None:
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    wanted = exact(values, percent)
    assert wanted <= histogram.percentile_us(percent) <= wanted * 1.032
    assert histogram.max_us == max(values)
    assert histogram.count == len(values)


@given(LATENCIES)
def test_it_survives_json(values: list[int]) -> None:
    histogram = Histogram.of_seconds(value / 1e6 for value in values)
    told = json.loads(json.dumps(histogram.to_json()))
    assert Histogram.from_json(told).to_json() == histogram.to_json()


def test_of_nothing_it_says_nothing() -> None:
    assert Histogram().percentile_us(99) == 0


def test_what_is_no_histogram_is_refused() -> None:
    with pytest.raises(TypeError):
        Histogram.from_json({"counts": 3})
