"""Updates of a user's own app under drawn faults: what is left of them is what there is without faults."""

from __future__ import annotations

import json
import random

import pytest

import streamkit as sk
from streamkit.testing.sim.campaign import Report
from streamkit.testing.sim.service import Given, Service, draw_service_plan, make_baseline, run_service_once

BASE_MS = 1_586_937_600_000


class Event(sk.Model):
    at: int
    value: int


EVENTS = sk.Topic("events", key=str, value=Event)


@pytest.mark.parametrize("window", [sk.session("300ms"), sk.count_window(3)], ids=str)
def test_what_is_left_of_updates_is_the_same_whatever_happens(window: object) -> None:
    app = sk.App("early")
    events = app.stream(EVENTS, event_time=sk.event_time("at", out_of_orderness="2s"))
    totals = events.by_record_key().window(window).aggregate("agg", n=sk.count(), total=sk.sum("value"))  # type: ignore[arg-type]
    totals.on_update().to(sk.Topic("updates"))
    rng = random.Random(5)
    given = [
        Given("events", json.dumps({"at": BASE_MS + 40 * n - rng.randrange(1_500), "value": n}).encode(), b"k%d" % (n % 3))
        for n in range(50)
    ]
    service = Service(app.topology(), given, 3)
    baseline = make_baseline(service, 1, 2)
    assert baseline.outcome.ok
    assert not baseline.again
    assert not baseline.reordered
    service.baseline = baseline.results
    report = Report()
    for seed in range(6):
        report.add(run_service_once(service, draw_service_plan(service, seed, workers=2)))
    assert not report.failures, [str(outcome.verdict) for outcome in report.failures]
