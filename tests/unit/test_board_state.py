"""A board's state as bytes: what a client lacks of it, and what it is known to hold.

Boards are made by several authors who type, delete and overwrite, each seeing the others late. What a set of updates
says is compared after folding it, since a Doc loses track of what comes before its time.
"""

import random
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import pytest
from pycrdt import Array, Doc, Map, Text

from boardlog import board_state
from boardlog.board_state import BoardState
from boardlog.coverage import read_state
from boardlog.links import Links, Ranges
from boardlog.merge import EMPTY_STATE_VECTOR, EMPTY_UPDATE, difference, fold, parse_state_vector
from boardlog.update import dissect, validate

SEEDS = range(40)


class Author:
    """One client that edits, and the updates it sends."""

    def __init__(self, client: int) -> None:
        self.doc: Doc[Any] = Doc(client_id=client)
        self.text = self.doc.get("text", type=Text)
        self.map = self.doc.get("map", type=Map)
        self.list = self.doc.get("list", type=Array)
        self.sent: list[bytes] = []
        self.heard = 0

    def edit(self, chance: random.Random) -> bytes:
        before = self.doc.get_state()
        updates: list[bytes] = []
        subscription = self.doc.observe(lambda event: updates.append(event.update))
        size = len(self.text)
        match chance.randrange(5):
            case 0:
                self.text.insert(chance.randrange(size + 1), chance.choice(["a", "longer words ", "bc"]))
            case 1 if size:
                begin = chance.randrange(size)
                del self.text[begin : min(size, begin + chance.randrange(1, 8))]
            case 2 if len(self.list):
                del self.list[chance.randrange(len(self.list))]
            case 3:
                self.list.append(chance.randrange(1000))
            case _:
                self.map[chance.choice("klm")] = chance.choice([1, "value", [1, {"x": None}]])
        self.doc.unobserve(subscription)
        assert len(updates) == 1 or self.doc.get_state() == before
        return updates[0] if updates else EMPTY_UPDATE


def make_log(chance: random.Random, length: int) -> list[bytes]:
    """Return a log in which every update stands behind all that it depends on."""
    authors = [Author(client) for client in (1, 200, 70_000)]
    log: list[bytes] = []
    while len(log) < length:
        author = chance.choice(authors)
        if chance.random() < 0.5:
            for update in log[author.heard :]:
                author.doc.apply_update(update)
            author.heard = len(log)
        update = author.edit(chance)
        if update != EMPTY_UPDATE:
            log.append(update)
    return log


def shuffled(chance: random.Random, log: Sequence[bytes]) -> list[bytes]:
    """Return the updates in another order, and perhaps not all of them: gaps, and deletions before what they delete."""
    some = list(log)
    for _ in range(chance.randrange(4)):
        some.insert(chance.randrange(len(some) + 1), some.pop(chance.randrange(len(some))))
    if chance.random() < 0.5:
        del some[chance.randrange(len(some))]
    return some


def folded(updates: Sequence[bytes]) -> bytes:
    return fold(EMPTY_UPDATE, updates).state


def make_state(chance: random.Random, log: Sequence[bytes]) -> BoardState:
    """Return a state with this log, of which a part may be folded, at the beginning or meanwhile."""
    snapshot, later = (chance.randrange(len(log) + 1) for _ in range(2))
    state = BoardState(folded(log[:snapshot]), log[snapshot:later])
    if chance.random() < 0.5:
        state.state_vector()  # what is computed now must not stay when more comes
    state.add(log[max(snapshot, later) :])
    if chance.random() < 0.5:
        base, updates = state.parts()
        count = chance.randrange(len(updates) + 1)
        state.folded(fold(base, updates[:count]).state, count)
    return state


Units = set[tuple[int, int]]


def units(ranges: Ranges) -> tuple[Units, Units]:
    """Return every clock of content, and every clock that is deleted, one by one."""

    def of(intervals: dict[int, list[tuple[int, int]]]) -> Units:
        return {(client, at) for client, some in intervals.items() for begin, end in some for at in range(begin, end)}

    return of(ranges.structs), of(ranges.deletes)


def units_in(updates: Iterable[bytes]) -> tuple[Units, Units]:
    content: Units = set()
    deleted: Units = set()
    for update in updates:
        more, gone = units(validate(update))
        content |= more
        deleted |= gone
    return content, deleted


def meaning(updates: Sequence[bytes]) -> tuple[Any, ...]:
    """Return all that some updates say together: what is seen, what waits, and what is deleted."""
    whole = fold(EMPTY_UPDATE, updates)
    assert whole.rejected == []
    doc: Doc[Any] = Doc()
    text, board, items = doc.get("text", type=Text), doc.get("map", type=Map), doc.get("list", type=Array)
    doc.apply_update(whole.state)
    seen = str(text), board.to_py(), items.to_py()
    return seen, parse_state_vector(whole.state_vector), units_in([whole.state])


def vector_of(updates: Sequence[bytes]) -> bytes:
    return fold(EMPTY_UPDATE, updates).state_vector


@pytest.fixture(params=SEEDS)
def chance(request: pytest.FixtureRequest) -> random.Random:
    return random.Random(request.param)


# What a client lacks (G2)


def test_a_client_with_any_part_of_the_log_gets_all_of_it(chance: random.Random) -> None:
    log = shuffled(chance, make_log(chance, 30))
    state = make_state(chance, log)
    whole = meaning(log)
    for _ in range(6):
        has = log[: chance.randrange(len(log) + 1)]
        if chance.random() < 0.3:
            has = [update for update in log if chance.random() < 0.7]
        assert meaning([*has, *state.lacking(vector_of(has))]) == whole


def test_a_live_document_with_any_prefix_ends_as_one_that_got_everything(chance: random.Random) -> None:
    log = make_log(chance, 30)
    state = make_state(chance, log)
    complete: Doc[Any] = Doc()
    for update in log:
        complete.apply_update(update)
    for length in (0, 1, chance.randrange(len(log)), len(log)):
        doc: Doc[Any] = Doc()
        text, board, items = doc.get("text", type=Text), doc.get("map", type=Map), doc.get("list", type=Array)
        for update in log[:length]:
            doc.apply_update(update)
        for update in state.lacking(doc.get_state()):
            doc.apply_update(update)
        assert parse_state_vector(doc.get_state()) == parse_state_vector(complete.get_state())
        assert str(text) == str(complete.get("text", type=Text))
        assert board.to_py() == complete.get("map", type=Map).to_py()
        assert items.to_py() == complete.get("list", type=Array).to_py()


def test_a_client_with_work_of_its_own_gets_what_it_lacks(chance: random.Random) -> None:
    log = make_log(chance, 20)
    state = make_state(chance, log)
    has = log[: chance.randrange(len(log))]
    offline = Author(999)
    for update in has:
        offline.doc.apply_update(update)
    own = [offline.edit(chance) for _ in range(3)]
    has = [*has, *own]
    assert meaning([*has, *state.lacking(offline.doc.get_state())]) == meaning([*log, *own])


def test_a_client_that_has_everything_is_not_sent_it_again() -> None:
    """The cost is that of what was missed and of the deletions, not of the board."""
    doc: Doc[Any] = Doc(client_id=1)
    text = doc.get("text", type=Text)
    text += "x" * 100_000
    del text[5:6]
    state = BoardState(doc.get_update(), [])
    assert sum(map(len, state.lacking(doc.get_state()))) < 100
    assert units_in(state.lacking(doc.get_state()))[1] == {(1, 5)}
    before = doc.get_state()
    text += "news"
    state.add([doc.get_update(before)])
    assert sum(map(len, state.lacking(before))) < 200
    assert sum(map(len, state.lacking(EMPTY_STATE_VECTOR))) > 100_000


def test_what_waits_for_its_dependencies_is_sent_too() -> None:
    author = Author(1)
    chance = random.Random(3)
    log = [update for update in (author.edit(chance) for _ in range(20)) if update != EMPTY_UPDATE]
    with_gap = [*log[:5], *log[6:]]
    for state in (BoardState(folded(with_gap), []), BoardState(EMPTY_UPDATE, with_gap)):
        for has in ([], log[:3], log[:5], with_gap):
            got = [*has, *state.lacking(vector_of(has))]
            assert meaning([*got, log[5]]) == meaning(log), "nothing was dropped: the missing update completes it"


def test_an_empty_board_lacks_nothing() -> None:
    state = BoardState(EMPTY_UPDATE, [])
    for vector in (EMPTY_STATE_VECTOR, b"\x01\x07\x05"):
        assert meaning(state.lacking(vector)) == meaning([])
    assert parse_state_vector(state.state_vector()) == {}


@pytest.mark.parametrize("spelling", [b"\x80\x00", b"\x80\x80\x00"])
def test_a_vector_of_nothing_is_nothing_however_it_is_spelled(spelling: bytes) -> None:
    log = make_log(random.Random(5), 20)
    for state in (BoardState(folded(log), []), BoardState(EMPTY_UPDATE, log), BoardState(folded(log[:9]), log[9:])):
        assert meaning(state.lacking(spelling)) == meaning(log)


def test_members_of_an_earlier_state_get_what_they_lack_of_a_later_one(chance: random.Random) -> None:
    """L5: a reload, after which either may have what the other has not."""
    log = shuffled(chance, make_log(chance, 30))
    earlier_log = [update for update in log if chance.random() < 0.8]
    later_log = [update for update in log if chance.random() < 0.8]
    if not earlier_log or not later_log:
        return
    earlier, later = make_state(chance, earlier_log), make_state(chance, later_log)
    sent = later.lacking_after(earlier)
    assert meaning([*earlier_log, *sent]) == meaning([*earlier_log, *later_log])


# Those who come back


def grown(chance: random.Random, folds: int) -> tuple[BoardState, list[bytes], list[bytes]]:
    """Return a state that was folded several times while it grew, its log, and who had what before each fold."""
    log = make_log(chance, 20 * (folds + 1))
    state = BoardState(folded(log[:20]), [])
    state.state_vector()  # somebody was here
    vectors = []
    for begin in range(20, len(log), 20):
        vectors.append(vector_of(log[:begin]))
        state.add(log[begin : begin + 20])
        base, updates = state.parts()
        new = fold(base, updates)
        state.folded(new.state, len(updates), read=read_state(new.state))
    return state, log, vectors


def test_who_left_before_a_fold_gets_what_was_folded_since_and_not_a_piece_of_the_board(
    chance: random.Random, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, log, vectors = grown(chance, folds=4)
    monkeypatch.delattr(board_state, "difference")  # which reads all of the base
    whole = meaning(log)
    for place, vector in enumerate(vectors):
        missed = log[20 * (place + 1) :]
        sent = state.lacking(vector)
        assert set(missed) < set(sent)
        assert len(sent) == len(missed) + 1, "and all deletions"
        assert meaning([*log[: 20 * (place + 1)], *sent]) == whole


@pytest.mark.parametrize("seed", SEEDS)
def test_what_waits_reaches_who_comes_back_after_several_folds(seed: int) -> None:
    chance = random.Random(seed)
    log = shuffled(chance, make_log(chance, 60))
    state = BoardState(EMPTY_UPDATE, [])
    marks = []
    for begin in range(0, len(log), 10):
        state.add(log[begin : begin + 10])
        if chance.random() < 0.6:
            state.state_vector()  # else nobody asked between two folds
        marks.append(begin + 10)
        base, updates = state.parts()
        count = chance.randrange(len(updates) + 1)
        state.folded(fold(base, updates[:count]).state, count)
    for mark in marks:
        assert meaning([*log[:mark], *state.lacking(vector_of(log[:mark]))]) == meaning(log)


def test_what_is_kept_for_those_who_come_back_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    def kept(state: BoardState) -> int:
        return sum(len(update) for fold in state._lately for update in fold.updates)

    monkeypatch.setattr(board_state, "LATELY_BYTES_MAX", 400)
    state, log, vectors = grown(random.Random(1), folds=12)
    assert 0 < kept(state) <= max(400, len(state.parts()[0]) // 4)
    assert meaning([*log[:20], *state.lacking(vectors[0])]) == meaning(log)
    monkeypatch.setattr(board_state, "LATELY_BYTES_MAX", 10**6)
    state, *_ = grown(random.Random(1), folds=12)
    assert kept(state) == sum(map(len, log[-20 * board_state.LATELY_MAX :]))


def test_what_could_not_be_folded_is_not_sent_to_those_who_come_back() -> None:
    log = make_log(random.Random(3), 20)
    state = BoardState(folded(log[:10]), [])
    state.state_vector()
    state.add([*log[10:15], b"rubbish", *log[15:]])
    base, updates = state.parts()
    new = fold(base, updates)
    state.folded(new.state, len(updates), rejected=new.rejected)
    sent = state.lacking(vector_of(log[:10]))
    assert b"rubbish" not in sent
    assert meaning([*log[:10], *sent]) == meaning(log)


def test_G7_a_large_base_is_read_and_cut_elsewhere(chance: random.Random, monkeypatch: pytest.MonkeyPatch) -> None:
    log = make_log(chance, 30)
    state = BoardState(folded(log[:20]), log[20:])
    assert not state.is_unread, "a small one is read when it is asked for"
    monkeypatch.setattr(board_state, "READ_HERE_BYTES_MAX", 10)
    assert state.is_unread
    base, _ = state.parts()
    state.know(read_state(base))
    monkeypatch.delattr(board_state, "read_state")
    assert not state.is_unread
    has = vector_of(log[:9])
    assert state.to_differ(EMPTY_STATE_VECTOR) is None, "who has nothing gets all of it"
    assert state.to_differ(vector_of(log)) is None, "who has the base lacks nothing of it"
    assert state.to_differ(has) is base
    state.differs(base, has, difference(base, has))
    monkeypatch.delattr(board_state, "difference")
    assert state.to_differ(has) is None
    assert meaning([*log[:9], *state.lacking(has)]) == meaning(log)
    state.folded(folded(log), 10, read=read_state(folded(log)))
    state.differs(base, has, EMPTY_UPDATE)  # it comes too late
    assert state.to_differ(has) is not None or meaning([*log[:9], *state.lacking(has)]) == meaning(log)


def test_G7_updates_are_read_in_pieces(chance: random.Random, monkeypatch: pytest.MonkeyPatch) -> None:
    log = make_log(chance, 30)
    state = BoardState(folded(log[:5]), log[5:])
    monkeypatch.setattr(board_state, "COVER_UPDATES_MAX", 7)
    left = []
    while state.uncovered:
        state.cover_some()
        left.append(state.uncovered)
    assert left == [18, 11, 4, 0]
    assert parse_state_vector(state.state_vector()) == parse_state_vector(vector_of(log))


# What is known to be here


def test_the_vector_claims_nothing_that_is_not_here_and_all_that_is_without_a_gap(chance: random.Random) -> None:
    log = shuffled(chance, make_log(chance, 30))
    content, _ = units_in(log)
    vector = parse_state_vector(make_state(chance, log).state_vector())
    for client in {client for client, _ in content}:
        clock = vector.get(client, 0)
        assert all((client, at) in content for at in range(clock))
        assert (client, clock) not in content, "what is here need not be sent again"


def test_a_client_that_answers_by_the_vector_keeps_nothing_back(chance: random.Random) -> None:
    log = make_log(chance, 30)
    lost = [update for update in log if chance.random() < 0.8]
    if not lost:
        return
    state = make_state(chance, lost)
    browser: Doc[Any] = Doc()
    for update in log:
        browser.apply_update(update)
    assert meaning([*lost, browser.get_update(state.state_vector())]) == meaning(log)


def test_nothing_is_covered_that_is_not_here_and_everything_that_came_is(chance: random.Random) -> None:
    """Deletions that follow from others, when two set one key at a time, are here too once they were folded."""
    log = shuffled(chance, make_log(chance, 40))
    here = [update for update in log if chance.random() < 0.7] or log[:1]
    state = make_state(chance, here)
    content, deleted = units_in(here)
    at_most_deleted = deleted | units_in([folded(here)])[1]
    outcomes = set()
    candidates = [*log, *(folded(log[begin:end]) for begin, end in pairwise(range(0, len(log), 7)))]
    for candidate in [*candidates, *(folded([update]) for update in here)]:
        ranges = validate(candidate)
        has, deletes = units(ranges)
        is_covered = state.covers(ranges)
        if is_covered:
            assert has <= content
            assert deletes <= at_most_deleted
        elif has <= content:
            assert not deletes <= deleted
        outcomes.add(is_covered)
    assert True in outcomes


def test_the_echo_of_a_client_in_sync_is_covered_or_logged_once(chance: random.Random) -> None:
    """L12: once anything was deleted it is never empty, and every join would append it.

    A browser also tells what follows from two who set one key at a time. That is news, but only once.
    """
    log = make_log(chance, 40)
    state = make_state(chance, log)
    browser: Doc[Any] = Doc()
    for update in log:
        browser.apply_update(update)
    implied = units_in([browser.get_update()])[1] - units_in(log)[1]
    echo = browser.get_update(state.state_vector())
    assert units_in([echo])[0] == set(), "content is not sent again at all"
    if not state.covers(validate(echo)):
        assert implied
        state.add([echo])
    assert state.covers(validate(browser.get_update(state.state_vector())))
    assert state.covers(validate(browser.get_update())), "whole, too"


def test_the_echo_of_deletions_is_covered() -> None:
    """L12, where nothing is implied: one author."""
    author = Author(1)
    chance = random.Random(1)
    log = [update for update in (author.edit(chance) for _ in range(60)) if update != EMPTY_UPDATE]
    for state in (BoardState(folded(log), []), BoardState(EMPTY_UPDATE, log), BoardState(folded(log[:9]), log[9:])):
        echo = author.doc.get_update(state.state_vector())
        assert units_in([echo])[1] == units_in(log)[1] != set()
        assert state.covers(validate(echo))


def test_a_deletion_that_is_not_here_is_not_covered() -> None:
    """Its content is, so that the vector says nothing of it."""
    author = Author(1)
    author.text.insert(0, "some text")
    content = author.doc.get_update()
    state = BoardState(content, [])
    del author.text[2:4]
    echo = author.doc.get_update(state.state_vector())
    assert not state.covers(validate(echo))
    state.add([echo])
    assert state.covers(validate(echo))
    del author.text[1:3]
    assert not state.covers(validate(author.doc.get_update(state.state_vector())))


def test_unreadable_bytes_cover_nothing_and_stop_nothing() -> None:
    log = make_log(random.Random(1), 10)
    state = BoardState(EMPTY_UPDATE, [*log[:5], b"rubbish", *log[5:]])
    assert state.covers(validate(folded(log)))


def test_every_update_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[bytes] = []

    def note(update: bytes, structs_max: int) -> tuple[Ranges, Links]:
        read.append(update)
        return dissect(update, structs_max)

    monkeypatch.setattr(board_state, "dissect", note)
    log = make_log(random.Random(4), 12)
    state = BoardState(folded(log[:3]), log[3:6])
    for begin in range(6, 12, 2):
        state.state_vector()
        state.add(log[begin : begin + 2])
        state.state_vector()
    assert read == log[3:]


@pytest.mark.parametrize("bound", ["EXACT_BYTES_MAX", "EXACT_STRUCTS_MAX"])
def test_L12_a_large_refill_counts_at_once_and_its_deletions_from_the_fold_on(
    bound: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To read all of it would hold the event loop for seconds (G7). Nobody else is asked for the same content again."""
    author = Author(7)
    author.text += "Hello world"
    del author.text[2:4]
    refill = author.doc.get_update()
    monkeypatch.setattr(board_state, bound, 1)
    state = BoardState(EMPTY_UPDATE, [])
    state.add([refill])
    assert parse_state_vector(state.state_vector()) == parse_state_vector(author.doc.get_state())
    assert not state.covers(validate(refill)), "that costs an append, never an edit"
    assert state.is_long
    base, updates = state.parts()
    state.folded(fold(base, updates).state, len(updates))
    assert state.covers(validate(refill))
    assert not state.is_long


# Folding


def test_folding_changes_nothing_that_anyone_sees(chance: random.Random) -> None:
    log = shuffled(chance, make_log(chance, 40))
    split = chance.randrange(len(log) + 1)
    plain, state = (BoardState(folded(log[:split]), log[split:]) for _ in range(2))
    if chance.random() < 0.5:
        state.state_vector()
    base, updates = state.parts()
    count = len(updates)
    late = log[:3]
    state.add(late)  # while it is folded elsewhere
    plain.add(late)
    state.folded(fold(base, updates).state, count)
    assert state.has_news
    assert list(state.parts()[1]) == late
    assert parse_state_vector(state.state_vector()) == parse_state_vector(plain.state_vector())
    for _ in range(4):
        has = [update for update in log if chance.random() < 0.6]
        vector = vector_of(has)
        assert meaning([*has, *state.lacking(vector)]) == meaning([*has, *plain.lacking(vector)]) == meaning(log)
    for update in log:
        assert state.covers(validate(update))
        assert plain.covers(validate(update))


def test_parts_are_a_copy_that_later_updates_do_not_reach() -> None:
    log = make_log(random.Random(2), 4)
    state = BoardState(EMPTY_UPDATE, log[:2])
    base, updates = state.parts()
    state.add(log[2:])
    assert (base, list(updates)) == (EMPTY_UPDATE, log[:2])


def test_the_size_is_that_of_all_bytes_held() -> None:
    log = make_log(random.Random(2), 10)
    state = BoardState(folded(log[:4]), log[4:6])
    state.add(log[6:])
    assert state.size_bytes == len(folded(log[:4])) + sum(map(len, log[4:]))
    assert state.has_news
    base, updates = state.parts()
    new = fold(base, updates).state
    state.folded(new, len(updates))
    assert state.size_bytes == len(new)
    assert state.has_news, "it is folded here, and stored nowhere: the board still has to be compacted"


def is_long(state: BoardState) -> bool:
    return state.is_long


def test_many_updates_or_many_bytes_make_a_state_long(monkeypatch: pytest.MonkeyPatch) -> None:
    state = BoardState(EMPTY_UPDATE, [EMPTY_UPDATE] * (board_state.FOLD_UPDATES - 1))
    assert not is_long(state)
    state.add([EMPTY_UPDATE])
    assert is_long(state)
    state.folded(EMPTY_UPDATE, board_state.FOLD_UPDATES)
    assert not is_long(state)

    monkeypatch.setattr(board_state, "FOLD_BYTES", 100)
    state = BoardState(EMPTY_UPDATE, [bytes(100)])
    assert not is_long(state)
    state.add([b"x"])
    assert is_long(state)
    assert not is_long(BoardState(bytes(200), [bytes(200)])), "a large base is not folded again for little"
    assert is_long(BoardState(bytes(200), [bytes(201)]))


def test_nothing_is_computed_before_somebody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new board, or one that only newcomers join, costs no more than its bytes."""

    monkeypatch.delattr(board_state, "read_state")
    log = make_log(random.Random(2), 10)
    state = BoardState(folded(log), [])
    state.add(log)
    assert state.lacking(EMPTY_STATE_VECTOR) == [folded(log), *log]


@pytest.mark.parametrize("seed", SEEDS)
def test_G4_what_a_state_lost_brings_it_back(seed: int) -> None:
    chance = random.Random(seed)
    log = make_log(chance, 40)
    folded = chance.randrange(len(log))
    earlier = BoardState(fold(EMPTY_UPDATE, log[:folded]).state, log[folded:])
    kept = [update for update in log if chance.random() < 0.7]
    left = chance.randrange(len(kept))
    later = BoardState(fold(EMPTY_UPDATE, kept[:left]).state, kept[left:])
    lost = earlier.lost_by(later)
    everything = fold(EMPTY_UPDATE, log)
    rebuilt = fold(later.parts()[0], [*later.parts()[1], *(update for update, _ in lost)])
    assert parse_state_vector(rebuilt.state_vector) == parse_state_vector(everything.state_vector)
    assert text_in(rebuilt.state) == text_in(everything.state)
    assert BoardState(rebuilt.state, []).covers(validate(everything.state))


def test_G4_nothing_is_brought_back_that_is_there() -> None:
    log = make_log(random.Random(1), 40)
    whole = BoardState(fold(EMPTY_UPDATE, log[:20]).state, log[20:])
    again = BoardState(fold(EMPTY_UPDATE, log[:30]).state, log[30:])
    assert whole.lost_by(again) == []


def text_in(state: bytes) -> str:
    doc: Doc[Any] = Doc()
    text = doc.get("text", type=Text)
    doc.apply_update(state)
    return str(text)
