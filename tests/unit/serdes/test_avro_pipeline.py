"""Avro from end to end: in, through windows and a repartition topic, and out."""

import io
import json
import random
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import fastavro
import polars as pl
import pytest

import streamkit as sk
from streamkit.kafka.memory import Cluster
from streamkit.operators.source import BLOCK_RECORDS

START = datetime(2020, 4, 15, 12, tzinfo=UTC)


class Bid(sk.Model):
    item: str
    price: float
    at: datetime
    note: str | None = None


class OldBid(sk.Model):
    item: str
    price: int
    at: datetime


class Total(sk.Model):
    item: str
    window_start: datetime
    window_end: datetime
    total: float
    bids: int


BIDS = sk.Topic("bids", key=str, value=sk.avro(Bid, writers=[sk.avro(OldBid).avro_schema]))
OLD = sk.Topic("bids", key=str, value=sk.avro(OldBid))
TOTALS = sk.Topic("totals", key=str, value=sk.avro(Total))
LATE = sk.Topic("late", key=str, value=BIDS.value_serde)
DEAR = sk.Topic("dear", key=str, value=sk.avro(Bid))
REPARTITION = "avro.bids-by-item.repartition"


def make_app() -> sk.App:
    app = sk.App("avro")
    bids = app.stream(BIDS, event_time=sk.event_time("at"))
    totals = bids.key_by("item").window(sk.tumbling("1m")).aggregate("totals", total=sk.sum("price"), bids=sk.count())
    totals.on_close().to(TOTALS)
    totals.late().to(LATE)
    bids.filter(pl.col("price") > 5).map(lambda bid: Bid(bid.item.lower(), bid.price, bid.at, "dear")).to(DEAR)
    return app


def bid(item: str, price: float, seconds: int) -> Bid:
    return Bid(item, price, START + timedelta(seconds=seconds))


def raw(cluster: Cluster, topic: str) -> list[bytes | None]:
    return [record.value for record in cluster.read(topic)]


@pytest.fixture
def driver():
    with sk.TestDriver(make_app()) as driver:
        yield driver


def test_in_window_and_out(driver):
    driver.send(BIDS, bid("A", 1.5, 0), bid("B", 2.0, 1), bid("A", 7.0, 2))
    driver.send(OLD, OldBid("A", 2, START + timedelta(seconds=3)))
    driver.end_of_input()
    end = START + timedelta(minutes=1)
    found = [record.value for record in driver.read(TOTALS)]
    assert sorted(found, key=lambda total: total.item) == [Total("A", START, end, 10.5, 3), Total("B", START, end, 2.0, 1)]
    assert [record.value for record in driver.read(DEAR)] == [Bid("a", 7.0, START + timedelta(seconds=2), "dear")]
    # ... which any reader of Avro understands
    schema = fastavro.parse_schema(sk.avro(Total).avro_schema)
    plain = [fastavro.schemaless_reader(io.BytesIO(data[10:]), schema) for data in raw(driver.cluster, "totals")]
    assert sorted(row["total"] for row in plain) == [2.0, 10.5]


def test_bytes_pass_through_repartition_and_late_unchanged(driver):
    driver.send(BIDS, bid("A", 1.5, 0), bid("A", 1.0, 300))
    old = OldBid("A", 2, START)
    driver.send(OLD, old, key="k")
    sent = raw(driver.cluster, "bids")
    passed = [data for data in raw(driver.cluster, REPARTITION) if data is not None and data.startswith(b"\xc3\x01")]
    assert passed == sent
    assert raw(driver.cluster, "late") == [sk.avro(OldBid).encoder()(old)] == sent[2:]
    assert [record.value for record in driver.read(LATE)] == [Bid("A", 2.0, START)]


def make_columnar_app() -> sk.App:
    """Without a function, so that batches can be read in blocks."""
    app = sk.App("avro")
    bids = app.stream(BIDS, event_time=sk.event_time("at"))
    totals = bids.key_by("item").window(sk.tumbling("1m")).aggregate("totals", total=sk.sum("price"), bids=sk.count())
    totals.on_close().to(TOTALS)
    return app


class Stranger(sk.Model):
    item: str


ENCODE = BIDS.value_serde.encoder()
GOOD = ENCODE(bid("A", 1.5, 0))
STRANGE = sk.avro(Stranger).encoder()(Stranger("A"))
BAD = {
    "unlisted": (STRANGE, f"written with schema {STRANGE[2:10].hex()}, not with .*; list that schema in writers="),
    "cut": (GOOD[:-1], "broken Avro, cut off or of another schema"),
    "longer": (GOOD + b"\0\0", "2 bytes after the end of the Avro value"),
    "json": (b'{"item":"A"}', "not an Avro single object"),
}


def append(driver: sk.TestDriver, values: list[bytes]) -> None:
    """As one batch."""
    for value in values:
        driver.cluster.append("bids", value, None, 0)
    driver.settle()


@pytest.mark.parametrize("app", [make_app, make_columnar_app])
@pytest.mark.parametrize("before", [0, BLOCK_RECORDS])
@pytest.mark.parametrize("kind", BAD)
class TestBadBytes:
    def test_stop_the_app_and_are_named_with_their_place(self, kind, before, app):
        bad, message = BAD[kind]
        with sk.TestDriver(app()) as driver, pytest.raises(sk.errors.DecodeError, match=message) as caught:
            append(driver, [GOOD] * before + [bad, GOOD])
        assert f"operator 'bids', bids-0@{before}" in str(caught.value)

    def test_are_left_out_if_asked_for(self, kind, before, app):
        with sk.TestDriver(app(), on_error="skip") as driver:
            append(driver, [GOOD] * before + [BAD[kind][0], GOOD])
            driver.end_of_input()
            assert [record.value.bids for record in driver.read(TOTALS)] == [before + 1]


def results_of(value: object, seed: int, *, crash: bool) -> list[tuple[object, ...]]:
    """Totals and late records of 400 bids in two partitions, some of them late, through a repartition topic."""
    drawn = random.Random(seed)
    bids, totals, late = (
        sk.Topic("bids", key=str, value=value),
        sk.Topic("totals", key=str),
        sk.Topic("late", key=str, value=value),
    )
    app = sk.App("same")
    stream = app.stream(bids, event_time=sk.event_time("at", out_of_orderness="2s")).filter(pl.col("price") > 0.5)
    aggregate = stream.key_by("item").window(sk.tumbling("10s")).aggregate("totals", total=sk.sum("price"), last=sk.max("note"))
    aggregate.on_close().to(totals)
    aggregate.late().to(late)
    encode = bids.value_serde.encoder()
    with sk.TestDriver(app, partitions=2) as driver:
        for part in range(4):
            for number in range(part * 100, part * 100 + 100):
                at = number / 4 - (drawn.random() * 20 if drawn.random() < 0.1 else drawn.random())
                note = drawn.choice([None, "a", "ü"])
                one = Bid(drawn.choice("ABC"), drawn.randrange(9) / 4, START + timedelta(seconds=at), note)
                driver.cluster.append("bids", encode(one), None, number % 2)
            driver.settle()
            if crash and part == 2:
                driver.crash()
                driver.restart()
        driver.end_of_input()
        late_bids = [(record.key, record.value) for record in driver.read(late)]
        return sorted([(record.key, *record.value.values()) for record in driver.read(totals)], key=str) + late_bids


@pytest.mark.parametrize("seed", range(3))
def test_results_are_those_of_json_also_after_a_crash(seed):
    expected = results_of(Bid, seed, crash=False)
    assert len(expected) > 30
    assert any(isinstance(found[1], Bid) for found in expected)
    assert results_of(BIDS.value_serde, seed, crash=False) == expected
    assert results_of(BIDS.value_serde, seed, crash=True) == expected


SCHEMA = {"type": "record", "name": "Bid", "fields": [{"name": "item", "type": "string"}, {"name": "price", "type": "double"}]}


@pytest.mark.parametrize(
    "text,message",
    [
        (None, "schema file 'bid.avsc' cannot be read: No such file or directory"),
        ('{"type": "record",', "schema file 'bid.avsc': bid.avsc is not JSON"),
        (json.dumps(SCHEMA).replace("double", "dubble"), "schema file 'bid.avsc': not an Avro schema: unknown type 'dubble'"),
        (json.dumps(SCHEMA).replace("double", "string"), "Bid.price is float, but string in the schema"),
        (json.dumps(SCHEMA).replace("price", "prize"), "Bid has no field 'prize'"),
    ],
)
def test_a_schema_that_does_not_do_is_one_line_on_the_command_line(tmp_path, text, message):
    (tmp_path / "app.py").write_text(
        "import streamkit as sk\n"
        "class Bid(sk.Model):\n    item: str\n    price: float\n"
        "app = sk.App('bids')\n"
        "app.stream(sk.Topic('bids', value=sk.avro(Bid, schema='bid.avsc'))).to(sk.Topic('out'))\n"
    )
    if text is not None:
        (tmp_path / "bid.avsc").write_text(text)
    command = [sys.executable, "-m", "streamkit.cli", "topology", "app.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=200, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: {message}")
    assert len(done.stderr.splitlines()) == 1


def test_results_that_do_not_fit_are_refused_at_declaration():
    class Wrong(sk.Model):
        item: str
        total: str

    app = sk.App("avro")
    bids = app.stream(BIDS, event_time=sk.event_time("at"))
    totals = bids.key_by("item").window(sk.tumbling("1m")).aggregate("totals", total=sk.sum("price"))
    with pytest.raises(sk.errors.SchemaError):
        totals.on_close().to(sk.Topic("wrong", key=str, value=sk.avro(Wrong)))


def test_the_plan_and_the_topic_say_avro():
    assert repr(DEAR) == "Topic('dear', key=str, value=avro(Bid))"
    assert BIDS.value_serde.name == f"avro(Bid, from {sk.avro(OldBid).own.fingerprint.hex()})"
