"""Open-loop sending: each thing at its time, whatever happens to those before it."""

import asyncio
import ctypes
import os
import struct
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager

TICK_SECONDS_MIN = 0.0005
"""What is due within a shorter time is sent together."""

_libc = ctypes.CDLL(None, use_errno=True)
_TFD_NONBLOCK_CLOEXEC = os.O_NONBLOCK | os.O_CLOEXEC
_TFD_TIMER_ABSTIME = 1


async def pace(rate: float, count: int, send: Callable[[int, float], None]) -> "array[float]":
    """Call `send(number, due)` for the numbers below `count`, `rate` a second; `due` is in time.monotonic's seconds.

    Return how late each one was, in seconds: what is large there, the generator was too busy for. Cancel-safe. An event
    loop's own timers count whole milliseconds, which is as much as a delivery takes; the kernel's are exact.
    """
    late = array("d")
    done = asyncio.get_running_loop().create_future()
    begin = time.monotonic() + 0.002

    def tick() -> None:
        os.read(timer, 8)
        while len(late) < count and (due := begin + len(late) / rate) <= (now := time.monotonic()):
            late.append(now - due)
            send(len(late) - 1, due)
        if len(late) == count and not done.done():
            done.set_result(None)

    with _timer(begin, max(1 / rate, TICK_SECONDS_MIN)) as timer:
        asyncio.get_running_loop().add_reader(timer, tick)
        try:
            await done
        finally:
            asyncio.get_running_loop().remove_reader(timer)
    return late


@contextmanager
def _timer(begin: float, every: float) -> Iterator[int]:
    """Yield a descriptor that can be read whenever the time has come (timerfd_create(2))."""
    timer = _libc.timerfd_create(time.CLOCK_MONOTONIC, _TFD_NONBLOCK_CLOEXEC)
    if timer < 0:
        raise OSError(ctypes.get_errno(), "timerfd_create")
    try:
        setting = struct.pack("4l", *_timespec(every), *_timespec(begin))
        if _libc.timerfd_settime(timer, _TFD_TIMER_ABSTIME, setting, None):
            raise OSError(ctypes.get_errno(), "timerfd_settime")
        yield timer
    finally:
        os.close(timer)


def _timespec(seconds: float) -> tuple[int, int]:
    nanoseconds = round(seconds * 1e9)
    return nanoseconds // 10**9, nanoseconds % 10**9
