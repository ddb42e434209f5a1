"""Records that cannot be processed: the error names topic, partition, offset, operator and cause; nothing of its transaction is
committed; "skip" leaves out exactly that record, counted and logged; a function decides from the error."""

# ruff: noqa: E501 - one line a case

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest

import streamkit as sk
from streamkit.errors import (
    AggregateError,
    ConfigError,
    DecodeError,
    EncodeError,
    EventTimeError,
    RecordError,
    UserFunctionError,
)


class Bid(sk.Model):
    item: str
    price: float


class Count(sk.Model):
    key: str
    n: int


class Timed(sk.Model):
    at: int | None
    when: datetime | None = None


BIDS = sk.Topic("in", key=str, value=Bid)
COUNTS = sk.Topic("in", key=str, value=Count)
ROWS = sk.Topic("in", key=str)
OUT = sk.Topic("out")
GOOD_BID = b'{"item":"A","price":1.5}'
GOOD_COUNT = b'{"key":"A","n":1}'


def read_bids(app: sk.App) -> None:
    app.stream(BIDS).filter(pl.col("price") > 0).to(OUT)


def read_counts(app: sk.App) -> None:
    app.stream(COUNTS).filter(pl.col("n") > -5).to(OUT)


def sum_counts(app: sk.App) -> None:
    app.stream(COUNTS).by_record_key().window(sk.tumbling("1m")).aggregate("agg", total=sk.sum("n")).on_close().to(OUT)


def sum_rows(app: sk.App) -> None:
    app.stream(ROWS).by_record_key().window(sk.tumbling("1m")).aggregate("agg", total=sk.sum("n")).on_close().to(OUT)


def with_map(fn: Callable[[Any], Any]) -> Callable[[sk.App], None]:
    return lambda app: app.stream(ROWS).map(fn).to(OUT)


def by_event_time(topic: sk.Topic[Any, Any], by: str | Callable[[Any], Any]) -> Callable[[sk.App], None]:
    return lambda app: app.stream(topic, event_time=sk.event_time(by)).to(OUT)


def fail_on_bad(row: Any) -> Any:
    if row["n"] == "bad":
        raise ZeroDivisionError("the user's own mistake")
    return row


FAILS_AT = fail_on_bad.__code__.co_firstlineno + 2


def stop_on_bad(row: Any) -> Any:
    return next(one for one in [row] if one.n != "bad")  # raises StopIteration, as code with next() does


def half_on_bad(row: Any) -> Any:
    yield row
    fail_on_bad(row)


class NoTruth:
    def __bool__(self) -> bool:
        raise ValueError("this has no truth")


@dataclass(frozen=True)
class Case:
    """A pipeline, a good record, a bad one, and what the error says."""

    name: str
    build: Callable[[sk.App], None]
    bad: bytes | None
    error: type[RecordError]
    operator: str
    reason: str
    good: bytes = b'{"n":1}'
    key: bytes | None = b"k"
    timestamp: datetime | None = field(default=None)


GOOD_TIME = b'{"at":1586937600000,"when":"2020-04-15T08:00:00Z"}'
CASES = [
    Case("undecodable JSON", read_bids, b'{"item":"A",', DecodeError, "in", "truncated", GOOD_BID),
    Case("text that is no JSON", read_bids, b"hello", DecodeError, "in", "malformed", GOOD_BID),
    Case("empty payload", read_bids, b"", DecodeError, "in", "truncated", GOOD_BID),
    Case("null value", read_bids, None, DecodeError, "in", "null", GOOD_BID),
    Case("missing field", read_bids, b'{"item":"A"}', DecodeError, "in", "missing required field `price`", GOOD_BID),
    Case("wrong type", read_bids, b'{"item":"A","price":"1"}', DecodeError, "in", r"Expected `float`, got `str`", GOOD_BID),
    Case("no object", read_bids, b"[1]", DecodeError, "in", "Expected `object`", GOOD_BID),
    Case("null for a number", read_bids, b'{"item":"A","price":null}', DecodeError, "in", "got `null`", GOOD_BID),
    Case("a float without end", read_bids, b'{"item":"A","price":1e400}', DecodeError, "in", "out of range", GOOD_BID),
    Case("an int of 2**63", read_counts, b'{"key":"A","n":9223372036854775808}', RecordError, "filter(n > -5)", "beyond 64 bits", GOOD_COUNT),
    Case("an int of 2**70", read_counts, b'{"key":"A","n":1180591620717411303424}', RecordError, "filter(n > -5)", "1180591620717411303424, beyond 64 bits", GOOD_COUNT),
    Case("invalid UTF-8 in the value", read_bids, b'{"item":"\xff","price":1}', DecodeError, "in", "(?i)utf-?8", GOOD_BID),
    Case("invalid UTF-8 in the key", sum_counts, GOOD_COUNT, DecodeError, "in", "the key .*(?i:utf-?8)", GOOD_COUNT, key=b"\xff"),
    Case("deep nesting", with_map(fail_on_bad), b'{"n":' + b"[" * 100_000, DecodeError, "in", "(?i)recursion"),
    Case("event time missing", by_event_time(ROWS, "at"), b'{"n":2}', EventTimeError, "in", "'at'.*null", GOOD_TIME),
    Case("event time null", by_event_time(sk.Topic("in", key=str, value=Timed), "at"), b'{"at":null}', EventTimeError, "in", "'at' is null", GOOD_TIME),
    Case("event time before the year 1", by_event_time(sk.Topic("in", key=str, value=Timed), "at"), b'{"at":-99999999999999}', EventTimeError, "in", "outside the years", GOOD_TIME),
    Case("event time after the year 9999", by_event_time(sk.Topic("in", key=str, value=Timed), "at"), b'{"at":999999999999999}', EventTimeError, "in", "outside the years", GOOD_TIME),
    Case("event time in microseconds", by_event_time(sk.Topic("in", key=str, value=Timed), "at"), b'{"at":1586937600000000}', EventTimeError, "in", r"looks like microseconds: as such it is 2020-04-15T08:00:00Z\. Divide it by 1,000$", GOOD_TIME),
    Case("event time in nanoseconds", by_event_time(ROWS, "at"), b'{"at":1586937600000000000}', EventTimeError, "in", r"looks like nanoseconds: as such it is 2020-04-15T08:00:00Z\. Divide it by 1,000,000$", GOOD_TIME),
    Case("event time function gives microseconds", by_event_time(ROWS, lambda row: row["at"] * (1000 if "n" in row else 1)), b'{"n":1,"at":1586937600000}', EventTimeError, "in", "looks like microseconds", GOOD_TIME),
    Case("event time is a float", by_event_time(ROWS, "at"), b'{"at":1586937600.5}', EventTimeError, "in", "not float", GOOD_TIME),
    Case("event time is true", by_event_time(ROWS, "at"), b'{"at":true}', EventTimeError, "in", "not bool", GOOD_TIME),
    Case("event time is other text", by_event_time(ROWS, "at"), b'{"at":"yesterday"}', EventTimeError, "in", "^event time field 'at': ValueError: 'yesterday' is no time of RFC 3339, such as", GOOD_TIME),
    Case("event time of another type", by_event_time(ROWS, "at"), b'{"at":[1]}', EventTimeError, "in", "not list", GOOD_TIME),
    Case("event time beyond 64 bits", by_event_time(ROWS, "at"), b'{"at":9223372036854775808}', EventTimeError, "in", "64 bits", GOOD_TIME),
    Case("event time is no date", by_event_time(sk.Topic("in", key=str, value=Timed), "when"), b'{"at":1,"when":"2020-13-45T00:00:00Z"}', DecodeError, "in", "", GOOD_TIME),
    Case("event time function raises", by_event_time(ROWS, lambda row: row["at"] // 0 if "n" in row else row["at"]), b'{"n":1,"at":1}', EventTimeError, "in", rf"ZeroDivisionError: .* \(at {re.escape(__file__)}:\d+\)$", GOOD_TIME),
    Case("event time function gives text", by_event_time(ROWS, lambda row: row["at"]), b'{"at":"x"}', EventTimeError, "in", "RFC ?3339", GOOD_TIME),
    Case("map raises", with_map(fail_on_bad), b'{"n":"bad"}', UserFunctionError, "map(fail_on_bad)", rf"^ZeroDivisionError: the user's own mistake \(at {re.escape(__file__)}:{FAILS_AT}\)$"),
    Case("map raises StopIteration", with_map(stop_on_bad), b'{"n":"bad"}', UserFunctionError, "map(stop_on_bad)", "StopIteration"),
    Case("map misses a field", with_map(lambda row: sk.Row(m=row.m)), b"{}", UserFunctionError, "map(lambda)", "no field 'm'", b'{"m":1}'),
    Case("filter raises", lambda app: app.stream(ROWS).filter(fail_on_bad).to(OUT), b'{"n":"bad"}', UserFunctionError, "filter(fail_on_bad)", "own mistake"),
    Case("filter gives what has no truth", lambda app: app.stream(ROWS).filter(lambda row: NoTruth() if row.n == "bad" else True).to(OUT), b'{"n":"bad"}', UserFunctionError, "filter(lambda)", "no truth"),
    Case("flat_map raises half-way", lambda app: app.stream(ROWS).flat_map(half_on_bad).to(OUT), b'{"n":"bad"}', UserFunctionError, "flat_map(half_on_bad)", "own mistake"),
    Case("flat_map gives no list", lambda app: app.stream(ROWS).flat_map(lambda row: row.n).to(OUT), b'{"n":1}', UserFunctionError, "flat_map(lambda)", "not iterable", b'{"n":[{}]}'),
    Case("key_by raises", lambda app: app.stream(ROWS).key_by(lambda row: str(fail_on_bad(row).n), name="by-n").to(OUT), b'{"n":"bad"}', UserFunctionError, "key_by(lambda)", "own mistake"),
    Case("key_by gives no key", lambda app: app.stream(ROWS).key_by(lambda row: row.n, name="by-n").to(OUT), b'{"n":{"a":1}}', EncodeError, "key_by(lambda)", "dict", b'{"n":"k"}'),
    Case("expression fails", lambda app: app.stream(ROWS).select(d=pl.col("n").cast(pl.Int64, strict=True)).to(OUT), b'{"n":"x"}', UserFunctionError, "select(d)", "conversion"),
    Case("expression over a nested value", lambda app: app.stream(ROWS).filter(pl.col("n") > 0).to(OUT), b'{"n":[1]}', UserFunctionError, "filter(n > 0)", r"list((?! \(at ).)*$"),
    Case("expression over text and number", lambda app: app.stream(ROWS).filter(pl.col("n") * 2 > 0).to(OUT), b'{"n":"x"}', UserFunctionError, "filter(", ""),
    Case("into another type", lambda app: app.stream(ROWS).into(Bid).to(OUT), b'{"item":1,"price":1}', UserFunctionError, "into(Bid)", r"Expected `str`, got `int` - at `\$.item`$", GOOD_BID),
    Case("a sum beyond 64 bits", sum_counts, b'{"key":"A","n":9223372036854775807}', AggregateError, "agg", "key 'k'.* 922337203685477580[89] does not fit", GOOD_COUNT),
    Case("an untyped sum beyond 64 bits", sum_rows, b'{"n":9223372036854775807}', AggregateError, "agg", "key 'k'.* 922337203685477580[89] does not fit"),
    Case("a sum of text", sum_rows, b'{"n":"x"}', AggregateError, "agg", "key 'k'.*a number is needed.*'x'"),
    Case("an untyped 2**63", sum_rows, b'{"n":9223372036854775808}', RecordError, "agg", "64 bits"),
    Case("an unserialisable result", with_map(lambda row: sk.Row(n=object()) if row.n == "bad" else row), b'{"n":"bad"}', EncodeError, "to(out)", "object"),
    Case("a result of another type", lambda app: app.stream(ROWS).map(lambda row: row).to(sk.Topic("out", value=Bid)), b'{"item":"A"}', EncodeError, "to(out)", "price", GOOD_BID),
    Case("a number for a key", lambda app: app.stream(ROWS).to(sk.Topic("out", key=str), key="n"), b'{"n":1}', EncodeError, "to(out)", "", b'{"n":"k"}'),
]  # fmt: skip


def make(case: Case, on_error: Any = "stop", **settings: int) -> sk.TestDriver:
    app = sk.App("app")
    case.build(app)
    return sk.TestDriver(app, partitions=2, on_error=on_error, settings=sk.EngineSettings(control_interval_ms=0, **settings))


def append(driver: sk.TestDriver, case: Case, *, bad: bool) -> None:
    """Not processed yet: `settle` does that."""
    key = case.key if bad else b"k"
    driver.send_raw("in", case.bad if bad else case.good, key=key, partition=1, settle=False)


def state(driver: sk.TestDriver) -> tuple[object, ...]:
    """Everything that a commit would change."""
    offsets = driver.cluster.broker.groups.get("app")
    topics = [name for name in driver.cluster.broker.topics if name != "in"]
    return str(offsets.offsets), [record for name in topics for record in driver.cluster.read(name)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_by_default_the_service_stops_with_the_place_and_the_cause(case: Case) -> None:
    driver = make(case)
    append(driver, case, bad=False)
    driver.settle()
    before = state(driver)
    for bad in (False, True, False):
        append(driver, case, bad=bad)
    with pytest.raises(case.error) as caught:
        driver.settle()
    error = caught.value
    assert (error.topic, error.partition, error.offset) == ("in", 1, 2)
    assert error.operator.startswith(case.operator)
    assert re.search(case.reason, error.reason, re.DOTALL), error.reason
    assert f"operator '{error.operator}', in-1@2" in str(error)
    driver.close()
    assert state(driver) == before
    assert driver.cluster.open_transactions() == []


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_skip_leaves_out_that_record_alone(case: Case) -> None:
    seen: list[RecordError] = []

    def decide(error: RecordError) -> str:
        seen.append(error)
        return "skip"

    with_bad, skipping = make(case, decide), make(case, "skip")
    for driver in (with_bad, skipping):
        for bad in (False, True, False):
            append(driver, case, bad=bad)
        driver.settle()
        (told,) = driver.events.of("record-skipped")
        place = {"topic": "in", "partition": 1, "offset": 1, "operator": seen[0].operator}
        assert told == {"error": str(seen[0]), **place}
    assert [type(error) for error in seen] == [type(seen[0])]
    assert isinstance(seen[0], case.error)
    without = make(case)
    for _ in range(2):
        append(without, case, bad=False)
    without.settle()
    for driver in (with_bad, skipping, without):
        driver.end_of_input()
    assert outputs(with_bad) == outputs(skipping) == outputs(without) != []


def outputs(driver: sk.TestDriver) -> list[tuple[bytes | None, bytes | None]]:
    return [(record.key, record.value) for record in driver.cluster.read("out")]


def test_one_poison_record_in_a_batch_of_two_thousand_is_found_exactly() -> None:
    for case in CASES:
        driver = make(case)
        for index in range(2_000):
            append(driver, case, bad=index == 1_234)
        with pytest.raises(case.error) as caught:
            driver.settle()
        assert (caught.value.topic, caught.value.partition, caught.value.offset) == ("in", 1, 1_234), case.name


def test_a_function_that_decides_nothing_sensible_is_an_error() -> None:
    driver = make(CASES[0], lambda _: "perhaps")
    append(driver, CASES[0], bad=True)
    with pytest.raises(ConfigError, match=r"must return 'stop' or 'skip', it returned 'perhaps'"):
        driver.settle()


def test_on_error_must_be_known() -> None:
    with pytest.raises(ConfigError, match="'stop', 'skip' or a function"):
        make(CASES[0], "ignore")


def test_a_function_that_decides_to_stop_stops() -> None:
    driver = make(CASES[0], lambda _: "stop")
    append(driver, CASES[0], bad=True)
    with pytest.raises(DecodeError, match="in-1@0"):
        driver.settle()


def test_a_sum_that_overflows_only_when_panes_are_put_together_names_its_key() -> None:
    """Cumulating: each pane is within 64 bits, the windows of three and four minutes are not. No single record is at fault: what is
    left out are those two results."""
    for on_error in ("stop", "skip"):
        app = sk.App("app")
        stream = app.stream(COUNTS).by_record_key().window(sk.cumulating("4m", "1m"))
        stream.aggregate("agg", n=sk.count(), total=sk.sum("n")).on_close().to(OUT)
        driver = sk.TestDriver(app, on_error=on_error)
        for minute, (key, n) in enumerate([("a", 2**62), ("b", 1), ("a", 2**62)]):
            value = json.dumps({"key": key, "n": n}).encode()
            driver.send_raw("in", value, key=key.encode(), timestamp=datetime(2020, 1, 1, 0, minute, tzinfo=UTC), settle=False)
        if on_error == "stop":
            with pytest.raises(
                AggregateError, match=r"'agg', in-0@2: the result of key 'a' in the window .* the sum does not fit"
            ):
                driver.end_of_input()
            assert outputs(driver) == []
        else:
            driver.end_of_input()
            assert sorted(key for key, _ in outputs(driver) if key) == [b"a", b"a", b"b", b"b", b"b"]
            assert len(driver.events.of("record-skipped")) == 2
