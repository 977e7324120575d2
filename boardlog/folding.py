"""Folding in processes of their own, which may hang or die of an update without hurting anybody else (G6)."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from boardlog import work_process
from boardlog.children import Budget, Children, Interrupted, NoProcess, WorkFailed
from boardlog.coverage import StateRead
from boardlog.errors import BoardLogError, InvalidUpdate
from boardlog.links import Ranges
from boardlog.merge import Folded

log = structlog.get_logger()

PROCESSES_MAX = 2
FOLD_SECONDS_MAX = 15.0
"""What one fold may compute. A slice of the smallest updates there are takes about 5 s (30 us each): what takes this
long hangs."""
FOLD_SECONDS_MIN = 2.0
"""What the smallest fold may: those of fewer bytes get less, so that what hangs is found soon among many."""
BASE_BYTES_MAX = 32 * 1024 * 1024
"""A base from this size on gets the whole time: it is read at 30 MB a second or more."""
SLICE_BYTES_MAX = 8 * 1024 * 1024
"""Updates that are folded at once: the log of a board that could not be stored for hours is folded in slices."""
BOARD_SECONDS_MAX = 60.0
"""What one board may hold processes for in one go: its lease (L9). Then it is the others' turn."""
PARTS_MAX = 4
"""Into so many parts is cut what failed: one update among ten thousand that hangs is found in about 40 s."""
FAILURES_MAX = 64
INTERRUPTIONS_MAX = 2
"""How often a fold is begun again at once after its process was killed from outside."""


class FoldFailed(BoardLogError):
    """A fold did not come to an end, through no fault of one update: to be tried again later."""


@dataclass(frozen=True, slots=True)
class Partly:
    """The first updates, folded."""

    folded: Folded
    count: int


class OutOfTime(FoldFailed):
    """A board took more than BOARD_SECONDS_MAX."""

    def __init__(self, reason: str, partly: Partly) -> None:
        """Say how far it came: nothing that was folded need be folded again."""
        super().__init__(reason)
        self.partly = partly


class Folder:
    """Folds in at most `processes_max` processes, each started when it is first needed."""

    def __init__(self, processes_max: int = PROCESSES_MAX, seconds_max: float = FOLD_SECONDS_MAX) -> None:
        """Start nothing yet. Make it, use it and close it on one event loop."""
        self._children = Children(processes_max)
        self._seconds_max = seconds_max

    async def warm(self) -> None:
        """Start a process before anybody waits for it. Raises FoldFailed. Cancel-safe."""
        try:
            async with self._children.one():
                pass
        except NoProcess as error:
            raise FoldFailed(str(error)) from error

    async def fold(self, base: bytes, updates: Sequence[bytes], board_seconds_max: float = BOARD_SECONDS_MAX) -> Folded:
        """Do what `merge.fold` does, but reject also what makes it fail, hang or kill its process; fold the rest.

        Raises InvalidUpdate if the base cannot be folded, FoldFailed. Cancelled, it ends its process.
        """
        return await _Fold(self._children, self._seconds_max, Budget(board_seconds_max), base, updates).run()

    async def weigh(self, state: bytes) -> float:
        """Return how many seconds of CPU it takes to read a folded state into a document (G6).

        Raises InvalidUpdate if it cannot be read in FOLD_SECONDS_MAX, FoldFailed. Cancelled, it ends its process.
        """
        try:
            (seconds,) = await self._children.do(work_process.WEIGH, self._seconds_max, state)
        except WorkFailed as error:
            raise InvalidUpdate(str(error)) from error
        except (Interrupted, NoProcess) as error:
            raise FoldFailed(str(error)) from error
        return float(seconds)

    async def read(self, state: bytes) -> StateRead:
        """Do what `coverage.read_state` does. Raises FoldFailed. Cancelled, it ends its process."""
        vector, remainder, structs, deletes = await self._read(work_process.READ, state)
        return StateRead(vector, remainder, Ranges.of_flat(structs, deletes))

    async def difference(self, state: bytes, state_vector: bytes) -> bytes:
        """Do what `merge.difference` does. Raises FoldFailed. Cancelled, it ends its process."""
        missing: bytes
        (missing,) = await self._read(work_process.DIFFER, state, state_vector)
        return missing

    async def _read(self, work: int, *content: bytes) -> list[Any]:
        try:
            return await self._children.do(work, self._seconds_max, *content)
        except (WorkFailed, Interrupted, NoProcess) as error:
            raise FoldFailed(str(error)) from error

    async def close(self) -> None:
        """End the processes that wait for work. Folds under way are ended by cancelling them."""
        await self._children.close()


class _Fold:
    """One board's fold: its base has the first `_done` updates, `_todo` are the places of the others."""

    def __init__(
        self, children: Children, seconds_max: float, budget: Budget, base: bytes, updates: Sequence[bytes]
    ) -> None:
        self._children = children
        self._seconds_max = seconds_max
        self._budget = budget
        self._folded = Folded(base, b"", [])
        self._done = 0
        self._updates = updates
        self._todo = deque(_slices(updates))
        self._base_seconds = 0.0
        self._failures = 0
        self._interruptions = 0

    async def run(self) -> Folded:
        while self._todo:
            part = self._todo.popleft()
            try:
                self._take(part, await self._fold(part, self._seconds(part)))
            except WorkFailed as error:
                self._failed(part, error)
                if len(part) > 1:
                    if not self._base_seconds:
                        await self._take_base()
                    step = -(-len(part) // PARTS_MAX)
                    parts = [range(at, min(at + step, part.stop)) for at in range(part.start, part.stop, step)]
                    self._todo.extendleft(reversed(parts))
                else:
                    await self._try_alone(part)
        return self._folded

    def _take(self, part: range, folded: Folded) -> None:
        places = [part.start + place for place in folded.rejected]
        self._folded = Folded(folded.state, folded.state_vector, [*self._folded.rejected, *places])
        self._done = part.stop

    async def _take_base(self) -> None:
        """Fold nothing but what is there. Raises InvalidUpdate if that fails, FoldFailed if it takes very long."""
        budget_seconds = self._budget.left_seconds
        try:
            self._take(range(self._done), await self._fold(range(0), self._seconds_max))
        except WorkFailed as error:
            reason = f"The board's stored state needs an operator, it cannot be folded. {error}"
            raise InvalidUpdate(reason) from error
        self._base_seconds = budget_seconds - self._budget.left_seconds
        if self._base_seconds > self._seconds_max / 2:
            # Whatever were put on top of that might take too long, through no fault of its own.
            raise FoldFailed("The board's stored state is so dear to fold that nothing can be folded into it.")

    async def _try_alone(self, part: range) -> None:
        """Fold one update, or none. Reject it only if it fails once more just after the base alone was folded."""
        await self._take_base()
        try:
            self._take(part, await self._fold(part, self._seconds_max))
        except WorkFailed as error:
            self._failed(part, error)
            if part:
                log.warning("update_rejected", bytes=len(self._updates[part.start]), reason=str(error))
                self._take(part, Folded(self._folded.state, self._folded.state_vector, [0]))

    def _failed(self, part: range, error: WorkFailed) -> None:
        self._failures += 1
        log.warning("fold_failed", updates=len(part), failures=self._failures, reason=str(error))
        if self._failures > FAILURES_MAX:
            raise FoldFailed(f"It failed {self._failures} times, the last time so: {error}") from error

    async def _fold(self, part: range, seconds: float) -> Folded:
        """Fold in a process, again if that is killed from outside. Raises WorkFailed, FoldFailed."""
        request = self._folded.state, list(self._updates[part.start : part.stop])
        while True:
            if self._budget.left_seconds <= 0:
                partly = Partly(self._folded, self._done)
                raise OutOfTime(f"The board is too dear to fold: {self._done} of its updates were in time.", partly)
            try:
                return Folded(*await self._children.do(work_process.FOLD, seconds, *request, budget=self._budget))
            except NoProcess as error:
                raise FoldFailed(str(error)) from error
            except Interrupted as error:
                self._interruptions += 1
                log.warning("fold_interrupted", updates=len(part), reason=str(error))
                if self._interruptions > INTERRUPTIONS_MAX:
                    raise FoldFailed(f"It was interrupted {self._interruptions} times. {error}") from error

    def _seconds(self, part: range) -> float:
        """Return what folding a part may compute: by its bytes and the base's, so that a small one is soon given up.

        More once the base has been seen to be dear.
        """
        part_bytes = sum(map(len, self._updates[part.start : part.stop]))
        share = part_bytes / SLICE_BYTES_MAX + len(self._folded.state) / BASE_BYTES_MAX
        return min(self._seconds_max, max(FOLD_SECONDS_MIN, share * self._seconds_max) + 2 * self._base_seconds)


def _slices(updates: Sequence[bytes]) -> Iterator[range]:
    """Cut into pieces of about SLICE_BYTES_MAX; at least one, empty if there are no updates."""
    start = size_bytes = 0
    for place, update in enumerate(updates):
        if size_bytes and size_bytes + len(update) > SLICE_BYTES_MAX:
            yield range(start, place)
            start, size_bytes = place, 0
        size_bytes += len(update)
    yield range(start, len(updates))
