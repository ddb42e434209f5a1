"""Watermarks that follow another rule than bounded out-of-orderness: a field of the records, or the user's own.

Whatever the rule, the engine keeps two promises of it: a watermark never goes back, and it is a function of its partition's log
alone. What a rule remembers is therefore not in it but in a few numbers beside it, which are stored with every committed position
(the offset metadata) and given back after a restart.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, final
from zlib import crc32

import numpy as np

from streamkit.errors import DeclarationError
from streamkit.eventtime.watermark import MAX_TIMESTAMP, MIN_TIMESTAMP, NO_TIME, Int64s, PartitionWatermark

State = tuple[int, ...]

MOST_STATE = 16
"""Numbers that a generator may remember for each partition: what is stored with a position is small."""


class WatermarkGenerator(ABC):
    """How the watermark of a source partition follows from the event times of its records: a rule of your own.

    Derive from it, write `follow`, and give an instance to `event_time(watermark=...)`. One instance serves all partitions, so it
    must keep nothing itself: what it has to remember of a partition goes in and out as ``state``, a tuple of at most 16 integers
    of 64 bits. It is stored with every committed position and given back after a restart or a rebalance; `start` is the state of
    a partition of which nothing was read. After the class was renamed, or begins with another number of integers, it starts
    anew from `start`; windows that have closed stay closed.

    The engine takes care that a watermark never goes back: what is below an earlier one is raised to it. That the rule depends
    on the records only, and not on how they were cut into batches, is tried with a few where it is declared
    (`DeclarationError`). If it raises, or gives something else than it should, the service stops (`UserFunctionError`): no single
    record is at fault, so none is skipped. (Flink's ``WatermarkGenerator``, which is driven record by record; here a call takes a
    batch.)

    >>> import numpy as np
    >>> import streamkit as sk
    >>> class SecondLatest(sk.WatermarkGenerator):
    ...     '''Behind the second largest time so far: one record of the future alone moves nothing.'''
    ...     def start(self):
    ...         return (self.NO_TIME, self.NO_TIME)
    ...     def follow(self, timestamps, state):
    ...         largest, second = state
    ...         watermarks = np.empty(len(timestamps), np.int64)
    ...         for index, time in enumerate(timestamps.tolist()):
    ...             largest, second = max(largest, time), max(second, min(largest, time))
    ...             watermarks[index] = second - 1 if second > self.NO_TIME else self.NO_TIME
    ...         return watermarks, (largest, second)
    >>> print(sk.event_time("at", watermark=SecondLatest()).watermark)
    SecondLatest
    """

    NO_TIME: ClassVar[int] = NO_TIME
    """The watermark that says nothing yet; below every event time."""

    def start(self) -> State:
        """The state before the first record of a partition."""
        return ()

    @abstractmethod
    def follow(self, timestamps: Int64s, state: State) -> tuple[Int64s, State]:
        """Of the event times of a batch (int64 milliseconds since 1970 UTC, in the order of the log, read-only, never empty): the
        watermark *after* each record (int64 milliseconds, of the same length), and the state after the last. A watermark W says
        that no record with a time <= W is expected any more in this partition."""

    def __str__(self) -> str:
        return type(self).__qualname__


@final
@dataclass(frozen=True, slots=True)
class ElementwiseWatermark(WatermarkGenerator):
    """A function of the event times, value by value; the largest of its results so far is the watermark."""

    fn: Callable[[Int64s], Int64s]

    def follow(self, timestamps: Int64s, state: State) -> tuple[Int64s, State]:
        return self.fn(timestamps), state

    def __str__(self) -> str:
        return f"{getattr(self.fn, '__qualname__', type(self.fn).__qualname__)}()".replace("<lambda>", "lambda")


@dataclass(frozen=True, slots=True)
class FieldWatermark:
    """The largest value of a field so far."""

    field: str

    def __str__(self) -> str:
        return f"field '{self.field}'"


Watermarks = FieldWatermark | WatermarkGenerator
"""A rule that is not bounded out-of-orderness."""


@dataclass(slots=True)
class GeneratedWatermark(PartitionWatermark):
    """The watermark of one partition by such a rule. ``reached`` and the rule's state are stored with the position."""

    rule: Watermarks = field(kw_only=True)
    reached: int = NO_TIME
    state: State = ()

    def __post_init__(self) -> None:
        self.state = _start(self.rule)

    @property
    def watermark(self) -> int:
        return self.reached

    @property
    def kept(self) -> State:
        return (_identity(self.rule), self.reached, *self.state)

    def restore(self, max_timestamp: int, kept: State) -> None:
        """What another rule has left is not for this one: it starts anew."""
        self.max_timestamp = max_timestamp
        if len(kept) == 2 + len(self.state) and kept[0] == _identity(self.rule):
            self.reached, self.state = kept[1], kept[2:]

    def observe(self, timestamps: Int64s) -> Int64s | None:
        if not len(timestamps):
            return None
        assert isinstance(self.rule, WatermarkGenerator)  # noqa: S101 - a field's come with the records: observe_told
        after, self.state = followed(self.rule, timestamps, self.state)
        return self.observe_told(timestamps, after)

    def observe_told(self, timestamps: Int64s, after: Int64s) -> Int64s | None:
        """As `observe`, with what the rule says after each record."""
        if not len(timestamps):
            return None
        self.max_timestamp = max(self.max_timestamp, int(timestamps.max()))
        reached = np.empty(len(after) + 1, np.int64)
        reached[0] = self.reached
        reached[1:] = after
        np.maximum.accumulate(reached, out=reached)
        self.reached = int(reached[-1])
        before = reached[:-1]
        return before if bool((timestamps <= before).any()) else None


def followed(generator: WatermarkGenerator, timestamps: Int64s, state: State) -> tuple[Int64s, State]:
    """What the user's generator gives, checked. TypeError or ValueError: it is not what it should be; or what it raises."""
    shown = timestamps.view()
    shown.flags.writeable = False
    found: Any = generator.follow(shown, state)
    if not isinstance(found, tuple) or len(found) != 2:
        raise TypeError(f"{generator}: expected the watermarks and the state, got {type(found).__name__}")
    watermarks = np.asarray(found[0])
    if watermarks.dtype.kind != "i" or watermarks.shape != timestamps.shape:
        raise TypeError(
            f"{generator}: expected a watermark after each of {len(timestamps)} records as an array of int64, got "
            f"{watermarks.dtype} of shape {watermarks.shape}"
        )
    if int(watermarks.max()) > MAX_TIMESTAMP:
        raise ValueError(
            f"{generator}: a watermark of {watermarks.max()} ms is behind all times: the largest is {MAX_TIMESTAMP} ms"
        )
    said = watermarks.astype(np.int64, copy=False)
    # below all event times a watermark says nothing, and is no time that could be shown
    return np.where(said < MIN_TIMESTAMP, NO_TIME, said), _checked_state(generator, found[1])


def check_generator(generator: WatermarkGenerator) -> None:
    """`DeclarationError` if it depends on how records are cut into batches or on what it keeps itself, or gives no watermarks."""
    try:
        whole, *others = (_run(generator, length) for length in (len(_SAMPLE), 1, 3, len(_SAMPLE)))
    except Exception as error:  # the user's own code
        raise DeclarationError(f"event_time: watermark: tried with a few records, {type(error).__name__}: {error}") from error
    for length, other in zip((1, 3, len(_SAMPLE)), others, strict=True):
        if whole != other:
            how = "when it is asked again" if length == len(_SAMPLE) else f"when they come in batches of {length}"
            raise DeclarationError(
                f"event_time: watermark: {generator} gives other watermarks of the same records {how}. They must be a function "
                "of the records alone: a watermark after each of them, and what has to be remembered in the state "
                "(sk.WatermarkGenerator), nowhere else"
            )


_SAMPLE: Int64s = np.array([1_700_000_000_000 + 1_000 * n + n * 7919 % 97 * 250 for n in range(24)], np.int64)


def _run(generator: WatermarkGenerator, length: int) -> tuple[list[int], State]:
    """The watermark after each record of the sample, never going back, and the state in the end."""
    after, state = [], _checked_state(generator, generator.start())
    for start in range(0, len(_SAMPLE), length):
        watermarks, state = followed(generator, _SAMPLE[start : start + length], state)
        after.append(watermarks)
    found: list[int] = np.maximum.accumulate(np.concatenate(after)).tolist()
    return found, state


def _checked_state(generator: WatermarkGenerator, state: Any) -> State:
    if (
        not isinstance(state, tuple)
        or len(state) > MOST_STATE
        or not all(isinstance(n, int | np.integer) and -(2**63) <= n < 2**63 for n in state)
    ):
        raise TypeError(f"{generator}: the state must be a tuple of at most {MOST_STATE} integers of 64 bits, got {state!r}")
    return tuple(map(int, state))


def _start(rule: Watermarks) -> State:
    return _checked_state(rule, rule.start()) if isinstance(rule, WatermarkGenerator) else ()


def _identity(rule: Watermarks) -> int:
    """Whose state it is: in a number, for there are names that are not ASCII."""
    return crc32(str(rule).encode())
