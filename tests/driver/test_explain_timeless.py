"""Why a window is still open that time does not close: as the worker has it, and as Kafka holds it."""

from __future__ import annotations

import pytest

import streamkit as sk
from tests.driver.explained import EVENTS, RESULTS, Explained, make_app


def test_count_windows() -> None:
    case = Explained(make_app(window=sk.count_window(5)))
    case.send(0, 30, 40)
    for found in (case.live("A", None), case.stored("A@")):
        assert (found.state, found.closes_at) == ("open", None)
        assert found.sentence.endswith(
            "in a window that time does not close: its next result is given when 3 more records have come."
        )
        assert found.result is not None
        assert found.result["n"] == 2
        assert (found.wanted, found.as_dict()["wanted"]) == (3, 3)
    case.send(0, 50, 60, 70)
    for found in (case.live("A", None), case.stored("A@")):
        assert found.sentence == (
            "Key 'A' has no open window in aggregate 'total'; its next result is given when 5 more records have come."
        )
    with pytest.raises(sk.errors.DeclarationError, match=r"count_window\(5\) has no start that names it: ask for KEY@"):
        case.live()


def test_a_global_window() -> None:
    app = sk.App("app")
    totals = app.stream(EVENTS).by_record_key().window(sk.global_window()).aggregate("total", n=sk.sum("n"))
    totals.on_update().to(RESULTS)
    case = Explained(app)
    case.send(0, 30)
    for found in (case.live("A", None), case.stored("A@")):
        assert (found.state, found.result) == ("open", {"key": "A", "n": 1})
        assert "closes only at the end of a bounded input" in found.sentence
        assert (found.wanted, found.as_dict()["wanted"]) == (None, None)
    for found in (case.live("B", None), case.stored("B@")):
        assert found.state == "empty"
        assert found.sentence == "Key 'B' has no open window in aggregate 'total'; no record has come for it yet."
    app = sk.App("app")
    app.stream(EVENTS).globally().window(sk.global_window()).aggregate("all", n=sk.sum("n")).on_update().to(RESULTS)
    found = Explained(app).live(None, None)
    assert found.sentence == "There is no open window in aggregate 'all'; no record has come yet."
