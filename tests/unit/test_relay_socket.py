"""aiohttp's socket, where it is another one here."""

import asyncio
from types import SimpleNamespace

import pytest

from relay.socket import Socket


@pytest.mark.parametrize("reads", [True, False])
async def test_G5_who_is_not_read_is_not_cut_for_its_silence(reads: bool) -> None:
    """Its answer to a ping is among what this end has not read: the log is full, or its last change is looked at."""
    socket = Socket(1000, heartbeat=30.0, timeout=1.0, protocols=[])
    protocol = SimpleNamespace(
        _reading_paused=not reads, _timeout_ceil_threshold=5, transport=SimpleNamespace(close=lambda: None)
    )
    socket._req = SimpleNamespace(protocol=protocol, _protocol=protocol, transport=protocol.transport)
    socket._loop = asyncio.get_running_loop()
    socket._pong_not_received()
    assert socket.closed is reads
    socket._cancel_heartbeat()
