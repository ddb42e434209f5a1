"""The transaction alone, over a producer that the test scripts: how long calls may take, what is repeated, what ends it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from streamkit.clock import ManualClock
from streamkit.config import EngineSettings
from streamkit.errors import AbortableError, AuthorizationError, FatalError, FencedError, KafkaError, RetriableError
from streamkit.instrument import Recorder
from streamkit.kafka.client import Committed, GroupMetadata, TopicPartition
from streamkit.runtime.deadlines import patience
from streamkit.runtime.transaction import BrokenProducerError, Transaction

OFFSETS = {TopicPartition("bids", 0): Committed(7)}
GROUP = GroupMetadata("bids", 3, "member")
SETTINGS = EngineSettings(transaction_timeout_ms=20_000)


class Script:
    """A producer: `errors` are raised by the calls of these names, one after another; `takes` is what each call takes."""

    def __init__(self, clock: ManualClock, errors: dict[str, list[KafkaError]], takes: dict[str, float]) -> None:
        self._clock = clock
        self._errors = errors
        self._takes = takes
        self.timeouts: dict[str, list[float]] = {}
        self.sent: list[Mapping[TopicPartition, Committed]] = []
        self.closed = False

    def _called(self, name: str, timeout: float = 0.0) -> None:
        self.timeouts.setdefault(name, []).append(timeout)
        self._clock.advance(self._takes.get(name, 0.0))
        if self._errors.get(name):
            raise self._errors[name].pop(0)

    def init_transactions(self, timeout: float) -> None:
        self._called("init_transactions", timeout)

    def begin(self) -> None:
        self._called("begin")

    def produce(self, *_: object) -> None:
        self._called("produce")

    def produce_many(self, *_: object) -> None:
        self._called("produce_many")

    def flush(self, timeout: float) -> None:
        self._called("flush", timeout)

    def send_offsets(self, offsets: Mapping[TopicPartition, Committed], _group: object, timeout: float) -> None:
        self.sent.append(offsets)
        self._called("send_offsets", timeout)

    def commit(self, timeout: float) -> None:
        self._called("commit", timeout)

    def abort(self, timeout: float) -> None:
        self._called("abort", timeout)

    def disturbed(self) -> str | None:
        return None

    def close(self) -> None:
        self.closed = True


class Calls:
    """A guard that keeps what it was told."""

    def __init__(self) -> None:
        self.entered: list[tuple[str, float]] = []
        self.depth = 0

    def enter(self, doing: str, within_s: float) -> None:
        self.entered.append((doing, within_s))
        self.depth += 1

    def leave(self) -> None:
        self.depth -= 1


class World:
    def __init__(self, errors: dict[str, list[KafkaError]] | None = None, takes: dict[str, float] | None = None) -> None:
        self.clock = ManualClock()
        self.events = Recorder()
        self.calls = Calls()
        self.errors = errors or {}
        self.takes = takes or {}
        self.made: list[Script] = []
        self.transaction = Transaction(self._make, self.clock, SETTINGS, self.events, self.calls)

    def _make(self) -> Script:
        self.made.append(Script(self.clock, self.errors, self.takes))
        return self.made[-1]

    def write(self) -> None:
        self.transaction.produce("results", b"1", None, 0)


def no_answer() -> RetriableError:
    return RetriableError("no answer", code="_TIMED_OUT")


def test_all_calls_of_a_commit_share_one_deadline() -> None:
    world = World(takes={"flush": 4.0, "send_offsets": 3.0})
    world.write()
    world.transaction.commit(OFFSETS, GROUP)
    (producer,) = world.made
    assert producer.timeouts["flush"] == [SETTINGS.deadline_s]
    assert producer.timeouts["send_offsets"] == [SETTINGS.deadline_s - 4.0]
    assert producer.timeouts["commit"] == [SETTINGS.deadline_s - 7.0]


@pytest.mark.parametrize("metadata, parts", [("", 1), ("x" * 1_000, 4), ("x" * 4_096, 13)])
def test_offsets_that_are_too_much_for_one_request_go_in_parts_within_one_deadline(metadata: str, parts: int) -> None:
    """Brokers keep the offsets of a request in one batch, of at most a megabyte: 1,500 tasks with many stores are above it."""
    world = World(takes={"send_offsets": 0.1})
    offsets = {TopicPartition("bids", number): Committed(number, metadata) for number in range(1_500)}
    world.write()
    world.transaction.commit(offsets, GROUP)
    (producer,) = world.made
    assert len(producer.sent) == parts
    assert [one for part in producer.sent for one in part.items()] == list(offsets.items())
    assert all(sum(len(each.metadata) + 64 for each in part.values()) <= 500_000 for part in producer.sent)
    assert producer.timeouts["send_offsets"] == pytest.approx([SETTINGS.deadline_s - 0.1 * part for part in range(parts)])
    assert producer.timeouts["commit"] == pytest.approx([SETTINGS.deadline_s - 0.1 * parts])


def test_a_few_offsets_with_the_longest_metadata_go_at_once() -> None:
    world = World()
    offsets = {TopicPartition("bids", number): Committed(number, "x" * 4_096) for number in range(100)}
    world.transaction.commit(offsets, GROUP)
    assert world.made[0].sent == [offsets]


@pytest.mark.parametrize("within_s, expected", [(6.0, 6.0), (600.0, SETTINGS.deadline_s)])
def test_a_commit_inside_a_rebalance_takes_the_shorter_of_both_deadlines(within_s: float, expected: float) -> None:
    """R8: half of what remains of max.poll.interval, if that is less than the transaction's own."""
    world = World(takes={"flush": 1.0})
    world.write()
    world.transaction.commit(OFFSETS, GROUP, within_s)
    assert world.made[0].timeouts["flush"] == [expected]
    assert world.made[0].timeouts["send_offsets"] == [expected - 1.0]


def test_a_retriable_call_is_repeated_with_what_is_left_and_then_given_up() -> None:
    world = World(errors={"flush": [no_answer() for _ in range(1_000)]}, takes={"flush": 3.0})
    world.write()
    with pytest.raises(RetriableError):
        world.transaction.commit(OFFSETS, GROUP)
    timeouts = world.made[0].timeouts["flush"]
    assert timeouts == sorted(timeouts, reverse=True)
    assert 2 <= len(timeouts) <= SETTINGS.deadline_s / 3.0 + 1
    assert world.transaction.open


def test_the_guard_hears_every_transactional_call_with_its_patience_and_its_end() -> None:
    world = World(errors={"commit": [no_answer()]})
    world.write()
    world.transaction.commit(OFFSETS, GROUP)
    names = [name for name, _ in world.calls.entered]
    assert names == ["init_transactions", "begin", "flush", "send_offsets", "commit", "commit"]
    assert dict(world.calls.entered)["send_offsets"] == patience(SETTINGS.deadline_s)
    assert world.calls.depth == 0
    world.write()
    world.transaction.abort()
    assert world.calls.entered[-1] == ("abort", patience(SETTINGS.deadline_s))
    assert world.calls.depth == 0


FATAL = FatalError("no such transaction", code="INVALID_TXN_STATE", call="commit")


def calls(world: World) -> list[Callable[[], object]]:
    return [
        world.write,
        lambda: world.transaction.produce_many("results", [b"1"], [None], 0, 0),
        lambda: world.transaction.commit(OFFSETS, GROUP),
    ]


@pytest.mark.parametrize(
    "name, which", [("begin", 0), ("produce", 0), ("produce_many", 1), ("flush", 2), ("send_offsets", 2), ("commit", 2)]
)
def test_a_fatal_error_is_the_end_of_the_producer_and_not_of_the_worker(name: str, which: int) -> None:
    world = World(errors={name: [FATAL]})
    with pytest.raises(BrokenProducerError, match="INVALID_TXN_STATE") as caught:
        calls(world)[which]()
    assert caught.value.code == "INVALID_TXN_STATE"
    assert world.calls.depth == 0


@pytest.mark.parametrize("name, which", [("produce_many", 1), ("flush", 2), ("commit", 2)])
def test_what_is_not_allowed_stays_what_it_is(name: str, which: int) -> None:
    refused = AuthorizationError("not allowed: WRITE on topic 'results'", code="TOPIC_AUTHORIZATION_FAILED")
    world = World(errors={name: [refused]})
    with pytest.raises(AuthorizationError, match=r"not allowed: WRITE on topic 'results'"):
        calls(world)[which]()


@pytest.mark.parametrize("error", [FencedError("newer", code="PRODUCER_FENCED"), AbortableError("no", code="CONCURRENT")])
def test_an_init_that_is_refused_for_a_moment_is_tried_again_with_a_fresh_producer(error: KafkaError) -> None:
    world = World(errors={"init_transactions": [error, error]})
    producer = world.transaction.producer()
    assert world.made == [*world.made[:2], producer]
    assert [made.closed for made in world.made] == [True, True, False]
    assert len(world.events.of("init-retried")) == 2


def test_an_init_that_is_refused_again_and_again_is_given_up() -> None:
    world = World(errors={"init_transactions": [FencedError("newer", code="PRODUCER_FENCED") for _ in range(100)]})
    with pytest.raises(FencedError):
        world.transaction.producer()
    assert 2 <= len(world.made) <= 10
    assert all(made.closed for made in world.made)
    assert world.clock.monotonic() < SETTINGS.start_timeout_ms / 1000


def test_an_init_with_a_fatal_error_is_not_tried_again() -> None:
    world = World(errors={"init_transactions": [FatalError("unsupported", code="UNSUPPORTED_VERSION")]})
    with pytest.raises(FatalError, match="unsupported"):
        world.transaction.producer()
    assert len(world.made) == 1
    assert world.made[0].closed
