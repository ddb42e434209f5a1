"""The app of the chaos runs: what is read goes through unchanged, is aggregated where it is, and behind a repartition topic.

    events ──> passed                                  every input record is visible in an output
           ├──> per own key, 10 s ──> own              state beside the source: task n reads partition n
           └──> per key, 10 s ─────> totals, late      state behind a repartition topic

`python -m streamkit.cli run tests.support.apps.chaos:make_app` runs a worker (CHAOS_RUN names the topics). As a module
of its own it runs one whose transaction time-out is *longer* than its session: R20 forbids that, and without it a worker that was
stopped never comes back to a transaction that is still open.
"""

from __future__ import annotations

import argparse
import copy
import os
from typing import Any, TypeVar

import streamkit as sk

RUN = "CHAOS_RUN"
SIZE_MS = 10_000
OUT_OF_ORDERNESS_MS = 5_000
SINKS = ("passed", "own", "totals", "late")
STORES = ("per-own-key", "per-key")

_T = TypeVar("_T")


class Event(sk.Model):
    """As tests/support/workload.py writes it."""

    number: int
    key: str
    value: int
    at: int


def group(run: str) -> str:
    """The name of the app, which is the consumer group and the prefix of internal topics."""
    return f"chaos-{run}"


def make_app() -> sk.App:
    """The app over the topics of the run that the environment names."""
    run = os.environ[RUN]
    app = sk.App(group(run))
    events = app.stream(sk.Topic(f"events-{run}", key=str, value=Event), event_time=sk.event_time("at", out_of_orderness="5s"))
    events.to(sk.Topic(f"passed-{run}", key=str, value=Event))
    aggregates = {"n": sk.count(), "total": sk.sum("value"), "high": sk.max("value")}
    own = events.by_record_key().window(sk.tumbling("10s")).aggregate("per-own-key", **aggregates)
    own.on_close().to(sk.Topic(f"own-{run}"))
    totals = events.key_by("key").window(sk.tumbling("10s")).aggregate("per-key", **aggregates)
    totals.on_close().to(sk.Topic(f"totals-{run}"))
    totals.late().to(sk.Topic(f"late-{run}", key=str, value=Event))
    return app


def unchecked(value: _T, **changes: Any) -> _T:
    """A copy of frozen settings with values that their checks would refuse."""
    changed = copy.copy(value)
    for name, to in changes.items():
        object.__setattr__(changed, name, to)
    return changed


def main() -> None:
    """Runs one worker whose transactions outlive its session."""
    from streamkit.kafka.confluent import ConfluentClient, ConnectionSettings
    from streamkit.ops.logging import configure, service_log
    from streamkit.runtime.service import RunOptions, run_service

    parser = argparse.ArgumentParser()
    parser.add_argument("--bootstrap-servers", required=True)
    parser.add_argument("--instance-id", required=True)
    parser.add_argument("--transaction-timeout-ms", type=int, required=True)
    parser.add_argument("--session-timeout-ms", type=int, required=True)
    parser.add_argument("--protocol", choices=("classic", "consumer"), default="classic")
    parser.add_argument("--static", action="store_true")
    arguments = parser.parse_args()
    app = make_app()
    times = {"session_timeout_ms": arguments.session_timeout_ms, "max_poll_interval_ms": 20_000}
    times["transaction_timeout_ms"] = arguments.session_timeout_ms - 500
    protocol = arguments.protocol
    engine = sk.EngineSettings(**times, group_protocol=protocol, replication_factor=3, min_insync_replicas=2)
    slot = f"{arguments.instance_id}-0"
    connection = ConnectionSettings(
        arguments.bootstrap_servers,
        client_id=f"{app.name}-{slot}",
        group_protocol=protocol,
        group_instance_id=slot if arguments.static else None,
        **times,
    )
    configure(json=True)
    log = service_log({"app": app.name, "worker": slot})
    # What the broker is told; the engine goes on to count with less.
    client = ConfluentClient(unchecked(connection, transaction_timeout_ms=arguments.transaction_timeout_ms))
    options = RunOptions(instance_id=arguments.instance_id, watchdog=True)
    run_service(app.topology(), client, engine, options, log)


if __name__ == "__main__":
    main()
