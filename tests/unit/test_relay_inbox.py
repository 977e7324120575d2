"""What has come from one socket, given on in its turn: no loop is needed to see it."""

import gc
import weakref
from collections.abc import Callable, Iterator

import pytest

from relay.frames import BadFrame, Opcode, TooLarge
from relay.inbox import TURN_MESSAGES_MAX, Inbox
from tests.clientframes import client_frame

MESSAGE_BYTES_MAX = 1000


class Tap:
    """A socket that is read, or not (as an inbox.Tap)."""

    is_read = True
    is_gone = False

    def is_closing(self) -> bool:
        return self.is_gone

    def pause_reading(self) -> None:
        assert not self.is_gone
        self.is_read = False

    def resume_reading(self) -> None:
        assert not self.is_gone
        self.is_read = True


class Client:
    """Notes what it is given, and does what `then` says (as an inbox.Receiver)."""

    def __init__(self) -> None:
        self.tap = Tap()
        self.inbox = Inbox(self.tap, MESSAGE_BYTES_MAX, self)
        self.taken: list[bytes] = []
        self.errors: list[Exception] = []
        self.rests = self.ends = 0
        self.then: dict[bytes, Callable[[], None]] = {}

    def take(self, opcode: int, payload: bytes) -> None:
        assert opcode == Opcode.BINARY
        self.taken.append(payload)
        if payload in self.then:
            self.then[payload]()

    def rest(self) -> None:
        self.rests += 1
        self.inbox.hold()

    def failed(self, error: Exception) -> None:
        self.errors.append(error)
        self.inbox.is_done = True

    def ended(self) -> None:
        self.ends += 1

    def say(self, *messages: bytes) -> None:
        """Have them arrive in one read."""
        self.inbox.received(b"".join(map(client_frame, messages)))


@pytest.fixture
def client() -> Client:
    return Client()


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


def test_G7_a_read_is_given_on_so_many_messages_a_turn(client: Client) -> None:
    client.say(*[b"x"] * (2 * TURN_MESSAGES_MAX + 1))
    for turn in (1, 2):
        assert (len(client.taken), client.rests) == (turn * TURN_MESSAGES_MAX, turn)
        assert not client.tap.is_read
        client.inbox.go_on()
    assert (len(client.taken), client.rests) == (2 * TURN_MESSAGES_MAX + 1, 2)
    assert client.tap.is_read


def test_a_last_message_that_waits_needs_no_rest_beside_it(client: Client) -> None:
    client.then[b"waits"] = client.inbox.hold
    client.say(*[b"x"] * (TURN_MESSAGES_MAX - 1), b"waits", b"y")
    assert (client.taken[-1], client.rests) == (b"waits", 0)


def test_L10_what_comes_behind_a_message_that_waits_stays_in_its_order(client: Client) -> None:
    client.then[b"waits"] = client.then[b"waits too"] = client.inbox.hold
    client.say(b"a", b"waits", b"b")
    client.tap.is_read = True  # by whoever hands over what came before it was listened to
    client.say(b"c", b"waits too", b"d")
    assert client.taken == [b"a", b"waits"]
    assert not client.tap.is_read, "nothing more is to be read while one waits"
    client.inbox.go_on()
    assert client.taken[2:] == [b"b", b"c", b"waits too"]
    assert not client.tap.is_read
    client.inbox.go_on()
    assert client.taken[5:] == [b"d"]
    assert client.tap.is_read


def test_a_socket_that_ends_while_a_message_waits_ends_when_all_is_carried_out(client: Client) -> None:
    client.then[b"waits"] = client.inbox.hold
    client.say(b"waits", b"last")
    client.tap.is_gone = True
    client.inbox.lost()
    assert client.ends == 0
    client.inbox.go_on()
    assert (client.taken, client.ends) == ([b"waits", b"last"], 1)


def test_a_socket_that_ends_while_nothing_waits_ends_at_once(client: Client) -> None:
    client.say(b"a")
    client.inbox.lost()
    assert (client.taken, client.ends) == ([b"a"], 1)


@pytest.mark.parametrize(
    ("frame", "error"), [(b"\xff\x80", BadFrame), (client_frame(b"x" * (MESSAGE_BYTES_MAX + 1)), TooLarge)]
)
def test_G6_nothing_is_taken_behind_a_bad_frame(client: Client, frame: bytes, error: type[Exception]) -> None:
    client.inbox.received(client_frame(b"a") + frame + client_frame(b"b"))
    client.say(b"c")
    assert (client.taken, list(map(type, client.errors))) == ([b"a"], [error])


def test_what_carrying_a_message_out_raises_reaches_its_own_client_alone(client: Client) -> None:
    def fail() -> None:
        raise RuntimeError("a mistake of ours")

    client.then[b"a"] = fail
    client.say(b"a", b"b")
    assert (client.taken, list(map(type, client.errors))) == ([b"a"], [RuntimeError])


@pytest.mark.usefixtures("no_collector")
def test_an_ended_inbox_gives_on_nothing_and_lets_go_of_its_client() -> None:
    client = Client()
    inbox, taken, kept = client.inbox, client.taken, weakref.ref(client)
    client.inbox.end()
    client.say(b"late")
    inbox.lost()
    del client
    assert kept() is None
    inbox.go_on()
    assert taken == []
