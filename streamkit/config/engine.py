"""The settings of the engine, as one frozen value. Times are milliseconds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields
from typing import Any, Final, NamedTuple

from streamkit.config.duration import duration_text
from streamkit.errors import ConfigError


class Order(NamedTuple):
    """One of the inequalities of R20: ``low`` <= ``high`` / ``parts``, or ``<`` if it is strict."""

    low: str
    words: str
    high: str
    why: str
    parts: int = 1
    is_strict: bool = False


# That the commit interval is below the session time-out, which R20 also wants, follows from the first two.
ORDERS: Final = (
    Order("commit_interval_ms", "at most a quarter of", "transaction_timeout_ms",
          "a slow commit would be timed out by the broker", parts=4),
    Order("transaction_timeout_ms", "below", "session_timeout_ms",
          "the transaction of a worker that is gone must have ended before its partitions are given to another", is_strict=True),
    Order("session_timeout_ms", "at most", "max_poll_interval_ms",
          "a worker that polls too seldom would be noticed before one that is dead"),
)  # fmt: skip


_DAY_MS: Final = 86_400_000  # the most that librdkafka takes for max.poll.interval.ms; time-outs are 32-bit numbers there
_HOUR_MS: Final = 3_600_000  # and for session.timeout.ms
_MOST: Final = 1_000_000
_REPLICAS: Final = 32_767  # a 16-bit number in Kafka's protocol


def _ms(default: int, doc: str, *, least: int = 1, most: int = _DAY_MS) -> Any:
    return _number(default, doc, least=least, most=most)


def _number(default: int | None, doc: str, *, least: int = 1, most: int = _MOST, unset: str = "the broker's") -> Any:
    return field(default=default, metadata={"doc": doc, "least": least, "most": most, "unset": unset})


def _choice(choices: tuple[str, ...], doc: str) -> Any:
    return field(default=choices[0], metadata={"doc": doc, "choices": choices})


def _flag(doc: str) -> Any:
    return field(default=False, metadata={"doc": doc})


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """How a worker works, whatever its Kafka is. What each field means stands in docs/reference/settings.md.

    `ConfigError`: of the wrong type, out of range, none of the choices, or in an order that would break a guarantee.

    >>> EngineSettings(commit_interval_ms=10_000)
    Traceback (most recent call last):
    streamkit.errors.ConfigError: commit_interval (10s) must be at most a quarter of transaction_timeout (30s): a slow commit ...
    """

    commit_interval_ms: int = _ms(
        100,
        "longest time between the first change and its commit; at most a quarter of `transaction_timeout_ms`. Longer: fewer, "
        "larger transactions, later results",
    )
    transaction_timeout_ms: int = _ms(
        30_000, "after this the broker aborts a transaction; half of it is the deadline of a commit", least=1_000
    )
    session_timeout_ms: int = _ms(
        45_000,
        "after this without a sign of life a worker's partitions go to others ([how to choose it](../operate/rebalancing.md)); "
        "with `group_protocol` consumer the brokers' setting of the group counts instead",
        most=_HOUR_MS,
    )
    max_poll_interval_ms: int = _ms(300_000, "longest time between two polls; a slow function must stay below it")
    group_protocol: str = _choice(
        ("classic", "consumer"),
        "how workers share the partitions: classic stops all of them for a moment, consumer (KIP-848, brokers from 4.0) only "
        "those whose partitions move ([which one](../operate/rebalancing.md))",
    )
    static_membership: bool = _flag(
        "a worker that comes back under its instance id within the session time-out takes its partitions up again without a "
        "rebalance; one that leaves for good is missed for as long ([when to use it](../operate/rebalancing.md))"
    )
    max_records: int = _number(2_000, "records of one poll; about 2,000 stay in the processor's cache")
    poll_timeout_ms: int = _ms(100, "how long a poll waits for the first record", least=0)
    control_interval_ms: int = _ms(
        1_000, "least time between two control records with mere news ([wire formats](../wire-formats.md))", least=0
    )
    heartbeat_ms: int = _ms(3_000, "after this the last word on time is repeated")
    idle_check_ms: int = _ms(500, "how often a silent partition is asked for its end", least=0)
    start_timeout_ms: int = _ms(30_000, "how long a start waits for a broker and its answers")
    restore_stall_ms: int = _ms(120_000, "a restore without progress for so long stops the service")
    purge_interval_ms: int = _ms(30_000, "how often processed repartition records are deleted", least=0)
    topic_check_ms: int = _ms(
        10_000,
        "how often the topics are compared with what they were at the start; one that was deleted, made anew or grew stops "
        "the service",
        least=0,
    )
    stalled_after_ms: int = _ms(
        120_000,
        "records that wait so long in a partition of ours, with nothing committed of it, stop the service; restores do not count",
        least=1_000,
    )
    replication_factor: int = _number(-1, "of internal topics; -1 is the broker's default", least=-1, most=_REPLICAS)
    min_insync_replicas: int | None = _number(None, "of internal topics", most=_REPLICAS)
    memory_limit_mb: int | None = _number(
        None,
        "of the window state of a worker, in millions of bytes: before it is reached, partitions that are ahead of others wait; "
        "a worker that comes to it all the same stops ([how to choose it](../operate/performance.md#memory))",
        unset="none",
    )

    def __post_init__(self) -> None:
        for each in fields(self):
            wrong_value = _wrong(each, getattr(self, each.name))
            if wrong_value is not None:
                raise ConfigError(f"{each.name} {wrong_value}")
        wrong = broken_order({each.name: getattr(self, each.name) for each in fields(self)}, duration_text)
        if wrong is not None:
            raise ConfigError(wrong[1])

    @property
    def deadline_s(self) -> float:
        """Longest time that the end of a transaction may take: half of what the broker would wait (R20)."""
        return self.transaction_timeout_ms / 2000

    @property
    def step_deadline_s(self) -> float:
        """A step that takes longer never ends: a slow function may take `max_poll_interval`, a transaction its time on top."""
        return (self.max_poll_interval_ms + self.transaction_timeout_ms) / 1000


def _wrong(each: Field[Any], value: object) -> str | None:
    """What is wrong with the value of a field."""
    said = each.metadata
    if value is None and each.default is None:
        return None
    if "choices" in said:
        return None if value in said["choices"] else f"is one of {', '.join(said['choices'])}, not {value!r}"
    if isinstance(each.default, bool):
        return None if isinstance(value, bool) else f"is True or False, not {value!r}"
    if not isinstance(value, int) or isinstance(value, bool):
        return f"is a whole number, not {value!r}"
    if not said["least"] <= value <= said["most"]:
        return f"must be at least {said['least']} and at most {said['most']}, got {value}"
    return None


def broken_order(values: Mapping[str, Any], said: Callable[[int], str]) -> tuple[Order, str] | None:
    """The first order that values do not keep, and the sentence that says so; None if they keep them all."""
    for order in ORDERS:
        low, high = values[order.low], values[order.high]
        if low * order.parts > high or (order.is_strict and low == high):
            return order, (
                f"{public_name(order.low)} ({said(low)}) must be {order.words} {public_name(order.high)} ({said(high)}): "
                f"{order.why}"
            )
    return None


def public_name(field_name: str) -> str:
    """How users write a field: durations carry their unit in the value.

    >>> public_name("commit_interval_ms"), public_name("max_records")
    ('commit_interval', 'max_records')
    """
    return field_name.removesuffix("_ms")
