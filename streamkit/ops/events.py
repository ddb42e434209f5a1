"""Every event that a service tells: how loud it is, what it means, which fields it has.

docs/reference/events.md is made from this table, and a test compares the table with the calls of `Instrument.event` in the code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

Level = Literal["debug", "info", "warning", "error"]

FIELDS: Final[Mapping[str, str]] = MappingProxyType({
    "aggregates": "by name: `rows` in the state, `late` records",
    "answer": "what the group's coordinator answered",
    "as_seconds": "what it would be, were it seconds",
    "away_s": "seconds since the first sign that Kafka does not answer",
    "bytes": "of the state of all stores",
    "call": "the client call",
    "changelogs": "of a task that is being restored, each with the `position` that is reached and its `end`",
    "code": "exit code of the process; negative: the signal that killed it",
    "compiled": "the compiled parts in use: all are kafka, serdes and state; without one of them it is slower",
    "deaths": "how often it has died",
    "end": "of the log",
    "error": "what went wrong, in a sentence",
    "eta_s": "seconds until the end at the present rate",
    "exit_code": "with which the process leaves",
    "gives_up_in_s": "seconds until the start is given up",
    "group": "the consumer group, named after the app",
    "held_back_by": "the input with the lowest watermark of those that count",
    "index": "which of the worker processes",
    "inputs": "each with its `watermark` and `state`, of a source partition also `position` and seconds of silence (`silent_s`)",
    "inside": "what the call is part of, outermost first",
    "kafka": "the bootstrap servers",
    "kind": "the class of the error",
    "latest": "event time",
    "lateness_ms": "for how long, in event time, the last window of a late record had been closed; the most since it was told",
    "limit": "`memory_limit_mb`, in bytes",
    "new": "since this was told last",
    "offset": "of the first record concerned",
    "operator": "the step of the pipeline",
    "partition": "",
    "partitions": "`topic-partition`, or the number of a topic's partitions",
    "path": "of the file",
    "percent": "of the changelogs that have to be read",
    "pid": "of the worker process",
    "position": "the next offset to be read",
    "reason": "why, in a sentence",
    "records": "how many; of `from-earliest`, how many wait",
    "records_per_s": "",
    "restart_in_s": "seconds until it is started again",
    "resumed_at": "the offset of the next record that is read",
    "rows": "of window state",
    "seconds": "that it took",
    "shares": "of the time, in percent, by stage and step ([where does the time go](../operate/performance.md))",
    "stack": "what every thread of the process is at",
    "state": "of the task",
    "task": "`sub-topology/partition`",
    "state_bytes": "memory of the state of all stores",
    "stores": "with their bytes, the largest first",
    "tasks": "`sub-topology/partition`; of a commit their number",
    "timeout": "a duration",
    "topic": "",
    "topics": "with their number of partitions, where that is known",
    "total": "since the task exists",
    "waited_s": "seconds that the call has taken so far",
    "waits_for": "the `topic-partition` that is least far",
    "watermark": "event time that everything has been fired for; null: none yet",
    "within_s": "seconds",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Event:
    """``fields``: those that it may have, beside ``app`` and ``worker``, which every line has."""

    level: Level
    meaning: str
    fields: tuple[str, ...] = ()


EVENTS: Final[Mapping[str, Event]] = MappingProxyType(
    {
        # ---- a service's life
        "waiting-for-broker": Event(
            "warning",
            "Kafka does not answer: at the start until `start_timeout`, later for as long as it takes, with state kept in memory",
            ("kafka", "gives_up_in_s", "away_s", "error"),
        ),
        "broker-back": Event("info", "Kafka answers again; the service goes on", ("kafka", "away_s")),
        "waiting-for-topics": Event(
            "info",
            "the broker does not know these topics; it is asked again, for it may not have heard yet that they were created",
            ("topics", "gives_up_in_s"),
        ),
        "topics-created": Event(
            "info", "internal topics were missing and are there now; with `--create-topics` also others", ("topics",)
        ),
        "started": Event("info", "the group is joined; partitions are still to come", ("kafka", "compiled")),
        "session": Event("info", "the session time-out that the brokers have for the group (KIP-848)", ("group", "timeout")),
        "session-unknown": Event(
            "warning", "that could not be read, so it is not known whether it fits `transaction_timeout`", ("group", "error")
        ),
        "stages": Event(
            "info",
            "where the time went: once a minute in which records came, and at the end of the whole run",
            ("seconds", "records", "records_per_s", "state_bytes", "shares"),
        ),
        "inspected": Event(
            "info",
            "SIGUSR1 asked what each task is at ([a window is still open](../operate/window-is-still-open.md))",
            ("task", "state", "watermark", "held_back_by", "inputs", "aggregates", "percent", "changelogs"),
        ),
        "without-tasks": Event(
            "info",
            "SIGUSR1 asked a worker that has no task: its `partitions` are being taken over, or there are none for it (there are "
            "more workers than partitions, or in a rebalance its `tasks` are parked)",
            ("partitions", "tasks"),
        ),
        "profile-written": Event("info", "the profile that `--profile` asked for is there", ("path", "seconds")),
        "profile-lost": Event(
            "warning", "it could not be written; the service goes on, or ends, as it would have without it", ("path", "error")
        ),
        "finished": Event("info", "the end of the input is reached and committed (`--until-end`)"),
        "draining": Event("info", "told to stop: the batch in hand is committed, then the group is left"),
        "drain-aborted": Event(
            "warning", "the last commit failed; what was uncommitted is processed again after the next start", ("error",)
        ),
        "stopped": Event("info", "the group is left, nothing is open"),
        "failed": Event(
            "error",
            "an error ends the worker; of a record that cannot be processed also its place",
            ("kind", "error", "topic", "partition", "offset", "operator"),
        ),
        "stuck": Event(
            "error",
            "a client call does not return; the process leaves with exit code 75, to be started again",
            ("error", "call", "inside", "waited_s", "exit_code", "stack"),
        ),
        # ---- tasks
        "assigned": Event("info", "the group gave this worker partitions, which make these tasks", ("partitions", "tasks")),
        "from-earliest": Event(
            "info",
            "these partitions have no committed position: a new app, or a group that the broker has forgotten",
            ("partitions", "records"),
        ),
        "records-lost": Event(
            "warning",
            "records were deleted before they were read, and `on_lost_offset` is `earliest`",
            ("topic", "partition", "offset", "records", "resumed_at"),
        ),
        "restoring": Event(
            "info", "state is read back; about once a second", ("tasks", "percent", "records", "rows", "records_per_s", "eta_s")
        ),
        "restored": Event("info", "all state is there", ("records", "rows", "seconds")),
        "running": Event("info", "these tasks process records from now on", ("tasks",)),
        "revoked": Event("info", "the group takes these partitions back; what was processed is committed", ("partitions",)),
        "lost": Event(
            "warning", "these partitions have been another's for a while; what was uncommitted is dropped", ("partitions",)
        ),
        "parked": Event(
            "info", "tasks of partitions that were revoked stay in memory for a while, in case they come back", ("tasks",)
        ),
        "resumed": Event("info", "parked tasks go on without a restore", ("tasks",)),
        "parked-dropped": Event("info", "parked tasks are given up", ("tasks", "reason")),
        "take-over-retried": Event("info", "Kafka was not ready to say where tasks stand; asked again at once", ("error",)),
        "revoke-aborted": Event(
            "warning",
            "the commit before partitions were given away failed; their next owner processes the records again",
            ("error",),
        ),
        "partition-idle": Event(
            "info", "a source partition is silent and read to its end; time no longer waits for it", ("topic", "partition")
        ),
        "time-moves-on": Event(
            "info",
            "all inputs of these tasks are silent, and their time now follows the wall clock (`advance_when_idle`)",
            ("tasks",),
        ),
        "held-up": Event(
            "warning",
            "records wait in a partition behind a transaction that somebody has left open; nothing can be read until it ends",
            ("topic", "partition", "position", "end"),
        ),
        "sink-changed": Event("warning", "a topic that the app writes has another number of partitions", ("topic", "partitions")),
        "memory-high": Event(
            "warning",
            "window state has come to 80 % of `memory_limit_mb`; partitions that are ahead of others wait for those",
            ("bytes", "limit", "stores", "partitions", "waits_for"),
        ),
        "memory-released": Event("info", "window state is below 60 % of it again, and all partitions go on", ("bytes", "limit")),
        # ---- transactions
        "commit": Event(
            "debug", "a transaction is committed: some in a second, so only at this level", ("tasks", "records", "seconds")
        ),
        "commit-slow": Event("warning", "a commit took longer than a second", ("tasks", "records", "seconds")),
        "rolled-back": Event(
            "warning",
            "a transaction was aborted; the committed state is restored and the records are processed again",
            ("error",),
        ),
        "not-ours": Event(
            "warning",
            "a position or a changelog did not fit, and the group's coordinator says that the partitions are another worker's; "
            "what is ours is taken over anew",
            ("error", "answer"),
        ),
        "abort-failed": Event("warning", "a transaction could not be aborted; replacing the producer does it", ("error",)),
        "init-retried": Event("info", "a predecessor's transaction is being ended; the new producer waits for that", ("error",)),
        "producer-disturbed": Event(
            "warning", "the connection broke during the end of a transaction; the producer is replaced", ("reason",)
        ),
        "producer-replaced": Event("warning", "a new producer with the same transactional id fences the old one"),
        "poll-retried": Event(
            "warning", "reading failed for a partition although Kafka answers; at most once in ten seconds", ("error",)
        ),
        "purge-failed": Event("warning", "processed repartition records could not be deleted; tried again later", ("error",)),
        # ---- records
        "record-skipped": Event(
            "warning",
            "a record cannot be processed, and `on_error` says to leave it out",
            ("error", "topic", "partition", "offset", "operator"),
        ),
        "times-in-1970": Event(
            "warning",
            "all event times of a partition so far lie in 1970: probably seconds that are taken for milliseconds; multiply them "
            "by 1,000, in a function if need be. Once for each topic",
            ("topic", "partition", "latest", "as_seconds"),
        ),
        "times-ahead": Event(
            "warning",
            "the latest event time of a partition is more than a day ahead of the clock: all windows up to it close, and what "
            "comes then is late for them. With `max_future` such a record is an error of its own. Once for each topic",
            ("topic", "partition", "latest"),
        ),
        "partition-held": Event(
            "info",
            "the partition runs ahead of one that it meets by more than its `max_drift`; it is not processed until that has come "
            "closer",
            ("topic", "partition", "waits_for"),
        ),
        "partition-released": Event(
            "info",
            "the partition is processed again: it was not held for ten seconds, or what it waited for gives nothing",
            ("topic", "partition", "seconds", "reason"),
        ),
        "late-records": Event(
            "warning",
            "records came after their last window had closed; at most once in ten seconds, and whether or not anything reads "
            "`late()`",
            ("operator", "new", "total", "lateness_ms"),
        ),
        "never-closes": Event(
            "warning",
            "a service reads `on_close()` of a global window, which closes with the end of a bounded input only (`--until-end`): "
            "it will give nothing. `on_update()` tells what there is by now",
            ("operator",),
        ),
        # ---- the supervisor of `--workers`
        "worker-started": Event("info", "a worker process", ("index", "pid")),
        "worker-died": Event(
            "warning", "a worker process ended with an error; it is started again", ("index", "code", "restart_in_s")
        ),
        "worker-given-up": Event(
            "error",
            "a worker process died too often; the service ends with its exit code",
            ("index", "code", "deaths", "within_s"),
        ),
        "worker-killed": Event("warning", "a worker process that was told to stop did not end in time", ("index", "pid")),
    }
)
