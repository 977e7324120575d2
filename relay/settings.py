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
    outbox_seconds_max: float = 30.0
    """A client that takes none of what waits for it in this time is closed with 4508 (G7)."""
    outboxes_bytes_max: int = 256 * 1024 * 1024
    """What may wait for all clients together, boards' states included; beyond it the costliest are closed (G7)."""
    heartbeat_seconds: float = 30.0
    """A client that has sent nothing for this long is pinged, and cut if half of it later it has not answered (G7)."""
    board_bytes_max: int = 64 * 1024 * 1024
    """The largest message taken from a client: all of a board, after a loss (L13)."""
    connection_age_seconds: float = 3000.0
    """Sockets are closed with 1012 at about this age, 10 % more or less at random: a node's clients move on (G10)."""
    drain_seconds: float = 5.0
    """On SIGTERM, sockets are closed spread over this time (G10)."""
