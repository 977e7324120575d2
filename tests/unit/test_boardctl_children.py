"""Children are started, watched and stopped, and leave nothing behind."""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from boardctl import children
from boardctl.children import Child, NotReady, Program, State, Supervisor
from boardctl.errors import CannotStart

GRACEFUL = "trap 'exit 0' TERM; echo up; while :; do sleep 0.01; done"
STUBBORN = "trap '' TERM; echo up; while :; do sleep 0.01; done"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "logs" / "child.log"


def child(
    log: Path, script: str, name: str = "child", ready: Callable[[], Awaitable[None]] | None = None, **how: object
) -> Child:
    async def said_something() -> None:
        if not log.read_text():
            raise NotReady("It says nothing.")

    ready = ready or said_something
    return Child(
        Program(name=name, command=["/bin/sh", "-c", script], environment={}, log=log, ready=ready, **how)  # type: ignore[arg-type]
    )


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


async def test_it_is_asked_to_leave(log: Path) -> None:
    graceful = child(log, GRACEFUL)
    async with Supervisor().running([graceful]):
        assert runs(graceful.pid)
        assert os.getsid(graceful.pid) == graceful.pid  # a terminal's Ctrl-C does not reach it
    assert graceful.process.returncode == 0
    assert not runs(graceful.pid)


async def test_one_that_does_not_leave_is_ended(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "STOP_SECONDS_MAX", 0.1)
    stubborn = child(log, STUBBORN)
    async with Supervisor().running([stubborn]):
        pass
    assert stubborn.process.returncode == -signal.SIGKILL


async def test_one_that_ignores_its_end_signal_too_is_killed(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "STOP_SECONDS_MAX", 0.1)
    monkeypatch.setattr(children, "END_SECONDS_MAX", 0.1)
    stubborn = child(log, STUBBORN, end_signal=signal.SIGTERM)
    async with Supervisor().running([stubborn]):
        pass
    assert stubborn.process.returncode == -signal.SIGKILL


async def test_end_all_ends_at_once(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "STOP_SECONDS_MAX", 3600.0)
    supervisor, stubborn = Supervisor(), child(log, STUBBORN)

    async def live() -> None:
        async with supervisor.running([stubborn]):
            pass

    living = asyncio.create_task(live())
    await until(lambda: supervisor.stopping)
    supervisor.end_all()
    async with asyncio.timeout(20):
        await living
    assert stubborn.process.returncode == -signal.SIGKILL


async def test_what_it_left_running_goes_with_it(log: Path) -> None:
    parent = child(log, "sleep 3600 & echo $!; wait")
    async with Supervisor().running([parent]):
        left = int(log.read_text())
        os.kill(parent.pid, signal.SIGKILL)
        await parent.wait()
        await until(lambda: not runs(left))


async def test_it_is_gone_only_when_those_that_left_its_group_are(log: Path) -> None:
    """PostgreSQL's own processes do that, and no other server may start on their data."""
    let_go = log.with_name("let go")
    script = f"setsid sh -c 'echo $$; while [ ! -e \"{let_go}\" ]; do sleep 0.01; done' & wait"
    parent = child(log, script)
    async with Supervisor().running([parent]):
        left = int(log.read_text())
        killing = asyncio.create_task(parent.kill())
        await until(lambda: not runs(parent.pid))
        assert runs(left)
        assert not killing.done()
        let_go.touch()
        await killing
        await until(lambda: not runs(left))  # its descriptors are closed just before it is gone


async def test_the_death_of_one_is_reported_and_the_others_carry_on(log: Path) -> None:
    seen: list[tuple[str, State]] = []
    dying = child(log, GRACEFUL, "dying")
    other = child(log.with_name("other.log"), GRACEFUL, "other")
    async with Supervisor(lambda reported, state: seen.append((reported.name, state))).running([dying, other]):
        os.kill(dying.pid, signal.SIGKILL)
        await until(lambda: ("dying", State.DEAD) in seen)
        assert runs(other.pid)
    assert [state for name, state in seen if name == "dying"] == [
        State.STARTING,
        State.READY,
        State.DEAD,
        State.STOPPED,
    ]
    assert [state for name, state in seen if name == "other"] == [State.STARTING, State.READY, State.STOPPED]


async def test_one_that_cannot_start_says_why_and_takes_the_others_along(log: Path) -> None:
    async def never() -> None:
        raise NotReady("Not yet.")

    failing = child(log, "echo first; echo 'The port is taken.' >&2; exit 3", "failing", never)
    other = child(log.with_name("other.log"), GRACEFUL, "other")
    with pytest.raises(CannotStart) as raised:
        async with Supervisor().running([other, failing]):
            raise AssertionError
    assert str(raised.value) == (
        f"failing ended with exit code 3.\n    The end of {log}:\n    first\n    The port is taken."
    )
    assert not runs(other.pid)


async def test_one_that_never_answers_is_given_up(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never() -> None:
        raise NotReady("It answers 503.")

    monkeypatch.setattr(children, "READY_SECONDS_MAX", 0.1)
    silent = child(log, GRACEFUL, "silent", never)
    with pytest.raises(CannotStart, match=r"silent was not ready within 0.1 s: It answers 503\."):
        async with Supervisor().running([silent]):
            raise AssertionError
    assert not runs(silent.pid)


async def test_cancelled_while_it_starts_it_is_stopped(log: Path) -> None:
    tried = asyncio.Event()

    async def never() -> None:
        tried.set()
        raise NotReady("Not yet.")

    starting = child(log, GRACEFUL, ready=never)

    async def live() -> None:
        async with Supervisor().running([starting]):
            raise AssertionError

    living = asyncio.create_task(live())
    await tried.wait()
    living.cancel()
    with pytest.raises(asyncio.CancelledError):
        await living
    assert not runs(starting.pid)


async def test_it_can_be_started_again_and_keeps_the_log_of_before(log: Path) -> None:
    again = child(log, f"echo $$; {GRACEFUL}")
    async with Supervisor().running([again]):
        first = again.pid
        await again.kill()
        await again.start()
        assert again.pid != first
        assert runs(again.pid)
    assert log.with_name("child.log.1").read_text().splitlines()[0] == str(first)
    assert log.read_text().splitlines()[0] == str(again.pid)
    assert log.stat().st_mode & 0o777 == 0o600


async def test_a_program_that_is_not_there_is_named(log: Path) -> None:
    missing = Child(Program(name="relay", command=["/no/such/program"], environment={}, log=log))
    with pytest.raises(CannotStart, match=r"Cannot run /no/such/program: No such file or directory\."):
        async with Supervisor().running([missing]):
            raise AssertionError


async def test_children_die_with_a_killed_parent(log: Path) -> None:
    program = f"""
import asyncio, os, signal
from pathlib import Path
from boardctl.children import Child, Program
async def main():
    log = Path({str(log)!r})
    child = Child(Program(name="child", command=["sleep", "3600"], environment=dict(os.environ), log=log))
    await child.start()
    print(child.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE)
    said, _ = await parent.communicate()
    assert parent.returncode == -signal.SIGKILL
    await until(lambda: not runs(int(said)))
