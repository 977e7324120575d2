"""One board's presence on one node."""

import itertools
import random
from collections.abc import Callable
from typing import Any

import msgpack
import pytest

from boardlog import awareness
from boardlog.awareness import State
from relay import presence, protocol
from relay.awareness_states import CLIENTS_PER_BOARD_MAX, CLIENTS_PER_MEMBER_MAX, EXPIRY_SECONDS
from relay.presence import (
    BYTES_PER_SECOND_MAX,
    EXPIRY_CHECK_SECONDS,
    RENEWAL_SECONDS,
    RENEWAL_STEP_SECONDS,
    TICK_SECONDS,
    TICK_SECONDS_MAX,
    Presence,
)
from tests.presencefakes import Clock, messages_in, send_all

GONE = b"null"
HERE = b'{"user":"Ann"}'


class Node:
    """The shell of one room's presence, and the room's members."""

    def __init__(self, name: str, clock: Clock, publish: Callable[[bytes], None] | None = None) -> None:
        self.published: list[bytes] = []
        self.members: dict[Any, Callable[[bytes], bool]] = {}
        self.publish = publish or self._keep
        self.call_later = clock.call_later
        self.call_at = clock.call_at
        self._clock = clock
        self.presence = Presence(name, self.members, self)

    def _keep(self, message: bytes) -> None:
        self.published.append(message)

    def now(self) -> float:
        return self._clock.seconds

    def join(self, member: "Member") -> "Member":
        self.members[member] = send_all(member.send)
        self.presence.joined(member)
        return member

    def leave(self, member: "Member") -> None:
        del self.members[member]
        self.presence.left(member)

    def taken(self) -> list[bytes]:
        published, self.published = self.published, []
        return published


class Member:
    """Keeps the awareness updates that it is sent; a frame for each call of `send`."""

    def __init__(self) -> None:
        self.heard: list[list[State]] = []

    def send(self, frame: bytes) -> None:
        states = []
        for message in messages_in(frame):
            decoded = protocol.decode(message)
            assert isinstance(decoded, protocol.Awareness)
            states += awareness.decode(decoded.update)
        self.heard.append(states)

    def taken(self) -> list[list[State]]:
        heard, self.heard = self.heard, []
        return heard


def said_by(message: bytes) -> list[State]:
    """Return the states in a node's message; a query has none."""
    body = msgpack.unpackb(message)[2]
    return awareness.decode(body) if body else []


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def node(clock: Clock) -> Node:
    return Node("here", clock)


@pytest.fixture
def elsewhere(node: Node, clock: Clock) -> Node:
    """Another node, whose messages reach ours at once; not the other way round."""
    return Node("elsewhere", clock, node.presence.received)


# Ticks


def test_the_first_change_goes_at_once_to_members_and_nodes(node: Node, clock: Clock) -> None:
    ann, bob = node.join(Member()), node.join(Member())
    node.presence.said(ann, [State(1, 1, HERE)], introduces=True)
    clock.pass_(0.0)
    assert bob.taken() == [[State(1, 1, HERE)]]
    assert [said_by(message) for message in node.taken()] == [[State(1, 1, HERE)]]


def test_a_member_gets_at_most_one_frame_a_tick_with_the_latest_of_everyone(node: Node, clock: Clock) -> None:
    ann, bob = node.join(Member()), node.join(Member())
    node.presence.said(ann, [State(1, 1, HERE)], introduces=True)
    clock.pass_(0.0)
    ann.taken(), bob.taken(), node.taken()
    for clocks in range(2, 50):
        node.presence.said(ann, [State(1, clocks, b'{"at":%d}' % clocks)], introduces=False)
        node.presence.said(bob, [State(2, clocks, b'{"at":%d}' % clocks)], introduces=False)
        clock.pass_(TICK_SECONDS / 100)
    assert not [*ann.taken(), *bob.taken(), *node.taken()]
    clock.pass_(TICK_SECONDS)
    latest = [State(1, 49, b'{"at":49}'), State(2, 49, b'{"at":49}')]
    assert ann.taken() == bob.taken() == [latest]
    assert [said_by(message) for message in node.taken()] == [latest]
    clock.pass_(10 * TICK_SECONDS)
    assert not [*ann.taken(), *bob.taken(), *node.taken()]


@pytest.mark.parametrize("seed", range(5))
def test_a_stream_of_changes_is_cut_into_ticks_and_ends_with_the_truth(node: Node, clock: Clock, seed: int) -> None:
    chance = random.Random(seed)
    ann, bob = node.join(Member()), node.join(Member())
    frames_at = []
    frames = []
    for clocks in range(1, 300):
        node.presence.said(ann, [State(1, clocks, b'{"at":%d}' % clocks)], introduces=False)
        for _ in range(3):
            clock.pass_(chance.choice([0.0, 0.001, 0.01]))
            heard = bob.taken()
            frames_at += [clock.seconds] * len(heard)
            frames += heard
    assert len(frames_at) > 10
    assert len(frames_at) <= 1 + (frames_at[-1] - frames_at[0] + 0.01) / TICK_SECONDS
    clock.pass_(TICK_SECONDS)
    assert [*frames, *bob.taken()][-1] == [State(1, 299, b'{"at":299}')]


def test_repeating_what_it_hears_gets_a_stock_client_no_second_frame(node: Node, clock: Clock) -> None:
    """Every stock client repeats every state that it hears: an answer to each would double all presence."""
    ann, bob = node.join(Member()), node.join(Member())
    node.presence.said(ann, [State(1, 1, HERE)], introduces=True)
    clock.pass_(0.0)
    (heard,) = bob.taken()
    node.taken()
    node.presence.said(bob, heard, introduces=False)
    clock.pass_(TICK_SECONDS)
    assert bob.taken() == []
    assert node.taken() == []


def test_nobody_is_sent_what_it_alone_has_said(node: Node, clock: Clock) -> None:
    """One write of each two, where two are on a board; that the server is alive its connection tells (L16)."""
    ann, bob = node.join(Member()), node.join(Member())
    for clocks in range(1, 4):
        node.presence.said(ann, [State(1, clocks, b'{"at":%d}' % clocks)], introduces=clocks == 1)
        clock.pass_(TICK_SECONDS)
    assert ann.taken() == []
    assert len(bob.taken()) == 3


def test_who_did_not_say_all_of_it_is_sent_all_of_it(node: Node, clock: Clock) -> None:
    ann, bob = node.join(Member()), node.join(Member())
    node.presence.said(ann, [State(1, 1, HERE)], introduces=True)
    node.presence.said(bob, [State(2, 1, HERE)], introduces=True)
    clock.pass_(TICK_SECONDS)
    assert ann.taken() == bob.taken() == [[State(1, 1, HERE), State(2, 1, HERE)]]


def test_renewals_wait_for_one_another_and_go_with_any_change(node: Node, elsewhere: Node, clock: Clock) -> None:
    """A board on which nobody does anything: everyone renews its state every 15 s, each at another time."""
    ann, bob = node.join(Member()), node.join(Member())
    there = elsewhere.join(Member())
    for member, client in ((ann, 1), (bob, 2)):
        node.presence.said(member, [State(client, 1, HERE)], introduces=True)
    elsewhere.presence.said(there, [State(3, 1, HERE)], introduces=True)
    clock.pass_(TICK_SECONDS)
    ann.taken(), node.taken()
    node.presence.said(ann, [State(1, 2, HERE)], introduces=False)
    clock.pass_(RENEWAL_SECONDS / 4)
    node.presence.said(bob, [State(2, 2, HERE)], introduces=False)
    elsewhere.presence.said(there, [State(3, 2, HERE)], introduces=False)
    clock.pass_(RENEWAL_SECONDS / 2)
    assert not [*ann.taken(), *node.taken()]
    clock.pass_(RENEWAL_SECONDS / 4 + RENEWAL_STEP_SECONDS)
    assert ann.taken() == [[State(1, 2, HERE), State(2, 2, HERE)]]
    assert [said_by(message) for message in node.taken()] == [[State(1, 2, HERE), State(2, 2, HERE)]]

    node.presence.said(ann, [State(1, 3, HERE)], introduces=False)
    node.presence.said(bob, [State(2, 3, b"{}")], introduces=False)
    clock.pass_(0.0)
    assert ann.taken() == [[State(1, 3, HERE), State(2, 3, b"{}")]], "a change is not held back"
    clock.pass_(2 * RENEWAL_SECONDS)
    assert ann.taken() == [[State(3, 2, HERE)]], "what another node told in the meantime"


def test_ticks_are_as_slow_as_their_bytes_demand_and_no_slower_than_twice_a_second(
    node: Node, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, bob = node.join(Member()), node.join(Member())
    frame_bytes = 2 * 1000
    for bytes_per_second, seconds in ((10 * frame_bytes, 0.1), (frame_bytes // 10, TICK_SECONDS_MAX)):
        monkeypatch.setattr(presence, "BYTES_PER_SECOND_MAX", bytes_per_second)
        clock.pass_(RENEWAL_SECONDS)
        ann.taken(), bob.taken()
        told_at = []
        for _ in range(200):
            clocks = int(clock.seconds * 1000)
            text = b'{"at":"%0985d"}' % clocks
            node.presence.said(ann, [State(1, clocks, text)], introduces=False)
            clock.pass_(0.01)
            told_at += [clock.seconds] * len(bob.taken())
        gaps = [after - before for before, after in itertools.pairwise(told_at)]
        assert seconds <= min(gaps) + 0.011
        assert max(gaps) <= min(seconds + TICK_SECONDS, TICK_SECONDS_MAX) + 0.011
    assert BYTES_PER_SECOND_MAX >= 200 * 200 * 150 * 5, "200 people see one another five times a second"


def test_what_repeats_the_last_ticks_is_not_even_read(
    node: Node, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a crowd everyone repeats what everyone says, as stock clients do: all but its own state."""
    monkeypatch.setattr(presence, "ECHO_STATES_MIN", 2)
    ann, bob, eve = node.join(Member()), node.join(Member()), node.join(Member())
    crowd = {ann: State(1, 1, HERE), bob: State(2, 1, HERE)}
    for member, state in crowd.items():
        node.presence.takes(member, awareness.encode([state]), introduces=True)
    clock.pass_(TICK_SECONDS)
    heard = [*crowd.values()]
    assert [states for states in eve.taken() if len(states) > 1] == [heard]
    monkeypatch.delattr(presence, "decode")
    node.presence.takes(ann, awareness.encode(heard[1:]), introduces=False)
    node.presence.takes(bob, awareness.encode(heard[:1]), introduces=False)
    node.presence.takes(eve, awareness.encode(heard), introduces=False)
    with pytest.raises(NameError):
        node.presence.takes(eve, awareness.encode(heard[1:]), introduces=False)
    with pytest.raises(NameError):
        node.presence.takes(bob, awareness.encode([State(1, 1, b'{"user":"Bob"}')]), introduces=False)
    with pytest.raises(NameError):
        node.presence.takes(eve, awareness.encode(heard), introduces=True)


# Joining, leaving, asking


def test_a_joiner_is_shown_who_is_there_and_nobody_else(node: Node, clock: Clock) -> None:
    ann, bob = node.join(Member()), node.join(Member())
    assert ann.taken() == [], "there is nobody to be shown"
    node.presence.said(ann, [State(1, 1, HERE)], introduces=True)
    node.presence.said(bob, [State(2, 1, HERE)], introduces=True)
    node.leave(bob)
    assert node.join(Member()).taken() == [[State(1, 1, HERE)]]


def test_a_members_query_is_answered_to_it_alone_even_if_nobody_is_there(node: Node) -> None:
    ann, bob = node.join(Member()), node.join(Member())
    node.presence.tell_all(ann)
    node.presence.said(ann, [State(1, 1, HERE)], introduces=True)
    node.presence.tell_all(ann)
    assert ann.taken() == [[], [State(1, 1, HERE)]]
    assert bob.taken() == []


def test_a_full_board_is_shown_in_messages_that_may_be_repeated_and_that_nodes_take(node: Node, clock: Clock) -> None:
    """One whole message would be refused: by the next node, and as the echo of every browser that heard it."""
    ann = node.join(Member())
    crowd = [State(client, 1, HERE) for client in range(CLIENTS_PER_BOARD_MAX)]
    for begin in range(0, len(crowd), CLIENTS_PER_MEMBER_MAX):
        node.presence.said(object(), crowd[begin : begin + CLIENTS_PER_MEMBER_MAX], introduces=False)
    joiner = node.join(Member())  # decodes each message as the session decodes its echo
    assert [state for states in joiner.heard for state in states] == crowd
    clock.pass_(TICK_SECONDS)
    assert ann.taken() == [crowd]

    other = Node("other", clock)
    observer = other.join(Member())
    for message in node.taken():
        other.presence.received(message)
    clock.pass_(0.0)
    assert observer.taken() == [crowd]


def test_who_leaves_is_gone_for_members_and_nodes(node: Node, clock: Clock) -> None:
    ann, bob = node.join(Member()), node.join(Member())
    node.presence.said(ann, [State(1, 4, HERE)], introduces=True)
    clock.pass_(TICK_SECONDS)
    bob.taken(), node.taken()
    node.leave(ann)
    clock.pass_(TICK_SECONDS)
    assert bob.taken() == [[State(1, 4, GONE)]]
    assert [said_by(message) for message in node.taken()] == [[State(1, 4, GONE)]]


def test_the_last_to_leave_is_told_to_the_nodes_before_the_room_can_close(node: Node, clock: Clock) -> None:
    ann = node.join(Member())
    node.presence.said(ann, [State(1, 4, HERE)], introduces=True)
    clock.pass_(0.0)
    node.taken()
    node.leave(ann)
    assert [said_by(message) for message in node.taken()] == [[State(1, 4, GONE)]]
    node.presence.close()
    assert clock.waiting == 0


def test_whoever_comes_back_as_it_went_is_told_so_alone(node: Node, clock: Clock) -> None:
    ann, bob = node.join(Member()), node.join(Member())
    node.presence.said(ann, [State(1, 4, HERE)], introduces=True)
    node.leave(ann)
    clock.pass_(TICK_SECONDS)
    bob.taken()
    back = node.join(Member())
    node.presence.said(back, [State(1, 4, HERE)], introduces=True)
    assert back.taken() == [[State(1, 4, GONE)]]
    clock.pass_(TICK_SECONDS)
    assert bob.taken() == []
    node.presence.said(back, [State(1, 5, HERE)], introduces=False)
    clock.pass_(TICK_SECONDS)
    assert bob.taken() == [[State(1, 5, HERE)]]


def test_G6_who_is_claimed_by_another_is_asked_before_it_hears_a_state_that_it_never_said(
    node: Node, elsewhere: Node, clock: Clock
) -> None:
    """Stock clients take over whatever higher clock they hear of themselves, but for an absence: that they deny."""
    ann = node.join(Member())
    node.presence.said(ann, [State(1, 4, HERE)], introduces=True)
    clock.pass_(TICK_SECONDS)
    ann.taken()
    elsewhere.presence.said(elsewhere.join(Member()), [State(1, 5, b'{"user":"Eve"}')], introduces=True)
    clock.pass_(0.0)
    assert ann.taken()[0] == [State(1, 5, GONE)]
    node.presence.said(ann, [State(1, 6, HERE)], introduces=False)
    clock.pass_(TICK_SECONDS)
    assert node.join(Member()).taken() == [[State(1, 6, HERE)]]


def test_G6_who_is_claimed_by_another_on_the_same_node_is_asked_too(node: Node, clock: Clock) -> None:
    ann, eve = node.join(Member()), node.join(Member())
    node.presence.said(ann, [State(1, 4, HERE)], introduces=True)
    clock.pass_(TICK_SECONDS)
    ann.taken()
    node.presence.said(eve, [State(1, 4, HERE)], introduces=True)
    assert ann.taken() == [[State(1, 4, GONE)]]
    node.presence.said(ann, [State(1, 5, HERE)], introduces=False)
    node.leave(eve)
    clock.pass_(TICK_SECONDS)
    assert node.join(Member()).taken() == [[State(1, 5, HERE)]]


# Other nodes


def test_what_another_node_says_reaches_our_members_and_goes_no_further(
    node: Node, elsewhere: Node, clock: Clock
) -> None:
    ann = node.join(Member())
    elsewhere.presence.said(elsewhere.join(Member()), [State(9, 1, HERE)], introduces=True)
    clock.pass_(0.0)
    assert ann.taken() == [[State(9, 1, HERE)]]
    assert node.taken() == []


def test_our_own_messages_come_back_and_are_ignored(node: Node, clock: Clock) -> None:
    ann = node.join(Member())
    node.presence.said(ann, [State(1, 1, HERE)], introduces=True)
    clock.pass_(0.0)
    own = node.taken()
    node.presence.subscribed()
    own += node.taken()
    clock.pass_(TICK_SECONDS)
    node.taken()
    node.presence.said(ann, [State(1, 2, HERE)], introduces=False)
    clock.pass_(TICK_SECONDS)
    own += node.taken()
    ann.taken()
    for message in own:
        node.presence.received(message)
    clock.pass_(TICK_SECONDS)
    assert not [*ann.taken(), *node.taken()]


def test_a_node_that_begins_asks_and_tells_what_it_has(node: Node, clock: Clock) -> None:
    ann = node.join(Member())
    node.presence.said(ann, [State(1, 1, HERE)], introduces=True)
    clock.pass_(0.0)
    node.taken(), ann.taken()
    node.presence.subscribed()
    clock.pass_(TICK_SECONDS)
    query, answer = node.taken()
    assert said_by(query) == []
    assert said_by(answer) == [State(1, 1, HERE)]
    assert ann.taken() == [], "it was the nodes that may have missed something, not the members"


def test_a_query_is_answered_with_what_we_answer_for_and_to_nodes_only(
    node: Node, elsewhere: Node, clock: Clock
) -> None:
    ann = node.join(Member())
    node.presence.said(ann, [State(1, 1, HERE)], introduces=True)
    elsewhere.presence.said(elsewhere.join(Member()), [State(9, 1, HERE)], introduces=True)
    clock.pass_(TICK_SECONDS)
    node.taken(), ann.taken()
    elsewhere.presence.subscribed()
    clock.pass_(TICK_SECONDS)
    assert [said_by(message) for message in node.taken()] == [[State(1, 1, HERE)]]
    assert ann.taken() == [], "everybody would be told everything whenever a node opens the board"


def test_what_came_over_to_us_is_ours_to_answer_for(node: Node, elsewhere: Node, clock: Clock) -> None:
    there = elsewhere.join(Member())
    elsewhere.presence.said(there, [State(1, 1, HERE)], introduces=True)
    clock.pass_(TICK_SECONDS)
    ann = node.join(Member())
    node.presence.said(ann, [State(1, 1, HERE)], introduces=True)
    clock.pass_(TICK_SECONDS)
    assert [said_by(message) for message in node.taken()] == [[State(1, 1, HERE)]]
    ann.taken()
    elsewhere.leave(there)
    clock.pass_(TICK_SECONDS)
    observer = node.join(Member())
    assert observer.taken() == [[State(1, 1, HERE)]], "a late word of the node that it left takes nobody away"


def test_who_is_back_at_a_node_that_does_not_know_its_absence_is_told_by_one_that_does(
    node: Node, elsewhere: Node, clock: Clock
) -> None:
    """It went with a node that is no more, and is at one that opened the board since: nobody else would show it."""
    there = elsewhere.join(Member())
    elsewhere.presence.said(there, [State(9, 3, HERE)], introduces=True)
    clock.pass_(TICK_SECONDS)
    elsewhere.leave(there)
    observer = node.join(Member())

    third = Node("third", clock)
    back, bystander = third.join(Member()), third.join(Member())
    third.presence.said(back, [State(9, 3, HERE)], introduces=True)
    clock.pass_(TICK_SECONDS)
    observer.taken(), back.taken(), bystander.taken()
    for _ in range(2):  # news there, absence back; then its answer
        for message in third.taken():
            node.presence.received(message)
        for message in node.taken():
            third.presence.received(message)
        if [State(9, 3, GONE)] in back.taken():
            third.presence.said(back, [State(9, 4, HERE)], introduces=False)
        clock.pass_(TICK_SECONDS)
    assert observer.taken() == [[State(9, 4, HERE)]]
    assert bystander.taken() == [[State(9, 4, HERE)]], "it never vanished where it is"


def test_a_dead_nodes_users_expire(node: Node, elsewhere: Node, clock: Clock) -> None:
    ann = node.join(Member())
    node.presence.said(ann, [State(1, 1, HERE)], introduces=True)
    there = elsewhere.join(Member())
    for clocks in range(1, 6):
        elsewhere.presence.said(there, [State(9, clocks, HERE)], introduces=False)
        clock.pass_(15.0)
    clock.pass_(EXPIRY_SECONDS - 15.0 - 1.0)
    assert State(9, 5, GONE) not in [state for states in ann.taken() for state in states]
    clock.pass_(EXPIRY_CHECK_SECONDS + 1.0)
    assert ann.taken() == [[State(9, 5, GONE)]]
    assert node.join(Member()).taken() == [[State(1, 1, HERE)]], "our own do not expire: their socket would have ended"


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\xc1",
        b"text",
        msgpack.packb(5),
        msgpack.packb(("elsewhere", 0)),
        msgpack.packb(("elsewhere", 0, "text")),
        msgpack.packb((5, 0, b"\x00")),
        msgpack.packb(("elsewhere", 2, awareness.encode([State(9, 1, HERE)]))),
        msgpack.packb(("elsewhere", None, b"\x00")),
        msgpack.packb(("elsewhere", 0, b"\x01")),
        msgpack.packb(("elsewhere", 0, b"\x01\x01\x01\x01{")),
        msgpack.packb({1: 2, 3: 4, 5: 6}),
        b"\x91" * 5000,
        msgpack.packb(("elsewhere", 1, b"")) + b"x",
    ],
)
def test_a_message_that_nobody_sends_is_ignored(node: Node, clock: Clock, message: bytes) -> None:
    ann = node.join(Member())
    node.presence.said(ann, [State(1, 1, HERE)], introduces=True)
    clock.pass_(TICK_SECONDS)
    ann.taken(), node.taken()
    node.presence.received(message)
    clock.pass_(TICK_SECONDS)
    assert not [*ann.taken(), *node.taken()]


def test_nothing_happens_after_the_close(node: Node, clock: Clock) -> None:
    ann = node.join(Member())
    node.presence.said(ann, [State(1, 1, HERE)], introduces=True)
    node.presence.close()
    clock.pass_(10 * EXPIRY_SECONDS)
    assert not [*ann.taken(), *node.taken()]
    assert clock.waiting == 0
