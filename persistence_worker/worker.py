"""The claim loop: takes due boards under a lease, compacts them, gives them back."""

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress

import structlog
from prometheus_client import Counter, Histogram

from boardlog.due import DUE_AFTER_MS, Claim, Due
from boardlog.errors import BoardLogError, StorageUnavailable
from boardlog.ids import BoardId
from boardlog.retry import retrying
from boardlog.stream import Streams
from boardlog.telemetry import METRICS
from persistence_worker.compaction import Compaction, Done, Outcome
from persistence_worker.outage import Outage

log = structlog.get_logger()

LEASE_MS = 60_000
"""A board whose worker died comes back after this. A slower pass is only done twice: the store's fence decides (L7)."""
POLL_SECONDS = (0.25, 1.0)
"""How long to wait when no board is due: between these two, so that workers do not march in step."""
PASS_RETRY_SECONDS_MAX = 20.0
RELEASE_RETRY_SECONDS_MAX = 5.0
"""After this a claim that cannot be given back is left to its lease."""
ABANDON_SECONDS_MAX = 1.0
AWAY_AGAIN_MS = 5_000
"""When a board is tried again that could not be compacted because a store was away."""
FAILED_AGAIN_MS = 60_000
"""When a board is tried again that could not be compacted for a reason of its own."""
FAILED_AGAIN_FACTOR = 10
"""Or after so many times what the try took, if that is longer: such a board may hold a tenth of one place here."""

COMPACTIONS = Counter("compactions_total", "Passes over boards, by outcome", ["outcome"], registry=METRICS)
FAILURES = Counter(
    "compaction_failures_total", "Failed passes over boards that need an operator", ["board"], registry=METRICS
)
SECONDS = Histogram("compaction_seconds", "Duration of a pass in seconds, retries included", registry=METRICS)


class Worker:
    """Compacts due boards, `boards_max` at a time."""

    def __init__(
        self,
        due: Due,
        streams: Streams,
        compaction: Compaction,
        boards_max: int,
        jitter: Callable[[float, float], float] = random.uniform,
    ) -> None:
        """Make a worker; `run` starts it."""
        self.boards: set[BoardId] = set()
        """The boards that are being compacted."""
        self._due = due
        self._streams = streams
        self._compaction = compaction
        self._boards_max = boards_max
        self._jitter = jitter
        self._claiming = Outage("claiming boards")
        self._compacting = Outage("compacting boards")
        self._releasing = Outage("releasing boards")

    async def run(self, stop: asyncio.Event) -> None:
        """Compact until `stop` is set, then finish what was begun. Cancelled, it gives its boards back unfinished."""
        async with asyncio.TaskGroup() as loops:
            for _ in range(self._boards_max):
                loops.create_task(self._claim_until(stop))

    async def serve(self, claim: Claim) -> None:
        """Compact a claimed board and give it back, whatever happens. Cancelled, it gives it back at once."""
        self.boards.add(claim.board)
        try:
            with SECONDS.time():
                done = await self._compact(claim.board)
            COMPACTIONS.labels(done.outcome).inc()
            await self._release(claim, done)
        except asyncio.CancelledError:
            await self._abandon(claim)
            raise
        finally:
            self.boards.discard(claim.board)

    async def _claim_until(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            claim = await self._claim()
            if claim is not None:
                await self.serve(claim)
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(self._jitter(*POLL_SECONDS)):
                    await stop.wait()

    async def _claim(self) -> Claim | None:
        try:
            claim = await self._due.claim(LEASE_MS)
        except StorageUnavailable as error:
            self._claiming.failed(error)
            return None
        self._claiming.worked()
        return claim

    async def _compact(self, board: BoardId) -> Done:
        began = asyncio.get_running_loop().time()
        try:
            return await retrying(PASS_RETRY_SECONDS_MAX)(self._try_compact, board)
        except StorageUnavailable:
            return Done(Outcome.AWAY, None, AWAY_AGAIN_MS)
        except BoardLogError as error:
            log.error("compaction_failed", board=board, reason=str(error))  # noqa: TRY400  it is no fault of the code
        except Exception:
            log.exception("compaction_failed", board=board)
        FAILURES.labels(board).inc()
        took_ms = int((asyncio.get_running_loop().time() - began) * 1000)
        return Done(Outcome.FAILED, None, max(FAILED_AGAIN_MS, FAILED_AGAIN_FACTOR * took_ms))

    async def _try_compact(self, board: BoardId) -> Done:
        try:
            done = await self._compaction.run(board)
        except StorageUnavailable as error:
            self._compacting.failed(error)
            raise
        self._compacting.worked()
        return done

    async def _release(self, claim: Claim, done: Done) -> None:
        try:
            await retrying(RELEASE_RETRY_SECONDS_MAX)(self._give_back, claim, done)
        except StorageUnavailable as error:
            self._releasing.failed(error)
        else:
            self._releasing.worked()

    async def _give_back(self, claim: Claim, done: Done) -> None:
        """Release a claim. It may be repeated: the second half is done whoever holds the board by now."""
        if done.covered is None:
            await self._due.release(claim, done.again_after_ms)
            return
        # Release first, only then look at the head. An append between our load and the release found the board marked
        # and added no mark: this look sees its entry. An append after the release marks the board by itself. In the
        # other order an append between the look and the release would leave an entry that nobody is due to fold.
        await self._due.release(claim, None)
        head = await self._streams.head(claim.board)
        if head is not None and head != done.covered:
            await self._due.mark([claim.board], DUE_AFTER_MS)
        elif done.again_after_ms is not None:
            await self._due.mark([claim.board], done.again_after_ms)

    async def _abandon(self, claim: Claim) -> None:
        """Make the board due at once for the others; if even that fails, its lease runs out."""
        with suppress(StorageUnavailable, TimeoutError):
            async with asyncio.timeout(ABANDON_SECONDS_MAX):
                if not await self._due.release(claim, 0):
                    await self._due.mark([claim.board], DUE_AFTER_MS)
