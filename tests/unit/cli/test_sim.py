"""`streamkit sim`: an app of a user under simulated faults."""

from __future__ import annotations

import json
import shlex

import pytest
from typer.testing import CliRunner

from streamkit.cli.main import commands
from streamkit.errors import ConfigError
from streamkit.runtime.worker import Worker
from streamkit.testing.sim.service import canonical

APP = """
import itertools, random, streamkit as sk
from datetime import datetime

class Bid(sk.Model):
    number: int
    item: str
    price: int

BIDS = sk.Topic("bids", key=str, value=Bid)

@BIDS.sample
def bids():
    for number in itertools.count():
        bid = Bid(number, "ABC"[number % 3], random.randrange(9))
        yield sk.Record("AB"[number % 2], bid, datetime(2020, 1, 1, 0, 0, number % 50), {}, "bids", 0, number)

app = sk.App("bids")
stream = app.stream(BIDS)
stream.map(lambda bid: CHANGED).to(sk.Topic("changed"))
totals = stream.key_by("item").window(sk.tumbling("10s")).aggregate("totals", n=sk.count(), total=sk.sum("price"))
totals.on_close().to(sk.Topic("totals"))
totals.late().to(sk.Topic("late", value=Bid))
"""


@pytest.fixture
def write(tmp_path):
    def writing(changed: str = '{"price": bid.price * 2}', *, sampled: bool = True):
        text = APP.replace("CHANGED", changed)
        path = tmp_path / "app.py"
        path.write_text(text if sampled else text.replace("@BIDS.sample\n", ""))
        return str(path)

    return writing


def sim(*arguments: str):
    return CliRunner().invoke(commands, ["sim", *arguments], catch_exceptions=True)


def test_an_app_whose_results_stay_the_same_passes(write):
    done = sim(write(), "--runs", "12", "--seed", "4711", "--samples", "40")
    assert done.exit_code == 0, done.output
    first, *_, counts, last = done.output.strip().splitlines()
    assert first.startswith("app 'bids': 40 records in 1 topics of 3 partitions, 2 workers; without faults ")
    assert counts == "lost 0, duplicated 0"
    assert last.startswith("sim: 12 runs, 0 violations, ")


def test_input_comes_from_files_as_well(write, tmp_path):
    lines = [
        json.dumps({"key": "A", "value": {"number": n, "item": "A", "price": n}, "timestamp": n * 1000}) for n in range(1, 20)
    ]
    (tmp_path / "bids.jsonl").write_text("\n".join(lines))
    done = sim(write(sampled=False), "--runs", "2", "--input-records", f"bids={tmp_path / 'bids.jsonl'}")
    assert done.exit_code == 0, done.output
    assert "19 records" in done.output


def test_a_function_that_gives_something_else_each_time_is_reported_as_such(write):
    done = sim(write('{"price": bid.price, "drawn": random.random()}'), "--runs", "2", "--samples", "5")
    assert done.exit_code == 1
    assert "its functions are not deterministic: the same run, twice, gave other results" in done.output
    assert "drawn" in done.output
    assert "sim:" not in done.output


def test_an_app_that_fails_by_itself_is_told_before_any_fault(write):
    done = sim(write("bid.nothing"), "--runs", "2", "--samples", "5")
    assert done.exit_code == 1
    assert "it fails without any fault" in done.output
    assert "nothing" in done.output


def test_an_app_that_fails_at_one_record_is_not_taken_for_one_that_depends_on_the_order(write):
    done = sim(write('{"price": 1 // (bid.number - 20)}'), "--runs", "2", "--samples", "40")
    assert done.exit_code == 1
    assert "it fails without any fault" in done.output
    assert "ZeroDivisionError" in done.output


def test_what_is_lost_is_told_with_the_faults_the_trace_and_how_to_see_it_again(write, monkeypatch):
    def forget(self):
        """As an engine that goes on after an abort with what it has in memory."""
        for task in self._tasks:
            task.touched = False

    monkeypatch.setattr(Worker, "_forget_tasks", forget)
    path = write()
    done = sim(path, "--runs", "60", "--samples", "30", "--partitions", "4", "--on-error", "skip")
    assert done.exit_code == 1
    again = next(line for line in done.output.splitlines() if line.startswith("again: "))
    words = f"again: streamkit sim {path} --samples 30 --partitions 4 --workers 2 --on-error skip --runs 1 --seed "
    assert again.startswith(words)
    assert "1 violations" in sim(*shlex.split(again)[3:]).output.splitlines()[-1]
    assert " lost: " in done.output
    assert "fault " in done.output
    assert "1 violations" in done.output.splitlines()[-1]


def test_an_app_without_input_says_what_to_give(write):
    done = sim(write(sampled=False), "--runs", "1")
    assert isinstance(done.exception, ConfigError)
    assert "there is no input: give --input TOPIC=FILE" in str(done.exception)


def test_standard_input_cannot_be_read_twice(write):
    done = sim(write(), "--runs", "1", "--input", "bids=-")
    assert isinstance(done.exception, ConfigError)


def test_values_are_compared_by_what_they_mean():
    assert canonical(b'{"a": 0.1, "b": [1.00000000001]}') == canonical(b'{"b":[1.0],"a":0.1}')
    assert canonical(b'{"a": 0.1}') != canonical(b'{"a": 0.2}')
    assert canonical(b"\xff") == "ff"
    assert canonical(None) == "null"
