"""Totals per key and ten seconds, through a repartition topic, with late records: the app that tests kill."""

from __future__ import annotations

import argparse
from collections.abc import Callable

import streamkit as sk


class Event(sk.Model):
    """As tests/support/workload.py writes it."""

    number: int
    key: str
    value: int
    at: int


SIZE_MS = 10_000
OUT_OF_ORDERNESS_MS = 5_000


def make_app(run: str) -> sk.App:
    """The app over topics of this run."""
    app = sk.App(f"totals-{run}")
    events = app.stream(
        sk.Topic(f"events-{run}", key=str, value=Event), event_time=sk.event_time("at", out_of_orderness="5s", idle_after="2s")
    )
    totals = (
        events.key_by("key")
        .window(sk.tumbling("10s"))
        .aggregate("per-key", n=sk.count(), total=sk.sum("value"), high=sk.max("value"))
    )
    totals.on_close().to(sk.Topic(f"totals-{run}"))
    totals.late().to(sk.Topic(f"late-{run}", key=str, value=Event))
    return app


def main(make_app: Callable[[str], sk.App] = make_app) -> None:
    """Runs one worker until it is killed, told to stop, or the input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--run", required=True)
    parser.add_argument("--until-end", action="store_true")
    parser.add_argument("--instance", default="one")
    parser.add_argument("--protocol", default="classic", choices=["classic", "consumer"])
    parser.add_argument("--static", action="store_true")
    parser.add_argument("--session-ms", type=int, default=3_000)
    parser.add_argument("--transaction-ms", type=int, default=2_000)
    arguments = parser.parse_args()
    settings = sk.EngineSettings(
        commit_interval_ms=50,
        transaction_timeout_ms=arguments.transaction_ms,
        session_timeout_ms=arguments.session_ms,
        group_protocol=arguments.protocol,
        static_membership=arguments.static,
    )
    make_app(arguments.run).run(
        bootstrap_servers=arguments.bootstrap, until_end=arguments.until_end, settings=settings, instance_id=arguments.instance
    )


if __name__ == "__main__":
    main()
