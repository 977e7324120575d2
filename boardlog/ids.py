"""Identifiers: boards, entries of a log, and the cursors that name a position in it."""

import re
from typing import Final, NamedTuple, NewType, Self

from boardlog.errors import InvalidBoardId, InvalidEntry

BoardId = NewType("BoardId", str)
Tag = NewType("Tag", str)

_BOARD_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
TAG_BYTES: Final = 6


def parse_board_id(text: str) -> BoardId:
    """Return `text` as a board id, or raise InvalidBoardId."""
    if not _BOARD_ID.fullmatch(text):
        raise InvalidBoardId("A board id is 1 to 64 letters, digits, underscores or hyphens.")
    return BoardId(text)


def make_tag(random_bytes: bytes) -> Tag:
    """Return the tag that these TAG_BYTES random bytes spell: one for each entry (L3)."""
    return Tag(random_bytes.hex())


class EntryId(NamedTuple):
    """A Redis stream id. Compared as numbers; as strings "9-0" would follow "10-0"."""

    ms: int
    """Milliseconds since the epoch, by the clock of the Redis server."""
    seq: int
    """Counts the entries within that millisecond."""

    @classmethod
    def parse(cls, text: bytes) -> Self:
        """Read Redis' "ms-seq"."""
        try:
            ms, _, seq = text.decode("ascii").partition("-")
            return cls(int(ms), int(seq))
        except ValueError as error:
            raise InvalidEntry(f"{text!r} is not a stream entry id.") from error

    def __str__(self) -> str:
        """Return the form that Redis commands take."""
        return f"{self.ms}-{self.seq}"


class Cursor(NamedTuple):
    """A position in a log: the last entry included.

    The tag tells that entry from another one that a failover gave the same id (L3).
    """

    id: EntryId
    tag: Tag

    def __str__(self) -> str:
        """Return a form for logs and people."""
        return f"{self.id}/{self.tag}"


GENESIS: Final = Cursor(EntryId(0, 1), Tag("genesis"))
"""Where every board begins (L1): the cursor of an empty snapshot, and so the id and tag of its first anchor."""
