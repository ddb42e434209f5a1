"""The decisions of runtime/decide, table by table."""

from __future__ import annotations

import re
from typing import Any

import pytest

from streamkit.errors import FinishedError, LostOffsetError, StateError
from streamkit.eventtime.watermark import NO_TIME
from streamkit.eventtime.windows import TumblingWindow, Window
from streamkit.kafka.client import Committed, TopicInfo, TopicPartition
from streamkit.runtime.control import TaskWord
from streamkit.runtime.decide.control import LastWord, due
from streamkit.runtime.decide.start import FromEarliest, Refuse, Resume, StartFacts, start
from streamkit.runtime.decide.topics import Use, misfit, wanted_config
from streamkit.runtime.metadata import OffsetMetadata

TP = TopicPartition("bids", 2)
NOW, ENDED = OffsetMetadata(1_000, 7), OffsetMetadata(1_000, 7, ended=True)


def facts(committed: Committed | None, **others: Any) -> StartFacts:
    known: dict[str, Any] = {
        "log_start": 5, "has_state": False, "until_end": False, "is_source": True, "end_offset": 100, "group": "app"
    }  # fmt: skip
    return StartFacts(TP, committed, **{**known, **others})


# ---- start.py, line by line


@pytest.mark.parametrize("committed", [None, Committed(-1)])
def test_no_position_and_no_state_starts_at_the_earliest_record(committed: Committed | None) -> None:
    assert start(facts(committed)) == FromEarliest(5)


@pytest.mark.parametrize("committed", [None, Committed(-1), Committed(50)])
def test_state_without_a_position_or_its_time_is_refused(committed: Committed | None) -> None:
    decision = start(facts(committed, has_state=True))
    assert isinstance(decision, Refuse)
    assert isinstance(decision.error, StateError)
    assert "bids-2" in str(decision.error)


def test_a_position_below_the_log_is_refused() -> None:
    decision = start(facts(Committed(4, NOW.encode())))
    assert isinstance(decision, Refuse)
    assert isinstance(decision.error, LostOffsetError)
    assert "1 records were deleted unread" in str(decision.error)


def test_a_position_below_the_log_of_a_source_is_moved_up_if_that_is_wanted() -> None:
    assert start(facts(Committed(3, NOW.encode()), go_on_without=True, has_state=True)) == Resume(5, NOW, skipped=2)
    assert start(facts(Committed(5, NOW.encode()), go_on_without=True)) == Resume(5, NOW)


def test_a_position_below_the_log_of_an_internal_topic_is_refused_whatever_is_wanted() -> None:
    decision = start(facts(Committed(4, NOW.encode()), go_on_without=True, is_source=False))
    assert isinstance(decision, Refuse)
    assert isinstance(decision.error, LostOffsetError)
    assert "a topic of the app itself" in str(decision.error)
    assert "on_lost_offset" not in str(decision.error)


@pytest.mark.parametrize("go_on_without", [False, True])
def test_a_position_above_the_log_is_refused(*, go_on_without: bool) -> None:
    decision = start(facts(Committed(101, NOW.encode()), until_end=True, go_on_without=go_on_without))
    assert isinstance(decision, Refuse)
    assert isinstance(decision.error, LostOffsetError)
    assert "the log ends at 100" in str(decision.error)


@pytest.mark.parametrize("offset", [5, 50, 100])
def test_a_position_in_the_log_is_resumed_with_its_time(offset: int) -> None:
    assert start(facts(Committed(offset, NOW.encode()), has_state=True)) == Resume(offset, NOW)


def test_a_position_without_metadata_and_without_state_is_resumed() -> None:
    assert start(facts(Committed(50))) == Resume(50, OffsetMetadata())


@pytest.mark.parametrize(
    "until_end, is_source, offset, resumes",
    [
        (False, True, 100, False),
        (False, False, 100, False),
        (True, True, 99, False),  # something new
        (True, True, 100, True),
        (True, False, 99, True),  # control records
    ],
)
def test_what_has_ended_is_resumed_only_to_end_again_with_nothing_new(until_end, is_source, offset, resumes):
    decision = start(facts(Committed(offset, ENDED.encode()), until_end=until_end, is_source=is_source))
    if resumes:
        assert decision == Resume(offset, ENDED)
    else:
        assert isinstance(decision, Refuse)
        assert isinstance(decision.error, FinishedError)


@pytest.mark.parametrize("until_end", [False, True])
def test_what_ended_while_this_worker_ran_ends_again_whatever_has_arrived(*, until_end: bool) -> None:
    decision = start(facts(Committed(99, ENDED.encode()), until_end=until_end, was_running=True))
    assert (decision == Resume(99, ENDED)) is until_end


@pytest.mark.parametrize(
    "changelogs, says",
    [
        ({"agg": 5}, None),
        ({"agg": None}, None),  # written by a version that did not say
        ({"agg": 5, "new": 0}, None),  # an aggregate that the app did not have then
        ({"agg": 0}, "store 'agg'.*partition 2 holds no state at all: it was deleted, made anew or emptied"),
        ({"agg": 4}, "ends with the state of commit 4: later records were cut off"),
        ({"agg": 6}, "holds the state of commit 6: the position was set back"),
        ({"other": 5, "agg": 0}, "store 'agg'"),
    ],
)
def test_state_of_another_commit_than_the_position_is_refused(changelogs: dict[str, int | None], says: str | None) -> None:
    metadata = OffsetMetadata(1_000, 7, state_commit=5, stores=("agg", "other"))
    decision = start(facts(Committed(50, metadata.encode()), has_state=True, changelogs=changelogs))
    if says is None:
        assert decision == Resume(50, metadata)
    else:
        assert isinstance(decision, Refuse)
        assert isinstance(decision.error, StateError)
        assert re.search(says, str(decision.error))
        assert "bids-2" in str(decision.error)
        assert "streamkit reset" in str(decision.error)


def test_state_is_not_compared_with_positions_of_the_first_format() -> None:
    assert start(facts(Committed(50, "sk1;1000;7;"), has_state=True, changelogs={"agg": 0})) == Resume(50, NOW)


# ---- metadata


@pytest.mark.parametrize(
    "metadata",
    [
        OffsetMetadata(),
        NOW,
        ENDED,
        OffsetMetadata(-62_135_596_800_000, 2**40),
        OffsetMetadata(1_000, 7, ended=True, state_commit=0, end=0, stores=("a",)),
        OffsetMetadata(1_000, 7, watermark=(2**32 - 1, -(2**62), 0)),
        OffsetMetadata(1_000, 7, stores=("a", "b"), watermark=(2**32 - 1, *(-(2**63) for _ in range(17)))),
        OffsetMetadata(1_000, 2**40, state_commit=2**40, end=2**62, stores=tuple(f"a-store-with-a-name-{n}" for n in range(20))),
    ],
)
def test_metadata_comes_back_and_is_small_ascii(metadata: OffsetMetadata) -> None:
    text = metadata.encode()
    assert OffsetMetadata.decode(text) == metadata
    assert text.isascii()
    assert len(text) < 1_000


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "sk1;1;2",
        "sk2;1;2;",
        "sk1;;2;",
        "sk1;1;-2;",
        "sk1;1;2;x",
        "sk1;1;2;;",
        " sk1;1;2;",
        "sk3;1;2;;;;",
        "sk2;1;2;x;;;",
        "sk2;1;2;;-1;;",
        "sk2;1;2;;;x;",
        "sk2;1;2;;;;a;b",
        "sk2;1;2;;;;a;1,",
        "sk2;1;2;;;;a;",
    ],
)
def test_metadata_that_is_not_ours_is_an_error(text: str) -> None:
    with pytest.raises(StateError, match="did not write"):
        OffsetMetadata.decode(text)


def test_metadata_of_the_first_format_is_still_read() -> None:
    assert OffsetMetadata.decode("sk1;1000;7;e") == ENDED


def test_no_metadata_is_none() -> None:
    assert OffsetMetadata.decode("") is None


# ---- control.py

WINDOW = TumblingWindow(size_ms=100, step_ms=100)
WITH_GRACE = TumblingWindow(size_ms=100, step_ms=100, grace_ms=10)
LONG = TumblingWindow(size_ms=1000, step_ms=1000)


def word(frontier: int, state: str = "active") -> TaskWord:
    return TaskWord("sub", 0, frontier, state)


def is_due(new: TaskWord, last: LastWord | None, now: float, *windows: Window) -> bool:
    return due(new, last, now=now, windows=windows, interval_s=1.0, heartbeat_s=3.0)


@pytest.mark.parametrize(
    "new, last, now, windows, expected",
    [
        (word(NO_TIME), None, 0.0, (), True),  # the first word, also of a task without data
        (word(5), LastWord(word(5), 10.0), 10.0, (), False),  # no news
        (word(5), LastWord(word(5), 10.0), 12.9, (), False),
        (word(5), LastWord(word(5), 10.0), 13.0, (), True),  # heartbeat
        (word(5, "idle"), LastWord(word(5), 10.0), 10.0, (), True),  # a changed state
        (word(5, "ended"), LastWord(word(5, "idle"), 10.0), 10.0, (), True),
        (word(6), LastWord(word(5), 10.0), 10.9, (), False),  # news, but not yet
        (word(6), LastWord(word(5), 10.0), 11.0, (), True),
        (word(98), LastWord(word(5), 10.0), 10.0, (WINDOW,), False),  # no window ends between
        (word(99), LastWord(word(5), 10.0), 10.0, (WINDOW,), True),  # [0, 100) closes at 99
        (word(198), LastWord(word(99), 10.0), 10.0, (WINDOW,), False),
        (word(6), LastWord(word(NO_TIME), 10.0), 10.0, (WINDOW,), True),  # the first time at all
        (word(99), LastWord(word(5), 10.0), 10.0, (LONG, WINDOW), True),  # any of several
        (
            word(104),
            LastWord(word(10), 10.0),
            10.0,
            (WITH_GRACE,),
            False,
        ),  # grace puts it off
    ],
)
def test_when_a_word_is_due(new, last, now, windows, expected):
    assert is_due(new, last, now, *windows) is expected


# ---- topics.py


@pytest.mark.parametrize("use", Use)
def test_a_topic_as_it_is_created_fits(use: Use) -> None:
    assert misfit(use, TopicInfo("t", 3, "", wanted_config(use)), 3) is None


@pytest.mark.parametrize("use", Use)
def test_min_insync_replicas_are_set_only_where_asked_for(use: Use) -> None:
    assert wanted_config(use, 2)["min.insync.replicas"] == "2"
    assert "min.insync.replicas" not in wanted_config(use)


@pytest.mark.parametrize(
    "use, change, says",
    [
        (Use.CHANGELOG, {"cleanup.policy": "delete"}, "cleanup.policy"),
        (Use.CHANGELOG, {"retention.ms": "1000"}, "retention.ms"),
        (Use.REPARTITION, {"cleanup.policy": "compact,delete"}, "cleanup.policy"),
        (Use.REPARTITION, {"retention.ms": "1000"}, "retention.ms"),
        (Use.REPARTITION, {"message.timestamp.type": "LogAppendTime"}, "message.timestamp.type"),
        (Use.CHANGELOG, {"message.timestamp.before.max.ms": "3600000"}, "message.timestamp.before.max.ms"),
        (Use.CHANGELOG, {"message.timestamp.after.max.ms": "3600000"}, "message.timestamp.after.max.ms"),
    ],
)
def test_each_setting_that_would_lose_records_is_a_misfit(use: Use, change: dict[str, str], says: str) -> None:
    reason = misfit(use, TopicInfo("t", 3, "", {**wanted_config(use), **change}), 3)
    assert reason is not None
    assert reason.startswith(f"{says} is ")
    assert "kafka-configs.sh" in reason


def test_a_compacted_changelog_without_deletion_needs_no_retention() -> None:
    config = {**wanted_config(Use.CHANGELOG), "cleanup.policy": "compact", "retention.ms": "1000"}
    assert misfit(Use.CHANGELOG, TopicInfo("t", 3, "", config), 3) is None


@pytest.mark.parametrize("use", Use)
@pytest.mark.parametrize("partitions", [2, 4])
def test_another_partition_count_is_a_misfit(use: Use, partitions: int) -> None:
    reason = misfit(use, TopicInfo("t", partitions, "", wanted_config(use)), 3)
    assert reason is not None
    assert f"{partitions} partitions, the plan needs 3" in reason
