"""A TCP proxy between Kafka's clients and brokers that knows what a request is: faults without root and without Docker.

    client ──> Proxy (the port that the broker advertises) ──> broker

It cuts, blocks, stalls and slows the links of one client or one broker, and holds, delays, repeats or loses single requests
and answers, chosen by API key, client id and broker. The behaviour is TCP's: what waits in a stalled link arrives once the
stall is lifted, even if its sender has hung up meanwhile. So a request that its client has given up and sent again can still
reach the broker later, which is the fault that ends the wrong transaction (KAFKA-17754).

Links and rules live in the proxy's own thread; every public method may be called from any other.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal, Self, TypeVar

from tests.support.proxy_frames import Request, read_frame, read_request
from tests.support.proxy_rules import Action, Deliver, Impairment, Rule

_Result = TypeVar("_Result")
_QUEUED_FRAMES = 1_000
_CONNECT_TIMEOUT_S = 5.0
_STRAY_ANSWER_TIMEOUT_S = 10.0

Upstream = Callable[[], tuple[str, int]]
Direction = Literal["up", "down"]


@dataclass(frozen=True, slots=True)
class Stray:
    """A request that the proxy itself delivered, long after or beside its connection; ``answer`` is None if none came."""

    request: Request
    answer: bytes | None


class Proxy:
    """One listening port per broker. `listen` before the broker starts, so that it can advertise the port."""

    def __init__(self) -> None:
        self.strays: deque[Stray] = deque(maxlen=1_000)
        self.seen: Counter[tuple[int, str, int]] = Counter()  # (broker, client id, API key) -> requests
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self._servers: list[asyncio.Server] = []
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self.upstreams: dict[int, Upstream] = {}
        self.rules: list[Rule] = []
        self.impairments: list[Impairment] = []
        self.changed = asyncio.Event()

    # ---- from other threads

    def listen(self, broker: int, upstream: Upstream) -> int:
        """Opens a port for this broker and returns it; `upstream` tells, for each connection anew, where the broker is."""
        return self._call(self._listen(broker, upstream))

    def rule(
        self,
        action: Action,
        *,
        apis: Iterable[int],
        clients: str = "*",
        brokers: Iterable[int] | None = None,
        times: int | None = None,
        only: Callable[[Request], bool] | None = None,
    ) -> Rule:
        """What happens to the next ``times`` requests (None: to all) that fit; ``clients`` is a pattern such as ``*-b-0``.
        ``only`` narrows it further and is called in the proxy's thread."""
        rule = Rule(action, frozenset(apis), clients, None if brokers is None else frozenset(brokers), times, only)
        self._soon(lambda: self.rules.append(rule))
        return rule

    def remove(self, rule: Rule) -> None:
        """Takes a rule back; what it holds is released."""

        def act() -> None:
            rule.times = 0
            rule.released = True
            if rule in self.rules:
                self.rules.remove(rule)
            self._announce()

        self._soon(act)

    def impair(
        self,
        kind: Literal["block", "stall-up", "stall-down", "latency"],
        *,
        clients: str = "*",
        brokers: Iterable[int] | None = None,
        seconds: float = 0.0,
    ) -> Impairment:
        """Until it is lifted: links are refused (block), silent in one direction (up: to the broker), or slow by ``seconds``
        each way. A block cuts the links that there are."""
        impairment = Impairment(kind, clients, None if brokers is None else frozenset(brokers), seconds)

        def act() -> None:
            self.impairments.append(impairment)
            if kind == "block":
                self._abort(clients, impairment.brokers)
            self._announce()

        self._soon(act)
        return impairment

    def lift(self, impairment: Impairment) -> None:
        def act() -> None:
            if impairment in self.impairments:
                self.impairments.remove(impairment)
            self._announce()

        self._soon(act)

    def heal(self) -> None:
        """Lifts everything and forgets every rule; what was held goes on its way."""

        def act() -> None:
            for rule in self.rules:
                rule.times, rule.released = 0, True
            self.rules.clear()
            self.impairments.clear()
            self._announce()

        self._soon(act)

    def cut(self, *, clients: str = "*", brokers: Iterable[int] | None = None) -> int:
        """Resets the links that there are, on the client's side and on the broker's; returns how many."""
        return self._soon(lambda: self._abort(clients, None if brokers is None else frozenset(brokers)))

    def links(self, clients: str = "*") -> int:
        """How many links of these clients there are."""
        return self._soon(lambda: sum(fnmatchcase(link.client_id, clients) for link in self._links if not link.gone))

    def close(self) -> None:
        """Resets every link and ends the thread."""
        if self._thread.is_alive():
            self._call(self._close())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(10)
            self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- in the proxy's thread

    def _call(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def _soon(self, act: Callable[[], _Result]) -> _Result:
        async def run() -> _Result:
            return act()

        return self._call(run())

    def _announce(self) -> None:
        """Wakes everything that waits: each looks again whether it still has to."""
        self.changed.set()
        self.changed = asyncio.Event()

    async def _listen(self, broker: int, upstream: Upstream) -> int:
        self.upstreams[broker] = upstream

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            link = _Link(self, broker, reader, writer)
            self._links.add(link)
            try:
                with contextlib.suppress(asyncio.CancelledError):  # by `_close`; asyncio would log it
                    await link.run(upstream)
            finally:
                self._links.discard(link)

        server = await asyncio.start_server(connected, "127.0.0.1", 0)
        self._servers.append(server)
        port: int = server.sockets[0].getsockname()[1]
        return port

    async def _close(self) -> None:
        for server in self._servers:
            for listening in server.sockets:
                self._loop.remove_reader(listening.fileno())
        for _ in range(5):  # what was accepted becomes a link; of a closed server it never would, and its socket would stay open
            await asyncio.sleep(0)
        for server in self._servers:
            server.close()
        self._abort("*", None)
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
        for _ in range(2):  # a transport closes its socket in the round after
            await asyncio.sleep(0)

    def _abort(self, clients: str, brokers: frozenset[int] | None) -> int:
        cut = [k for k in self._links if fnmatchcase(k.client_id, clients) and (brokers is None or k.broker in brokers)]
        for link in cut:
            link.abort()
        return len(cut)

    def impaired(self, link: _Link, kind: str) -> Impairment | None:
        return next((one for one in self.impairments if one.kind == kind and one.concerns(link.broker, link.client_id)), None)

    def action_for(self, request: Request) -> Rule | None:
        """The rule that takes this request, counted as taken."""
        for rule in self.rules:
            if rule.takes(request):
                return rule
        return None

    def deliver(self, request: Request, after_s: float, rule: Rule | None = None) -> None:
        """Sends a request to its broker on a connection of its own, as a copy that was long on its way; at once when ``rule`` is
        released."""
        task = self._loop.create_task(self._deliver(request, after_s, rule))
        self._tasks.add(task)  # a task that nobody refers to may be collected
        task.add_done_callback(self._tasks.discard)

    async def until_released(self, rule: Rule, at_most_s: float) -> None:
        deadline = time.monotonic() + at_most_s
        while not rule.released and time.monotonic() < deadline:
            await self.until_changed(deadline - time.monotonic())

    async def until_changed(self, seconds: float | None) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.changed.wait()

    async def _deliver(self, request: Request, after_s: float, rule: Rule | None) -> None:
        await (asyncio.sleep(after_s) if rule is None else self.until_released(rule, after_s))
        answer = None
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
            async with asyncio.timeout(_STRAY_ANSWER_TIMEOUT_S):
                reader, writer = await asyncio.open_connection(*self.upstreams[request.broker]())
                try:
                    writer.write(request.frame)
                    await writer.drain()
                    answer = await read_frame(reader)
                finally:
                    writer.close()
        self.strays.append(Stray(request, answer))


class _Link:
    """One connection of a client and its counterpart to the broker: a reader and a writer task in each direction.

    The writers do what takes time (latency, stalls, held requests); the readers fill bounded queues before them.
    """

    def __init__(self, proxy: Proxy, broker: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.broker = broker
        self.client_id = ""  # known from the first request on
        self.gone = False  # on the client's side
        self._proxy = proxy
        self._client = reader, writer
        self._up: asyncio.Queue[tuple[float, Request] | None] = asyncio.Queue(_QUEUED_FRAMES)
        self._down: asyncio.Queue[tuple[float, bytes] | None] = asyncio.Queue(_QUEUED_FRAMES)
        self._fates: dict[int, Action] = {}  # correlation id -> what happens to the answer
        self._server_writer: asyncio.StreamWriter | None = None

    async def run(self, upstream: Upstream) -> None:
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                server_reader, self._server_writer = await asyncio.open_connection(*upstream())
        except (OSError, TimeoutError):
            self.abort()
            return
        readers = self._read_client(), self._read_server(server_reader)
        writers = self._write_server(), self._write_client()
        tasks = [asyncio.ensure_future(one) for one in (*readers, *writers)]
        try:
            # The writers decide when all is over: what waits on its way to the broker outlives the client.
            await asyncio.gather(*tasks[len(readers) :])
        finally:
            for task in tasks:
                task.cancel()
            self.abort()

    def abort(self) -> None:
        """Resets both sides."""
        self.abort_client()
        if self._server_writer is not None:
            self._server_writer.transport.abort()

    def abort_client(self) -> None:
        self.gone = True
        self._client[1].transport.abort()

    # ---- client to broker

    async def _read_client(self) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                request = await read_request(self._client[0], self.broker)
                self.client_id = request.client_id
                self._proxy.seen[self.broker, request.client_id, request.api] += 1
                if self._proxy.impaired(self, "block"):
                    self.abort()
                    break
                await self._up.put((time.monotonic(), request))
        self.gone = True
        await self._up.put(None)

    async def _write_server(self) -> None:
        assert self._server_writer is not None
        with contextlib.suppress(OSError):
            while (item := await self._up.get()) is not None:
                arrived, request = item
                await self._pass("up", arrived)
                if await self._act_on(request):
                    self._server_writer.write(request.frame)
                    await self._server_writer.drain()
            if self._server_writer.can_write_eof():
                self._server_writer.write_eof()  # the broker answers what it has, and closes

    async def _act_on(self, request: Request) -> bool:
        """Does what a rule says, and tells whether the request goes on to the broker here and now."""
        rule = self._proxy.action_for(request)
        if rule is None:
            return True
        action = rule.action
        if action.answer != "pass":
            self._fates[request.correlation_id] = action
        if action.again_after_s is not None:
            self._proxy.deliver(request, action.again_after_s)
        if action.deliver is Deliver.HOLD:
            await self._proxy.until_released(rule, action.seconds)
        elif action.deliver is Deliver.NEVER:
            self.abort()
            return False
        elif action.deliver is Deliver.STRAY:
            self._proxy.deliver(request, action.seconds, rule if action.on_release else None)
            self.abort()
            return False
        return True

    # ---- broker to client

    async def _read_server(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                await self._down.put((time.monotonic(), await read_frame(reader)))
        await self._down.put(None)

    async def _write_client(self) -> None:
        writer = self._client[1]
        while (item := await self._down.get()) is not None:
            arrived, frame = item
            await self._pass("down", arrived)
            fate = self._fates.pop(int.from_bytes(frame[4:8], "big"), None)
            if fate is not None and fate.answer == "cut":
                self.abort()
                return
            if fate is not None and fate.answer == "drop":
                continue
            if not self.gone:
                with contextlib.suppress(OSError):
                    writer.write(frame)
                    await writer.drain()
        await self._pass("down", time.monotonic())
        self.abort()  # the broker is gone, or has answered all that a departed client asked

    # ---- waiting

    async def _pass(self, direction: Direction, arrived: float) -> None:
        """Returns when nothing keeps this direction back."""
        slow = self._proxy.impaired(self, "latency")
        if slow is not None:
            await asyncio.sleep(max(0.0, arrived + slow.seconds - time.monotonic()))
        while self._proxy.impaired(self, f"stall-{direction}"):
            await self._proxy.until_changed(None)
