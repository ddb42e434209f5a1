"""Stateless pipelines: the output of each input partition equals a serial run, record by record, whatever happened on the way."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

import streamkit as sk
from tests.driver.chaos import Action, actions, bounded, play
from tests.driver.rig import Rig
from tests.support.examples import examples

BASE_MS = 1_577_836_800_000


class Event(sk.Model):
    number: int
    value: int | None
    name: str


def make_app() -> sk.App:
    app = sk.App("stateless")
    one = app.stream(sk.Topic("one", key=str, value=Event))
    two = app.stream(sk.Topic("two", key=str, value=Event))
    merged = one.merge(two)
    merged.filter(pl.col("value") % 3 != 0).select(
        "number", twice=pl.col("value") * 2, name=pl.col("name").str.to_uppercase()
    ).to(sk.Topic("selected", key=str))
    merged.with_columns(value=pl.col("value").fill_null(0)).filter(lambda row: row.value >= 0).flat_map(parts).to(
        sk.Topic("parts", key=str)
    )
    merged.records().map(place).to(sk.Topic("places", key=str))
    one.filter(lambda event: event.number % 2 == 0).to(sk.Topic("even", key=str, value=Event))
    one.key_by(lambda event: event.name, name="by-name").map(lambda event: sk.Row(number=event.number)).to(sk.Topic("named"))
    return app


def parts(row: sk.Row) -> Iterator[sk.Row]:
    for part in range(row.value % 4):
        yield sk.Row(number=row.number, part=part)


def place(record: sk.Record[str, Event]) -> sk.Row:
    header = record.headers.get("h")
    return sk.Row(
        number=record.value.number,
        key=record.key,
        at=round(record.timestamp.timestamp() * 1000),
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        header=None if header is None else header.decode(),
    )


Sent = tuple[str, int, int, dict[str, Any], str | None, bytes | None, int]


def serial(sent: list[Sent]) -> Iterator[tuple[str, tuple[str, int], dict[str, Any]]]:
    """(output topic, input partition, row) of one record after the other, in plain Python."""
    for topic, partition, offset, event, key, header, at_ms in sent:
        source, number, value, name = (topic, partition), event["number"], event["value"], event["name"]
        if value is not None and value % 3 != 0:
            yield "selected", source, {"number": number, "twice": value * 2, "name": name.upper()}
        filled = 0 if value is None else value
        if filled >= 0:
            for part in range(filled % 4):
                yield "parts", source, {"number": number, "part": part}
        row = {"number": number, "key": key, "at": at_ms, "topic": topic, "partition": partition, "offset": offset}
        yield "places", source, {**row, "header": None if header is None else header.decode()}
        if topic == "one":
            if number % 2 == 0:
                yield "even", source, event
            yield "named", (name, 0), {"number": number}


@settings(bounded, max_examples=examples(60))
@given(
    shapes=st.lists(
        st.tuples(
            st.sampled_from(["one", "two"]),
            st.integers(0, 1),
            st.one_of(st.none(), st.integers(-5, 9)),
            st.sampled_from(["ä", "b", ""]),
            st.one_of(st.none(), st.sampled_from(["k", "l"])),
            st.one_of(st.none(), st.just(b"x")),
            st.integers(0, 99),
        ),
        max_size=40,
    ),
    chaos=actions,
    max_records=st.sampled_from([1, 2, 7, 1000]),
)
def test_output_equals_a_serial_run(shapes: list[Any], chaos: list[Action], max_records: int) -> None:
    rig = Rig(make_app(), {"one": 2, "two": 2}, max_records=max_records)
    sent: list[Sent] = []
    appends = []
    offsets: dict[tuple[str, int], int] = defaultdict(int)
    for number, (topic, partition, value, name, key, header, at) in enumerate(shapes):
        event = {"number": number, "value": value, "name": name}
        sent.append((topic, partition, offsets[topic, partition], event, key, header, BASE_MS + at))
        offsets[topic, partition] += 1
        wire_key = None if key is None else key.encode()
        headers = None if header is None else [("h", header)]
        data = json.dumps(event).encode()
        appends.append(partial(rig.cluster.append, topic, data, wire_key, partition, BASE_MS + at, headers))
    play(rig, chaos, appends)
    expected: dict[tuple[str, tuple[str, int]], list[dict[str, Any]]] = defaultdict(list)
    for output, source, row in serial(sent):
        expected[output, source].append(row)
    assert outputs(rig, sent) == sort_named(expected)
    assert rig.cluster.open_transactions() == []


def outputs(rig: Rig, sent: list[Sent]) -> dict[tuple[str, tuple[str, int]], list[dict[str, Any]]]:
    """The committed output by input partition, in the order in which it lies in the topic."""
    found: dict[tuple[str, tuple[str, int]], list[dict[str, Any]]] = defaultdict(list)
    for output in ("selected", "parts", "places", "even", "named"):
        for record in rig.cluster.read(output):
            row = json.loads(record.value or b"")
            topic, partition, _, event, key, header, at_ms = sent[row["number"]]
            source = (topic, partition)
            assert record.timestamp == at_ms
            assert dict(record.headers).get("h") == header
            if output == "named":
                source = (event["name"], 0)
                assert record.key == event["name"].encode()
            else:
                assert record.key == (None if key is None else key.encode())
            found[output, source].append(row)
    return sort_named(found)


def sort_named(found: dict[Any, list[dict[str, Any]]]) -> dict[Any, list[dict[str, Any]]]:
    """Records of a new key come from several partitions, so only within one of those their order is fixed."""
    for (output, _), rows in found.items():
        if output == "named":
            rows.sort(key=lambda row: row["number"])
    return found


def test_with_columns_hands_on_what_is_read_behind_it_and_no_more():
    """``name`` is read by nobody, so one that is none is no error, in a small batch as in a large one; ``number`` is read."""
    topic, out = sk.Topic("one", key=str, value=Event), sk.Topic("out", key=str)
    app = sk.App("partly")
    doubled = app.stream(topic).with_columns(twice=pl.col("number") * 2, value=pl.lit(1)).filter(pl.col("twice") >= 0)
    doubled.select("number", "twice", both=pl.col("twice") + pl.col("value")).to(out)
    for count in (3, 200):
        with sk.TestDriver(app, on_error="skip") as driver:
            for number in range(count):
                driver.send_raw("one", b'{"number":%d,"value":null,"name":%d}' % (number, number), settle=False)
            driver.send_raw("one", b'{"number":"x","value":null,"name":"A"}')
            rows = [dict(record.value) for record in driver.read(out)]
        assert rows == [{"number": n, "twice": 2 * n, "both": 2 * n + 1} for n in range(count)]
