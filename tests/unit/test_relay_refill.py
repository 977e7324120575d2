"""Asking editors for what the log lacks: one first, the others when its answer is in the log and delivered (L5)."""

from collections.abc import Callable

import pytest

from boardlog.ids import Cursor, EntryId, Tag
from relay.refill import ANSWER_SECONDS_MAX, Asking


def at(ms: int) -> Cursor:
    return Cursor(EntryId(ms, 0), Tag(f"tag{ms}"))


class Timer:
    def __init__(self, seconds: float, callback: Callable[[], None]) -> None:
        self.seconds = seconds
        self.is_cancelled = False
        self._callback = callback

    def cancel(self) -> None:
        self.is_cancelled = True

    def ring(self) -> None:
        assert not self.is_cancelled
        self._callback()


class Editor:
    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


class Round:
    """A round of asking, whom it asked so far, and its timers."""

    def __init__(self, *editors: Editor) -> None:
        self.asked: list[Editor] = []
        self.timers: list[Timer] = []
        self.asking = Asking(editors, self.asked.append, self._call_later)

    def _call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        self.timers.append(Timer(seconds, callback))
        return self.timers[-1]

    @property
    def running(self) -> list[Timer]:
        return [timer for timer in self.timers if not timer.is_cancelled]


ANN, BOB, CAT = Editor("Ann"), Editor("Bob"), Editor("Cat")


@pytest.fixture
def three() -> Round:
    return Round(ANN, BOB, CAT)


def test_one_editor_is_asked_first(three: Round) -> None:
    assert three.asked == [ANN]
    assert [timer.seconds for timer in three.running] == [ANSWER_SECONDS_MAX]


def test_nobody_to_ask_ends_the_round() -> None:
    empty = Round()
    assert empty.asked == []
    assert empty.running == []
    empty.asking.delivered([at(1)])
    empty.asking.stop()


def test_the_others_are_asked_once_the_answer_is_logged_and_delivered(three: Round) -> None:
    three.asking.answered(ANN, brings_news=True)
    assert three.asked == [ANN]
    three.asking.logged(ANN, at(5))
    assert three.asked == [ANN], "it is logged, but our state, by which they are asked, has it not yet"
    three.asking.delivered([at(4)])
    assert three.asked == [ANN]
    three.asking.delivered([at(5), at(6)])
    assert three.asked == [ANN, BOB, CAT]
    assert three.running == []


def test_the_tail_may_be_faster_than_the_reply(three: Round) -> None:
    three.asking.answered(ANN, brings_news=True)
    three.asking.delivered([at(4)])
    three.asking.delivered([at(5)])
    assert three.asked == [ANN]
    three.asking.logged(ANN, at(5))
    assert three.asked == [ANN, BOB, CAT]


def test_an_entry_between_does_not_hide_that_the_answer_was_delivered(three: Round) -> None:
    three.asking.answered(ANN, brings_news=True)
    three.asking.delivered([at(5), at(6), at(7)])
    three.asking.logged(ANN, at(5))
    assert three.asked == [ANN, BOB, CAT]


def test_an_answer_without_news_lets_the_others_be_asked_at_once(three: Round) -> None:
    three.asking.answered(ANN, brings_news=False)
    assert three.asked == [ANN, BOB, CAT]
    assert three.running == []


def test_what_the_asked_one_wrote_before_its_answer_does_not_count(three: Round) -> None:
    three.asking.logged(ANN, at(3))
    three.asking.delivered([at(3)])
    assert three.asked == [ANN]


def test_what_others_say_and_write_does_not_count(three: Round) -> None:
    three.asking.answered(BOB, brings_news=False)
    three.asking.answered(ANN, brings_news=True)
    three.asking.logged(BOB, at(3))
    three.asking.delivered([at(3)])
    assert three.asked == [ANN]


def test_a_cursor_is_an_entry_and_its_tag(three: Round) -> None:
    """An entry with the id of the answer, but another tag, is not the answer (L3)."""
    three.asking.answered(ANN, brings_news=True)
    three.asking.logged(ANN, at(5))
    three.asking.delivered([Cursor(EntryId(5, 0), Tag("other"))])
    assert three.asked == [ANN]


def test_when_the_asked_one_leaves_the_next_is_asked(three: Round) -> None:
    three.asking.left(ANN)
    assert three.asked == [ANN, BOB]
    assert len(three.running) == 1
    three.asking.answered(ANN, brings_news=False)
    assert three.asked == [ANN, BOB], "its late answer is not the answer"
    three.asking.answered(BOB, brings_news=False)
    assert three.asked == [ANN, BOB, CAT]


def test_the_answer_of_one_who_left_does_not_count_for_the_next(three: Round) -> None:
    three.asking.answered(ANN, brings_news=True)
    three.asking.left(ANN)
    three.asking.logged(BOB, at(3))
    three.asking.delivered([at(3)])
    assert three.asked == [ANN, BOB]


def test_who_waits_and_leaves_is_not_asked(three: Round) -> None:
    three.asking.left(BOB)
    three.asking.left(BOB)
    three.asking.answered(ANN, brings_news=False)
    assert three.asked == [ANN, CAT]


def test_who_never_answers_is_passed_over(three: Round) -> None:
    three.running[0].ring()
    assert three.asked == [ANN, BOB]
    three.running[-1].ring()
    assert three.asked == [ANN, BOB, CAT]
    three.running[-1].ring()
    assert three.asked == [ANN, BOB, CAT]
    three.asking.answered(CAT, brings_news=True)
    three.asking.logged(CAT, at(9))
    three.asking.delivered([at(9)])
    assert three.asked == [ANN, BOB, CAT], "the round is over"


def test_who_answers_but_whose_answer_is_never_logged_is_passed_over(three: Round) -> None:
    three.asking.answered(ANN, brings_news=True)
    three.running[0].ring()
    assert three.asked == [ANN, BOB]


def test_all_may_leave(three: Round) -> None:
    for editor in (CAT, ANN, BOB):
        three.asking.left(editor)
    assert three.asked == [ANN, BOB]
    assert three.running == []


def test_a_stopped_round_asks_nobody(three: Round) -> None:
    three.asking.stop()
    three.asking.answered(ANN, brings_news=False)
    three.asking.left(ANN)
    three.asking.delivered([at(9)])
    assert three.asked == [ANN]
    assert three.running == []
    three.asking.stop()


def test_one_timer_runs_at_a_time(three: Round) -> None:
    three.asking.left(ANN)
    three.running[-1].ring()
    three.asking.left(CAT)
    assert three.asked == [ANN, BOB, CAT]
    assert all(timer.is_cancelled for timer in three.timers)
