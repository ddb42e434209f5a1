"""The suite's parts that measure nothing: what is asked for, what is kept, what is told."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from benchmarks import bars, job, report, restore, results, suite, workloads
from benchmarks.bars import BARS, Verdict
from benchmarks.contestants import catalogue
from benchmarks.contestants.catalogue import CONTESTANTS, AbsentError
from benchmarks.job import Job, Measured
from benchmarks.results import Results, Run

RUN = Run("w1-100", "streamkit", 0, 1_000, 10, 2.0, 1.0, 1.5, 0.5, 0.25, 80, "2026-01-01 10:00", "2026-01-01 09:58:01")


def measured(*rates: tuple[str, str, int]) -> Results:
    found = Results()
    for workload, contestant, records in rates:
        found.add(replace(RUN, workload=workload, contestant=contestant, records=records))
    return found


# ---- what is asked for


def test_all_is_asked_for_unless_something_is_named():
    settings = suite.parse([])
    assert {name for _, name in settings.pairs} == set(CONTESTANTS)
    assert (settings.turns, settings.scale, settings.figures.name) == (3, 1.0, "results.json")
    assert not any(workload.unsupported for workload, _ in settings.pairs)


def test_some_can_be_named(tmp_path):
    settings = suite.parse(["--only", "w1-*:streamkit,stateless:quix", "--quick", "--out", str(tmp_path / "new")])
    pairs = [(workload.name, name) for workload, name in settings.pairs]
    assert ("w1-100k", "streamkit") in pairs
    assert [pair for pair in pairs if pair[1] != "streamkit"] == [("stateless", "quix")]
    assert (settings.scale, settings.turns, settings.figures) == (0.1, 1, tmp_path / "new" / "results.json")


@pytest.mark.parametrize(
    "arguments,words",
    [
        (["--only", "w2"], "nothing fits 'w2:.*workloads: w1-100, .*contestants: floor"),
        (["--only", "session:flink"], "nothing fits"),
        (["--scale", "0.5"], "--out DIRECTORY"),
        (["--scale", "2", "--out", "."], "at most 1"),
        (["--turns", "0"], "more than 0"),
        (["--minutes", "0"], "more than 0"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        suite.parse(arguments)


def test_results_of_other_numbers_of_records_are_not_mixed(tmp_path):
    found = measured(("w1-100", "streamkit", 1_000))
    found.scale = 0.5
    results.save(found, tmp_path / "results.json", [])
    settings = replace(suite.parse([]), figures=tmp_path / "results.json")
    with pytest.raises(ValueError, match=r"scale 0\.5: --fresh"):
        suite.kept(settings)
    assert suite.kept(replace(settings, fresh=True)).runs == []
    assert suite.kept(replace(settings, scale=0.5)).runs == found.runs


# ---- what is kept


def test_results_come_back_as_they_were_written(tmp_path):
    found = measured(("w1-100", "streamkit", 1_000), ("w1-100", "hand", 500))
    found.machine, found.versions = {"processors": 2}, {"hand": "1"}
    found.fail("w1-100", "flink", "absent: no Java")
    results.save(found, tmp_path / "results.json", [])
    again = results.load(tmp_path / "results.json")
    assert (again.runs, again.machine, again.versions, again.failures) == (
        found.runs,
        found.machine,
        found.versions,
        found.failures,
    )
    assert results.load(tmp_path / "other.json").runs == []


@pytest.mark.parametrize("text", ["", "{}", '{"runs": [{"workload": "w"}]}'])
def test_a_file_that_holds_no_results_is_told(tmp_path, text):
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(ValueError, match="--fresh starts anew"):
        results.load(tmp_path / "results.json")


def test_a_pair_that_is_measured_again_takes_the_place_of_the_earlier_one():
    earlier = measured(("w1-100", "streamkit", 1_000), ("w1-100", "hand", 500))
    earlier.fail("w1-100", "hand", "it was killed")
    later = Results(runs=earlier.runs, failures=earlier.failures)
    for records in (3_000, 1_000, 2_000):
        later.add(replace(RUN, contestant="hand", records=records))
    assert later.rate("w1-100", "hand") == 2_000, "the median of the three, without the first run"
    assert later.ratio("w1-100", "streamkit", "hand") == 0.5
    assert later.failure("w1-100", "hand") is None
    assert later.ratio("w1-100", "streamkit", "flink") is None


def test_reasons_hold_no_directories_of_this_machine():
    assert results.without_paths("no file /opt/some/where/libs/a.jar\n  at all") == "no file a.jar at all"
    assert results.without_paths("http://x 1/2 k/s") == "http://x 1/2 k/s"
    long = results.without_paths("begin " + "x " * 1_000 + "end")
    assert len(long) < 420
    assert long.startswith("begin")
    assert long.endswith("end")


# ---- what is told


def test_bars_are_met_or_not_or_unknown():
    found = measured(("w1-100", "streamkit", 1_000), ("w1-100", "floor", 2_000), ("w1-100", "quix", 100))
    verdicts = {bar.name: bar.verdict(found) for bar in BARS}
    assert verdicts["w1-100/floor"] is Verdict.MET
    assert verdicts["w1-100/quix"] is Verdict.NOT_MET
    assert verdicts["w1-100/flink"] is Verdict.UNKNOWN
    told = bars.line(found)
    assert told.startswith("bench: w1-100/floor 0.50 >= 0.4 met; ")
    assert "w1-100/quix 10.00 >= 18 NOT met" in told
    assert "w1-100/flink ? >= 3.5 not measured in one run" in told
    assert told.endswith(f"(1 met, 1 NOT met, {len(BARS) - 2} not measured in one run)")


@pytest.mark.parametrize(
    "name,rates,value",
    [
        ("hopping/w1-100", (("w1-100", "streamkit", 3_000), ("hopping", "streamkit", 1_500)), 2.0),
        ("w1-100-4p/w1-100", (("w1-100", "streamkit", 1_000), ("w1-100-4p", "streamkit", 900)), 0.9),
        ("functions-us", (("stateless", "streamkit", 1_000_000), ("functions", "streamkit", 500_000)), 1.0),
        ("restore-m", (("restore", "streamkit", 3_000_000),), 3.0),
    ],
)
def test_bars_of_streamkit_against_itself(name, rates, value):
    bar = next(bar for bar in BARS if bar.name == name)
    assert bar.value(measured(*rates)) == pytest.approx(value)
    assert bar.verdict(measured(*rates)) is Verdict.MET
    assert bar.verdict(measured(*rates[:-1])) is Verdict.UNKNOWN


@pytest.mark.parametrize("bar", [bar for bar in BARS if "/" in bar.name or bar.name == "functions-us"], ids=lambda bar: bar.name)
def test_what_was_measured_in_different_runs_is_not_compared(bar):
    workload, _, other = bar.name.partition("/")
    pairs = {
        "functions-us": [("functions", "streamkit"), ("stateless", "streamkit")],
    }.get(bar.name) or [(workload, "streamkit"), (workload, other) if other in CONTESTANTS else (other, "streamkit")]
    found = measured(*((*pair, 1_000) for pair in pairs))
    assert bar.value(found) is not None
    found.add(replace(RUN, workload=pairs[0][0], turn=1))
    assert bar.value(found) is not None, "one run more of the same session"
    again = Results(runs=found.runs)
    again.add(replace(RUN, workload=pairs[0][0], begun="2026-01-02 12:00:00"))
    assert bar.value(again) is None
    assert bar.verdict(again) is Verdict.UNKNOWN


def test_the_page_tells_in_which_run_something_was_measured(tmp_path):
    found = measured(("w1-100", "streamkit", 2_000_000), ("w1-100", "floor", 3_000_000), ("strings", "streamkit", 1_000_000))
    assert "Measured in one run, begun at 2026-01-01 09:58:01 (UTC)." in report.page(found)
    found.add(replace(RUN, workload="hopping", begun="2026-01-02 12:00:00"))
    again = Results(runs=found.runs)
    again.add(replace(RUN, contestant="floor", begun="2026-01-02 12:00:00", records=3_000_000))
    page = report.page(again)
    assert "Measured in 2 runs, begun at 2026-01-01 09:58:01, 2026-01-02 12:00:00 (UTC)." in page
    assert "In that of 2026-01-02 12:00:00: hopping:streamkit, w1-100:floor." in page
    assert "| raw consume (floor) | 3,000 |  | 1,500 |" in page, "no ratio between two runs"


def test_bars_name_workloads_and_contestants_that_there_are():
    names = {workload.name for workload in workloads.WORKLOADS}
    for bar in BARS:
        workload, _, other = bar.name.partition("/")
        if other:
            assert workload in names
            assert other in CONTESTANTS or other in names


def test_the_page_has_every_workload_and_every_reason(tmp_path):
    found = measured(("w1-100", "streamkit", 2_000_000), ("w1-100", "floor", 3_000_000))
    found.machine = results.machine("a container")
    found.fail("w1-100", "flink", "absent: Maven | is not installed")
    report.write(found, tmp_path)
    page = (tmp_path / "benchmarks.md").read_text()
    for workload in workloads.WORKLOADS:
        assert f"### {workload.title}\n" in page
    assert "| Flink SQL | absent: Maven / is not installed |" in page
    assert "| raw consume (floor) | 3,000 | 0.67 x | 1,500 | 2,000 | 0.5 | 80 | 10 | 3,000,000 | 1 |" in page
    assert "Not supported: needs a join" in page
    rows = [line for line in page.splitlines() if line.startswith("| ")]
    assert {row.count("|") for row in rows} == {5, len(report.HEADINGS) + 1}
    report.show(found)


def test_the_page_and_the_picture_are_those_of_the_results(tmp_path):
    published = suite.Settings(())
    found = results.load(published.figures)
    report.write(found, tmp_path)
    for name in ("benchmarks.md", "benchmarks.svg"):
        assert (published.page / name).read_text() == (tmp_path / name).read_text(), "make bench ARGS=--report writes it anew"
    assert json.loads(published.figures.read_text())["bars"] == [bar.figures(found) for bar in BARS]


def test_figures_are_the_same_before_and_after_they_are_kept(tmp_path, monkeypatch):
    playing, _ = play(tmp_path, monkeypatch)
    ran = Measured(7, *(each / 7 for each in range(1, 6)), 80, [])
    playing.results.add(suite._run(playing, workloads.WORKLOADS_BY_NAME["w1-100"], "hand", 0, ran, 3))
    results.save(playing.results, tmp_path / "results.json", [])
    assert results.load(tmp_path / "results.json").runs == playing.results.runs


def test_the_picture_is_well_formed_and_has_who_has_no_figure():
    root = ET.fromstring(report.picture(measured(("w1-100", "streamkit", 2_000_000))))
    words = [element.text for element in root.iter() if element.text]
    assert "2,000 k" in words
    assert sum(word == "no figure: see the table" for word in words) > 5


# ---- contestants


def test_a_contestant_that_cannot_be_had_is_reported(monkeypatch, tmp_path):
    monkeypatch.setenv("STREAMKIT_CACHE", str(tmp_path))
    monkeypatch.setattr(catalogue.shutil, "which", lambda _: None)
    monkeypatch.setattr(catalogue, "_java", lambda: tmp_path)
    with pytest.raises(AbsentError, match="Maven is not installed"):
        CONTESTANTS["kafka-streams"].prepare(lambda _: None)
    found = Results()
    settings = replace(suite.parse(["--only", "w1-100:kafka-streams,w1-100:hand"]), figures=tmp_path / "results.json")
    assert list(suite._programs(settings, found)) == ["hand"]
    assert found.failure("w1-100", "kafka-streams") == "absent: Maven is not installed (mvn is not on the PATH)"


def test_every_contestant_says_what_it_is():
    described = (catalogue.HERE / "README.md").read_text()
    assert [name for name in CONTESTANTS if f"`{name}`" not in described] == []


TOLD = '{"records": 1, "first_at": 0, "wall_s": 1, "cpu_s": 1, "start_cpu_s": 1, "peak_mb": 1, "process_cpu_s": 7}'


@pytest.mark.parametrize(
    "code,timeout_s,words",
    [
        ("import sys; sys.exit('out of memory')", 60, "ended with 1:\nout of memory"),
        ("print('hello')", 60, "told nothing"),
        ("import time; time.sleep(60)", 1, "was ended after 1 s"),
    ],
)
def test_a_program_that_ends_badly_is_an_error(code, timeout_s, words):
    with pytest.raises(RuntimeError, match=words):
        job.run("it", Job("", "", "", "", 1), program=(sys.executable, "-c", code), timeout_s=timeout_s)


def test_a_program_may_tell_its_processor_time_itself():
    found = job.run("it", Job("", "", "", "", 1), program=(sys.executable, "-c", f"print('words'); print('{TOLD}')"))
    assert found.process_cpu_s == 7
    assert found.start_s < 0, "from now to the first record, which was in 1970"


# ---- the order of turns


def play(tmp_path, monkeypatch, *, minutes: float | None = None, fails: str = "") -> tuple[suite.Play, list[str]]:
    """Turns that measure nothing; those of a contestant fail."""
    settings = suite.parse(["--only", "w1-100k:hand,w1-100k:quix,stateless:hand"])
    settings = replace(settings, minutes=minutes, figures=tmp_path / "results.json")
    programs = dict.fromkeys(("hand", "quix"), catalogue.Program((), "1"))
    played: list[str] = []

    def turn(_, workload, name, number):
        played.append(f"{workload.name}:{name}")
        if name == fails:
            raise ValueError("out of memory in /var/tmp/it")
        return replace(RUN, workload=workload.name, contestant=name, turn=number)

    monkeypatch.setattr(suite, "_turn", turn)
    return suite.Play(settings, None, Results(), programs), played


def test_rounds_go_forth_and_back_and_some_have_fewer_turns(tmp_path, monkeypatch):
    playing, played = play(tmp_path, monkeypatch)
    for number in range(3):
        suite._round(playing, number)
    once = ["w1-100k:hand", "w1-100k:quix", "stateless:hand"]
    assert played == [*once, "stateless:hand", "w1-100k:hand", "w1-100k:hand", "stateless:hand"], "quix has one turn there"
    assert len(results.load(tmp_path / "results.json").runs) == 7


class Stage:
    """A broker with topics that nobody reads or writes."""

    bootstrap = ""

    def name(self, what: str) -> str:
        return what

    def create(self, topics: dict[str, int]) -> None: ...
    def clear(self, prefix: str) -> None: ...


def test_an_input_is_read_once_before_the_turns_that_read_it(monkeypatch):
    read: list[tuple[str, str]] = []
    ran = Measured(0, 1.0, 1.0, 1.0, 0.0, 0.0, 1, [{"event": "restored", "rows": 0, "records": 0, "seconds": 1.0}])

    def run(name, told, **_):
        assert name == "floor"
        read.append((told.source, told.app))
        return ran

    monkeypatch.setattr(job, "run", run)
    monkeypatch.setattr(restore, "run", lambda *_, **__: ran)
    playing = suite.Play(suite.parse([]), Stage(), Results(), {"floor": catalogue.Program((), "1")})
    for name in ("w1-100", "w1-100", "w1-100k", "restore", "w1-100k"):
        workload = workloads.WORKLOADS_BY_NAME[name]
        contestant = "streamkit" if name == "restore" else "floor"
        of = workload.input_of(contestant).name
        playing.made[of] = ()
        playing.expected[name, of] = {}
        suite._turn(playing, workload, contestant, 0)
    assert read == [
        ("bids-5m", "w1-100-floor-0-app-warm"),  # in a group of its own
        ("bids-5m", "w1-100-floor-0-app"),
        ("bids-5m", "w1-100-floor-0-app"),
        ("bids-100k", "w1-100k-floor-0-app-warm"),
        ("bids-100k", "w1-100k-floor-0-app"),
        ("bids-100k", "w1-100k-floor-0-app-warm"),  # the restore came between
        ("bids-100k", "w1-100k-floor-0-app"),
    ]


def test_who_fails_plays_no_more_and_the_others_go_on(tmp_path, monkeypatch):
    playing, played = play(tmp_path, monkeypatch, fails="hand")
    for number in range(3):
        suite._round(playing, number)
    assert played == ["w1-100k:hand", "w1-100k:quix", "stateless:hand"]
    assert playing.results.failure("stateless", "hand") == "out of memory in it"


def test_no_turn_is_begun_that_would_not_end_in_time(tmp_path, monkeypatch):
    playing, played = play(tmp_path, monkeypatch, minutes=0.5)
    playing.took["w1-100k", "hand"] = 40
    suite._round(playing, 0)
    assert played == ["w1-100k:quix", "stateless:hand"]
    assert playing.results.failure("w1-100k", "hand") == suite.OUT_OF_TIME
