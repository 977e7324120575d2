"""What processes use is counted over all their descendants; and things are sent when they are due."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from benchmarks.load.pacing import pace
from benchmarks.meter import busy_seconds, measured, resident_bytes

BURNT_SECONDS = 0.1
HELD_BYTES = 50_000_000
BURN = f"import time\nwhile time.process_time() < {BURNT_SECONDS}: pass\n"
HOLD = f"held = bytearray(b'x' * {HELD_BYTES})\n"
WAIT = "print('ready', flush=True)\ninput()\n"


@contextmanager
def process(script: str) -> Iterator[int]:
    """Yield a Python process that has run the script."""
    running = subprocess.Popen(
        [sys.executable, "-c", script + WAIT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with running:
        assert running.stdout is not None
        assert running.stdout.readline() == "ready\n"
        yield running.pid
        running.communicate("\n")


def in_an_ended_child(script: str) -> str:
    return f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {script!r}])\n"


def in_a_child(script: str) -> str:
    pipes = "stdin=subprocess.PIPE, stdout=subprocess.PIPE"
    child = f"subprocess.Popen([sys.executable, '-c', {script + WAIT!r}], {pipes})"
    return f"import subprocess, sys\nchild = {child}\nchild.stdout.readline()\n"


def test_what_a_process_and_its_children_burn_is_counted_once() -> None:
    script = BURN + in_an_ended_child(BURN) + in_a_child(BURN)
    with process(script) as pid:
        assert busy_seconds(pid) >= 3 * BURNT_SECONDS - 0.02, "an ended child's time is counted in hundredths"


def test_the_memory_of_children_is_counted() -> None:
    with process(in_a_child(HOLD)) as pid:
        assert resident_bytes(pid) >= HELD_BYTES


def test_only_what_is_burnt_meanwhile_is_measured() -> None:
    with process(BURN) as pid:
        with measured({"it": pid}) as used:
            pass
        assert 0 <= used.cpu_seconds["it"] < BURNT_SECONDS


def test_a_process_that_has_gone_uses_nothing() -> None:
    with process("") as pid:
        pass
    assert busy_seconds(pid) == 0
    assert resident_bytes(pid) == 0


async def test_everything_is_sent_in_turn_and_never_before_it_is_due() -> None:
    sent: list[tuple[int, float, float]] = []
    late = await pace(1000, 30, lambda number, due: sent.append((number, due, time.monotonic())))
    assert [number for number, _, _ in sent] == list(range(30))
    assert all(at >= due for _, due, at in sent)
    assert {round((due - sent[0][1]) * 1000) for _, due, _ in sent} == set(range(30))
    assert len(late) == 30


async def test_what_was_held_up_is_sent_at_once_with_its_own_time() -> None:
    due_at: list[float] = []

    def send(number: int, due: float) -> None:
        due_at.append(due)
        if number == 0:
            ends_at = due + 0.02
            while time.monotonic() < ends_at:
                pass

    late = await pace(1000, 10, send)
    assert due_at[9] - due_at[0] == pytest.approx(0.009)
    assert late[1] >= 0.018, "it counts from when it was due, not from when it was sent"
