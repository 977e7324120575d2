"""The codec of a stream entry: a tagged list of updates, as msgpack in one field beside its tag."""

from collections.abc import Sequence
from enum import IntEnum
from typing import Final, NamedTuple

import msgpack

from boardlog.errors import InvalidEntry
from boardlog.ids import Cursor, EntryId, Tag

TAG_FIELD: Final = b"t"
PAYLOAD_FIELD: Final = b"p"
UPDATES_PER_ENTRY_MAX: Final = 4096


class EntryKind(IntEnum):
    """What an entry says."""

    UPDATES = 0
    ANCHOR = 1
    """The first entry of a stream born from a snapshot: it *is* the snapshot's cursor (L1)."""
    REBASE = 2
    """Reconnects a log after a loss: every reader that meets one reloads (L6)."""


_KINDS: Final = {kind.value: kind for kind in EntryKind}
_BYTES: Final = {bytes}


class Payload(NamedTuple):
    """The content of an entry, without its place in the log."""

    kind: EntryKind
    updates: tuple[bytes, ...]
    """Yjs v1 updates; those of one author are in the order in which they were received, some of them joined."""


class Entry(NamedTuple):
    """One entry as read from a log."""

    cursor: Cursor
    payload: Payload

    @property
    def updates(self) -> tuple[bytes, ...]:
        """The updates that this entry carries."""
        return self.payload.updates


ANCHOR: Final = Payload(EntryKind.ANCHOR, ())


def pack(payload: Payload) -> bytes:
    """Encode a payload for the stream."""
    packed: bytes = msgpack.packb((int(payload.kind), payload.updates))
    return packed


def unpack(data: bytes) -> Payload:
    """Decode a payload, or raise InvalidEntry: what stands in Redis may be damaged or newer than this code."""
    try:
        kind, updates = msgpack.unpackb(data, use_list=False, max_array_len=UPDATES_PER_ENTRY_MAX)
        payload = Payload(_KINDS[kind], updates)
    except (ValueError, TypeError, KeyError, msgpack.UnpackException) as error:
        raise InvalidEntry("A log entry is not in a form that this version reads.") from error
    if not isinstance(updates, tuple) or {*map(type, updates)} - _BYTES:
        raise InvalidEntry("A log entry holds something that is not a list of updates.")
    return payload


def from_fields(entry_id: bytes, fields: Sequence[bytes]) -> tuple[Cursor, bytes]:
    """Take apart what XRANGE returns for an entry: its id, names and values in turn -> its cursor and packed payload.

    A foreign entry without them gets an empty tag and payload: `unpack` refuses it, and it stops nobody else (G6).
    """
    given = dict(zip(fields[::2], fields[1::2], strict=True))
    tag = given.get(TAG_FIELD, b"").decode("latin-1")
    return Cursor(EntryId.parse(entry_id), Tag(tag)), given.get(PAYLOAD_FIELD, b"")


class Publish(NamedTuple):
    """What a channel carries for each append: the entry, linked to its predecessor (L3)."""

    previous: Cursor
    cursor: Cursor
    payload: bytes | None
    """The packed payload; None if it is too large for subscribers' buffers and has to be read from the stream."""


def parse_publish(message: bytes) -> Publish:
    """Decode "previous-id previous-tag id tag\\n" and the payload behind it."""
    head, newline, payload = message.partition(b"\n")
    try:
        # Spelled out: every node does this for every entry.
        previous_id, previous_tag, entry_id, tag = head.decode("ascii").split(" ")
        previous_ms, _, previous_seq = previous_id.partition("-")
        ms, _, seq = entry_id.partition("-")
        previous = Cursor(EntryId(int(previous_ms), int(previous_seq)), Tag(previous_tag))
        cursor = Cursor(EntryId(int(ms), int(seq)), Tag(tag))
    except ValueError as error:
        raise InvalidEntry("A message on a log's channel has no readable link.") from error
    return Publish(previous, cursor, payload if newline else None)
