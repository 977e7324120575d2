"""What can be wrong with an agent's request. Each message is a sentence for the agent's author."""

from collections.abc import Sequence
from typing import NamedTuple

from boardlog.errors import BoardLogError


class FieldError(NamedTuple):
    """One thing wrong with a request."""

    field: str
    """Where, with dots between the levels: `content.text`; `item` for the whole."""
    message: str


class InvalidItem(BoardLogError, ValueError):
    """An item or a patch that breaks the rules of the table of items."""

    def __init__(self, errors: Sequence[FieldError]) -> None:
        """Refuse for these reasons, at least one."""
        super().__init__("; ".join(f"{error.field}: {error.message}" for error in errors))
        self.errors = list(errors)


class ItemNotFound(BoardLogError):
    """The board has no readable item of this id."""

    def __init__(self, item_id: str) -> None:
        """Name the id that was asked for."""
        super().__init__(f"There is no item {item_id!r} on this board.")


class ItemExists(BoardLogError):
    """The board has a record of this id already."""

    def __init__(self, item_id: str) -> None:
        """Name the id that was asked for."""
        super().__init__(f"There is an item {item_id!r} on this board already: PATCH it, or choose another id.")
