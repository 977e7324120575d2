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


class UnknownAsset(InvalidItem):
    """An image of an asset that the board has no record of."""

    def __init__(self, asset_id: str) -> None:
        """Name the asset."""
        sentence = "This board has no such asset: upload it first, or give a url."
        super().__init__([FieldError("content.asset_id", sentence)])
        self.asset_id = asset_id


class BoardTooDear(BoardLogError):
    """What is on the board takes longer to read than one board may."""


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


class UnsupportedPicture(BoardLogError):
    """Bytes that are no picture, or one of a kind that is not taken."""


class BrokenPicture(BoardLogError):
    """A picture of a kind that is taken, but damaged or beyond all sizes."""


class AssetTooLarge(BoardLogError):
    """An asset, or all of a board's together, would be larger than they may be."""


class AssetExists(BoardLogError):
    """The board has an asset of this id with other bytes: assets never change."""

    def __init__(self, asset_id: str) -> None:
        """Name the id that was asked for."""
        super().__init__(f"There is an asset {asset_id!r} with other bytes on this board: choose another id.")


class AssetNotFound(BoardLogError):
    """Nothing was uploaded under this id."""

    def __init__(self, asset_id: str) -> None:
        """Name the id that was asked for."""
        super().__init__(f"There is no asset {asset_id[:64]!r} on this board.")


class UploadTimeout(BoardLogError):
    """An upload that did not come in its time, or found no room in memory for as long."""
