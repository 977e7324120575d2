"""What a process held and a log has lost goes back into the log, once, whatever becomes of the first attempt (G4)."""

from pycrdt import Doc, Map

from boardlog.coverage import Coverage
from boardlog.ids import BoardId
from boardlog.remains import AGAIN_SECONDS, LOOKS_MAX, WAIT_SECONDS_MAX, Remains
from boardlog.update import validate
from tests.presencefakes import Clock


def update_of(client: int) -> bytes:
    doc: Doc[object] = Doc(client_id=client)
    doc.get("items", type=Map)["key"] = client
    return doc.get_update()


ONE, TWO = update_of(1), update_of(2)


class World:
    def __init__(self) -> None:
        self.clock = Clock()
        self.can_tell = True
        self.logged = Coverage()
        self.appended: list[bytes] = []
        self.remains = Remains(
            BoardId("board"),
            lambda _update, ranges: self.logged.covers(ranges) if self.can_tell else None,
            lambda update, _source: self.appended.append(update),
            self.clock.call_later,
            lambda _lowest, highest: highest,
        )

    def lose(self, *updates: bytes) -> None:
        self.remains.keep((update, validate(update)) for update in updates)

    def log(self, update: bytes) -> None:
        self.logged.add(validate(update))


def test_G4_what_nobody_else_has_brought_is_appended_after_a_while() -> None:
    world = World()
    world.lose(ONE, TWO)
    assert world.appended == [], "an editor may bring it, or another node"
    world.log(TWO)
    world.clock.pass_(WAIT_SECONDS_MAX)
    assert world.appended == [ONE]


def test_G4_it_is_appended_again_until_the_log_has_it() -> None:
    world = World()
    world.lose(ONE)
    world.clock.pass_(WAIT_SECONDS_MAX + AGAIN_SECONDS)
    assert world.appended == [ONE, ONE], "the first append was given up, or lost again"
    world.log(ONE)
    world.clock.pass_(3 * AGAIN_SECONDS)
    assert world.appended == [ONE, ONE]
    assert world.clock.waiting == 0, "and nobody looks again for ever"


def test_a_second_loss_adds_to_what_is_left_of_the_first() -> None:
    world = World()
    world.lose(ONE)
    world.lose(TWO)
    world.clock.pass_(WAIT_SECONDS_MAX)
    assert world.appended == [ONE, TWO]


def test_G5_where_nobody_can_tell_it_is_appended_once_and_once_more_at_the_end() -> None:
    world = World()
    world.can_tell = False
    world.lose(ONE)
    world.clock.pass_(WAIT_SECONDS_MAX + 5 * AGAIN_SECONDS)
    assert world.appended == [ONE], "a log that nobody folds would fill up"
    world.can_tell = True
    world.clock.pass_(AGAIN_SECONDS)
    assert world.appended == [ONE, ONE], "now it is known to be missing"


def test_G4_nobody_looks_for_ever() -> None:
    world = World()
    world.lose(ONE)
    world.clock.pass_(WAIT_SECONDS_MAX + 2 * LOOKS_MAX * AGAIN_SECONDS)
    assert len(world.appended) == LOOKS_MAX
    assert world.remains.are_none
    assert world.clock.waiting == 0


def test_G4_who_closes_appends_at_once() -> None:
    world = World()
    world.lose(ONE, TWO)
    world.log(ONE)
    world.remains.close()
    assert world.appended == [TWO]
    world.remains.close()
    world.clock.pass_(AGAIN_SECONDS)
    assert world.appended == [TWO]
    assert world.clock.waiting == 0
