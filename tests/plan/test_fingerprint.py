"""What changes the fingerprint of a store, and what does not."""

from __future__ import annotations

import polars as pl
import pytest

import streamkit as sk
from streamkit.plan.fingerprint import fingerprint


class Order(sk.Model):
    shop: str
    number: int
    amount: float
    discount: int | None = None


def of(key="shop", window=None, **outputs):
    app = sk.App("shop")
    orders = app.stream(sk.Topic("orders", value=Order))
    keyed = orders.globally() if key is None else orders.key_by(key)
    totals = keyed.window(window or sk.tumbling("1m")).aggregate("totals", **(outputs or {"n": sk.count()}))
    totals.on_close().to(sk.Topic("totals"))
    return fingerprint(app.topology().parts[-1].stores[0])


def test_it_is_the_same_in_every_process():
    assert of() == of() == "3b4bd634a4ce6b06"


@pytest.mark.parametrize(
    "other",
    [
        lambda: of(key="number"),
        lambda: of(key=None),
        lambda: of(window=sk.tumbling("2m")),
        lambda: of(window=sk.tumbling("1m", offset="1s")),
        lambda: of(window=sk.cumulating("1m", step="20s")),
        lambda: of(m=sk.count()),
        lambda: of(n=sk.sum("number")),
        lambda: of(n=sk.count(), m=sk.count()),
    ],
)
def test_key_window_and_outputs_change_it(other):
    assert other() != of()


def test_kinds_of_inputs_change_it():
    assert of(n=sk.sum("number")) != of(n=sk.sum("amount"))


def test_inputs_that_may_be_null_change_it_where_they_change_the_state():
    """The blocks of the other could not be read, and were taken for foreign ones."""
    nulls = pl.col("discount")
    assert of(n=sk.sum("number")) != of(n=sk.sum(nulls))
    assert of(n=sk.last("number")) == of(n=sk.last(nulls))


def test_grace_and_expressions_do_not():
    assert of(window=sk.tumbling("1m", grace="1h")) == of()
    assert of(n=sk.sum("amount")) == of(n=sk.sum(pl.col("amount") * 2))


def test_the_size_of_a_sketch_changes_it_and_what_is_asked_of_it_does_not():
    assert of(n=sk.median("amount")) == of(n=sk.quantile("amount", 0.9, error=0.009))  # both have buckets of six bits
    assert of(n=sk.median("amount")) != of(n=sk.median("amount", error=0.1))
    assert of(n=sk.approx_count_distinct("shop")) == of(n=sk.approx_count_distinct("shop", error=0.019))
    assert of(n=sk.approx_count_distinct("shop")) != of(n=sk.approx_count_distinct("shop", error=0.01))
    assert of(n=sk.top_k(2, by="amount")) != of(n=sk.top_k(3, by="amount"))
    assert of(n=sk.top_k(2, by="amount")) != of(n=sk.top_k(2, by="shop"))
    assert of(n=sk.top_k(2, by="amount")) == of(n=sk.top_k(2, by=-pl.col("amount")))


def own(name="own", version=1, init=int, add=max):
    return of(n=sk.aggregator(name, init=init, add=add, merge=max, version=version)("number"))


class Totals(sk.Model):
    n: int = 0


def test_name_version_and_shape_of_a_state_of_ones_own_change_it_and_functions_do_not():
    class OtherDocs(sk.Model):
        """Said otherwise, and with another default."""

        n: int = 7

    class OtherFields(sk.Model):
        m: int = 0

    OtherDocs.__name__ = OtherFields.__name__ = "Totals"
    assert own() == own(add=min)
    assert len({own(), own("mine"), own(version=2), own(init=float), own(init=Totals), own(init=OtherFields)}) == 6
    assert own(init=Totals) == own(init=OtherDocs)
    assert of(n=sk.reduce(max, "number")) == of(n=sk.reduce(min, "number")) != of(n=sk.reduce(max, "amount"))
