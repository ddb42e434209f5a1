"""The workloads of the suite: what is read, what is computed, what must come out, and who takes part.

Bars of the project compare contestants in W1 (tumbling) and stateless; there all take part, the JVM engines with 5 M records so
that they are warm. The others hold streamkit against itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, partial
from types import MappingProxyType
from typing import Any

from benchmarks import references
from benchmarks.bids import JSON, SIZE_MS, Bids, Form, bids, visits
from benchmarks.references import ITEM_KEY, THOUSANDTHS, Reader, Rows


@dataclass(frozen=True, slots=True)
class Input:
    """A topic of bids. ``form`` is how they are written: "json", "text-keys" or "avro"."""

    name: str
    records: int
    keys: int = 100
    partitions: int = 1
    form: str = "json"
    make: Callable[[int, int], Bids] = bids

    def scaled(self, scale: float) -> Input:
        return replace(self, records=max(1_000, round(self.records * scale)))


@dataclass(frozen=True, slots=True)
class Part:
    """How a contestant takes part: with fewer records, or in fewer turns, if it would take too long otherwise."""

    input: Input | None = None
    turns: int | None = None


@dataclass(frozen=True, slots=True)
class Workload:
    """``unsupported``: why there is nothing to run. ``loose``: contestants that judge lateness by the wall clock."""

    name: str
    title: str
    input: Input
    pipeline: str = "tumbling"
    reference: Callable[[Bids, int], Rows] | None = None
    reader: Reader = field(default_factory=Reader)
    contestants: Mapping[str, Part] = field(default_factory=lambda: MappingProxyType({"streamkit": Part()}))
    unsupported: str | None = None
    window: str = "10s"

    def input_of(self, contestant: str) -> Input:
        return self.contestants[contestant].input or self.input


LOOSE = frozenset({"flink", "quix"})  # what is late for them hangs on when they look at their clocks, or on what has closed
UNCHECKED = frozenset({"floor"})  # it writes nothing
COUNTED = frozenset({"floor-out"})  # it writes so many prepared results

BIDS_5M = Input("bids-5m", 5_000_000)
BIDS_1M = Input("bids-1m", 1_000_000)
BIDS_4P = Input("bids-4p", 5_000_000, partitions=4)
BIDS_100K = Input("bids-100k", 1_000_000, keys=100_000)
TEXT_KEYS = Input("text-keys", 1_000_000, form="text-keys")
VISITS = Input("visits", 5_000_000, make=visits)
BIDS_200 = Input("bids-200", 1_000_000, keys=200)
AVRO = Input("avro", 1_000_000, form="avro")
PARTITIONS_4 = Input("partitions-4", 3_000_000, keys=1_024, partitions=4)
PARTITIONS_256 = Input("partitions-256", 3_000_000, keys=1_024, partitions=256)
RESTORE = Input("restore", 1_000_000, keys=1_000_000)

_W1 = Reader(size_ms=SIZE_MS)


def _parts(names: str, **others: Part) -> Mapping[str, Part]:
    return MappingProxyType({name: Part() for name in names.split()} | others)


@cache
def _avro_encoder() -> Callable[[bytes], bytes]:
    """From JSON."""
    import msgspec

    import streamkit as sk
    from benchmarks.contestants.pipelines import Bid

    decode, encode = msgspec.json.Decoder(Bid).decode, sk.avro(Bid).encoder()
    return lambda value: encode(decode(value))


def in_avro(values: list[bytes]) -> list[bytes]:
    return list(map(_avro_encoder(), values))


@cache
def _avro_decoder() -> Callable[[bytes], Any]:
    import streamkit as sk
    from benchmarks.contestants.pipelines import AvroResult

    return sk.avro(AvroResult).decoder()


def avro_result(value: bytes) -> Any:
    return _avro_decoder()(value)


FORMS = {"json": JSON, "text-keys": Form(key=b"item-%d"), "avro": Form(encode=in_avro)}

_NO_PERSONS = "needs a join, which streamkit does not have yet; and persons and auctions beside the bids"

# In the order in which they are played. The speed of a machine wanders within minutes, so what the bars compare across workloads
# stands side by side, with streamkit's turn the last of the first workload and the first of those behind it.
WORKLOADS = (
    Workload(
        "w1-100",
        "W1: tumbling 10 s, count/sum/max, 100 keys, 1 partition",
        BIDS_5M,
        reference=references.tumbling,
        reader=_W1,
        contestants=_parts(
            "kafka-streams flink",
            **{"quix": Part(BIDS_1M), "hand-plain": Part(BIDS_1M)},
            **_parts("hand streamkit-off floor streamkit"),
        ),
    ),
    Workload(
        "w1-100-4p",
        "W1, 100 keys, 4 partitions",
        BIDS_4P,
        reference=references.tumbling,
        reader=_W1,
        contestants=_parts("streamkit floor hand"),
    ),
    Workload("session", "sessions of 20 s with a gap of 10 s, 100 keys at a time", VISITS, "session", references.session),
    Workload(
        "hopping",
        "hopping 60 s / 1 s, 100 keys",
        BIDS_5M,
        "hopping",
        references.hopping,
        Reader(size_ms=references.HOPPING_SIZE_MS),
        _parts("streamkit", flink=Part(turns=1)),
    ),
    Workload(
        "w1-100k",
        "W1 with 100,000 keys: nearly a result for each record",
        BIDS_100K,
        reference=references.tumbling,
        reader=_W1,
        contestants=_parts("floor floor-out streamkit streamkit-off hand hand-plain kafka-streams flink", quix=Part(turns=1)),
    ),
    Workload(
        "stateless",
        "filter and project, a tenth kept",
        BIDS_5M,
        pipeline="stateless",
        reference=references.stateless,
        contestants=_parts(
            "kafka-streams",
            **{"flink": Part(turns=1), "quix": Part(BIDS_1M), "hand-plain": Part(BIDS_1M)},
            **_parts("hand streamkit-off floor-out streamkit"),
        ),
    ),
    Workload("functions", "a function for each record (map), a tenth kept (filter)", BIDS_5M, "functions", references.mapped),
    Workload("w1-100-1m", "W1, 100 keys, 1 M records: to compare the next with", BIDS_1M, "tumbling", references.tumbling, _W1),
    Workload(
        "strings",
        "W1 with text keys",
        TEXT_KEYS,
        "strings",
        references.tumbling,
        replace(_W1, fields={"key": ITEM_KEY}),
    ),
    Workload("avro", "W1 with Avro in and out", AVRO, "avro", references.tumbling, replace(_W1, decode=avro_result)),
    Workload(
        "session-short",
        "short sessions: gap of 1 s, as much as records are out of order, 200 keys",
        BIDS_200,
        "session",
        partial(references.session, gap_ms=references.SHORT_GAP_MS),
        window=f"{references.SHORT_GAP_MS}ms",
    ),
    Workload(
        "w1-1024-4p",
        "W1, 1,024 keys, 4 partitions",
        PARTITIONS_4,
        "tumbling",
        references.tumbling,
        _W1,
        _parts("streamkit floor"),
    ),
    Workload(
        "w1-1024-256p",
        "W1, 1,024 keys, 256 partitions, one worker",
        PARTITIONS_256,
        "tumbling",
        references.tumbling,
        _W1,
        _parts("streamkit floor"),
    ),
    Workload("restore", "restore of 1 M window entries", RESTORE, "restore"),
    Workload("nexmark-q0", "Nexmark q0: pass through", BIDS_1M, "q0", references.passed_through),
    Workload(
        "nexmark-q1",
        "Nexmark q1: currency conversion",
        BIDS_1M,
        "q1",
        references.converted,
        Reader(fields={"price": THOUSANDTHS}),
    ),
    Workload("nexmark-q2", "Nexmark q2: selection", BIDS_1M, "q2", references.selected),
    Workload("nexmark-q3", "Nexmark q3: local item suggestion", BIDS_1M, unsupported=_NO_PERSONS),
    Workload("nexmark-q4", "Nexmark q4: average price of a category", BIDS_1M, unsupported=_NO_PERSONS),
    Workload(
        "nexmark-q5",
        "Nexmark q5: hot items, hopping 10 s / 2 s (of several with most bids, one)",
        BIDS_1M,
        "q5",
        references.hot_items,
        Reader(size_ms=references.HOT_SIZE_MS),
    ),
    Workload("nexmark-q6", "Nexmark q6: average selling price by seller", BIDS_1M, unsupported=_NO_PERSONS),
    Workload("nexmark-q7", "Nexmark q7: highest bid of each window", BIDS_1M, "q7", references.highest_bid, _W1),
    Workload("nexmark-q8", "Nexmark q8: monitor new users", BIDS_1M, unsupported=_NO_PERSONS),
)

WORKLOADS_BY_NAME = {workload.name: workload for workload in WORKLOADS}

# What the loose ones give at most.
_MOST = {"tumbling": partial(references.tumbling, late_too=True), "hopping": partial(references.hopping, late_too=True)}


def check(workload: Workload, contestant: str, made: Bids, partitions: int, expected: Rows, values: list[bytes]) -> str | None:
    """What is wrong with the results, in words."""
    if contestant in COUNTED:
        return None if len(values) == len(expected) else f"{len(values):,} records were written, {len(expected):,} were to be"
    found = workload.reader.read(expected, values)
    if contestant in LOOSE and workload.pipeline in _MOST:
        return references.outside(expected, _MOST[workload.pipeline](made, partitions), found)
    return references.difference(expected, found)
