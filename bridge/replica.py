"""A live Y.Doc copy of one board, kept up by its log: what items are read from, and what changes are made against.

Setting a map key needs the item that it replaces, so a writer needs the board's state: from an empty Doc it would be a
coin toss. Client ids (L15): one fresh id for as long as the copy is held without doubt; never stored, never shared.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import structlog
from pycrdt import Doc, Map, MapEvent, Subscription, TransactionEvent

from boardlog.board_state import BoardState
from boardlog.entry import Entry
from boardlog.errors import BoardLogError, InvalidUpdate, StorageUnavailable
from boardlog.folding import Folder, FoldFailed, OutOfTime
from boardlog.growing import Growing, is_dear
from boardlog.ids import BoardId
from boardlog.links import Ranges
from boardlog.log import Loaded
from boardlog.merge import EMPTY_UPDATE, Folded, parse_state_vector
from boardlog.update import dissect
from bridge.errors import BoardTooDear

log = structlog.get_logger()

Record = dict[str, Any]

CLIENT_ID_BITS = 24
"""Where two set the same key at once, Yjs keeps the higher client id's value, and browsers have 32 bits. With fewer,
ours yields to a person's edit, and `intents.py` then puts what the agent meant on top of it."""

COPY_SECONDS_MAX = 2.0
"""What reading a board into a copy may compute on the event loop. The history of 48,000 page loads takes half of it."""
BUILD_SECONDS_MAX = 20.0
"""What folding a board may take before it is given up: whoever asked has long been answered."""
FOLDS_MAX = 5
"""Rounds of folding in what came meanwhile."""
RECORDS_PER_TURN = 200
_TOO_DEAR = "What is on this board takes too long to read for requests to be answered: it needs an operator."

RECORDS = "tldraw"
"""The document's map of records, as the canvas binds it."""


class Replica:
    """One board's copy. Also the reader (follow.Reader) of its log."""

    def __init__(
        self, board: BoardId, folder: Folder, random_bits: Callable[[int], int], earlier: BoardState | None = None
    ) -> None:
        """Make a copy; it is usable once `ready` is set. `earlier`: what the copy before it held."""
        self.board = board
        self.ready = asyncio.Event()
        self.error: BoardLogError | None = None
        """Why this copy cannot be used any more: it has to be dropped, and made anew."""
        self.records: dict[str, Any] = {}
        """Every record, as plain values; hostile ones too."""
        self.size_bytes = 0
        """About what it holds: the bytes of its encoded parts."""
        self.on_entries: Callable[[Sequence[bytes]], None] = lambda _updates: None
        """Called after the updates of entries were applied."""
        self.on_failed: Callable[[], None] = lambda: None
        """Called when `error` is set."""
        self.on_lost: Callable[[list[tuple[bytes, Ranges]]], None] = lambda _lost: None
        """Called with what the copy before this one had and the log has lost; with nothing after a loss (G4)."""
        self._folder = folder
        self._random_bits = random_bits
        self._doc: Doc[Any] | None = None
        self._growing: Growing | None = None
        self._subscription: Subscription | None = None
        """Ends when it is forgotten."""
        self._waiting: list[bytes] = []
        self._loaded_base, self._loaded_updates = EMPTY_UPDATE, list[bytes]()
        """What the copy is being made of."""
        self.earlier = earlier
        """What an earlier copy held, or this one when its log was lost: the next load tells what of it is gone (G4)."""
        self._state: BoardState | None = None
        """What the copy holds, as encoded when somebody asked and nothing came since."""
        self._building: asyncio.Task[None] | None = None

    # What the log does (follow.Reader)

    def loaded(self, loaded: Loaded) -> None:
        """Make the copy; a second load is a loss, after which the old client id could diverge for good (L15)."""
        if self._building is not None:
            # Compared with the next load, not with this one: while a process hung, that may have become as old as this
            # copy is.
            self.earlier = self._encoded()
            self.failed(StorageUnavailable("The board's log was read anew: try again."))
            self.on_lost([])
            return
        earlier, self.earlier = self.earlier, None
        if earlier is not None:
            self.on_lost(earlier.lost_by(BoardState(loaded.snapshot.state, loaded.updates)))
        self._loaded_base, self._loaded_updates = loaded.snapshot.state, loaded.updates
        self._building = asyncio.create_task(self._build())

    def entries(self, entries: Sequence[Entry]) -> None:
        """Apply what the log brought."""
        updates = [update for entry in entries for update in entry.updates]
        self.size_bytes += sum(map(len, updates))
        if self._growing is None:
            self._waiting += updates
            return
        self._state = None
        if any(map(is_dear, updates)):
            self._make_anew()
        elif self._take(self._growing, updates):
            self.on_entries(updates)

    def failed(self, error: BoardLogError) -> None:
        """Note that the board is gone or unreadable, or that this copy cannot be trusted any more."""
        self.error = error
        self.ready.set()
        self.on_failed()

    # What the bridge does

    def change(self, changes: Mapping[str, Record | None]) -> bytes:
        """Set records, delete those that are None; return the update that says so.

        The copy has the change from now on: if its append is given up, the copy must be dropped (L15).
        """
        doc = self._ready_doc()
        records = doc.get(RECORDS, type=Map)
        said: list[bytes] = []
        subscription = doc.observe(lambda event: said.append(_update_of(event)))
        try:
            with doc.transaction():
                for key, record in changes.items():
                    if record is not None:
                        records[key] = record
                    elif key in records:
                        del records[key]
        finally:
            doc.unobserve(subscription)
        self.size_bytes += sum(map(len, said))
        self._state = None
        return said[0] if said else b""

    def items_of(self, changes: Mapping[str, Record | None]) -> dict[str, int]:
        """Return the clocks of the items that `change` is about to make: one a record it sets, in their order."""
        doc = self._ready_doc()
        clock = parse_state_vector(doc.get_state()).get(doc.client_id, 0)
        return {
            key: clock + place for place, key in enumerate(key for key, record in changes.items() if record is not None)
        }

    def overwritten(self, updates: Sequence[bytes]) -> set[int]:
        """Return the clocks of this copy's items that others name as left neighbours: they had seen them."""
        own = self._ready_doc().client_id
        links = [dissect(update)[1] for update in updates]
        return {
            link.target
            for clients in links
            for client, chain in clients.items()
            for link in chain
            if client != own and link.client == own and not link.is_child
        }

    def holds(self, update: bytes, ranges: Ranges) -> bool:
        """Whether the log has all of an update, as far as this copy knows, which is ready."""
        return self._encoded().holds(update, ranges)

    def stop(self) -> None:
        """Stop building; harmless if repeated."""
        if self._building is not None:
            self._building.cancel()

    async def _build(self) -> None:
        """Make the copy, or fail: who waits for it must not wait for ever."""
        try:
            await self._make()
        except BoardLogError as error:
            self.failed(error)
        except asyncio.CancelledError:
            raise
        except BaseException:  # pycrdt's panics too
            log.exception("copy_not_made", board=self.board)
            self.failed(StorageUnavailable("The board could not be copied: try again."))

    async def _make(self) -> None:
        """Fold in another process, then read the result: updates that came out of order would get stuck in a Doc."""
        folded = await self._fold(self._loaded_base, self._loaded_updates)
        doc: Doc[Any] = Doc(client_id=self._fresh_client_id(folded.state_vector))
        records = doc.get(RECORDS, type=Map)
        growing = Growing(doc, folded)
        for count, key in enumerate(list(records)):
            self.records[key] = _record(records, key)
            if count % RECORDS_PER_TURN == 0:
                await asyncio.sleep(0)  # nobody has this document yet; what the log brings meanwhile waits
        self._subscription = records.observe(self._observed)
        if any(map(is_dear, self._waiting)):
            self._make_anew()
        elif self._take(growing, self._waiting):
            self._waiting.clear()
            self.size_bytes += len(folded.state)
            self._doc, self._growing = doc, growing
            self._loaded_base, self._loaded_updates = EMPTY_UPDATE, []
            self.ready.set()

    async def _fold(self, base: bytes, updates: Sequence[bytes]) -> Folded:
        """Fold the log, and what it brings meanwhile that is too dear for this loop (G6). Raises BoardLogError."""
        waiting = updates
        state = base
        try:
            for _ in range(FOLDS_MAX):
                folded = await self._folder.fold(state, waiting, BUILD_SECONDS_MAX)
                seconds = await self._folder.weigh(folded.state)
                if seconds > COPY_SECONDS_MAX:
                    raise BoardTooDear(f"{_TOO_DEAR} ({seconds:.1f} s)")
                if not any(map(is_dear, self._waiting)):
                    return folded
                state, waiting, self._waiting = folded.state, self._waiting, []
                self._loaded_updates += waiting
        except OutOfTime as error:
            raise BoardTooDear(_TOO_DEAR) from error
        except FoldFailed as error:
            raise StorageUnavailable(str(error)) from error
        raise StorageUnavailable("The board changes too fast to be copied just now: try again.")

    def _fresh_client_id(self, state_vector: bytes) -> int:
        used = parse_state_vector(state_vector)
        while (client := self._random_bits(CLIENT_ID_BITS)) in used or client == 0:
            pass
        return client

    def _take(self, growing: Growing, updates: Sequence[bytes]) -> bool:
        try:
            for update in updates:
                growing.take(update)
        except InvalidUpdate as error:
            # What the worker will quarantine must not cost the bridge this board (G6): a new copy is made without it.
            log.warning("update_not_applied", board=self.board, reason=str(error))
            self._make_anew()
            return False
        return True

    def _make_anew(self) -> None:
        log.info("copy_made_anew", board=self.board)
        self.failed(StorageUnavailable("The board's copy has to be made anew: try again."))

    def _observed(self, event: MapEvent) -> None:
        """Keep the plain copy of the records up to date with what a transaction changed."""
        for key, change in event.keys.items():  # type: ignore[attr-defined]  # the stubs lack it
            if change["action"] == "delete":
                self.records.pop(key, None)
            else:
                self.records[key] = _plain(change["newValue"])

    def _encoded(self) -> BoardState:
        """Return what this copy holds: what it could not apply yet and its own latest changes too."""
        if self._doc is None or self._growing is None:
            return BoardState(self._loaded_base, [*self._loaded_updates, *self._waiting])
        if self._state is None:
            self._state = BoardState(self._doc.get_update(), [self._growing.waiting])
        return self._state

    def _ready_doc(self) -> "Doc[Any]":
        if self._doc is None:
            raise RuntimeError("a replica was used before it was ready")
        return self._doc


def _update_of(event: TransactionEvent) -> bytes:
    update: bytes = event.update
    return update


def _record(records: "Map[Any]", key: str) -> Any:
    try:
        return _plain(records[key])
    except KeyError:
        return None  # what is there is no value, a text's format for example


def _plain(value: Any) -> Any:
    """Return a record that is plain values, None for any other: the canvas shows no shared type either.

    Never their plain form: yrs does not come to the end of an array that holds a text with a long character.
    """
    return None if hasattr(value, "to_py") or isinstance(value, Doc) else value
