"""The parts of `streamkit.testing.containers` that need neither Docker nor Kafka."""

from __future__ import annotations

import subprocess
import sys

import pytest

import streamkit as sk
from services.bids.app import app as bids_app
from streamkit.errors import ContainerError
from streamkit.kafka.client import TopicPartition
from streamkit.kafka.memory import MemoryClient
from streamkit.testing.containers.engine import library
from streamkit.testing.containers.progress import described, waiting
from streamkit.testing.containers.replica import events_of, tail
from streamkit.testing.containers.target import target_of

WORDS = sk.Topic("words", key=str, value=str)


def make_driver() -> sk.TestDriver:
    app = sk.App("copy")
    app.stream(WORDS).to(sk.Topic("copies", key=str, value=str))
    return sk.TestDriver(app, partitions=2)


def test_a_group_waits_for_nothing_where_only_markers_follow():
    with make_driver() as driver:
        driver.send(WORDS, "a", "b", key="k", partition=1)
        client = MemoryClient(driver.cluster)
        assert waiting(client, "copy", ["words"]) == {}
        sk.Broker(client, is_embedded=True).send(WORDS, "c", key="k", partition=1)  # in a transaction: a marker stands behind it
        driver.settle()
        assert waiting(client, "copy", ["words"]) == {}


def test_a_group_waits_for_records_that_are_there():
    with make_driver() as driver:
        driver.send(WORDS, "a", key="k", partition=1)
        for _ in range(3):
            driver.send_raw("words", b"b", key=b"k", partition=1, settle=False)
        behind = waiting(MemoryClient(driver.cluster), "copy", ["words"])
        assert behind == {TopicPartition("words", 1): (1, 4)}
        assert described(behind) == "words-1 at 1 of 4"


def test_a_group_that_never_committed_waits_for_everything():
    with make_driver() as driver:
        driver.send(WORDS, "a", key="k", partition=0)
        assert waiting(MemoryClient(driver.cluster), "nobody", ["words"]) == {TopicPartition("words", 0): (0, 1)}


def test_a_topic_that_is_not_there_is_told():
    with make_driver() as driver, pytest.raises(ContainerError, match="group 'copy' cannot catch up with wrods: no such topic"):
        waiting(MemoryClient(driver.cluster), "copy", ["words", "wrods"])


def test_many_partitions_are_abbreviated():
    behind = {TopicPartition("t", number): (0, 1) for number in range(9)}
    assert described(behind).endswith("t-5 at 0 of 1 and 3 more")


def test_an_app_of_a_module_is_found_by_its_name():
    assert target_of(bids_app) == "services.bids.app:app"
    assert target_of("app.py:other") == "app.py:other"


def test_an_app_of_no_module_is_told():
    with pytest.raises(ContainerError, match=r"App\('hidden'\) is no variable of a module"):
        target_of(sk.App("hidden"))


def test_foreign_lines_of_a_log_are_passed_over():
    log = 'Traceback ...\n{"event": "started"}\n{"not": "ours"}\n[1, 2]\n{"event": "runn'
    assert events_of(log) == [{"event": "started"}]
    assert tail("a\nb\nc", 2) == "b\nc"
    assert tail("") == "(it wrote nothing)"


def test_a_missing_library_names_the_extra():
    with pytest.raises(ContainerError, match=r"pip install 'streamkit\[test\]'"):
        library("a_library_that_nobody_has")


def test_the_plugin_costs_nothing_until_it_is_asked():
    heavy = "{'confluent_kafka', 'polars', 'testcontainers', 'docker'}"
    script = f"import streamkit.testing.plugin, sys; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
