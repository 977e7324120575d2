"""A client's changes on their way into the log, and how many of them are settled: what is acknowledged (L11) (pure)."""


class Unlogged:
    """Counts the changes that one socket brought, in their order, and keeps the sizes of those that wait."""

    __slots__ = ("_changes", "_waiting", "size_bytes")

    def __init__(self) -> None:
        """Nothing has come yet."""
        self.size_bytes = 0
        """Of the changes that wait for the log."""
        self._changes = 0
        self._waiting: list[tuple[int, int]] = []

    @property
    def settled(self) -> int:
        """How many changes, counted from the first one and without a gap, are logged or had nothing new in them."""
        return self._waiting[0][0] if self._waiting else self._changes

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return not self._waiting

    def append(self, size_bytes: int) -> None:
        """Count a change that goes to the log."""
        self._waiting.append((self._changes, size_bytes))
        self._changes += 1
        self.size_bytes += size_bytes

    def drop(self) -> None:
        """Count a change in which nothing is new. It is settled with the one before it."""
        self._changes += 1

    def logged(self, count: int) -> None:
        """Take away the first `count` of those that wait."""
        self.size_bytes -= sum(size_bytes for _, size_bytes in self._waiting[:count])
        del self._waiting[:count]
