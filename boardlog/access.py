"""Who may read or append: an API key -> a Grant for one board. Keys are compared and kept as SHA-256 hashes only."""

import hashlib
import json
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import NamedTuple

import structlog

from boardlog.database import Pool, unavailable
from boardlog.errors import StorageUnavailable
from boardlog.grant import Forbidden, Grant, Role, Unauthenticated
from boardlog.ids import BoardId
from boardlog.keys import Keys
from boardlog.redis import Redis
from boardlog.redis import unavailable as redis_unavailable

log = structlog.get_logger()

KEY_PREFIX = "dc_"
KEY_CHARACTERS_MAX = 256
CACHE_SECONDS = 60
"""How long a key's row is kept in Redis."""
KNOWN_KEY_SECONDS_MAX = 900.0
"""How long a key that this process has verified stays good while neither Redis nor PostgreSQL answers (G5)."""
KNOWN_KEYS_MAX = 10_000
EVERY_BOARD = "*"


class KeyRow(NamedTuple):
    """A key as stored."""

    key_hash: str
    board_id: str
    role: Role
    label: str
    is_active: bool
    created_at: datetime | None = None


def hash_key(key: str) -> str:
    """Return the form in which a key is stored."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def key_from(headers: Mapping[str, str]) -> str | None:
    """Return the key in a request's headers: `X-API-Key`, or a bearer token."""
    scheme, _, token = headers.get("Authorization", "").partition(" ")
    bearer = token.strip() if scheme.lower() == "bearer" else None
    return headers.get("X-API-Key") or bearer


def new_key() -> str:
    """Return a fresh key: 256 random bits behind the prefix by which leaked keys are found."""
    return KEY_PREFIX + secrets.token_urlsafe(32)


class Access:
    """Verifies keys: Redis' cache first, then the table; what was good stays good for a while when both are away."""

    def __init__(self, pool: Pool, redis: Redis, keys: Keys, clock: Callable[[], float] = time.monotonic) -> None:
        """Read keys from `pool`, cache them in `redis`."""
        self._pool = pool
        self._redis = redis
        self._keys = keys
        self._clock = clock
        self._known: OrderedDict[str, tuple[float, KeyRow]] = OrderedDict()

    async def grant(self, key: str | None, board: BoardId) -> Grant:
        """Return what this key may do on this board.

        Raises Unauthenticated, Forbidden, or StorageUnavailable if nothing can tell. Cancel-safe.
        """
        if not key:
            raise Unauthenticated(
                "This board needs an API key: X-API-Key or a bearer token, for a WebSocket also ?apiKey=…."
            )
        row = await self._row(hash_key(key[: KEY_CHARACTERS_MAX + 1]))
        if row is None or not row.is_active:
            raise Unauthenticated("This API key is not known or was revoked: ask for a new one.")
        if row.board_id not in (board, EVERY_BOARD):
            raise Forbidden("This API key is for another board.")
        return Grant(board, row.role, row.label, every_board=row.board_id == EVERY_BOARD)

    async def create_key(self, key: str, board: str, role: Role, label: str) -> None:
        """Store a key for a board, or for EVERY_BOARD; an existing one is left as it is."""
        with unavailable():
            await self._pool.execute(
                "INSERT INTO api_keys (key_hash, board_id, role, label) VALUES ($1, $2, $3, $4)"
                " ON CONFLICT DO NOTHING",
                hash_key(key), board, role.value, label,
            )  # fmt: skip

    async def list_keys(self, board: str | None) -> list[KeyRow]:
        """Return the keys of a board, or all of them, newest first."""
        with unavailable():
            rows = await self._pool.fetch(
                "SELECT key_hash, board_id, role, label, is_active, created_at FROM api_keys"
                " WHERE $1::text IS NULL OR board_id = $1 ORDER BY created_at DESC LIMIT 1000",
                board,
            )
        return [KeyRow(r[0], r[1], Role(r[2]), r[3], r[4], r[5]) for r in rows]

    async def revoke(self, key_hash_prefix: str) -> int:
        """Revoke the active keys whose hash begins so; return how many. New connections are refused at once."""
        with unavailable():
            rows = await self._pool.fetch(
                "UPDATE api_keys SET is_active = false, revoked_at = now()"
                " WHERE starts_with(key_hash, $1) AND is_active RETURNING key_hash",
                key_hash_prefix,
            )
        for row in rows:
            with redis_unavailable():
                await self._redis.delete(self._keys.api_key(row["key_hash"]))
        return len(rows)

    async def _row(self, key_hash: str) -> KeyRow | None:
        has_cache = True
        try:
            row = await self._cached(key_hash)
        except StorageUnavailable as error:
            log.warning("key_cache_unusable", reason=str(error))
            row, has_cache = None, False  # who joins has waited long enough for it
        if row is None:
            try:
                row = await self._stored(key_hash)
            except StorageUnavailable:
                return self._recall(key_hash)
            if has_cache:
                await self._cache(key_hash, row)
        self._remember(key_hash, row)
        return row

    async def _stored(self, key_hash: str) -> KeyRow | None:
        with unavailable():
            row = await self._pool.fetchrow(
                "SELECT board_id, role, label, is_active FROM api_keys WHERE key_hash = $1", key_hash
            )
        return None if row is None else KeyRow(key_hash, row[0], Role(row[1]), row[2], row[3])

    async def _cached(self, key_hash: str) -> KeyRow | None:
        """Return what the cache knows, None if nothing. Raises StorageUnavailable."""
        with redis_unavailable():
            text = await self._redis.get(self._keys.api_key(key_hash))
        try:
            return None if text is None else _from_json(key_hash, text)
        except (ValueError, KeyError, TypeError) as error:
            log.warning("key_cache_unusable", reason=str(error))
            return None

    async def _cache(self, key_hash: str, row: KeyRow | None) -> None:
        """Keep a known key in Redis for CACHE_SECONDS. Unknown ones are not kept: guesses must not fill it."""
        if row is None:
            return
        text = json.dumps({"board_id": row.board_id, "role": row.role, "label": row.label, "is_active": row.is_active})
        try:
            with redis_unavailable():
                await self._redis.set(self._keys.api_key(key_hash), text, ex=CACHE_SECONDS)
        except StorageUnavailable as error:
            log.warning("key_cache_unusable", reason=str(error))

    def _remember(self, key_hash: str, row: KeyRow | None) -> None:
        self._known.pop(key_hash, None)
        if row is not None and row.is_active:
            self._known[key_hash] = (self._clock(), row)
            while len(self._known) > KNOWN_KEYS_MAX:
                self._known.popitem(last=False)

    def _recall(self, key_hash: str) -> KeyRow:
        """Return what this process verified lately; raise StorageUnavailable if it cannot tell."""
        verified_at, row = self._known.get(key_hash, (float("-inf"), None))
        if row is None or self._clock() - verified_at > KNOWN_KEY_SECONDS_MAX:
            raise StorageUnavailable("API keys cannot be verified just now: try again.")
        return row


def _from_json(key_hash: str, text: bytes | str) -> KeyRow:
    """Read the cache; the role is a viewer's where none is known."""
    value = json.loads(text)
    role = Role(value.get("role", Role.VIEWER))
    return KeyRow(key_hash, value["board_id"], role, value.get("label", ""), value["is_active"] is True)
