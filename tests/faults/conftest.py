"""The table of faults, printed at the end of every run."""

import pytest

from tests.faults.report import Report

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
