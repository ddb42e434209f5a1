"""Replicas in containers come, go and die under load, on Kafka in a container: the results equal the reference."""

from __future__ import annotations

import os
import random
import threading
import time

import pytest

from services.bids.app import TOPICS, app
from streamkit.testing.containers import Kafka, Service, service
from tests.containers.bids import PARTITIONS, bids, check, encode
from tests.containers.conftest import QUICK
from tests.support.workload import feeder

SEED = int(os.environ.get("STREAMKIT_TEST_SEED", "4711"))


def wait_for_progress(running: Service, feeding: threading.Thread) -> None:
    """Until more results are there than at the call: the service is at work. On a busy machine the input may be over by then."""
    before, deadline = len(running.read(TOPICS.item_totals)), time.monotonic() + 90
    while len(running.read(TOPICS.item_totals)) <= before and feeding.is_alive():
        assert time.monotonic() < deadline, "no result came within 90 s"
        time.sleep(0.3)


@pytest.mark.timeout(400)
def test_scaling_and_a_rolling_restart_lose_and_double_nothing(clean_kafka: Kafka, bids_image: str) -> None:
    events, expected = bids(200_000, keys=1_000, seed=SEED)
    with (
        service(app, image=bids_image, kafka=clean_kafka, partitions=PARTITIONS, settings=QUICK) as running,
        feeder(clean_kafka.bootstrap_servers, TOPICS.bids.name, events, 25, encode) as feeding,
    ):
        wait_for_progress(running, feeding)
        running.scale(3)
        wait_for_progress(running, feeding)
        running.scale(2)
        wait_for_progress(running, feeding)
        running.restart(*running.running)
        wait_for_progress(running, feeding)
        feeding.join(60)
        running.wait_until_caught_up(timeout="90s")
        running.run_until_end()
    check(clean_kafka, expected)


@pytest.mark.timeout(400)
def test_a_kill_in_mid_stream_loses_and_doubles_nothing(clean_kafka: Kafka, bids_image: str) -> None:
    events, expected = bids(60_000, keys=300, seed=SEED + 1)
    rng = random.Random(SEED)
    with (
        service(app, image=bids_image, kafka=clean_kafka, replicas=3, partitions=PARTITIONS, settings=QUICK) as running,
        feeder(clean_kafka.bootstrap_servers, TOPICS.bids.name, events, 15, encode) as feeding,
    ):
        for _ in range(2):
            wait_for_progress(running, feeding)
            time.sleep(rng.uniform(0, 0.5))
            victim = rng.choice(running.running)
            running.kill(victim)
            running.start(victim)
        wait_for_progress(running, feeding)
        running.kill(1)  # and its partitions go to the others
        feeding.join(60)
        running.wait_until_caught_up(timeout="90s")
        running.run_until_end()
    check(clean_kafka, expected)
