"""Before the measured system starts: what the load may open."""

import resource

import pytest

from benchmarks.system import SPARE_FILES, NotStarted, allow_sockets


class Limit:
    """A limit of open files (as resource.getrlimit and setrlimit)."""

    def __init__(self, allowed: int, most: int) -> None:
        self.now = allowed, most

    def get(self, _: int) -> tuple[int, int]:
        return self.now

    def set(self, _: int, limits: tuple[int, int]) -> None:
        if limits[1] > self.now[1]:
            raise ValueError("not allowed to raise maximum limit")
        self.now = limits


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch) -> Limit:
    some = Limit(1024, 20_000)
    monkeypatch.setattr(resource, "getrlimit", some.get)
    monkeypatch.setattr(resource, "setrlimit", some.set)
    return some


def test_a_limit_that_is_enough_stays(limit: Limit) -> None:
    allow_sockets(1024 - SPARE_FILES)
    assert limit.now == (1024, 20_000)


def test_a_limit_is_raised_as_far_as_is_needed(limit: Limit) -> None:
    allow_sockets(10_000)
    assert limit.now == (10_000 + SPARE_FILES, 20_000)


def test_who_may_not_open_so_many_is_told_what_it_takes(limit: Limit) -> None:
    with pytest.raises(NotStarted, match=r"20,000 sockets take .* 21,000 .* beyond 20,000: .*ulimit -Hn 21000"):
        allow_sockets(20_000)
    assert limit.now == (1024, 20_000)
