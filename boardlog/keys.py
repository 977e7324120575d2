"""Names in Redis. All of a board's keys and channels share the cluster slot of `{board}`."""

from dataclasses import dataclass

from boardlog.ids import BoardId


@dataclass(frozen=True, slots=True)
class Keys:
    """The names below one prefix, so that tests and tenants can share a server."""

    prefix: str = ""

    def log(self, board: BoardId) -> str:
        """Return the board's stream."""
        return f"{self.prefix}board:{{{board}}}:log"

    def entries(self, board: BoardId) -> str:
        """Return the channel of linked publishes."""
        return f"{self.prefix}board:{{{board}}}:entries"

    def presence(self, board: BoardId) -> str:
        """Return the channel of awareness updates, which are never logged."""
        return f"{self.prefix}board:{{{board}}}:presence"

    @property
    def due(self) -> str:
        """The sorted set of boards to compact: score is the due time in ms on Redis' clock."""
        return f"{self.prefix}{{boards}}:due"

    @property
    def leases(self) -> str:
        """The hash board -> token of the claim that holds it."""
        return f"{self.prefix}{{boards}}:leases"

    @property
    def token(self) -> str:
        """The counter that gives each claim its token."""
        return f"{self.prefix}{{boards}}:token"

    def api_key(self, key_hash: str) -> str:
        """Return where a key's grant is cached."""
        return f"{self.prefix}apikey:{key_hash}"
