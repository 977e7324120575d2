"""One tree of errors. Each message is a clear sentence for the person who caused it or has to act on it."""


class BoardLogError(Exception):
    """Root of every error this project raises on purpose."""


class InvalidSetting(BoardLogError):
    """An environment variable is missing or cannot be read."""


class InvalidBoardId(BoardLogError, ValueError):
    """A board id outside `[A-Za-z0-9_-]{1,64}`."""


class InvalidUpdate(BoardLogError, ValueError):
    """Bytes that are not a well-formed Yjs v1 update or state vector (G6)."""


class InvalidEntry(BoardLogError, ValueError):
    """A stream entry or publish that this version cannot read."""


class BoardNotFound(BoardLogError):
    """The board has no snapshot row, so it does not exist."""


class BoardExists(BoardLogError):
    """A board of this id is there already."""


class StorageUnavailable(BoardLogError):
    """Redis or PostgreSQL did not answer within the retry limit: nothing was acknowledged, try again."""


class LogFull(StorageUnavailable):
    """Redis holds as much as it may: nothing was appended, and nothing can be until boards are compacted (G5)."""


class NoLog(BoardLogError):
    """The board has no stream in Redis: it has to be born again from its snapshot (L1)."""


class StaleSnapshot(BoardLogError):
    """Another worker stored a snapshot first: the compare-and-set on the version failed (L7)."""
