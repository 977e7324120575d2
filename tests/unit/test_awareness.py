"""Merged awareness: who is on a board, by client and clock.

The reference for what stock clients do is pycrdt's Awareness, a port of y-protocols' awareness.js.
"""

import json
import random
from typing import Any

import pytest
from pycrdt import Awareness, Doc

from boardlog import awareness
from boardlog.awareness import STATES_PER_UPDATE_MAX, State, decode, encode
from boardlog.wire import MalformedFrame, write_varuint
from relay.awareness_states import (
    CLIENTS_PER_BOARD_MAX,
    CLIENTS_PER_MEMBER_MAX,
    CLOCK_JUMP_MAX,
    CLOCKS_PER_SECOND_MAX,
    EXPIRY_SECONDS,
    FIRST_CLOCK_MAX,
    AwarenessStates,
)

GONE = b"null"
HERE = b'{"user":"Ann"}'
ANN, BOB = "node of Ann", "node of Bob"


def one(text: bytes, client: int = 7, clock: int = 3) -> bytes:
    return b"\x01" + write_varuint(client) + write_varuint(clock) + write_varuint(len(text)) + text


def present(states: AwarenessStates) -> dict[int, Any]:
    return {state.client: json.loads(state.json) for state in states.present()}


class StockClient:
    """A browser's awareness, and what it says by itself about what it hears."""

    def __init__(self, client: int) -> None:
        self.awareness = Awareness(Doc(client_id=client))
        self.said: list[bytes] = []
        self.awareness.observe(self._changed)

    def _changed(self, topic: str, event: tuple[dict[str, list[int]], Any]) -> None:
        if topic == "update":
            changes = event[0]
            clients = changes["added"] + changes["updated"] + changes["removed"]
            self.said.append(self.awareness.encode_awareness_update(clients))

    @property
    def own(self) -> bytes:
        return self.awareness.encode_awareness_update([self.awareness.client_id])

    def hear(self, states: list[State]) -> list[State]:
        """Take an awareness update; return what the client answers."""
        self.said.clear()
        self.awareness.apply_awareness_update(encode(states), "server")
        return [state for update in self.said for state in decode(update)]


# The codec


def test_states_make_the_round_trip() -> None:
    states = [State(0, 0, b"{}"), State(2**53 - 1, 2**31 - 1, '{"ü":[1,"😀"]}'.encode()), State(300, 128, GONE)]
    assert decode(encode(states)) == states
    assert decode(encode([])) == []
    assert encode([]) == awareness.EMPTY


def test_what_a_stock_client_says_is_read() -> None:
    client = StockClient(41)
    client.awareness.set_local_state({"name": "Ännchen 😀", "cursor": {"x": 1.5, "y": -2, "at": None}})
    (state,) = decode(client.own)
    assert (state.client, state.clock) == (41, 1)
    assert json.loads(state.json) == client.awareness.get_local_state()


def test_every_truncation_is_malformed() -> None:
    whole = encode([State(300, 200, HERE), State(8, 1, GONE)])
    for end in range(len(whole)):
        with pytest.raises(MalformedFrame):
            decode(whole[:end])


def test_trailing_bytes_are_malformed() -> None:
    with pytest.raises(MalformedFrame):
        decode(encode([State(8, 1, HERE)]) + b"\x00")


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"undefined",
        b"{'a':1}",
        b'{"a":1}x',
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":-Infinity}',
        b"NaN",
        b'{"a":01}',
        b'{"a":"\x01"}',
        b'{"a":"\xff"}',
        b'{"a":"\xed\xa0\x80"}',
        b'\xef\xbb\xbf{"a":1}',
    ],
)
def test_what_is_not_json_would_throw_in_every_browser_and_is_malformed(text: bytes) -> None:
    with pytest.raises(MalformedFrame):
        decode(one(text))


@pytest.mark.parametrize("text", [b"1", b"-1.5e3", b'"text"', b"true", b"false", b"[]", b"[{}]"])
def test_a_state_that_is_neither_object_nor_null_is_malformed(text: bytes) -> None:
    with pytest.raises(MalformedFrame):
        decode(one(text))


@pytest.mark.parametrize(("opening", "closing"), [(b'{"a":', b"}"), (b"[", b"]")])
def test_deep_json_is_malformed_at_the_same_depth_whatever_stack_it_meets(opening: bytes, closing: bytes) -> None:
    """One node must not pass on what the next one, or the echo of a browser, is refused for."""

    def nested(levels: int) -> bytes:
        return one(b'{"deep":' + opening * levels + b"1" + closing * levels + b"}")

    def is_taken(levels: int, frames: int) -> bool:
        if frames:
            return is_taken(levels, frames - 1)
        try:
            return bool(decode(nested(levels)))
        except MalformedFrame:
            return False

    assert is_taken(20, frames=0)
    assert not is_taken(5000, frames=0)
    for levels in range(20, 1000, 7):
        assert is_taken(levels, frames=0) == is_taken(levels, frames=200)


def test_brackets_in_text_are_not_depth() -> None:
    assert decode(one(b'{"a":"' + b'[{\\"' * 500 + b'"}'))


@pytest.mark.parametrize("text", [b" null", b"null\n", b"\tnull "])
def test_gone_is_gone_however_it_is_spelled(text: bytes) -> None:
    states = AwarenessStates()
    states.merge([State(7, 2, HERE)], ANN, 0.0)
    assert states.merge(decode(one(text)), ANN, 0.0).changed == [7]
    assert present(states) == {}


# Bounds. A stock client repeats whatever it hears, as its own JSON: what is passed on must be fit to come back.


def test_a_count_is_not_believed() -> None:
    with pytest.raises(MalformedFrame):
        decode(write_varuint(2**40) + b"\x01\x01\x02{}")
    with pytest.raises(MalformedFrame):
        decode(write_varuint(100) + b"\x01\x01\x02{}")


def test_an_update_has_a_bounded_number_of_states() -> None:
    states = [State(client, 1, b"{}") for client in range(STATES_PER_UPDATE_MAX + 1)]
    assert len(decode(encode(states[1:]))) == STATES_PER_UPDATE_MAX
    with pytest.raises(MalformedFrame):
        decode(encode(states))


def test_a_client_above_53_bits_would_throw_in_every_browser_and_is_malformed() -> None:
    assert decode(one(HERE, client=2**53 - 1))
    with pytest.raises(MalformedFrame):
        decode(one(HERE, client=2**53))


def test_no_state_is_taken_that_is_refused_when_a_browser_repeats_it() -> None:
    """1e20 is four characters, and 21 digits as a browser writes it."""
    for count in (10, 1_000, 6_000, 20_000):
        states = decode(one(b'{"a":[' + b",".join([b"1e20"] * count) + b"]}"))
        if states:
            echo = b'{"a":[' + b",".join([b"100000000000000000000"] * count) + b"]}"
            decode(one(echo))


@pytest.mark.parametrize("clock", [2**31 - 2, 2**31 - 1, 2**31, 2**52, 2**53 - 2, 2**53 - 1])
def test_nobody_is_pushed_to_a_clock_that_is_refused(clock: int) -> None:
    """Else one message of a viewer's would have any client closed for good, by its own answer."""
    states = AwarenessStates()
    client = StockClient(7)
    client.awareness.set_local_state({"user": "Ann"})
    states.merge(decode(client.own), ANN, 0.0, introduces=True)
    states.merge(decode(one(GONE, client=7, clock=clock)), BOB, 0.0)
    client.hear(states.states([7]))
    for update in client.said:
        decode(update)


def test_beyond_its_bound_a_board_takes_no_further_clients_but_goes_on_with_those_it_has() -> None:
    states = AwarenessStates()
    first = [State(client, 1, HERE) for client in range(CLIENTS_PER_BOARD_MAX)]
    assert len(states.merge(first, ANN, 0.0).changed) == CLIENTS_PER_BOARD_MAX
    assert states.merge([State(10**6, 1, HERE)], BOB, 0.0).changed == []
    assert len(states.present()) == CLIENTS_PER_BOARD_MAX
    assert states.merge([State(0, 2, HERE)], ANN, 0.0).renewed == [0]


def test_places_of_who_has_gone_become_free_though_the_owner_stays() -> None:
    states = AwarenessStates()
    states.merge([State(client, 1, HERE) for client in range(CLIENTS_PER_BOARD_MAX)], ANN, 0.0)
    states.merge([State(client, 2, GONE) for client in range(CLIENTS_PER_BOARD_MAX)], ANN, 0.0)
    states.expire({ANN}, EXPIRY_SECONDS)
    assert states.clients() == []
    assert states.merge([State(10**6, 1, HERE)], BOB, EXPIRY_SECONDS).changed == [10**6]


# The merge


@pytest.mark.parametrize("seed", range(40))
def test_the_merge_shows_whom_a_stock_client_shows(seed: int) -> None:
    """As long as every client is spoken of by its own member alone, in whatever order and however often."""
    chance = random.Random(seed)
    states = AwarenessStates()
    observer = Awareness(Doc(client_id=999))
    observer.set_local_state(None)
    introduced: set[int] = set()
    for step in range(300):
        client = chance.randrange(1, 5)
        clock = chance.randrange(1, 3 + step // 20)
        is_gone = client in introduced and chance.random() < 0.4
        introduced.add(client)
        state = State(client, clock, GONE if is_gone else b'{"at":%d}' % clock)
        states.merge([state], f"member {client}", float(step))
        observer.apply_awareness_update(encode([state]), "server")
        assert present(states) == observer.states, f"step {step}: {state}"


def test_a_client_is_heard_of_once() -> None:
    states = AwarenessStates()
    assert states.merge([State(7, 3, HERE)], ANN, 0.0)[:2] == ([7], [])
    assert states.merge([State(7, 3, HERE)], ANN, 0.0)[:2] == ([], [])
    assert states.merge([State(7, 2, b"{}")], ANN, 0.0)[:2] == ([], [])
    assert states.merge([State(7, 2, GONE)], ANN, 0.0)[:2] == ([], [])
    assert states.states([7, 8]) == [State(7, 3, HERE)]


def test_only_the_owner_takes_a_client_away_without_raising_its_clock() -> None:
    """Stock clients forget each other after 30 s without a word, and say so to everyone."""
    states = AwarenessStates()
    states.merge([State(7, 3, HERE)], ANN, 0.0)
    assert states.merge([State(7, 3, GONE)], BOB, 1.0).changed == []
    assert present(states) == {7: {"user": "Ann"}}
    assert states.merge([State(7, 3, GONE)], ANN, 2.0).changed == [7]
    assert present(states) == {}


# Takeovers (G6). A member is any object; a name is a node, whose word is taken.


@pytest.mark.parametrize("answers", [object(), "another node"])
@pytest.mark.parametrize("clock", [4, 1000, 2**31 - 1])
@pytest.mark.parametrize("text", [GONE, b'{"user":"Eve"}'])
def test_G6_a_member_takes_nobody_away_or_over_by_raising_a_clock(answers: object, clock: int, text: bytes) -> None:
    states = AwarenessStates()
    eve = object()
    states.merge([State(7, 3, HERE)], answers, 0.0, introduces=True)
    assert states.merge([State(7, clock, text)], eve, 1.0) == ([], [], [], [])
    assert states.states([7]) == [State(7, 3, HERE)]
    assert states.leave(eve, 2.0) == []
    assert states.merge([State(7, 4, b'{"at":4}')], answers, 3.0).changed == [7]
    assert states.leave(answers, 4.0) == [7]


def test_G6_nobody_introduces_itself_as_another_to_take_it_away() -> None:
    states = AwarenessStates()
    ann, eve = object(), object()
    states.merge([State(7, 3, HERE)], ann, 0.0, introduces=True)
    for clock in (3, 4):
        assert states.merge([State(7, clock, GONE)], eve, 1.0, introduces=True) == ([], [], [], [])
    assert present(states) == {7: {"user": "Ann"}}


def test_G6_a_living_client_voids_the_claim_of_whoever_introduces_itself_as_it() -> None:
    states = AwarenessStates()
    ann, eve = object(), object()
    client = StockClient(7)
    client.awareness.set_local_state({"user": "Ann"})
    states.merge(decode(client.own), ann, 0.0, introduces=True)
    claimed = states.merge([State(7, 100, b'{"user":"Eve"}')], eve, 1.0, introduces=True)
    assert claimed.disputed == [(ann, State(7, 100, GONE))]

    answer = client.hear([absence for _, absence in claimed.disputed])
    assert states.merge(answer, ann, 1.1).changed == [7]
    assert states.merge([State(7, 150, b'{"user":"Eve"}')], eve, 1.2).changed == [], "it has shown who it is not"
    assert present(states) == {7: {"user": "Ann"}}
    assert states.leave(eve, 2.0) == []
    assert states.leave(ann, 3.0) == [7]


def test_G6_a_claim_at_another_node_is_void_there_too_once_the_client_answers() -> None:
    here, there = AwarenessStates(), AwarenessStates()
    ann, eve = object(), object()
    here.merge([State(7, 3, HERE)], ann, 0.0, introduces=True)
    there.merge([State(7, 3, HERE)], "here", 0.0, introduces=True)
    there.merge([State(7, 4, b'{"user":"Eve"}')], eve, 1.0, introduces=True)
    claimed = here.merge([State(7, 4, b'{"user":"Eve"}')], "there", 1.0, introduces=True)
    assert claimed.disputed == [(ann, State(7, 4, GONE))]
    assert here.merge([State(7, 5, HERE)], ann, 1.1).changed == [7]
    assert there.merge([State(7, 5, HERE)], "here", 1.1, introduces=True) == ([7], [], [], [])
    assert there.merge([State(7, 6, b'{"user":"Eve"}')], eve, 1.2).changed == []
    assert present(here) == present(there) == {7: {"user": "Ann"}}


def test_a_page_that_moved_goes_on_though_its_old_socket_looks_alive() -> None:
    """Its node before does not know yet: nobody answers there, whenever it is asked."""
    here, there = AwarenessStates(), AwarenessStates()
    dead, back = object(), object()
    here.merge([State(7, 3, HERE)], dead, 0.0, introduces=True)
    there.merge([State(7, 3, HERE)], "here", 0.0, introduces=True)
    assert there.merge([State(7, 4, HERE)], back, 1.0, introduces=True).changed == [7]
    assert here.merge([State(7, 4, HERE)], "there", 1.0, introduces=True).changed == [7]
    for clock in range(5, 50):
        assert there.merge([State(7, clock, HERE)], back, float(clock)).renewed == [7]
        assert here.merge([State(7, clock, HERE)], "there", float(clock), introduces=True).renewed == [7]
    assert here.leave(dead, 60.0) == []
    assert there.leave(back, 61.0) == [7]


def test_G6_no_member_drives_a_client_to_where_clocks_end() -> None:
    states = AwarenessStates()
    eve = object()
    assert states.merge([State(7, FIRST_CLOCK_MAX + 1, HERE)], eve, 0.0, introduces=True).changed == []
    assert states.merge([State(7, 5, HERE)], eve, 0.0, introduces=True).changed == [7]
    for second in range(10):
        clock = states.states([7])[0].clock
        assert states.merge([State(7, 2**31 - 1, HERE)], eve, float(second)).changed == []
        ahead = 5 + CLOCK_JUMP_MAX + CLOCKS_PER_SECOND_MAX * second
        assert states.merge([State(7, ahead + 1, HERE)], eve, float(second)).changed == []
        assert states.merge([State(7, ahead, HERE)], eve, float(second)).renewed == [7]
        assert states.merge([State(7, ahead + 1, HERE)], eve, float(second)).renewed == [7], "by one it always goes on"
        assert clock < ahead


def test_G6_a_flood_of_clients_by_one_member_is_bounded_and_costs_nobody_else() -> None:
    states = AwarenessStates()
    eve = object()
    flood = [State(client, 1, HERE) for client in range(1000)]
    assert len(states.merge(flood, eve, 0.0).changed) == CLIENTS_PER_MEMBER_MAX
    for number in range(1000, 1100):
        member = object()
        assert states.merge([State(number, 1, HERE)], member, 1.0, introduces=True).changed == [number]
    gone = states.leave(eve, 2.0)
    assert len(gone) == CLIENTS_PER_MEMBER_MAX


def test_a_members_places_become_free_with_its_clients() -> None:
    states = AwarenessStates()
    member = object()
    for round_ in range(3):
        now = round_ * EXPIRY_SECONDS
        clients = range(round_ * 100, round_ * 100 + CLIENTS_PER_MEMBER_MAX)
        assert len(states.merge([State(client, 1, HERE) for client in clients], member, now).changed) == len(clients)
        assert states.merge([State(10**6, 1, HERE)], member, now).changed == []
        states.merge([State(client, 2, GONE) for client in clients], member, now)
        states.expire({member}, now + EXPIRY_SECONDS)


def test_a_client_that_never_was_does_not_go() -> None:
    states = AwarenessStates()
    assert states.merge([State(7, 3, GONE)], ANN, 0.0).changed == []
    assert states.clients() == []


def test_a_client_back_with_the_clock_at_which_it_went_is_shown_its_absence_and_raises_it() -> None:
    states = AwarenessStates()
    client = StockClient(7)
    client.awareness.set_local_state({"user": "Ann"})
    states.merge(decode(client.own), ANN, 0.0, introduces=True)
    assert states.leave(ANN, 1.0) == [7]

    back = states.merge(decode(client.own), BOB, 2.0, introduces=True)
    assert (back.changed, back.absences) == ([], [State(7, 1, GONE)])
    assert present(states) == {}, "the others would not show it at this clock: it must not look as if they did"

    answer = client.hear(back.absences)
    assert states.merge(answer, BOB, 3.0)[:2] == ([7], [])
    assert present(states) == {7: {"user": "Ann"}}
    assert states.leave(BOB, 4.0) == [7]


def test_who_introduces_itself_at_the_same_clock_is_answered_for_anew() -> None:
    """A reload of the socket, while the old one still looks alive: its end must not take the client away."""
    states = AwarenessStates()
    states.merge([State(7, 3, HERE)], ANN, 0.0, introduces=True)
    assert states.merge([State(7, 3, HERE)], BOB, 1.0, introduces=True).changed == [7]
    assert states.leave(ANN, 2.0) == []
    assert present(states) == {7: {"user": "Ann"}}
    assert states.leave(BOB, 3.0) == [7]


def test_repeating_what_was_heard_takes_nobody_over() -> None:
    states = AwarenessStates()
    states.merge([State(7, 3, HERE)], ANN, 0.0, introduces=True)
    assert states.merge([State(7, 3, HERE)], BOB, 1.0).changed == []
    assert states.leave(BOB, 2.0) == []
    assert states.leave(ANN, 3.0) == [7]


def test_an_outdated_introduction_takes_nobody_over() -> None:
    """What a node said of a client before it heard that the client is at another node by now."""
    states = AwarenessStates()
    states.merge([State(7, 4, HERE)], ANN, 0.0, introduces=True)
    assert states.merge([State(7, 3, HERE)], BOB, 1.0, introduces=True).changed == []
    assert states.leave(BOB, 2.0) == []
    assert states.leave(ANN, 3.0) == [7]


def test_another_node_takes_over_no_client_that_a_member_has() -> None:
    """What two nodes say of a client that moved may cross on its way; in the end nobody would answer for it."""
    states = AwarenessStates()
    member = object()
    states.merge([State(7, 3, HERE)], "its node before", 0.0, introduces=True)
    assert states.merge([State(7, 3, HERE)], member, 1.0, introduces=True).changed == [7]
    assert states.merge([State(7, 3, HERE)], "its node before", 2.0, introduces=True).changed == []
    assert states.leave(member, 3.0) == [7]


def test_leaving_takes_away_whatever_one_answers_for_and_only_once() -> None:
    states = AwarenessStates()
    states.merge([State(7, 3, HERE), State(8, 1, HERE)], ANN, 0.0)
    states.merge([State(9, 1, HERE)], BOB, 0.0)
    assert states.leave(ANN, 1.0) == [7, 8]
    assert states.leave(ANN, 1.0) == []
    assert states.states([7, 8, 9]) == [State(7, 3, GONE), State(8, 1, GONE), State(9, 1, HERE)]


def test_what_nobody_renews_expires_and_is_forgotten() -> None:
    states = AwarenessStates()
    states.merge([State(7, 3, HERE)], "dead node", 0.0)
    states.merge([State(8, 3, HERE)], "node", 0.0)
    states.merge([State(9, 3, HERE)], "member", 0.0)
    states.merge([State(8, 4, HERE)], "node", 15.0)
    local = {"member"}
    assert states.expire(local, EXPIRY_SECONDS - 0.1) == []
    assert states.expire(local, EXPIRY_SECONDS) == [7]
    assert sorted(present(states)) == [8, 9], "who renews stays, and members need not"
    assert states.states([7]) == [State(7, 3, GONE)], "so that a late word of it is known to be late"
    assert states.expire(local, EXPIRY_SECONDS + 15.0 - 0.1) == []
    assert 7 in states.clients(), "for as long as it was renewed"
    assert states.expire(local, 2 * EXPIRY_SECONDS) == [8]
    assert sorted(states.clients()) == [8, 9]


def test_who_was_given_up_comes_back_by_raising_its_clock() -> None:
    states = AwarenessStates()
    states.merge([State(7, 3, HERE)], "slow node", 0.0)
    assert states.expire((), EXPIRY_SECONDS) == [7]
    assert states.merge([State(7, 3, HERE)], "slow node", EXPIRY_SECONDS, introduces=True).changed == []
    assert states.merge([State(7, 4, HERE)], "slow node", EXPIRY_SECONDS).changed == [7]


def test_ours_are_told_from_what_other_nodes_answer_for() -> None:
    states = AwarenessStates()
    ann, bob = object(), object()
    states.merge([State(7, 3, HERE), State(8, 1, HERE)], ann, 0.0)
    states.merge([State(9, 1, HERE)], bob, 0.0)
    states.merge([State(8, 2, GONE)], ann, 0.0)
    states.merge([State(6, 1, HERE)], "a node", 0.0, introduces=True)
    assert states.ours([6, 7, 8, 9, 10]) == [7, 8, 9]


def test_a_clock_alone_renews_but_for_who_was_taken_for_gone() -> None:
    states = AwarenessStates()
    states.merge([State(7, 3, HERE)], ANN, 0.0)
    assert states.merge([State(7, 4, HERE)], ANN, 0.0) == ([], [], [], [7])
    assert states.merge([State(7, 5, b"{}")], ANN, 0.0) == ([7], [], [], [])
    assert states.merge([State(7, 5, GONE)], "a node", 0.0, introduces=True).disputed == [(ANN, State(7, 5, GONE))]
    assert states.merge([State(7, 6, b"{}")], ANN, 0.0) == ([7], [], [], []), "whoever misses it waits for this"
    assert states.merge([State(7, 7, b"{}")], ANN, 0.0) == ([], [], [], [7])
