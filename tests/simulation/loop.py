"""An event loop without time or files: its clock jumps to the next timer, and whole processes can be stopped or killed.

Everything that a callback or a task starts belongs to the process that started it (a context variable). The callbacks
of a killed process never run again, those of a stopped one wait, as with SIGKILL and SIGSTOP: no `finally`, no goodbye.
"""

import asyncio
import heapq
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import Context, ContextVar, copy_context
from typing import Any

_PROCESS: ContextVar["Process | None"] = ContextVar("process", default=None)
_CLOSES_MAX = 5
"""How often a killed coroutine is closed: a `finally` that awaits takes one more."""


class Stuck(AssertionError):
    """Nothing is scheduled any more, and what is waited for can never come."""


class Process:
    """What runs together and dies together."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_alive = True
        self.is_stopped = False
        self.context = copy_context()
        self.context.run(_PROCESS.set, self)
        self.deferred: list[asyncio.Handle] = []
        self.tasks: dict[asyncio.Task[Any], None] = {}

    def start(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run a coroutine in this process."""
        return asyncio.get_running_loop().create_task(work, context=self.context)

    def kill(self) -> None:
        """End at once, wherever it waits."""
        self.is_alive = False
        self.deferred.clear()
        while self.tasks:
            task, _ = self.tasks.popitem()
            task._log_destroy_pending = False
            coroutine = task.get_coro()
            for _ in range(_CLOSES_MAX):
                with suppress(BaseException):
                    self.context.run(coroutine.close)
                    break

    def stop(self) -> None:
        """Run nothing until `go_on`."""
        self.is_stopped = True

    def go_on(self) -> None:
        """Run what has waited meanwhile, timers that are long over too."""
        self.is_stopped = False
        handles, self.deferred = self.deferred, []
        asyncio.get_running_loop()._ready.extend(handles)


class _Guard:
    """Runs a handle only if its process may run."""

    _context: Context

    def _run(self) -> None:
        process = self._context.get(_PROCESS)
        if process is None or (process.is_alive and not process.is_stopped):
            super()._run()
        elif process.is_alive:
            process.deferred.append(self)


class _Handle(_Guard, asyncio.Handle):
    __slots__ = ()


class _TimerHandle(_Guard, asyncio.TimerHandle):
    __slots__ = ()


class _NoFiles:
    """A selector that waits by moving the clock on."""

    def __init__(self, loop: "SimulatedLoop") -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise Stuck("Nothing is scheduled any more.")
        self._loop.now += timeout
        return []


class SimulatedLoop(asyncio.BaseEventLoop):
    """Runs one simulation, in no time at all."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.callbacks = 0
        """How many were scheduled so far."""
        self.failures: list[str] = []
        """What nobody caught."""
        self._clock_resolution = 1e-9
        self._selector = _NoFiles(self)
        self.set_task_factory(_make_task)
        self.set_exception_handler(self._failed)

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None) -> Any:
        handle = _TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._scheduled, handle)
        handle._scheduled = True
        return handle

    def _call_soon(self, callback: Callable[..., Any], args: Any, context: Context | None) -> asyncio.Handle:
        self.callbacks += 1
        handle = _Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def _process_events(self, events: list[Any]) -> None:
        pass

    def _write_to_self(self) -> None:
        pass

    def _failed(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.failures.append(f"{context['message']}: {context.get('exception')!r}")


def _make_task(
    loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any], context: Context | None = None
) -> asyncio.Task[Any]:
    task = asyncio.Task(coroutine, loop=loop, context=context)
    process = _PROCESS.get() if context is None else context.get(_PROCESS)
    if process is not None:
        process.tasks[task] = None
        task.add_done_callback(lambda done: process.tasks.pop(done, None))
    return task
