"""`App.reset`: back to the beginning."""

from __future__ import annotations

import pytest

import streamkit as sk

ROWS = sk.Topic("rows")
TOTALS = sk.Topic("totals")


def make_app() -> sk.App:
    app = sk.App("bids")
    app.stream(ROWS).key_by("item").window(sk.tumbling("1m")).aggregate("totals", n=sk.count()).on_close().to(TOTALS)
    return app


def filled() -> sk.Broker:
    broker = sk.Broker.embedded()
    for topic in (ROWS, TOTALS):
        broker.create_topic(topic)
    broker.send(ROWS, sk.Row(item="A"), sk.Row(item="A"))
    return broker


def test_a_finished_app_refuses_to_go_on_until_it_is_reset() -> None:
    broker, app = filled(), make_app()
    app.run(broker=broker, until_end=True)
    broker.send(ROWS, sk.Row(item="B"))
    with pytest.raises(sk.errors.FinishedError, match="streamkit reset"):
        app.run(broker=broker, until_end=True)
    app.reset(broker=broker)
    app.run(broker=broker, until_end=True)
    assert [(r.value.item, r.value.n) for r in broker.read(TOTALS)] == [("A", 2), ("A", 2), ("B", 1)]


def test_reset_asks_and_takes_no_for_an_answer() -> None:
    broker, app = filled(), make_app()
    app.run(broker=broker, until_end=True)
    asked = []

    def refuse(group: str, topics: tuple[str, ...]) -> bool:
        asked.append((group, topics))
        return False

    app.reset(broker=broker, confirm=refuse)
    assert asked == [("bids", ("bids.rows-by-item.repartition", "bids.totals.changelog"))]
    broker.send(ROWS, sk.Row(item="B"))
    with pytest.raises(sk.errors.FinishedError):
        app.run(broker=broker, until_end=True)


def test_reset_of_an_app_that_never_ran_does_nothing() -> None:
    broker = filled()
    make_app().reset(broker=broker)
    assert broker.read(TOTALS) == []
