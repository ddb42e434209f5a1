"""Flink SQL by PyFlink, as a contestant: the job as SQL on Flink's cluster in one JVM. Settings: see README.md.

Runs in an environment of its own; the JVM does the work, so its processor time, from when the job runs to its end, is what
counts, and "whole process" is that of both.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import tempfile
import time
from pathlib import Path

from benchmarks.job import peak_mb, told

KEPT_FROM = 9_010_000
JAR = "FLINK_KAFKA_JAR"

SOURCE = """
CREATE TABLE bids (
    auction BIGINT, bidder BIGINT, price BIGINT, `dateTime` BIGINT,
    ts AS TO_TIMESTAMP_LTZ(`dateTime`, 3), WATERMARK FOR ts AS ts - INTERVAL '1' SECOND
) WITH (
    'connector' = 'kafka', 'topic' = '{source}', 'properties.bootstrap.servers' = '{bootstrap}',
    'properties.group.id' = '{app}', 'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset',
    'properties.max.poll.records' = '5000', 'properties.max.partition.fetch.bytes' = '4194304', 'format' = 'json'
)"""

SINK = """
CREATE TABLE results ({columns}) WITH (
    'connector' = 'kafka', 'topic' = '{sink}', 'properties.bootstrap.servers' = '{bootstrap}',
    'key.format' = 'raw', 'key.fields' = 'k', 'value.format' = 'json', 'value.fields-include' = 'EXCEPT_KEY',
    'sink.delivery-guarantee' = 'exactly-once', 'sink.transactional-id-prefix' = '{app}',
    'sink.transaction-naming-strategy' = 'POOLING', 'properties.transaction.timeout.ms' = '600000',
    'properties.compression.type' = 'lz4', 'properties.batch.size' = '262144'
)"""

WINDOWS = """
k STRING, `key` BIGINT, window_start TIMESTAMP(3), window_end TIMESTAMP(3), `count` BIGINT, total BIGINT, highest BIGINT
"""
AGGREGATE = """
SELECT CAST(auction AS STRING), auction, window_start, window_end, COUNT(*), SUM(price), MAX(price)
FROM TABLE({window}) GROUP BY auction, window_start, window_end
"""
PIPELINES = {
    "tumbling": (WINDOWS, AGGREGATE.format(window="TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '10' SECOND)")),
    "hopping": (
        WINDOWS,
        AGGREGATE.format(window="HOP(TABLE bids, DESCRIPTOR(ts), INTERVAL '1' SECOND, INTERVAL '60' SECOND)"),
    ),
    "stateless": (
        "k STRING, auction BIGINT, bidder BIGINT, price BIGINT",
        f"SELECT CAST(auction AS STRING), auction, bidder, price FROM bids WHERE price >= {KEPT_FROM}",
    ),
}


def settings(partitions: int, directory: Path) -> dict[str, str]:
    return {
        "pipeline.jars": f"file://{os.environ[JAR]}",
        "parallelism.default": str(partitions),
        "table.local-time-zone": "UTC",
        "pipeline.object-reuse": "true",
        "execution.checkpointing.interval": "100 ms",
        "execution.checkpointing.mode": "EXACTLY_ONCE",
        "execution.checkpointing.dir": f"file://{directory}",
        "state.backend.type": "hashmap",
        "table.exec.source.idle-timeout": "0 ms",
    }


def main() -> None:
    from pyflink.table import EnvironmentSettings, TableEnvironment  # type: ignore[import-not-found] # in its own environment

    job, directory = told(), Path(tempfile.mkdtemp(prefix="streamkit-bench-"))
    table = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
    for name, value in settings(job.partitions, directory).items():
        table.get_config().set(name, value)
    columns, query = PIPELINES[job.pipeline]
    names = {"source": job.source, "sink": job.sink, "bootstrap": job.bootstrap, "app": job.app}
    table.execute_sql(SOURCE.format(**names))
    table.execute_sql(SINK.format(columns=columns, **names))
    submitted = table.execute_sql(f"INSERT INTO results {query}")  # planned, and handed to the cluster
    jvm = child()
    begun = _jvm_cpu_s(jvm)
    started, first_at = time.perf_counter(), time.time()
    submitted.wait()
    wall_s, ended = time.perf_counter() - started, _jvm_cpu_s(jvm)
    peak = peak_mb(jvm)
    figures = {
        "first_at": first_at,
        "wall_s": wall_s,
        "cpu_s": ended - begun,
        "start_cpu_s": begun + _own_cpu_s(),
        "peak_mb": peak,
    }
    shutil.rmtree(directory, ignore_errors=True)
    print(json.dumps({"records": job.records, "process_cpu_s": ended + _own_cpu_s(), **figures}), flush=True)


def child() -> int:
    """The JVM: the only process that this one has started."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            if int(_stat(stat)[1]) == os.getpid():
                return int(stat.parent.name)
    raise RuntimeError("PyFlink has started no JVM")


def _stat(path: Path) -> list[str]:
    """From the state on: the name before it may hold blanks."""
    return path.read_text().rpartition(")")[2].split()


def _jvm_cpu_s(pid: int) -> float:
    user, system = _stat(Path(f"/proc/{pid}/stat"))[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def _own_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
