"""The relay's settings: environment variables of the same names in capitals."""

from dataclasses import dataclass

from boardlog.settings import ServiceSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class RelaySettings(ServiceSettings):
    """What a relay can be told."""

    bridge_url: str = ""
    """Where `/v1/…` is forwarded to, so that page, socket and API share one origin; nothing is if empty."""
    connections_max: int = 20_000
    """Sockets beyond these are told to try another node (1013)."""
    outbox_bytes_max: int = 4 * 1024 * 1024
    """What may wait for one client besides a board's state; beyond it the client is closed with 4508 (G7)."""
    board_bytes_max: int = 64 * 1024 * 1024
    """The largest message taken from a client: all of a board, after a loss (L13)."""
    drain_seconds: float = 5.0
    """On SIGTERM, sockets are closed spread over this time (G10)."""
