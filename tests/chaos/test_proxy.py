"""The proxy against a broker of forty lines that keeps what it gets and answers each request with its API key."""

from __future__ import annotations

import contextlib
import gc
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests.support import proxy_rules as rules
from tests.support.proxy import Proxy
from tests.support.proxy_frames import Api, parse


def frame(api: int, correlation_id: int, client: str = "worker-a", body: bytes = b"", version: int = 1) -> bytes:
    rest = struct.pack(">hhih", api, version, correlation_id, len(client)) + client.encode() + body
    return struct.pack(">i", len(rest)) + rest


class EchoBroker:
    """`got`: (API key, correlation id, when) of each request, over all connections."""

    def __init__(self) -> None:
        self.got: list[tuple[int, int, float]] = []
        self.server = socket.create_server(("127.0.0.1", 0))
        self.address = self.server.getsockname()
        self.connections: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.server.accept()
                self.connections.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection.makefile("rb") as stream:
            while length := stream.read(4):
                body = stream.read(int.from_bytes(length, "big"))
                api, _, correlation_id = struct.unpack(">hhi", body[:8])
                self.got.append((api, correlation_id, time.monotonic()))
                connection.sendall(struct.pack(">iih", 6, correlation_id, api))
        connection.close()  # as Kafka does when its peer is done

    def apis(self) -> list[int]:
        return [api for api, _, _ in self.got]

    def close(self) -> None:
        for one in (self.server, *self.connections):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


class Client:
    """A client that sends frames and reads answers as (correlation id, API key)."""

    def __init__(self, port: int, name: str = "worker-a") -> None:
        self.name = name
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=5)
        self.sent = 0

    def send(self, api: int, body: bytes = b"") -> int:
        self.sent += 1
        self.socket.sendall(frame(api, self.sent, self.name, body))
        return self.sent

    def answer(self, timeout: float = 5) -> tuple[int, int]:
        """`EOFError` when the connection is gone; `TimeoutError` when nothing comes."""
        self.socket.settimeout(timeout)
        data = b""
        while len(data) < 10:
            try:
                more = self.socket.recv(10 - len(data))
            except ConnectionError as error:
                raise EOFError from error
            if not more:
                raise EOFError
            data += more
        _, correlation_id, api = struct.unpack(">iih", data)
        return correlation_id, api

    def ask(self, api: int) -> tuple[int, int]:
        self.send(api)
        return self.answer()


@pytest.fixture
def broker() -> Iterator[EchoBroker]:
    broker = EchoBroker()
    yield broker
    broker.close()


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with Proxy() as proxy:
        yield proxy


@pytest.fixture
def connect(proxy: Proxy, broker: EchoBroker) -> Iterator[Callable[..., Client]]:
    port = proxy.listen(1, lambda: broker.address)
    clients: list[Client] = []

    def make(name: str = "worker-a") -> Client:
        clients.append(Client(port, name))
        return clients[-1]

    yield make
    for client in clients:
        client.socket.close()


def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not come about"
        time.sleep(0.01)


def test_frames_go_through_unchanged_and_in_order(proxy, broker, connect):
    client = connect()
    for api in (Api.METADATA, Api.PRODUCE, Api.FETCH):
        client.send(api, b"x" * 100_000)
    assert [client.answer() for _ in range(3)] == [(1, Api.METADATA), (2, Api.PRODUCE), (3, Api.FETCH)]
    assert proxy.seen == {(1, "worker-a", Api.METADATA): 1, (1, "worker-a", Api.PRODUCE): 1, (1, "worker-a", Api.FETCH): 1}


def test_a_request_is_read_as_kafka_writes_it():
    request = parse(frame(Api.END_TXN, 7, "worker-a", b"...\x01\x00", version=3), broker=2)
    assert (request.broker, request.api, request.version, request.correlation_id, request.client_id) == (2, 26, 3, 7, "worker-a")
    assert request.commits
    assert not parse(frame(Api.END_TXN, 7, "worker-a", b"...\x00", version=1), broker=2).commits
    with pytest.raises(OSError, match="not Kafka"):
        parse(b"\0\0\0\1x", broker=2)


def test_a_delayed_request_keeps_back_what_is_behind_it_and_no_other_client(proxy, broker, connect):
    slow, other = connect("worker-a"), connect("worker-b")
    rule = proxy.rule(rules.delayed(1.5), apis=[Api.END_TXN], clients="*-a", times=1)
    started = time.monotonic()
    slow.send(Api.END_TXN)
    slow.send(Api.HEARTBEAT)
    until(lambda: len(rule.hits) == 1)
    assert other.ask(Api.END_TXN) == (1, Api.END_TXN)
    assert broker.apis() == [Api.END_TXN]
    assert [slow.answer(), slow.answer()] == [(1, Api.END_TXN), (2, Api.HEARTBEAT)]
    assert time.monotonic() - started >= 1.5
    assert len(rule.hits) == 1


def test_a_held_request_goes_on_when_the_rule_is_removed(proxy, broker, connect):
    client = connect()
    rule = proxy.rule(rules.held(), apis=[Api.TXN_OFFSET_COMMIT])
    client.send(Api.TXN_OFFSET_COMMIT)
    until(lambda: len(rule.hits) == 1)
    time.sleep(0.1)
    assert broker.apis() == []
    proxy.remove(rule)
    assert client.answer() == (1, Api.TXN_OFFSET_COMMIT)


def test_a_held_request_arrives_though_its_client_has_gone(proxy, broker, connect):
    client = connect()
    rule = proxy.rule(rules.held(), apis=[Api.END_TXN])
    client.send(Api.END_TXN)
    until(lambda: len(rule.hits) == 1)
    client.socket.close()
    time.sleep(0.1)
    assert broker.apis() == []
    proxy.remove(rule)
    until(lambda: broker.apis() == [Api.END_TXN])


@pytest.mark.parametrize("action", [rules.stray(1.5), rules.stray_until_removed()], ids=["in time", "when its rule is removed"])
def test_a_stray_request_arrives_after_the_one_that_was_sent_in_its_place(proxy, broker, connect, action):
    client = connect()
    rule = proxy.rule(action, apis=[Api.END_TXN], times=1)
    client.send(Api.END_TXN)
    with pytest.raises(EOFError):
        client.answer()
    again = connect()
    again.send(Api.METADATA)
    again.answer()
    assert again.ask(Api.END_TXN) == (2, Api.END_TXN)
    assert [correlation_id for api, correlation_id, _ in broker.got if api == Api.END_TXN] == [2]
    if action.on_release:
        proxy.remove(rule)
    until(lambda: [correlation_id for api, correlation_id, _ in broker.got if api == Api.END_TXN] == [2, 1])
    until(lambda: len(proxy.strays) == 1)
    assert proxy.strays[0].answer == struct.pack(">iih", 6, 1, Api.END_TXN)


def test_a_duplicated_request_is_answered_once(proxy, broker, connect):
    client = connect()
    proxy.rule(rules.duplicated(0.1), apis=[Api.END_TXN], times=1)
    assert client.ask(Api.END_TXN) == (1, Api.END_TXN)
    until(lambda: broker.apis() == [Api.END_TXN, Api.END_TXN])
    assert client.ask(Api.METADATA) == (2, Api.METADATA)


def test_a_lost_request_was_never_seen_and_a_lost_answer_was(proxy, broker, connect):
    first = connect()
    proxy.rule(rules.lost(), apis=[Api.END_TXN], times=1)
    first.send(Api.END_TXN)
    with pytest.raises(EOFError):
        first.answer()
    assert broker.apis() == []
    second = connect()
    proxy.rule(rules.answer_lost(), apis=[Api.END_TXN], times=1)
    second.send(Api.END_TXN)
    with pytest.raises(EOFError):
        second.answer()
    assert broker.apis() == [Api.END_TXN]


def test_a_dropped_answer_leaves_the_connection_alone(proxy, broker, connect):
    client = connect()
    proxy.rule(rules.answer_dropped(), apis=[Api.END_TXN], times=1)
    client.send(Api.END_TXN)
    assert client.ask(Api.METADATA) == (2, Api.METADATA)
    assert broker.apis() == [Api.END_TXN, Api.METADATA]


def test_a_rule_may_look_into_the_request(proxy, broker, connect):
    client = connect()
    rule = proxy.rule(rules.delayed(0.0), apis=[Api.END_TXN], only=lambda request: request.commits)
    client.send(Api.END_TXN, b"\x00")
    client.send(Api.END_TXN, b"\x01")
    assert [client.answer()[0], client.answer()[0]] == [1, 2]
    assert [request.correlation_id for request in rule.hits] == [2]


def test_a_cut_resets_the_links_of_one_client(proxy, broker, connect):
    first, second = connect("worker-a"), connect("worker-b")
    first.ask(Api.METADATA)
    second.ask(Api.METADATA)
    assert proxy.links("worker-a") == 1
    assert proxy.cut(clients="worker-a") == 1
    with pytest.raises(EOFError):
        first.answer()
    assert second.ask(Api.METADATA) == (2, Api.METADATA)
    until(lambda: proxy.links("worker-a") == 0)


def test_a_blocked_client_gets_nowhere_until_the_block_is_lifted(proxy, broker, connect):
    before = connect("worker-a")
    before.ask(Api.METADATA)
    block = proxy.impair("block", clients="worker-a")
    with pytest.raises(EOFError):
        before.answer()
    during = connect("worker-a")
    during.send(Api.METADATA)
    with pytest.raises(EOFError):
        during.answer()
    assert len(broker.got) == 1
    assert connect("worker-b").ask(Api.METADATA) == (1, Api.METADATA)
    proxy.lift(block)
    assert connect("worker-a").ask(Api.METADATA) == (1, Api.METADATA)


def test_a_stall_towards_the_broker_keeps_requests_and_lets_answers_through(proxy, broker, connect):
    client = connect()
    hold = proxy.rule(rules.held(), apis=[Api.FETCH])
    client.send(Api.FETCH)
    until(lambda: len(hold.hits) == 1)
    stall = proxy.impair("stall-up")
    proxy.remove(hold)  # this one has passed the stall already
    assert client.answer() == (1, Api.FETCH)
    client.send(Api.METADATA)
    with pytest.raises(TimeoutError):
        client.answer(0.2)
    assert broker.apis() == [Api.FETCH]
    proxy.lift(stall)
    assert client.answer() == (2, Api.METADATA)


def test_a_stall_towards_the_client_keeps_answers_and_lets_requests_through(proxy, broker, connect):
    client = connect()
    stall = proxy.impair("stall-down")
    client.send(Api.METADATA)
    until(lambda: broker.apis() == [Api.METADATA])
    with pytest.raises(TimeoutError):
        client.answer(0.2)
    proxy.lift(stall)
    assert client.answer() == (1, Api.METADATA)


def test_latency_delays_each_way_and_not_each_frame(proxy, broker, connect):
    client = connect()
    proxy.impair("latency", seconds=0.1)
    started = time.monotonic()
    for _ in range(20):
        client.send(Api.PRODUCE)
    for _ in range(20):
        client.answer()
    assert 0.2 <= time.monotonic() - started < 3.0  # each frame by itself: 4 s


def test_healing_lifts_everything(proxy, broker, connect):
    client = connect()
    rule = proxy.rule(rules.held(), apis=[Api.METADATA])
    proxy.impair("stall-down")
    client.send(Api.METADATA)
    until(lambda: len(rule.hits) == 1)
    proxy.heal()
    assert client.answer() == (1, Api.METADATA)
    assert client.ask(Api.METADATA) == (2, Api.METADATA)


def test_a_broker_that_is_gone_is_gone_for_the_client_too(proxy, broker, connect):
    client = connect()
    client.ask(Api.METADATA)
    broker.close()
    with pytest.raises(EOFError):
        client.answer()
    with pytest.raises((EOFError, OSError)):
        connect().ask(Api.METADATA)


def test_a_proxy_that_is_closed_while_clients_come_leaves_no_socket_open(broker):
    """One that is left open is a warning, and so a failure, of whichever test runs when it is collected."""

    def knock(port: int) -> None:
        with contextlib.suppress(OSError):
            while not over.is_set():
                socket.create_connection(("127.0.0.1", port), timeout=5).close()

    for _ in range(10):
        over = threading.Event()
        with Proxy() as proxy:
            knocking = threading.Thread(target=knock, args=(proxy.listen(1, lambda: broker.address),))
            knocking.start()
            time.sleep(0.02)
        over.set()
        knocking.join(20)
    gc.collect()
