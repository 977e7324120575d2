"""The table of faults, printed at the end of every run, and a system of its own for each test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.faults.report import Report
from tests.services import System, system

REPORT = pytest.StashKey[Report]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[REPORT] = Report()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if lines := config.stash[REPORT].lines():
        terminalreporter.section("faults and recoveries")
        for line in lines:
            terminalreporter.line(line)


@pytest.fixture(scope="session")
def report(pytestconfig: pytest.Config) -> Report:
    """Where faults and their recoveries go; the end of the run prints them."""
    return pytestconfig.stash[REPORT]


@pytest.fixture
async def world(redis_url: str, database: str, redis_key_prefix: str, tmp_path: Path) -> AsyncIterator[System]:
    """A board on the shared servers, which no test here may hurt."""
    async with system(redis_url, database, redis_key_prefix, tmp_path) as made:
        yield made
