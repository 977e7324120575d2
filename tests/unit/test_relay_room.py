"""A room with its members, its state and its log's reader side; what it does to members is all that is looked at."""

import asyncio
import gc
import weakref
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

import pytest
from pycrdt import Doc, Text

from boardlog import awareness, board_state
from boardlog.entry import ANCHOR, Entry, EntryKind, Payload
from boardlog.errors import BoardLogError, BoardNotFound, StorageUnavailable
from boardlog.grant import Grant, Role
from boardlog.ids import GENESIS, BoardId, Cursor, EntryId, Tag
from boardlog.log import Loaded
from boardlog.merge import EMPTY_STATE_VECTOR, EMPTY_UPDATE, difference, fold, parse_state_vector
from boardlog.remains import Remains
from boardlog.snapshots import Snapshot
from boardlog.update import validate
from relay import protocol
from relay import room as room_module
from relay.protocol import Awareness, Message, SyncStep1, SyncStep2, Update
from relay.room import PAUSE_SECONDS_PER_MEMBER, Room
from relay.session import Append, Close, CloseCode, Drop, Present, Refill, SendAwareness, SendState, TellSaved
from tests.presencefakes import messages_in

BOARD = BoardId("board")
GONE = b"null"
HERE = b'{"user":"Ann"}'


class Timer:
    def __init__(self, callback: Callable[[], None], seconds: float = 0.0) -> None:
        self.callback = callback
        self.seconds = seconds
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


class Shell:
    """Publishes into a list, and lets no time pass."""

    def __init__(self) -> None:
        self.published: list[bytes] = []
        self.appended: list[bytes] = []
        self.timers: list[Timer] = []
        self.differences = 0
        self.is_failing = False

    def publish(self, message: bytes) -> None:
        self.published.append(message)

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        self.timers.append(Timer(callback, seconds))
        return self.timers[-1]

    def call_at(self, moment: float, callback: Callable[[], None]) -> Timer:
        return self.call_later(moment, callback)

    def now(self) -> float:
        return 0.0

    def append(self, update: bytes, source: Remains) -> None:
        self.appended.append(update)

    def call_soon(self, callback: Callable[[], None]) -> None:
        callback()

    def jitter(self, lowest: float, highest: float) -> float:
        return highest

    async def difference(self, state: bytes, state_vector: bytes) -> bytes:
        self.differences += 1
        await asyncio.sleep(0)
        if self.is_failing:
            raise StorageUnavailable("No process starts.")
        return difference(state, state_vector)


class Member:
    """Decodes what it is sent, and keeps what it is told to do."""

    def __init__(self, role: Role = Role.EDITOR) -> None:
        self.grant = Grant(BOARD, role, "test", every_board=False)
        self.heard: list[Message] = []
        self.frames: list[protocol.Frame] = []
        self.appended: list[bytes] = []
        self.closed: list[tuple[CloseCode, str]] = []
        self.state_frames = 0
        self.dropped = 0
        self.hellos = 0
        self.unsaved_after: list[list[Message]] = []
        """What it had heard, and the test had not taken, each time that it was told so."""

    def send(self, frame: protocol.Frame) -> None:
        assert frame, "an empty write is no sign of life (L16)"
        self.frames.append(frame)
        messages = [frame.head + frame.body] if isinstance(frame, protocol.Shared) else messages_in(frame)
        self.heard += map(protocol.decode, messages)

    def append(self, update: bytes, usual: object = None) -> None:
        self.appended.append(update)

    def drop(self) -> None:
        self.dropped += 1

    def tell_saved(self) -> None:
        self.hellos += 1

    def unsaved(self) -> None:
        self.unsaved_after.append(list(self.heard))

    def write_through(self, frames: bytes) -> bool:
        return False

    def send_state(self, messages: Sequence[protocol.Frame]) -> None:
        self.state_frames += len(messages)
        for message in messages:
            self.send(message)

    def close(self, code: CloseCode, reason: str) -> None:
        self.closed.append((code, reason))

    def taken(self) -> list[Message]:
        heard, self.heard = self.heard, []
        return heard


class Typist:
    """A browser that types into one text."""

    def __init__(self, client: int = 1) -> None:
        self.doc: Doc[Any] = Doc(client_id=client)
        self.text = self.doc.get("text", type=Text)

    def type(self, words: str) -> bytes:
        before = self.doc.get_state()
        self.text += words
        return self.doc.get_update(before)

    def answer(self, asked: SyncStep1) -> Refill:
        update = self.doc.get_update(asked.state_vector)
        return Refill(update, validate(update))


_ids = count(10)


def entry(*updates: bytes, kind: EntryKind = EntryKind.UPDATES) -> Entry:
    number = next(_ids)
    return Entry(Cursor(EntryId(number, 0), Tag(f"tag{number}")), Payload(kind, updates))


def loaded_of(base: bytes, *updates: bytes) -> Loaded:
    snapshot = Snapshot(
        board=BOARD, version=0, cursor=GENESIS, previous=GENESIS.id, state=base, state_vector=EMPTY_STATE_VECTOR
    )
    entries = [entry(update) for update in updates]
    return Loaded(snapshot, entries, [], entries[-1].cursor if entries else GENESIS, GENESIS, linked=True)


def text_of(updates: Sequence[bytes]) -> str:
    doc: Doc[Any] = Doc()
    text = doc.get("text", type=Text)
    doc.apply_update(fold(EMPTY_UPDATE, updates).state)
    return str(text)


def updates_in(messages: Sequence[Message]) -> list[bytes]:
    return [message.update for message in messages if isinstance(message, Update | SyncStep2)]


@pytest.fixture
def shell() -> Shell:
    return Shell()


@pytest.fixture
def empty_room(shell: Shell) -> Room:
    return Room(BOARD, "node", shell)


@pytest.fixture
def typist() -> Typist:
    return Typist()


@pytest.fixture
def room(empty_room: Room, typist: Typist) -> Room:
    """A room that was loaded with a snapshot and two entries."""
    empty_room.loaded(loaded_of(typist.type("one "), typist.type("two "), typist.type("three ")))
    return empty_room


def join(room: Room, role: Role = Role.EDITOR) -> Member:
    """Attach a member, and forget its welcome."""
    member = Member(role)
    room.attach(member)
    member.taken()
    return member


# Joining


def test_an_editor_is_asked_for_what_the_log_lacks(room: Room, typist: Typist) -> None:
    member = Member()
    room.attach(member)
    (asked,) = member.taken()
    assert isinstance(asked, SyncStep1)
    assert parse_state_vector(asked.state_vector) == parse_state_vector(typist.doc.get_state())


def test_a_viewer_is_not_asked(room: Room) -> None:
    viewer = Member(Role.VIEWER)
    room.attach(viewer)
    assert viewer.taken() == []


def test_a_joiner_is_shown_who_is_there(room: Room) -> None:
    room.receive(join(room), Present(awareness.encode([awareness.State(1, 1, HERE)]), introduces=True))
    viewer = Member(Role.VIEWER)
    room.attach(viewer)
    assert viewer.taken() == [Awareness(awareness.encode([awareness.State(1, 1, HERE)]))]


@pytest.mark.parametrize("update", [b"", b"\x01\x07\x01\x01{", awareness.encode([awareness.State(7, 1, b"[1]")])])
def test_G6_who_says_presence_that_is_none_is_turned_away_for_good(room: Room, update: bytes) -> None:
    member = join(room, Role.VIEWER)
    room.receive(member, Present(update, introduces=False))
    assert [code for code, _ in member.closed] == [CloseCode.MALFORMED]


async def test_G7_what_many_lack_of_a_large_board_is_cut_once_and_elsewhere(
    empty_room: Room, shell: Shell, typist: Typist, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed = [typist.type(f"{number} ") for number in range(9)]
    vector, base = fold(EMPTY_UPDATE, typed[:3]).state_vector, fold(EMPTY_UPDATE, typed).state
    empty_room.loaded(loaded_of(base))
    monkeypatch.setattr(board_state, "READ_HERE_BYTES_MAX", 10)
    await asyncio.gather(*(empty_room.prepare(vector) for _ in range(5)), empty_room.prepare(EMPTY_STATE_VECTOR))
    assert shell.differences == 1
    monkeypatch.delattr(board_state, "difference")
    member = join(empty_room, Role.VIEWER)
    empty_room.receive(member, SendState(vector))
    assert member.taken() == [SyncStep2(difference(base, vector))]


async def test_what_cannot_be_cut_elsewhere_is_cut_here(
    empty_room: Room, shell: Shell, typist: Typist, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(board_state, "READ_HERE_BYTES_MAX", 10)
    typed = [typist.type(f"{number} ") for number in range(9)]
    vector, base = fold(EMPTY_UPDATE, typed[:3]).state_vector, fold(EMPTY_UPDATE, typed).state
    empty_room.loaded(loaded_of(base))
    shell.is_failing = True
    await empty_room.prepare(vector)
    member = join(empty_room, Role.VIEWER)
    empty_room.receive(member, SendState(vector))
    assert member.taken() == [SyncStep2(difference(base, vector))]


def test_those_who_join_while_much_waits_share_its_frames_and_are_synced_at_the_end(
    room: Room, typist: Typist, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room_module, "TAIL_UPDATES_MIN", 1)
    for number in range(3):
        ann, bob = join(room, Role.VIEWER), join(room, Role.VIEWER)
        for member in (ann, bob):
            member.frames.clear()
            room.receive(member, SendState(EMPTY_STATE_VECTOR))
        assert [*map(id, ann.frames[1:-1])] == [*map(id, bob.frames[1:-1])]
        *first, last = ann.taken()
        assert all(isinstance(message, Update) for message in first)
        assert last == SyncStep2(EMPTY_UPDATE)
        assert text_of(updates_in(first)) == str(typist.text)
        room.entries([entry(typist.type(f"more {number}"))])


def test_G2_frames_of_a_state_are_not_those_of_the_state_loaded_after_it(
    room: Room, typist: Typist, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loaded anew on the same snapshot, a log may have other updates, as many as it had before."""
    monkeypatch.setattr(room_module, "TAIL_UPDATES_MIN", 1)
    before, after = [typist.type("old "), typist.type("older ")], [typist.type("new "), typist.type("newer ")]
    base = b"\x00\x00"
    for updates in (before, [*before, *after][1:3]):
        room.loaded(loaded_of(base, *updates))
        member = join(room, Role.VIEWER)
        room.receive(member, SendState(EMPTY_STATE_VECTOR))
        assert updates_in(member.taken()) == [base, *updates, EMPTY_UPDATE]


def test_the_answer_to_a_client_ends_with_the_sync_step_2(room: Room) -> None:
    member = join(room, Role.VIEWER)
    room.receive(member, SendState(EMPTY_STATE_VECTOR))
    *first, last = member.taken()
    assert all(isinstance(message, Update) for message in first)
    assert isinstance(last, SyncStep2)
    assert text_of(updates_in([*first, last])) == "one two three "
    assert member.state_frames == len(first) + 1, "it may be larger than what may otherwise wait for a client"


def test_an_empty_board_answers_with_a_sync_step_2_too(empty_room: Room) -> None:
    empty_room.loaded(loaded_of(EMPTY_UPDATE))
    member = join(empty_room)
    empty_room.receive(member, SendState(EMPTY_STATE_VECTOR))
    assert member.taken() == [SyncStep2(EMPTY_UPDATE)]


def test_the_answer_goes_to_who_asked(room: Room) -> None:
    member, other = join(room), join(room)
    room.receive(member, SendState(EMPTY_STATE_VECTOR))
    assert member.taken()
    assert other.taken() == []


def test_a_joiner_misses_nothing_between_its_attachment_and_its_question(room: Room, typist: Typist) -> None:
    """G2: whichever comes first, an entry is in the answer or follows it."""
    member = join(room)
    room.entries([entry(typist.type("four "))])
    room.receive(member, SendState(EMPTY_STATE_VECTOR))
    room.entries([entry(typist.type("five "))])
    room.flush()
    assert text_of(updates_in(member.taken())) == "one two three four five "


def test_what_comes_soon_after_a_fan_out_waits_for_more(room: Room, shell: Shell, typist: Typist) -> None:
    """To write to a member costs the same whatever is in it: a large room's members get several entries at once."""
    members = [join(room) for _ in range(100)]
    room.entries([entry(typist.type("four "))])
    assert all(len(updates_in(member.taken())) == 1 for member in members), "the first goes at once"
    timers = len(shell.timers)
    room.entries([entry(typist.type("five "))])
    room.entries([entry(typist.type("six "))])
    assert all(member.taken() == [] for member in members)
    (timer,) = shell.timers[timers:]
    assert timer.seconds == pytest.approx(100 * PAUSE_SECONDS_PER_MEMBER)
    timer.callback()
    assert all(len(updates_in(member.taken())) == 2 for member in members)


# Changes


def test_a_members_change_goes_to_the_log_and_to_nobody_else(room: Room, typist: Typist) -> None:
    author, other = join(room), join(room)
    change = typist.type("four ")
    room.receive(author, Append(change))
    assert author.appended == [change]
    assert not [*author.taken(), *other.taken(), *other.appended], "G1: logged before seen"


def test_what_the_log_brings_reaches_all_members_the_author_included(room: Room, typist: Typist) -> None:
    members = [join(room), join(room), join(room, Role.VIEWER)]
    first, second, third = (typist.type(word) for word in ("four ", "five ", "six "))
    room.entries([entry(first, second), entry(third)])
    for member in members:
        assert member.taken() == [Update(first), Update(second), Update(third)]


def test_an_entry_without_updates_is_no_message(room: Room) -> None:
    member = join(room)
    room.entries([entry(kind=ANCHOR.kind)])
    room.entries([])
    assert member.taken() == []


def test_entries_of_which_none_could_be_read_stop_nothing_even_after_a_reload(room: Room, typist: Typist) -> None:
    """G6: the reader is handed an empty list then. An error here would end the node's only subscription."""
    member = join(room)
    room.loaded(loaded_of(typist.doc.get_update()))
    room.entries([])
    member.taken()
    room.entries([entry(typist.type("four "))])
    assert len(updates_in(member.taken())) == 1


def test_a_change_that_the_log_brought_is_in_the_state(room: Room, typist: Typist) -> None:
    room.entries([entry(typist.type("four "))])
    member = join(room)
    room.receive(member, SendState(EMPTY_STATE_VECTOR))
    assert text_of(updates_in(member.taken())) == "one two three four "


def test_a_room_says_when_its_state_has_grown_long(room: Room, typist: Typist, monkeypatch: pytest.MonkeyPatch) -> None:
    changes: list[None] = []
    room.on_change = lambda: changes.append(None)
    monkeypatch.setattr(board_state, "FOLD_UPDATES", 4)
    room.entries([entry(typist.type("four "))])
    assert changes == []
    room.entries([entry(typist.type("five "))])
    assert changes == [None]


# What clients know better: echoes are dropped (L12), after a loss the log is refilled (L5)


def test_the_echo_of_a_client_in_sync_is_dropped(room: Room, typist: Typist) -> None:
    before = typist.doc.get_state()
    del typist.text[0:2]
    room.entries([entry(typist.doc.get_update(before))])
    member = Member()
    room.attach(member)
    (asked,) = member.taken()
    assert isinstance(asked, SyncStep1)
    echo = typist.answer(asked)
    assert not echo.ranges.is_empty
    room.receive(member, echo)
    assert member.appended == []
    assert member.dropped == 1, "a drop is acknowledged too (L11)"


@pytest.mark.parametrize("has_more", ["content", "deletions"])
def test_what_a_client_kept_back_is_logged(room: Room, typist: Typist, has_more: str) -> None:
    if has_more == "content":
        typist.type("offline ")
    else:
        del typist.text[0:2]
    member = Member()
    room.attach(member)
    (asked,) = member.taken()
    assert isinstance(asked, SyncStep1)
    refill = typist.answer(asked)
    room.receive(member, refill)
    assert member.appended == [refill.update]
    assert member.dropped == 0


def test_a_reload_sends_members_what_they_lack_and_then_asks_one_editor(room: Room, typist: Typist) -> None:
    known = typist.doc.get_update()
    viewer, ann, bob = join(room, Role.VIEWER), join(room), join(room)
    other = Typist(2)
    room.loaded(loaded_of(fold(known, [other.type("elsewhere ")]).state))
    for member in (viewer, ann, bob):
        *updates, last = heard = member.taken()
        if member is ann:
            assert isinstance(last, SyncStep1), "asked after it was sent, by what is left to ask for"
            assert set(parse_state_vector(last.state_vector)) == {1, 2}
            heard = updates
        assert heard
        assert all(isinstance(message, Update) for message in heard)
        assert "elsewhere " in text_of([known, *updates_in(heard)])
        assert member.state_frames == len(heard)


def test_after_a_loss_one_editor_refills_the_log_before_the_others_are_asked(room: Room, typist: Typist) -> None:
    before = typist.doc.get_state()
    ann, bob, viewer = join(room), join(room), join(room, Role.VIEWER)
    kept = typist.type("lost ")
    room.entries([entry(kept)])
    for member in (ann, bob, viewer):
        member.taken()

    room.loaded(loaded_of(Doc(client_id=9).get_update()))  # nothing is left
    asked = ann.taken()[-1]
    assert isinstance(asked, SyncStep1)
    assert parse_state_vector(asked.state_vector) == {}
    assert not any(isinstance(message, SyncStep1) for message in bob.taken())

    refill = typist.answer(asked)
    room.receive(ann, refill)
    assert ann.appended == [refill.update]
    logged = entry(refill.update)
    room.logged(ann, logged.cursor)
    assert not any(isinstance(message, SyncStep1) for message in bob.taken())
    room.entries([logged])
    question = bob.taken()[-1]
    assert isinstance(question, SyncStep1)
    assert parse_state_vector(question.state_vector) == parse_state_vector(typist.doc.get_state())
    assert parse_state_vector(before) != parse_state_vector(question.state_vector)
    room.receive(bob, typist.answer(question))
    assert bob.appended == [], "what the first brought is not brought again"
    assert not any(isinstance(message, SyncStep1) for message in viewer.taken())


def test_when_the_first_has_nothing_the_others_are_asked_at_once(room: Room, typist: Typist) -> None:
    before = typist.doc.get_state()
    del typist.text[0:2]
    room.entries([entry(typist.doc.get_update(before))])
    ann, bob = join(room), join(room)
    room.loaded(loaded_of(typist.doc.get_update()))
    asked = ann.taken()[-1]
    assert isinstance(asked, SyncStep1)
    bob.taken()
    room.receive(ann, typist.answer(asked))
    assert ann.appended == []
    assert [type(message) for message in bob.taken()] == [SyncStep1]


def test_an_empty_answer_lets_the_others_be_asked_at_once(room: Room) -> None:
    ann, bob = join(room), join(room)
    room.loaded(loaded_of(EMPTY_UPDATE))
    bob.taken()
    room.receive(ann, Refill(EMPTY_UPDATE, validate(EMPTY_UPDATE)))
    assert ann.appended == []
    assert [type(message) for message in bob.taken()] == [SyncStep1]


def test_an_answer_with_too_many_ranges_to_compare_is_logged(room: Room) -> None:
    """That costs an append that may say nothing new, never an edit (L12)."""
    ann = join(room)
    room.receive(ann, Refill(EMPTY_UPDATE, None))
    assert ann.appended == [EMPTY_UPDATE]


def test_when_the_asked_one_leaves_the_next_is_asked(room: Room) -> None:
    ann, bob = join(room), join(room)
    room.loaded(loaded_of(EMPTY_UPDATE))
    bob.taken()
    room.detach(ann)
    assert [type(message) for message in bob.taken()] == [SyncStep1]


def test_G4_what_a_room_had_and_the_log_has_lost_goes_back_though_nobody_is_here(
    room: Room, shell: Shell, typist: Typist
) -> None:
    room.entries([entry(typist.type("four "))])
    room.loaded(loaded_of(EMPTY_UPDATE))
    assert shell.appended == [], "not at once: other nodes have it too"
    shell.timers[-1].callback()
    assert text_of(shell.appended) == "one two three four "


def test_G4_what_an_editor_has_brought_back_is_not_brought_again(room: Room, shell: Shell, typist: Typist) -> None:
    ann = join(room)
    room.loaded(loaded_of(EMPTY_UPDATE))
    rebuild = shell.timers[-1]
    asked = ann.taken()[-1]
    assert isinstance(asked, SyncStep1)
    room.entries([entry(typist.answer(asked).update)])
    rebuild.callback()
    assert shell.appended == []


def test_G4_a_room_that_closes_gives_back_what_it_had_at_once(room: Room, shell: Shell, typist: Typist) -> None:
    room.loaded(loaded_of(EMPTY_UPDATE))
    room.close()
    assert text_of(shell.appended) == "one two three "


def test_the_first_load_and_one_without_members_ask_nobody(room: Room, shell: Shell, typist: Typist) -> None:
    room.loaded(loaded_of(typist.doc.get_update()))
    assert shell.published == []
    member = join(room)
    assert member.taken() == []


def test_every_load_is_announced(empty_room: Room) -> None:
    changes: list[None] = []
    empty_room.on_change = lambda: changes.append(None)
    empty_room.loaded(loaded_of(EMPTY_UPDATE))
    empty_room.loaded(loaded_of(EMPTY_UPDATE))
    assert changes == [None, None]


# What clients are told to be saved


def test_L11_a_change_that_says_nothing_is_counted_and_not_logged(room: Room) -> None:
    member = join(room)
    room.receive(member, Drop())
    assert (member.dropped, member.appended) == (1, [])


def test_L11_editors_hear_of_a_loss_before_they_are_asked_and_viewers_do_not(room: Room, typist: Typist) -> None:
    """A viewer has nothing to save; it is not asked (L13), so nothing could ever end its doubt."""
    ann, bob, viewer = join(room), join(room), join(room, Role.VIEWER)
    room.loaded(loaded_of(typist.doc.get_update()))
    assert isinstance(ann.taken()[-1], SyncStep1)
    assert (ann.unsaved_after, bob.unsaved_after, viewer.unsaved_after) == ([[]], [[]], [])


def test_L11_joining_is_no_loss(room: Room) -> None:
    member = join(room)
    room.receive(member, TellSaved())
    assert (member.hellos, member.unsaved_after, member.taken()) == (1, [], [])


def test_L11_who_begins_to_listen_after_a_loss_is_told_of_it_and_asked_again(room: Room, typist: Typist) -> None:
    """What it sent before was counted, may be lost, and its answer after the loss stood for nothing that it knew of."""
    late = join(room)
    room.loaded(loaded_of(typist.doc.get_update()))
    newcomer = join(room)
    late.taken()
    room.receive(late, TellSaved())
    room.receive(newcomer, TellSaved())
    assert len(late.unsaved_after) == 2
    assert [type(message) for message in late.taken()] == [SyncStep1]
    assert (newcomer.unsaved_after, newcomer.taken()) == ([], [])
    room.receive(late, TellSaved())
    assert late.taken() == [], "once: it has been told of everything since"


# Presence, closing


def test_presence_goes_to_all_and_a_query_is_answered(room: Room, shell: Shell) -> None:
    ann, bob = join(room), join(room)
    here = Awareness(awareness.encode([awareness.State(1, 1, HERE)]))
    room.receive(ann, Present(awareness.encode([awareness.State(1, 1, HERE)]), introduces=True))
    shell.timers[-1].callback()
    assert bob.taken() == [here]
    assert ann.taken() == []
    assert len(shell.published) == 1
    room.receive(bob, SendAwareness())
    assert bob.taken() == [here]
    assert ann.taken() == []


def test_bad_input_closes_its_sender_alone(room: Room) -> None:
    ann, bob = join(room), join(room)
    room.receive(ann, Close(CloseCode.MALFORMED, "Why."))
    assert ann.closed == [(CloseCode.MALFORMED, "Why.")]
    assert bob.closed == []


def test_who_left_gets_nothing_more_and_leaving_twice_is_harmless(room: Room, shell: Shell, typist: Typist) -> None:
    ann, bob = join(room), join(room)
    room.receive(ann, Present(awareness.encode([awareness.State(1, 1, HERE)]), introduces=True))
    room.detach(ann)
    room.detach(ann)
    room.detach(Member())
    room.entries([entry(typist.type("four "))])
    shell.timers[-1].callback()
    assert ann.taken() == []
    assert list(room.members) == [bob]
    *changes, presence = bob.taken()
    assert len(changes) == 1
    assert presence == Awareness(awareness.encode([awareness.State(1, 1, GONE)]))
    room.detach(bob)
    room.entries([entry(typist.type("five "))])
    assert room.members == {}


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (BoardNotFound("There is no board."), CloseCode.NO_SUCH_BOARD),
        (StorageUnavailable("Redis did not answer: try again."), CloseCode.TRY_AGAIN),
        (BoardLogError("Something else."), CloseCode.TRY_AGAIN),
    ],
)
def test_a_failed_room_closes_all_its_members_with_the_right_code(
    room: Room, error: BoardLogError, code: CloseCode
) -> None:
    members = [join(room), join(room, Role.VIEWER)]
    changes: list[None] = []
    room.on_change = lambda: changes.append(None)
    room.failed(error)
    for member in members:
        ((closed, reason),) = member.closed
        assert closed is code
        assert reason.endswith(".")
    assert room.error is error
    assert changes == [None]


def test_a_closed_room_has_no_timers(room: Room, shell: Shell) -> None:
    ann = join(room)
    room.receive(ann, Present(awareness.encode([awareness.State(1, 1, HERE)]), introduces=True))
    room.loaded(loaded_of(EMPTY_UPDATE))
    room.close()
    assert all(timer.is_cancelled for timer in shell.timers)
    assert shell.appended, "but for what only this room had (G4)"


def test_a_room_that_was_never_loaded_says_so(empty_room: Room) -> None:
    with pytest.raises(RuntimeError):
        empty_room.attach(Member())


def test_a_closed_room_is_freed_at_once_with_its_board(shell: Shell) -> None:
    """The collector of cycles comes seldom, and a board may have 64 MB."""
    room = Room(BOARD, "node", shell)
    room.loaded(loaded_of(EMPTY_UPDATE))
    kept = weakref.ref(room)
    room.close()
    gc.disable()
    try:
        del room
        assert kept() is None
    finally:
        gc.enable()
