"""Topics: names by Kafka's rules, types of keys and values."""

from __future__ import annotations

import pytest

import streamkit as sk
from streamkit.errors import DeclarationError, SchemaError
from streamkit.plan.names import checked_name, kebab
from streamkit.record.schema import OPEN
from streamkit.serdes.json import serde_for


class Bid(sk.Model):
    item: str


def test_the_default_is_raw_keys_and_untyped_rows():
    topic = sk.Topic("bids")
    assert topic.key_serde.type in (bytes, bytes | None)
    assert topic.value_serde.schema == OPEN
    assert not topic.key_declared


@pytest.mark.parametrize("value", [str, int, bytes, sk.Row, Bid])
def test_types_of_values(value):
    assert sk.Topic("bids", value=value).value_serde.name == serde_for(value).name


def test_a_serde_is_taken_as_it_is():
    serde = serde_for(Bid)
    assert sk.Topic("bids", value=serde).value_serde is serde


@pytest.mark.parametrize("name", ["bids", "a", "A.b_c-9", "x" * 249])
def test_names_that_kafka_takes(name):
    assert sk.Topic(name).name == name


@pytest.mark.parametrize("name", ["", ".", "..", "a b", "ä", "a/b", "x" * 250, "a\n", None, 3])
def test_names_that_kafka_refuses(name):
    with pytest.raises(DeclarationError, match="topic"):
        sk.Topic(name)


@pytest.mark.parametrize("types", [{"value": list}, {"key": dict, "value": str}])
def test_types_without_a_serde(types):
    with pytest.raises(SchemaError, match="cannot be the type of a"):
        sk.Topic("bids", **types)


@pytest.mark.parametrize("name", ["a", "a1-b2", "bids-per-item"])
def test_kebab_case(name):
    assert checked_name(name, what="aggregate") == name


@pytest.mark.parametrize(
    "name,proposal", [("Bids", "bids"), ("a_b", "a-b"), ("bidsPerItem", "bids-per-item"), ("a--b", "a-b"), ("-a", "a")]
)
def test_other_names_are_refused_with_a_proposal(name, proposal):
    assert kebab(name) == proposal
    with pytest.raises(DeclarationError, match=f"write it as '{proposal}'"):
        checked_name(name, what="aggregate")
