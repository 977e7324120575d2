"""What a verified key allows (pure)."""

from enum import StrEnum
from typing import NamedTuple

from boardlog.errors import BoardLogError
from boardlog.ids import BoardId


class Unauthenticated(BoardLogError):
    """No key, or one that is unknown or revoked (4401, HTTP 401)."""


class Forbidden(BoardLogError):
    """A good key, but not for this board or this deed (4403, HTTP 403)."""


class Role(StrEnum):
    """What a key allows."""

    VIEWER = "viewer"
    EDITOR = "editor"


class Grant(NamedTuple):
    """A verified right to one board."""

    board: BoardId
    role: Role
    label: str
    """Who the key was given to, for logs and lists; never the key."""
    every_board: bool

    @property
    def can_append(self) -> bool:
        """Whether its holder may change the board."""
        return self.role is Role.EDITOR

    @property
    def can_create(self) -> bool:
        """Whether its holder creates a missing board by using it."""
        return self.every_board and self.can_append
