"""The log on Redis: append, read, trim. One stream a board (`keys.py`), every rule a script (`lua/`).

Each method is one attempt: StorageUnavailable means that its outcome is unknown. Callers retry with the same bytes
(`retry.py`, L10): every operation here may be repeated.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Any, NamedTuple, Protocol

from boardlog import redis as redis_module
from boardlog.due import Marking, RedisDue
from boardlog.entry import ANCHOR, EntryKind, Payload, from_fields, pack
from boardlog.errors import NoLog, StorageUnavailable
from boardlog.ids import BoardId, Cursor, EntryId, Tag
from boardlog.keys import Keys
from boardlog.redis import Redis, Traffic, refusal, unavailable
from boardlog.requests import Call
from boardlog.scripts import Scripts, answered

PUBLISH_PAYLOAD_BYTES_MAX = 128 * 1024
"""Larger entries are announced by their link alone: subscribers' buffers on the server are limited (L3)."""
PAGE_ENTRIES = 500
"""Entries read in one command, so that a long log does not stall Redis for everyone."""
PAGE_ENTRIES_FIRST = 64
"""Entries of a first page, when nothing is known of their size; most logs are no longer."""
PAGE_BYTES = 1024 * 1024
"""What a page is cut to once their size is known: Redis holds every reply in memory until it is taken."""
ENTRY_BYTES = 1024
"""What an entry is reckoned to take in a reader's memory beside its payload."""

_PUBLISH_PAYLOAD_BYTES_MAX = str(PUBLISH_PAYLOAD_BYTES_MAX)
_REBASE = pack(Payload(EntryKind.REBASE, ()))


class RawEntry(NamedTuple):
    """An entry as it stands in the stream, its payload not yet decoded."""

    cursor: Cursor
    payload: bytes

    @property
    def size_bytes(self) -> int:
        """What it is reckoned to take in a reader's memory."""
        return ENTRY_BYTES + len(self.payload)


class Append(NamedTuple):
    """What to append to one board."""

    board: BoardId
    tag: Tag
    payload: bytes


class Appended(NamedTuple):
    """Where an entry landed."""

    previous: Cursor
    cursor: Cursor


class Memory(NamedTuple):
    """What the logs' server holds."""

    used_bytes: int
    max_bytes: int
    """Its `maxmemory`, at which it refuses every append; 0 if it has none."""


class Streams(Protocol):
    """Where logs are kept: on Redis here, in memory in `twin.py`. Both pass the same contract tests."""

    async def append_many(self, appends: Sequence[Append]) -> list[Appended | NoLog | StorageUnavailable]:
        """Append to several boards, at most one entry each; mark them due. An outcome for each, in order."""

    async def birth(self, board: BoardId, anchor: Cursor, rebase_tag: Tag) -> None:
        """Give a board without entries its anchor (L1). Repeating it, or racing others, is harmless."""

    async def read(self, board: BoardId) -> list[RawEntry]:
        """Return the whole stream, oldest first; empty if there is none."""

    async def read_from(self, board: BoardId, cursor: Cursor, bytes_max: int | None = None) -> list[RawEntry] | None:
        """Return what follows `cursor`, or None if its own entry is gone: then only a load helps (L3).

        With `bytes_max`, no more than the first entries that reach it by their `size_bytes`.
        """

    async def head(self, board: BoardId) -> Cursor | None:
        """Return the last entry's cursor, or None if there is no entry."""

    async def audit(self, positions: Sequence[tuple[BoardId, Cursor]]) -> list[Cursor | None]:
        """For each position the cursor after it, or itself if nothing follows, or None if its entry is gone (L4).

        Raises StorageUnavailable if nothing can be told of any of them.
        """

    async def trim(self, board: BoardId, own: Cursor, keep_from: EntryId) -> int | None:
        """Drop entries below `keep_from` if `own` stands in the stream (L8); the number dropped, or None if not."""

    async def rebase(self, board: BoardId, cursor: Cursor, tag: Tag) -> bool:
        """Reconnect a log that lacks the entry of the snapshot at `cursor` (L6); True if it needed that."""

    async def delete(self, board: BoardId) -> None:
        """Delete the log of a board that is being deleted."""

    def boards(self) -> AsyncIterator[BoardId]:
        """Iterate over the boards that have a log (for the sweep, L9); a board may come twice."""

    async def publish_presence(self, messages: Sequence[tuple[BoardId, bytes]]) -> None:
        """Send each message to every node that follows its board's presence channel; nothing is kept."""

    async def memory(self) -> Memory:
        """Return how much memory is used where the logs are kept: of several servers, the fullest one's (G5)."""


class RedisStreams:
    """Streams on a Redis or Valkey server, or on a cluster of them."""

    def __init__(self, redis: Redis, scripts: Scripts, keys: Keys) -> None:
        """Keep the logs where `redis` leads."""
        self.redis = redis
        self.scripts = scripts
        self.keys = keys
        self.marking = Marking(RedisDue(redis, scripts, keys))

    async def append_many(self, appends: Sequence[Append]) -> list[Appended | NoLog | StorageUnavailable]:
        """See Streams. The marks follow the appends, somewhat later."""
        if not appends:
            return []
        script, keys = self.scripts.append, self.keys
        calls = [
            script.call([keys.log(board)], [tag, payload, keys.entries(board), _PUBLISH_PAYLOAD_BYTES_MAX])
            for board, tag, payload in appends
        ]
        replies = await self.scripts.pipeline(calls, Traffic.APPENDS)
        outcomes = [_appended(reply, append) for reply, append in zip(replies, appends, strict=True)]
        self.marking.changed(
            append.board for append, outcome in zip(appends, outcomes, strict=True) if isinstance(outcome, Appended)
        )
        return outcomes

    async def birth(self, board: BoardId, anchor: Cursor, rebase_tag: Tag) -> None:
        """See Streams."""
        args: list[str | bytes] = [str(anchor.id), anchor.tag, pack(ANCHOR), rebase_tag, _REBASE]
        await self.scripts.run(self.scripts.birth, [self.keys.log(board)], args)

    async def read(self, board: BoardId) -> list[RawEntry]:
        """See Streams. Two logs must not be joined into one: a page begins with the last entry of the one before.

        Where that is gone, trimmed or lost in a failover meanwhile, reading begins again.
        """
        entries: list[RawEntry] = []
        count = PAGE_ENTRIES_FIRST
        while True:
            page = await self._range(board, str(entries[-1].cursor.id) if entries else "-", count)
            if entries and (not page or page[0].cursor != entries[-1].cursor):
                entries = []
                continue
            entries += page[1:] if entries else page
            if len(page) < count:
                return entries
            count = _next_count(page)

    async def read_from(self, board: BoardId, cursor: Cursor, bytes_max: int | None = None) -> list[RawEntry] | None:
        """See Streams. Every page begins with the last entry of the one before: a trim between them shows."""
        entries: list[RawEntry] = []
        count = PAGE_ENTRIES_FIRST
        while True:
            page = await self._range(board, str(cursor.id), count)
            if not page or page[0].cursor != cursor:
                return None
            entries += page[1:]
            if bytes_max is not None and len(begin := beginning(entries, bytes_max)) < len(entries):
                return begin
            if len(page) < count:
                return entries
            cursor = page[-1].cursor
            count = _next_count(page)

    async def head(self, board: BoardId) -> Cursor | None:
        """See Streams."""
        last = await self.scripts.call(("XREVRANGE", self.keys.log(board), "+", "-", "COUNT", "1"))
        return from_fields(*last[0])[0] if last else None

    async def audit(self, positions: Sequence[tuple[BoardId, Cursor]]) -> list[Cursor | None]:
        """See Streams. While a node of a cluster is away nothing is new of its boards; the others' heads are told."""
        if self.scripts.in_order:
            found = await self.scripts.call(self._audit(positions))
        else:
            replies = await self.scripts.pipeline([self._audit([position]) for position in positions])
            if replies and all(isinstance(reply, Exception) for reply in replies):
                answered(replies)
            found = [1 if isinstance(reply, Exception) else reply[0] for reply in replies]
        return [_audited(one, cursor) for one, (_, cursor) in zip(found, positions, strict=True)]

    def _audit(self, positions: Sequence[tuple[BoardId, Cursor]]) -> Call:
        args = [part for _, cursor in positions for part in (str(cursor.id), cursor.tag)]
        return self.scripts.audit.call([self.keys.log(board) for board, _ in positions], args)

    async def trim(self, board: BoardId, own: Cursor, keep_from: EntryId) -> int | None:
        """See Streams."""
        keep_from = min(keep_from, own.id)
        trimmed = await self.scripts.run(
            self.scripts.trim, [self.keys.log(board)], [str(own.id), own.tag, str(keep_from)]
        )
        return None if trimmed < 0 else int(trimmed)

    async def rebase(self, board: BoardId, cursor: Cursor, tag: Tag) -> bool:
        """See Streams."""
        args: list[str | bytes] = [
            str(cursor.id),
            cursor.tag,
            tag,
            _REBASE,
            self.keys.entries(board),
            str(cursor.id.ms + 1),
        ]
        return bool(await self.scripts.run(self.scripts.rebase, [self.keys.log(board)], args))

    async def delete(self, board: BoardId) -> None:
        """See Streams."""
        with unavailable():
            await self.redis.delete(self.keys.log(board))

    async def boards(self) -> AsyncIterator[BoardId]:
        """See Streams."""
        before, after = self.keys.log(BoardId("*")).split("*")
        with unavailable():
            async for key in self.redis.scan_iter(match=f"{before}*{after}", count=PAGE_ENTRIES, _type="stream"):
                yield BoardId(key.decode()[len(before) : -len(after)])

    async def publish_presence(self, messages: Sequence[tuple[BoardId, bytes]]) -> None:
        """See Streams."""
        calls = [("PUBLISH", self.keys.presence(board), message) for board, message in messages]
        answered(await self.scripts.pipeline(calls, Traffic.PRESENCE))

    async def memory(self) -> Memory:
        """See Streams."""
        return Memory(*await redis_module.memory(self.redis))

    async def _range(self, board: BoardId, start: str, count: int) -> list[RawEntry]:
        page = await self.scripts.call(("XRANGE", self.keys.log(board), start, "+", "COUNT", str(count)))
        return [RawEntry(*from_fields(*entry)) for entry in page]


def beginning(entries: list[RawEntry], bytes_max: int) -> list[RawEntry]:
    """Return the first entries that reach `bytes_max` by their `size_bytes`, or all; at least one, if there is any."""
    size_bytes = 0
    for place, entry in enumerate(entries):
        size_bytes += entry.size_bytes
        if size_bytes >= bytes_max:
            return entries[: place + 1]
    return entries


def _next_count(page: Sequence[RawEntry]) -> int:
    """Return how many entries the next page may have; at least two, the first being the last one of this page."""
    size_bytes = sum(entry.size_bytes for entry in page)
    return max(2, min(PAGE_ENTRIES, PAGE_BYTES * len(page) // size_bytes))


def _appended(reply: Any, append: Append) -> Appended | NoLog | StorageUnavailable:
    if isinstance(reply, Exception):
        return refusal(reply)
    if reply is None:
        return NoLog(f"Board {append.board} has no log in Redis.")
    previous_id, previous_tag, entry_id = reply
    previous = Cursor(EntryId.parse(previous_id), Tag(previous_tag.decode("latin-1")))
    return Appended(previous, Cursor(EntryId.parse(entry_id), append.tag))


def _audited(found: Any, cursor: Cursor) -> Cursor | None:
    """Turn what the script says of a position into what is after it."""
    if isinstance(found, int):
        return cursor if found else None
    entry_id, tag = found
    return Cursor(EntryId.parse(entry_id), Tag(tag.decode("latin-1")))
