"""What a run of the seeds tells at its end."""

import pytest

SEEDS_RUN = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[SEEDS_RUN] = []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for line in config.stash[SEEDS_RUN]:
        terminalreporter.section("simulation")
        terminalreporter.line(line)
