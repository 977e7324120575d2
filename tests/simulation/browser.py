"""A browser with one tab: a Yjs document, y-protocols over a line that may fail, and stock y-websocket's reconnecting.

It keeps whatever it ever got or made, as yjs does, pending parts too; pycrdt's document alone would drop those.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from pycrdt import Doc, Map

from boardlog.growing import Growing
from boardlog.links import Ranges
from boardlog.merge import EMPTY_STATE_VECTOR, EMPTY_UPDATE, Folded, difference, fold
from relay.session import CloseCode
from tests.rawclient import HELLO, decode, framed
from tests.simulation.line import Line

RECORDS = "tldraw"
BACKOFF_SECONDS = (0.1, 2.5)


@dataclass(eq=False, slots=True)
class Edit:
    """One change that somebody made: a key of its own set, or taken away again."""

    board: str
    author: str
    key: str
    is_deletion: bool = False
    update: bytes = b""
    is_saved: bool = False
    """Whether its author was told that it is in the log."""
    is_in_log: bool = False
    """Whether the log ever had it."""
    is_lost: bool = False
    """Whether a store has lost it since, and no other has it."""
    holders: list[object] = field(default_factory=list)
    """Rooms and replicas that held it when it was lost."""
    ranges: Ranges | None = None
    """What it speaks of; None where we do not know its bytes."""

    def __str__(self) -> str:
        return f"{'-' if self.is_deletion else '+'}{self.key}"


@dataclass(slots=True)
class _Socket:
    """What a browser counts on one connection (L11)."""

    line: Line
    messages: list[list[Edit]] = field(default_factory=list)
    """Of each SyncStep2 and Update that was sent: what it says that is this browser's own."""
    barrier: int | None = None


class Browser:
    """One person's tab."""

    def __init__(
        self,
        name: str,
        board: str,
        rng: Random,
        *,
        is_editor: bool,
        connect: Callable[["Browser"], Line | None],
        seen: Callable[["Browser", bytes], None],
    ) -> None:
        self.name = name
        self.board = board
        self.is_editor = is_editor
        self.is_open = True
        self.socket: _Socket | None = None
        self.closes: list[int | None] = []
        self.made: list[Edit] = []
        self._connect_to = connect
        self._seen = seen
        self._rng = rng
        self._doc: Doc[Any] = Doc(client_id=rng.getrandbits(32))
        self._records = self._doc.get(RECORDS, type=Map)
        self._growing = Growing(self._doc, Folded(EMPTY_UPDATE, EMPTY_STATE_VECTOR, []))
        self._kept = EMPTY_UPDATE
        self._news: list[bytes] = []
        self._attempts = 0

    # What the person does

    def start(self) -> None:
        self._retry(0.0)

    def set(self, key: str, value: Any, *, edit: Edit | None = None) -> None:
        """Set a record; `edit` is what the ledger is to remember of it."""
        self._change(lambda: self._records.update({key: value}), edit)

    def delete(self, key: str, *, edit: Edit) -> None:
        self._change(lambda: self._records.pop(key), edit)

    def close(self) -> None:
        """Close the tab: what was only here is gone."""
        self.is_open = False
        if self.socket is not None:
            self.socket.line.hang_up()
            self.socket = None

    def records(self) -> dict[str, Any]:
        """Return what is on the screen."""
        shown: dict[str, Any] = self._records.to_py()
        return shown

    def state(self) -> bytes:
        """Return everything it holds, pending parts too."""
        if self._news:
            self._kept = fold(self._kept, self._news).state
            self._news.clear()
        return self._kept

    # The protocol

    def _change(self, change: Callable[[], Any], edit: Edit | None) -> None:
        said: list[bytes] = []
        subscription = self._doc.observe(lambda event: said.append(event.update))
        with self._doc.transaction():
            change()
        self._doc.unobserve(subscription)
        for update in said:
            self._news.append(update)
            if edit is not None:
                edit.update = update
                self.made.append(edit)
            self._tell(framed("update", update), [edit] if edit else [])

    def _tell(self, message: bytes, edits: list[Edit]) -> None:
        if self.socket is not None:
            self.socket.messages.append(edits)
            self.socket.line.say(message)

    def connected(self, line: Line) -> None:
        """Begin to talk: what stock clients say first, and Hello."""
        self.socket = _Socket(line)
        self._attempts = 0
        line.say(HELLO)
        line.say(framed("step1", self._doc.get_state()))

    def heard(self, line: Line, message: bytes) -> None:
        if self.socket is None or self.socket.line is not line:
            return
        frame = decode(message)
        if frame.kind == "step1":
            self._tell(framed("step2", difference(self.state(), frame.body)), list(self.made))
            if self.socket.barrier is None:
                self.socket.barrier = len(self.socket.messages)
        elif frame.kind in ("step2", "update"):
            self._seen(self, frame.body)
            self._news.append(frame.body)
            self._growing.take(frame.body)
        elif frame.kind == "unsaved":
            self.socket.barrier = None
        elif frame.kind == "saved":
            self._saved(self.socket, frame.number)

    def _saved(self, socket: _Socket, count: int) -> None:
        if count > len(socket.messages):
            raise AssertionError(f"{self.name} was told that {count} of {len(socket.messages)} changes are saved")
        if socket.barrier is not None and count >= socket.barrier:
            for edits in socket.messages[:count]:
                for edit in edits:
                    edit.is_saved = True

    def closed(self, line: Line, code: int | None) -> None:
        """Hear that the connection has ended, and come back, unless the code is final."""
        if self.socket is not None and self.socket.line is not line:
            return
        self.socket = None
        self.closes.append(code)
        if code is not None and 4400 <= code < 4500:
            raise AssertionError(f"{self.name} was turned away for good with {CloseCode(code).name}")
        if self.is_open:
            self._attempts += 1
            lowest, highest = BACKOFF_SECONDS
            self._retry(self._rng.uniform(0.5, 1) * min(highest, lowest * 2**self._attempts))

    def _retry(self, seconds: float) -> None:
        asyncio.get_running_loop().call_later(seconds, self._connect)

    def _connect(self) -> None:
        if self.is_open and self._connect_to(self) is None:
            self.closed_before()

    def closed_before(self) -> None:
        """Nobody answers: try again."""
        self._attempts += 1
        self._retry(self._rng.uniform(0.5, 1) * BACKOFF_SECONDS[1])
