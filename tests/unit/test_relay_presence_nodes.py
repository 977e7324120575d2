"""One board's presence on several nodes, with stock clients that come, repeat what they hear, move and go.

The channel gives every node the same messages in the same order, each at its own time. Driven by chance, with seeds.
"""

import json
import random
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest
from pycrdt import Awareness, Doc

from boardlog import awareness
from relay import protocol
from relay.presence import RENEWAL_SECONDS, RENEWAL_STEP_SECONDS, TICK_SECONDS, Presence
from tests.presencefakes import Clock, messages_in, send_all


class Socket:
    """A stock client's connection to a node, with what is on its way in either direction. The node's member."""

    def __init__(self, client: "StockClient", node: "LiveNode") -> None:
        self.client = client
        self.node = node
        self.up: deque[bytes] = deque()
        self.down: deque[bytes] = deque()
        self.has_spoken = False

    def send(self, frame: bytes) -> None:
        self.down.append(frame)

    def deliver_up(self) -> None:
        introduces, self.has_spoken = not self.has_spoken, True  # as the session has it
        self.node.open.takes(self, self.up.popleft(), introduces=introduces)

    def deliver_down(self) -> None:
        for message in messages_in(self.down.popleft()):
            decoded = protocol.decode(message)
            assert isinstance(decoded, protocol.Awareness)
            if self.client.socket is self:
                self.client.awareness.apply_awareness_update(decoded.update, "server")


class StockClient:
    """What y-websocket does with its awareness: introduces itself, repeats what it hears, forgets the others."""

    def __init__(self, client: int) -> None:
        self.awareness = Awareness(Doc(client_id=client))
        self.socket: Socket | None = None
        self.awareness.observe(self._changed)
        self.renew()

    def _changed(self, topic: str, event: tuple[dict[str, list[int]], Any]) -> None:
        if topic == "update" and self.socket is not None:
            clients = event[0]["added"] + event[0]["updated"] + event[0]["removed"]
            self.socket.up.append(self.awareness.encode_awareness_update(clients))

    @property
    def id(self) -> int:
        return self.awareness.client_id

    def renew(self) -> None:
        self.awareness.set_local_state({"client": self.id})

    def connect(self, node: "LiveNode") -> Socket:
        self.socket = Socket(self, node)
        node.attach(self.socket)
        self.socket.up.append(self.awareness.encode_awareness_update([self.id]))
        return self.socket

    def disconnect(self) -> None:
        self.socket = None
        self.awareness.remove_awareness_states([other for other in self.awareness.states if other != self.id], "socket")


class Impostor:
    """A member that says whatever it likes of everybody, and connects anew whenever it likes."""

    def __init__(self, cluster: "Cluster") -> None:
        self._cluster = cluster
        self._node: LiveNode | None = None
        self._is_new = True

    def send(self, frame: bytes) -> None:
        pass

    def speak(self) -> None:
        chance = self._cluster.chance
        if self._node is None or self._node.presence is None:
            self._node, self._is_new = chance.choice(self._cluster.nodes), True
            self._node.attach(self)
        states = []
        for _ in range(chance.choice([1, 1, 1, 3])):
            victim = chance.choice(self._cluster.clients)
            heard = victim.awareness.meta[victim.id]["clock"]
            clock = max(0, heard + chance.choice([-1, 0, 1, 2, 50, 9000, 2**30, 2**31 - 2 - heard, 2**31 - 1 - heard]))
            text = chance.choice([b"null", b'{"client":"Eve"}', b'{"client":"Eve"}'])
            states.append(awareness.State(victim.id, clock, text))
        self._node.open.said(self, states, introduces=self._is_new and len(states) == 1)
        self._is_new = False

    def leave(self) -> None:
        if self._node is not None and self._node.presence is not None:
            self._node.detach(self)
        self._node = None


class LiveNode:
    """A node that opens the room for its first member, and closes it some time after the last."""

    def __init__(self, name: str, clock: Clock, channel: list[bytes]) -> None:
        self.name = name
        self.members: dict[Any, Callable[[bytes], bool]] = {}
        self.presence: Presence | None = None
        self.read = 0
        self.is_asking = False
        self.publish = channel.append
        self.call_later = clock.call_later
        self.call_at = clock.call_at
        self._clock = clock
        self._channel = channel

    def now(self) -> float:
        return self._clock.seconds

    @property
    def open(self) -> Presence:
        assert self.presence is not None
        return self.presence

    def attach(self, socket: Socket) -> None:
        if self.presence is None:
            self.presence = Presence(self.name, self.members, self)
            self.read = len(self._channel)
            self.is_asking = True
        self.members[socket] = send_all(socket.send)
        self.presence.joined(socket)

    def detach(self, socket: Socket) -> None:
        del self.members[socket]
        self.open.left(socket)

    def hear(self) -> None:
        """Take the next thing that Redis sends: the subscription's answer, then what was published since."""
        if self.is_asking:
            self.is_asking = False
            self.open.subscribed()
        elif self.has_news:
            self.read += 1
            self.open.received(self._channel[self.read - 1])

    @property
    def has_news(self) -> bool:
        return self.presence is not None and (self.is_asking or self.read < len(self._channel))

    def close(self) -> None:
        """Close the room; or die, if there are members."""
        self.open.close()
        self.presence, self.is_asking = None, False
        self.members.clear()

    def shown(self) -> list[int]:
        """Return whom a newcomer is shown."""
        newcomer = Socket(StockClient(1000), self)
        self.open.tell_all(newcomer)
        newcomer.client.socket = newcomer
        newcomer.client.awareness.set_local_state(None)
        while newcomer.down:
            newcomer.deliver_down()
        return sorted(newcomer.client.awareness.states)


class Cluster:
    """Nodes and clients, driven by chance."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.clock = Clock()
        self.channel: list[bytes] = []
        self.nodes = [LiveNode(f"node {n}", self.clock, self.channel) for n in range(self.chance.randrange(2, 5))]
        self.clients = [StockClient(n) for n in range(1, self.chance.randrange(3, 6))]
        self.sockets: list[Socket] = []
        self.half_open: list[Socket] = []

    def step(self) -> None:
        often = [self.deliver, self.deliver, self.deliver, self.hear, self.hear]
        action = self.chance.choice([*often, self.renew, self.connect, self.drop, self.notice, self.close, self.tick])
        action()

    def renew(self) -> None:
        self.chance.choice(self.clients).renew()

    def connect(self) -> None:
        client = self.chance.choice(self.clients)
        if client.socket is None:
            self.sockets.append(client.connect(self.chance.choice(self.nodes)))

    def drop(self) -> None:
        """The client sees its connection end, and may come back elsewhere; its node may not notice for a while."""
        client = self.chance.choice(self.clients)
        if client.socket is None or self.chance.random() < 0.7:
            return
        socket = client.socket
        client.disconnect()
        if self.chance.random() < 0.5:
            self.end(socket)
        else:
            self.half_open.append(socket)

    def notice(self) -> None:
        if self.half_open:
            self.end(self.half_open.pop(self.chance.randrange(len(self.half_open))))

    def end(self, socket: Socket) -> None:
        while self.chance.random() < 0.7 and socket.up:
            socket.deliver_up()
        self.sockets.remove(socket)
        socket.node.detach(socket)

    def deliver(self) -> None:
        busy = [move for s in self.sockets for move, queue in ((s.deliver_up, s.up), (s.deliver_down, s.down)) if queue]
        if busy:
            self.chance.choice(busy)()

    def hear(self) -> None:
        self.chance.choice(self.nodes).hear()

    def close(self) -> None:
        node = self.chance.choice(self.nodes)
        if node.presence is not None and not node.members and self.chance.random() < 0.3:
            node.close()

    def lose(self) -> None:
        """Redis drops a message for one node, which is subscribed anew sooner or later."""
        node = self.chance.choice(self.nodes)
        if node.has_news and not node.is_asking:
            node.read += 1
            node.is_asking = self.chance.random() < 0.5

    def kill(self) -> None:
        """A node dies without a word; its clients notice."""
        node = self.chance.choice(self.nodes)
        if node.presence is None:
            return
        node.close()
        for socket in [socket for socket in self.sockets if socket.node is node]:
            self.sockets.remove(socket)
            if socket in self.half_open:
                self.half_open.remove(socket)
            if socket.client.socket is socket:
                socket.client.disconnect()

    def renew_all(self) -> None:
        for client in self.clients:
            client.renew()
        self.settle()

    def tick(self) -> None:
        self.clock.pass_(self.chance.choice([0.0, 0.01, TICK_SECONDS]))

    def settle(self) -> None:
        """Let everything arrive that is on its way."""
        while self.half_open:
            self.notice()
        for _ in range(200):
            self.exchange()
            told = len(self.channel)
            for seconds in (TICK_SECONDS, RENEWAL_SECONDS + RENEWAL_STEP_SECONDS):
                self.clock.pass_(seconds)
                if self.is_under_way:
                    break
            if not self.is_under_way and told == len(self.channel):
                return
        pytest.fail("the nodes and clients never come to rest")

    def exchange(self) -> None:
        while self.is_under_way:
            self.hear()
            self.deliver()

    @property
    def is_under_way(self) -> bool:
        return any(node.has_news for node in self.nodes) or any(s.up or s.down for s in self.sockets)

    @property
    def connected(self) -> list[int]:
        return sorted(client.id for client in self.clients if client.socket is not None)

    def shown(self) -> dict[str, list[int]]:
        return {node.name: node.shown() for node in self.nodes if node.presence is not None}

    def seen(self) -> dict[int, list[int]]:
        """Return whom each connected client sees."""
        return {c.id: sorted(c.awareness.states) for c in self.clients if c.socket is not None}


@pytest.mark.parametrize("seed", range(120))
def test_all_nodes_come_to_show_exactly_who_is_there(seed: int) -> None:
    """The nodes at once, without renewal or expiry; the clients as soon as everyone has renewed its state."""
    cluster = Cluster(seed)
    for _ in range(cluster.chance.randrange(50, 400)):
        cluster.step()
    cluster.settle()
    assert all(shown == cluster.connected for shown in cluster.shown().values()), cluster.shown()
    cluster.renew_all()
    assert all(seen == cluster.connected for seen in cluster.seen().values()), cluster.seen()


@pytest.mark.parametrize("seed", range(60))
def test_G6_whatever_an_impostor_says_everyone_is_shown_as_itself_once_it_has_been_heard(seed: int) -> None:
    """While it stays, too: an impostor that has introduced itself as a living client is found out by its answer."""
    cluster = Cluster(seed)
    eve = Impostor(cluster)
    for _ in range(cluster.chance.randrange(50, 300)):
        cluster.step()
        if cluster.chance.random() < 0.2:
            eve.speak()
        if cluster.chance.random() < 0.03:
            eve.leave()
    for _ in range(4):  # three minutes: what it said of those who were away expires
        cluster.settle()
        cluster.clock.pass_(15.0)
        cluster.renew_all()
    connected = {str(client.id): client.awareness.states[client.id] for client in cluster.clients if client.socket}
    for node in cluster.nodes:
        if node.presence is not None:
            shown = {str(state.client): json.loads(state.json) for state in node.open._states.present()}
            assert {client: shown.get(client) for client in connected} == {c: {"client": int(c)} for c in connected}


@pytest.mark.parametrize("seed", range(60))
def test_lost_messages_and_killed_nodes_are_made_up_for_by_renewals_and_expiry(seed: int) -> None:
    cluster = Cluster(seed)
    for _ in range(cluster.chance.randrange(50, 300)):
        cluster.step()
        if cluster.chance.random() < 0.1:
            cluster.lose()
        if cluster.chance.random() < 0.02:
            cluster.kill()
    cluster.settle()
    for _ in range(6):
        cluster.clock.pass_(15.0)
        cluster.renew_all()
    assert all(shown == cluster.connected for shown in cluster.shown().values()), cluster.shown()
    assert all(seen == cluster.connected for seen in cluster.seen().values()), cluster.seen()
