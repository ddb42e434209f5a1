"""Rows of a model on a topic without a type: the types of their fields tell where a datetime may be; it is written in UTC."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec

from streamkit.record.model import Model
from streamkit.serdes.json import UntypedJson

NOON = b'"2020-04-15T12:00:00Z"'
NAIVE_NOON = datetime(2020, 4, 15, 12)  # noqa: DTZ001 - naive is UTC
TALLINN_NOON = datetime(2020, 4, 15, 12, tzinfo=UTC).astimezone(timezone(timedelta(hours=3)))


class Inner(Model):
    at: datetime


class Nested(Model):
    several: list[datetime]
    inner: Inner
    named: dict[str, datetime]
    anything: Any


@dataclass
class Plain:
    item: str
    price: float


def test_instants_anywhere():
    encode = UntypedJson().encoder()
    nested = Nested([NAIVE_NOON], Inner(TALLINN_NOON), {"a": NAIVE_NOON}, {"x": (TALLINN_NOON,)})
    for _ in range(2):
        assert encode(nested).count(NOON) == 4
        assert encode(Inner(TALLINN_NOON)) == b'{"at":' + NOON + b"}"
        assert encode(Plain("A", 1.0)) == b'{"item":"A","price":1.0}'
    assert nested.inner.at is TALLINN_NOON


def test_a_field_of_any_type():
    class Open(Model):
        what: Any

    encode = UntypedJson().encoder()
    assert encode(Open([TALLINN_NOON])) == b'{"what":[' + NOON + b"]}"
    assert encode(Open(1)) == b'{"what":1}'


def test_a_type_that_is_known_only_where_its_user_was_made():
    def made():
        class Hidden(Model):
            at: datetime

        @dataclass
        class Keeper:
            inner: "Hidden"

        return Keeper(Hidden(TALLINN_NOON))

    assert UntypedJson().encoder()(made()) == b'{"inner":{"at":' + NOON + b"}}"


def test_types_of_one_name():
    def made(annotation, value):
        return msgspec.defstruct("Same", [("x", annotation)])(value)

    encode = UntypedJson().encoder()
    assert encode(made(int, 1)) == b'{"x":1}'
    assert encode(made(datetime, NAIVE_NOON)) == b'{"x":' + NOON + b"}"
