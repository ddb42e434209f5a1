"""`python -m benchmarks.avro`: what a value costs in Avro and in JSON, decoded and through a whole app.

    decode   2,000 values at a time into the columns of three of seven fields
    app      the same values through a tumbling window (count, sum, max) on the embedded broker, exactly once

The contestants take turns in one process; of several turns the median counts, in records per second of processor time. All of
them must give the same columns and the same results. Beside them in the same run: `touch` joins the bytes of the values and adds
them up, which is as little as a reader can do; `polars` reads the same values as one Avro file, with the framing already made;
`fastavro` and `msgspec` decode all seven fields of one value after the other, as one would by hand.
"""

from __future__ import annotations

import argparse
import io
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import fastavro
import msgspec
import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table

import streamkit as sk
from benchmarks import bids
from benchmarks.contestants import tuned
from streamkit.record.columns import column_of
from streamkit.record.schema import Schema
from streamkit.serdes.serde import Serde

FIELDS = frozenset({"auction", "price", "dateTime"})
BATCH = 2_000


class Bid(sk.Model):
    auction: int
    bidder: int
    price: int
    channel: str
    url: str
    dateTime: int  # noqa: N815 - Nexmark's name
    extra: str


@dataclass(frozen=True)
class RowsOnly(Serde[Bid]):
    """Avro without its way to read blocks."""

    serde: Serde[Bid]

    @property
    def name(self) -> str:
        return f"rows of {self.serde.name}"

    @property
    def schema(self) -> Schema:
        return self.serde.schema

    def decoder(self, fields: frozenset[str] | None = None) -> Callable[[bytes], Any]:
        return self.serde.decoder(fields)

    def encoder(self) -> Callable[[Any], bytes]:
        return self.serde.encoder()


AVRO = sk.avro(Bid)
SERDES: dict[str, Serde[Bid]] = {
    "JSON": sk.Topic("bids", value=Bid).value_serde,
    "Avro rows": RowsOnly(AVRO),
    "Avro columns": AVRO,
}
Payloads = dict[str, list[bytes]]
Turn = Callable[[], object]


def payloads(records: int, keys: int) -> Payloads:
    texts = bids.bids(records, keys).payloads(slice(None))
    rows = map(msgspec.json.Decoder(Bid).decode, texts)
    values = list(map(AVRO.encoder(), rows))
    return {"JSON": texts, "Avro rows": values, "Avro columns": values}


# ---- decode


def decoders(values: Payloads) -> dict[str, Turn]:
    blocks = AVRO.columns_decoder(FIELDS)
    assert blocks is not None  # all three fields are integers
    batches = {name: [part[start : start + BATCH] for start in range(0, len(part), BATCH)] for name, part in values.items()}
    files = list(map(_file, batches["Avro rows"]))
    schema = fastavro.parse_schema(AVRO.avro_schema)
    whole = msgspec.json.Decoder(Bid).decode
    turns: dict[str, Turn] = {
        "touch": lambda: [int(np.frombuffer(b"".join(part), np.uint8).sum()) for part in batches["Avro rows"]],
        "polars": lambda: [pl.read_avro(io.BytesIO(file), columns=sorted(FIELDS)) for file in files],
        "fastavro": lambda: [_by_hand(part, schema) for part in batches["Avro rows"]],
        "msgspec": lambda: [list(map(whole, part)) for part in batches["JSON"]],
        "Avro columns": lambda: [_plain(blocks(part)) for part in batches["Avro columns"]],
    }
    for name in ("JSON", "Avro rows"):
        turns[name] = _rows_to_columns(name, batches[name])
    found = [turns[name]() for name in SERDES]
    if not found[0] == found[1] == found[2]:
        raise RuntimeError("the contestants do not decode the same")
    return turns


def _rows_to_columns(name: str, batches: list[list[bytes]]) -> Turn:
    serde = SERDES[name]
    decode, fields = serde.decoder(FIELDS), serde.schema.fields

    def one(part: list[bytes]) -> dict[str, bytes]:
        rows = list(map(decode, part))
        return _plain({field: column_of(rows, field, fields[field]) for field in FIELDS})

    return lambda: list(map(one, batches))


def _plain(columns: Any) -> dict[str, bytes]:
    """Something that can be compared, at next to no cost."""
    return {name: np.asarray(columns[name].values).tobytes() for name in FIELDS}


def _by_hand(part: Sequence[bytes], schema: Any) -> list[Any]:
    read = fastavro.schemaless_reader
    return [read(io.BytesIO(value[10:]), schema, None) for value in part]


def _file(part: Sequence[bytes]) -> bytes:
    """The values as one block of an Avro file."""
    out = io.BytesIO()
    fastavro.writer(out, fastavro.parse_schema(AVRO.avro_schema), [])
    head = out.getvalue()
    data = b"".join(value[10:] for value in part)
    return head + _long(len(part)) + _long(len(data)) + data + head[-16:]


def _long(number: int) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, "long", number)
    return out.getvalue()


# ---- app


def app_of(serde: Serde[Bid]) -> sk.App:
    app = sk.App("bids")
    source = app.stream(sk.Topic("bids", key=int, value=serde), event_time=sk.event_time("dateTime", out_of_orderness="1s"))
    windows = source.by_record_key().window(sk.tumbling("10s"))
    results = windows.aggregate("per-key", count=sk.count(), total=sk.sum("price"), highest=sk.max("price"))
    results.on_close().to(sk.Topic("results", key=int))
    return app


def through_the_app(name: str, values: list[bytes], keys: list[bytes]) -> tuple[float, bytes]:
    """Seconds of processor time, without those of appending the input, and all results."""
    with sk.TestDriver(app_of(SERDES[name]), settings=sk.EngineSettings()) as driver:
        for value, key in zip(values, keys, strict=True):
            driver.cluster.append("bids", value, key, 0)
        started = time.process_time()
        driver.settle()
        driver.end_of_input()
        seconds = time.process_time() - started
        return seconds, b"".join(sorted(record.value or b"" for record in driver.cluster.read("results")))


# ---- the run


def measure(records: int, rounds: int) -> dict[str, dict[str, float]]:
    """Records per CPU-second: by kind of work, then by contestant."""
    made = bids.bids(records, 100)
    values, keys = payloads(records, 100), list(map(b"%d".__mod__, made.auction.tolist()))
    turns = decoders(values)
    seconds: dict[str, dict[str, list[float]]] = {"decode": {name: [] for name in turns}, "app": {name: [] for name in SERDES}}
    for round_ in range(rounds):
        forth = round_ % 2 == 0  # and back in the next round
        for name in list(turns)[:: 1 if forth else -1]:
            started = time.process_time()
            turns[name]()
            seconds["decode"][name].append(time.process_time() - started)
        results = set()
        for name in list(SERDES)[:: 1 if forth else -1]:
            taken, result = through_the_app(name, values[name], keys)
            seconds["app"][name].append(taken)
            results.add(result)
        if len(results) != 1:
            raise RuntimeError("the contestants do not give the same results")
    return {work: {name: records / statistics.median(each) for name, each in by.items()} for work, by in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    tuned.calm_garbage_collector()
    found = measure(arguments.records, arguments.rounds)
    table = Table(title=f"k records per CPU-second, medians of {arguments.rounds} turns of {arguments.records:,} records")
    for heading in ("", "contestant", "k/CPU-s", "ns", "of JSON"):
        table.add_column(heading, justify="left" if heading in ("", "contestant") else "right")
    for work, by in found.items():
        for name, rate in sorted(by.items(), key=lambda each: -each[1]):
            table.add_row(work, name, f"{rate / 1e3:,.0f}", f"{1e9 / rate:,.0f}", f"{rate / by['JSON']:.2f}")
    Console().print(table)
    rates = found["app"]
    rows, json_ = (rates["Avro columns"] / rates[other] for other in ("Avro rows", "JSON"))
    print(f"avro: app, columns/rows {rows:.2f}  columns/JSON {json_:.2f}")


if __name__ == "__main__":
    main()
