"""`streamkit dev`: input, printed results, and what a save does to a running app."""

from __future__ import annotations

import io
import json
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import streamkit as sk
from streamkit.cli.dev_input import Given, Lines, Sample, parse, read_file, refuse_unknown
from streamkit.cli.dev_module import Version, WatchedModule, state_change
from streamkit.cli.dev_output import line_of
from streamkit.cli.main import run_command_line
from streamkit.cli.new import create
from streamkit.errors import ConfigError

STREAMKIT = str(Path(sys.executable).with_name("streamkit"))
PATIENCE_S = 60
ENDED = "(the command has closed this stream)"

APP = """
from datetime import UTC, datetime

import streamkit as sk

class Sale(sk.Model):
    shop: str
    amount: int
    at: datetime

SALES = sk.Topic("sales", key=str, value=Sale)
TOTALS = sk.Topic("totals", key=str)

app = sk.App("shop")
sales = app.stream(SALES, event_time=sk.event_time("at"))
totals = sales.key_by("shop").window(sk.tumbling("1m")).aggregate("per-shop", total=sk.sum("amount"))
totals.on_close().to(TOTALS)

def broken():
    raise RuntimeError("no such table")
"""


class Sale(sk.Model):
    shop: str
    amount: int


def sale(amount: int, clock: str) -> str:
    return f'{{"shop": "north", "amount": {amount}, "at": "2026-01-05T{clock}Z"}}\n'


def once(cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (STREAMKIT, "dev", *arguments), cwd=cwd, capture_output=True, text=True, timeout=99, check=False, stdin=subprocess.DEVNULL
    )


class Dev:
    """A running `streamkit dev` with its lines as they come."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._lines: queue.Queue[str] = queue.Queue()
        for stream in (process.stdout, process.stderr):
            threading.Thread(target=self._read, args=(stream,), daemon=True).start()

    def _read(self, stream: Any) -> None:
        for line in stream:
            self._lines.put(line.rstrip("\n"))
        self._lines.put(ENDED)

    def until(self, text: str) -> list[str]:
        """The lines up to the first with this text."""
        lines: list[str] = []
        give_up = time.monotonic() + PATIENCE_S
        while not lines or text not in lines[-1]:
            try:
                lines.append(self._lines.get(timeout=max(give_up - time.monotonic(), 0.01)))
            except queue.Empty:
                raise AssertionError(f"no line with {text!r} came: {lines}") from None
            assert lines.count(ENDED) < 2, lines
        return lines

    def type(self, *lines: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("".join(lines))
        self._process.stdin.flush()

    def stop(self) -> int:
        self._process.send_signal(signal.SIGINT)
        return self._process.wait(PATIENCE_S)


@contextmanager
def running(cwd: Path, *arguments: str) -> Iterator[Dev]:
    command = (STREAMKIT, "dev", *arguments)
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=cwd, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            yield Dev(process)
        finally:
            process.kill()


@pytest.fixture
def shop(tmp_path) -> Path:
    (tmp_path / "shop.py").write_text(APP)
    return tmp_path


@pytest.fixture
def fresh_modules(monkeypatch, tmp_path):
    """An import path of its own, and no module of the test left behind."""
    before = set(sys.modules)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


# ---- bounded input


def test_a_new_project_runs_to_the_end_of_its_sample(tmp_path):
    create("spending", tmp_path)
    done = once(tmp_path, "app.py", "--input", "events=events.jsonl")
    assert done.returncode == 0
    assert done.stderr == "app 'spending' on the embedded broker, to the end of the input\n"
    lines = done.stdout.splitlines()
    assert 'events-late  anna  {"user":"anna","amount":9.0,"at":"2026-01-05T09:00:50Z"}  2026-01-05T09:00:50.000Z' in lines
    totals = [line for line in lines if line.startswith("totals  ")]
    found = [(line.split()[1], json.loads(line.split("  ")[2])["total"]) for line in totals]
    assert found == [("anna", 5.5), ("ben", 7.25), ("ben", 1.0), ("anna", 4.0)]


def test_keys_and_timestamps_come_with_whole_records(tmp_path):
    (tmp_path / "echo.py").write_text(
        'import streamkit as sk\napp = sk.App("echo")\nIN, OUT = (sk.Topic(name, key=int, value=int) for name in ("in", "out"))\n'
        "app.stream(IN).to(OUT)\n"
    )
    (tmp_path / "in.jsonl").write_text('{"key": 7, "value": 1, "timestamp": "2026-01-05T09:00:00Z"}\n\n{"value":2,"timestamp":0}')
    done = once(tmp_path, "echo:app", "--input-records", "in=in.jsonl", "--partitions", "3")
    assert done.returncode == 0, done.stderr
    assert "out  7  1  2026-01-05T09:00:00.000Z" in done.stdout.splitlines()
    assert len(done.stdout.splitlines()) == 2


def test_a_bad_line_is_named_and_ends_it(shop):
    (shop / "sales.jsonl").write_text(sale(1, "09:00:00") + '{"shop": "north"}\n')
    done = once(shop, "shop", "--input", "sales=sales.jsonl")
    assert done.returncode == 1
    assert "error: sales.jsonl:2: no record of topic 'sales': " in done.stderr
    assert "amount" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    "arguments,message",
    [
        (["shop", "--input", "sales"], "write TOPIC=FILE"),
        (["shop", "--input", "sales=no.jsonl"], "there is no file 'no.jsonl'"),
        (["shop", "--input", "sale=shop.py"], "does not read a topic 'sale'; did you mean 'sales'?"),
        (["shop", "--input", "sales=-", "--input-records", "sales=-"], "standard input can be the input of one topic only"),
        (["shop"], "there is no input: give --input"),
        (["shop:broken", "--input", "sales=-"], "'shop:broken' cannot be made: RuntimeError: no such table"),
        (
            ["shop", "--broker", "127.0.0.1:1", "--set", "start_timeout=1s", "--log-level", "ERROR"],
            "no Kafka broker answered at 127.0.0.1:1 within 1 s",
        ),
        (["shop:ap", "--input", "sales=-"], "'shop' has no 'ap'; did you mean 'app'?"),
        (["shop", "--input", "sales=-", "--set", "commit_intervall=1s"], "commit_interval"),
    ],
)
def test_wrong_arguments_are_one_clear_line(shop, fresh_modules, monkeypatch, capsys, arguments, message):
    monkeypatch.setattr(sys, "argv", ["streamkit", "dev", *arguments])
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    with pytest.raises(SystemExit) as left:
        run_command_line()
    said = capsys.readouterr().err
    assert left.value.code == (3 if "--broker" in arguments else 1)
    assert "\nerror: " in f"\n{said}"
    assert message in said
    assert "Traceback" not in said


def test_the_exit_code_of_wrong_options_is_2(shop):
    assert once(shop, "shop", "--partitions", "0").returncode == 2


# ---- until Ctrl-C


def test_generators_feed_it_until_ctrl_c(shop):
    generator = """
@SALES.sample
def sales():
    for minute in range(60):
        yield Sale("north", minute, datetime(2026, 1, 5, 9, minute, tzinfo=UTC))
"""
    (shop / "shop.py").write_text(APP + generator)
    with running(shop, "shop.py", "--rate", "50") as dev:
        assert "watching shop.py" in dev.until("app 'shop'")[-1]
        assert '"total":0}' in dev.until("totals  north")[-1]
        assert '"total":1}' in dev.until("totals  north")[-1]
        assert dev.stop() == 0


def test_a_generator_that_raises_is_named_and_may_be_mended(shop):
    bad = "\n@SALES.sample\ndef sales():\n    yield 1 / 0\n"
    (shop / "shop.py").write_text(APP + bad)
    with running(shop, "shop.py") as dev:
        dev.until("the sample generator of topic 'sales', record 1: ZeroDivisionError")
        dev.until("waiting for the file to be saved")
        (shop / "shop.py").write_text(APP + bad.replace("1 / 0", "Sale('north', 1, datetime.now(UTC))"))
        dev.until("kept state of: per-shop")
        assert dev.stop() == 0


def test_ctrl_c_ends_it_while_it_waits_for_a_save(shop):
    (shop / "shop.py").write_text(APP + "\n@SALES.sample\ndef sales():\n    yield 'text'\n")
    with running(shop, "shop.py") as dev:
        dev.until("waiting for the file to be saved")
        assert dev.stop() == 0


def test_a_bad_line_of_standard_input_is_complained_of_and_left_out(shop):
    with running(shop, "shop.py", "--input", "sales=-", "--no-reload") as dev:
        assert "watching" not in dev.until("app 'shop'")[-1]
        dev.type(sale(1, "09:00:00"), "{\n", sale(2, "09:00:30"), sale(5, "09:01:00"))
        lines = dev.until("totals  north")
        assert any("error: standard input:2: no record of topic 'sales'" in line for line in [*lines, *dev_rest(lines, dev)])
        assert '"total":3}' in lines[-1]
        assert dev.stop() == 0


def dev_rest(lines: list[str], dev: Dev) -> list[str]:
    """Standard error and output come by two pipes, in any order."""
    return [] if any("error" in line for line in lines) else dev.until("error")


# ---- a save


def test_state_is_kept_where_it_fits(shop):
    with running(shop, "shop.py", "--input", "sales=-") as dev:
        dev.until("app 'shop'")
        dev.type(sale(1, "09:00:00"), sale(2, "08:59:00"), sale(2, "09:00:10"))
        second = APP.replace("sales.key_by", "sales.filter(lambda sale: sale.amount < 100).key_by")
        second += 'both = totals.on_close().globally().window(sk.tumbling("1m")).aggregate("all", total=sk.sum("total"))\n'
        second += "both.on_close().to(TOTALS)\n"
        (shop / "shop.py").write_text(second)
        assert "kept state of: per-shop; started anew: all" in dev.until("kept state")[-1]
        dev.type(sale(100, "09:00:20"), sale(4, "09:00:30"), sale(1, "09:01:00"))
        assert '"total":7}' in dev.until("totals  north")[-1]
        assert dev.stop() == 0


def test_a_syntax_error_leaves_the_old_version_running(shop):
    with running(shop, "shop.py", "--input", "sales=-") as dev:
        dev.until("app 'shop'")
        (shop / "shop.py").write_text(APP + "def broken(:\n")
        assert "SyntaxError" in dev.until("the version before goes on running")[-1]
        dev.type(sale(1, "09:00:00"), sale(1, "09:01:00"))
        assert '"total":1}' in dev.until("totals  north")[-1]
        (shop / "shop.py").write_text(APP + "# mended\n")
        dev.until("kept state of: per-shop; started anew: nothing")
        assert dev.stop() == 0


def test_another_window_starts_anew_from_the_beginning_of_the_input(shop):
    with running(shop, "shop.py", "--input", "sales=-") as dev:
        dev.until("app 'shop'")
        dev.type(sale(1, "09:00:00"), sale(2, "09:01:00"))
        assert '"total":1}' in dev.until("totals  north")[-1]
        (shop / "shop.py").write_text(APP.replace('"1m"', '"2m"'))
        dev.until("the state of per-shop does not fit the new version")
        assert "deleted shop.per-shop.changelog" in dev.until("started anew: per-shop")[-1]
        dev.type(sale(5, "09:02:00"))
        assert '"total":3}' in dev.until("totals  north")[-1]
        assert dev.stop() == 0


def test_state_that_the_engine_refuses_is_deleted_as_well(shop):
    one = APP.replace('sales.key_by("shop")', "sales.by_record_key()")
    (shop / "shop.py").write_text(one)
    with running(shop, "shop.py", "--input", "sales=-") as dev:
        dev.until("app 'shop'")
        dev.type(sale(1, "09:00:00"), sale(2, "09:01:00"))
        assert '"total":1}' in dev.until("totals  null")[-1]
        # the new topic has no position beside state that is there
        more = 'MORE = sk.Topic("more", key=str, value=Sale)\n'
        two = one.replace("app = sk", f"{more}app = sk").replace("app.stream(SALES,", "app.stream(SALES, MORE,")
        (shop / "shop.py").write_text(two)
        dev.until("the state does not fit: more-0: group 'shop' has state")
        assert "all input is read again" in dev.until("started anew: per-shop")[-1]
        assert dev.stop() == 0


def test_after_an_error_it_goes_on_with_the_version_that_is_saved_next(shop):
    (shop / "shop.py").write_text(APP.replace("sales.key_by", "sales.filter(lambda sale: 1 // sale.amount >= 0).key_by"))
    with running(shop, "shop.py", "--input", "sales=-") as dev:
        dev.until("app 'shop'")
        dev.type(sale(0, "09:00:00"))
        assert "sales-0@0: ZeroDivisionError" in dev.until("error: ")[-1]
        dev.until("waiting for the file to be saved")
        (shop / "shop.py").write_text(APP)
        dev.until("kept state of: per-shop")
        dev.type(sale(3, "09:00:30"), sale(3, "09:01:30"))
        assert '"total":3}' in dev.until("totals  north")[-1]
        assert dev.stop() == 0


# ---- parts


def version(**windows: str) -> Version:
    app = sk.App("shop")
    sales = app.stream(sk.Topic("sales", key=str, value=Sale)).by_record_key()
    for name, size in windows.items():
        sales.window(sk.tumbling(size)).aggregate(name, total=sk.sum("amount")).on_close().to(sk.Topic("out"))
    return Version.of(app)


@pytest.mark.parametrize(
    "old,new,seen,expected",
    [
        ({"a": "1m"}, {"a": "1m", "b": "1m"}, {"a": "1m"}, "kept state of: a; started anew: b"),
        ({"a": "1m", "b": "1m"}, {"b": "1m"}, {"a": "1m", "b": "1m"}, "kept state of: b; started anew: nothing"),
        ({"a": "1m"}, {"a": "2m"}, {"a": "1m"}, "misfit a"),
        ({"b": "1m"}, {"a": "1m", "b": "1m"}, {"a": "1m", "b": "1m"}, "misfit a"),  # it was gone for a while
    ],
)
def test_what_is_kept(old, new, seen, expected):
    change = state_change(version(**old), version(**new), version(**seen).stores)
    assert (f"misfit {', '.join(change.misfit)}" if change.misfit else str(change)) == expected


@pytest.mark.usefixtures("fresh_modules")
def test_a_load_is_fresh_with_all_that_the_module_imports(tmp_path):
    (tmp_path / "dev_prices.py").write_text("FACTOR = 1\n")
    (tmp_path / "dev_shop.py").write_text("import dev_prices\n" + APP + "factor = dev_prices.FACTOR\n")
    module = WatchedModule("dev_shop.py")
    first = module.load()
    assert sorted(path.name for path in module.files) == ["dev_prices.py", "dev_shop.py"]
    assert module.changed() == []
    (tmp_path / "dev_prices.py").write_text("FACTOR = 22\n")
    assert [path.name for path in module.changed()] == ["dev_prices.py"]
    assert module.changed() == []
    assert module.load().app is not first.app
    assert sys.modules["dev_shop"].factor == 22


@pytest.mark.usefixtures("fresh_modules")
def test_a_load_that_fails_leaves_the_modules_as_they_were(tmp_path):
    (tmp_path / "dev_shop.py").write_text(APP)
    module = WatchedModule("dev_shop")
    module.load()
    before = sys.modules["dev_shop"]
    (tmp_path / "dev_shop.py").write_text("1 / 0\n")
    with pytest.raises(ConfigError, match="ZeroDivisionError"):
        module.load()
    assert sys.modules["dev_shop"] is before


@pytest.mark.parametrize(
    "value,line,wire",
    [
        (Sale, b'{"shop": "n", "amount": 1, "more": 2}', b'{"shop": "n", "amount": 1, "more": 2}'),
        (sk.Row, b'{"n": 123456789012345678901234567890}', b'{"n": 123456789012345678901234567890}'),
        (str, '"küla"'.encode(), "küla".encode()),
        (bytes, b'"abc"', b"abc"),
        (int, b"5", b"5"),
        (float, b"5", b"5.0"),
        (sk.avro(Sale), b'{"shop": "n", "amount": 1}', sk.avro(Sale).encoder()(Sale("n", 1))),
    ],
)
def test_values_go_through_the_serde_of_their_topic(value, line, wire):
    topic: sk.Topic[Any, Any] = sk.Topic("t", value=value)
    assert Lines(Given("t", "f", whole_records=False), topic).record(line, 1).value == wire


@pytest.mark.parametrize(
    "key,line,wire",
    [
        (str, b'{"value": 1, "key": "a"}', (b"a", b"1", 0, None)),
        (tuple[str, int], b'{"value": 1, "key": ["a", 2]}', (b'["a",2]', b"1", 0, None)),
        (bytes, b'{"value": null, "key": "a"}', (b"a", None, 0, None)),
        (str, b'{"value": 1, "timestamp": 5, "headers": {"h": "x", "n": null}}', (None, b"1", 5, [("h", b"x"), ("n", None)])),
    ],
)
def test_whole_records(key, line, wire):
    topic: sk.Topic[Any, Any] = sk.Topic("t", key=key, value=int)
    record = Lines(Given("t", "f", whole_records=True), topic).record(line, 1)
    assert (record.key, record.value, record.timestamp, record.headers) == wire


@pytest.mark.parametrize(
    "line",
    [b"{", b'{"key": "a"}', b'{"value": 1, "keys": 2}', b'{"value": 1, "key": 5}', b'{"value":1,"timestamp":"noon"}', b"\xff"],
)
def test_whole_records_that_do_not_fit_are_named(tmp_path, line):
    (tmp_path / "in.jsonl").write_bytes(b'{"value": 1}\n' + line + b"\n")
    given = parse(f"t={tmp_path / 'in.jsonl'}", whole_records=True)
    topic: sk.Topic[Any, Any] = sk.Topic("t", key=str, value=int)
    with pytest.raises(ConfigError, match=r"in\.jsonl:2: no record of topic 't'"):
        list(read_file(given, topic))


def test_a_topic_that_the_app_does_not_read_is_refused():
    with pytest.raises(ConfigError, match="did you mean 'sales'"):
        refuse_unknown([Given("sale", "-", whole_records=False)], version(a="1m").sources)


def test_a_sample_keeps_its_rate():
    topic = sk.Topic("numbers", key=str, value=int)

    @topic.sample
    def numbers() -> Iterator[int | sk.Record[str, int]]:
        yield 1
        yield sk.Record("a", 2, datetime(2026, 1, 5, tzinfo=UTC), {"h": b"x"})
        yield 3

    now = 100.0
    sample = Sample(topic, 2.0, lambda: now)
    assert [record.value for record in sample.due()] == [b"1"]
    assert list(sample.due()) == []
    now = 100.5
    (record,) = sample.due()
    assert (record.key, record.value, record.timestamp, record.headers) == (b"a", b"2", 1767571200000, [("h", b"x")])
    now = 110.0
    assert [record.value for record in sample.due()] == [b"3"]


def test_a_topic_has_one_sample():
    topic = sk.Topic("numbers", value=int)
    topic.sample(lambda: [1])
    with pytest.raises(sk.errors.DeclarationError, match="two sample generators"):
        topic.sample(lambda: [2])


@pytest.mark.parametrize(
    "topic,key,value,text",
    [
        (sk.Topic("t", key=str), b"a", b'{"n": 1.10}', 't  a  {"n":1.10}'),
        (sk.Topic("t", key=tuple[str, int], value=str), b'["a",2]', b"text", 't  ["a",2]  "text"'),
        (sk.Topic("t", value=bytes), None, b"\xff", 't  null  "\ufffd"'),
        (sk.Topic("t", key=int, value=int), b"x", None, "t  x  null"),
        (sk.Topic("t", value=sk.avro(Sale)), b"a", sk.avro(Sale).encoder()(Sale("n", 1)), 't  a  {"shop":"n","amount":1}'),
        (sk.Topic("t", value=int), b"a", b"not a number", 't  a  "not a number"'),
    ],
)
def test_lines_of_results(topic, key, value, text):
    assert line_of(topic)(key, value, 0) == f"{text}  1970-01-01T00:00:00.000Z"


def test_help_needs_neither_kafka_nor_polars():
    code = (
        "import sys, streamkit.cli.main; sys.exit(any(name in sys.modules for name in ('polars', 'confluent_kafka', 'msgspec')))"
    )
    assert subprocess.run((sys.executable, "-c", code), timeout=200, check=False).returncode == 0
