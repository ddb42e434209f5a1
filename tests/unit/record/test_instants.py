"""Datetimes in columns: exact microseconds, one reading of RFC 3339 whichever way it is parsed."""

from datetime import UTC, datetime, timedelta, timezone

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit.record import instants
from streamkit.record.instants import as_utc, datetime_of, datetimes_of, micros_of, micros_of_datetimes, parse, parse_one

FIRST, LAST = datetime(1, 1, 2), datetime(9999, 12, 30)  # noqa: DTZ001 - hypothesis wants naive bounds
moments = st.datetimes(min_value=FIRST, max_value=LAST)
offsets = st.integers(-23 * 60 - 59, 23 * 60 + 59).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@st.composite
def alike(draw):
    """Texts of one shape, as a topic has them: the parser's fast path."""
    digits, separator = draw(st.integers(0, 9)), draw(st.sampled_from("T "))
    zone = draw(st.sampled_from(["", "Z", "+00:00", "-03:30", "+23:59"]))
    texts = []
    for moment in draw(st.lists(moments, min_size=1, max_size=5)):
        fraction = "".join(draw(st.lists(st.sampled_from("0123456789"), min_size=digits, max_size=digits)))
        text = moment.replace(microsecond=0).isoformat(separator)
        texts.append(text + ("." + fraction if digits else "") + zone)
    return texts


def by_msgspec(text):
    return micros_of(msgspec.convert(text, datetime))


@given(alike())
def test_fast_path_reads_as_msgspec_does(texts):
    assert parse(texts).tolist() == [by_msgspec(text) for text in texts]


@given(st.lists(st.tuples(moments, st.none() | offsets), max_size=6))
def test_text_of_any_mixture(pairs):
    given = [moment.replace(tzinfo=zone) for moment, zone in pairs]
    assert parse([moment.isoformat() for moment in given]).tolist() == [micros_of(moment) for moment in given]


@given(st.lists(moments.map(lambda moment: moment.replace(tzinfo=UTC))))
def test_objects_and_back_without_rounding(given):
    micros = micros_of_datetimes(given)
    assert micros.tolist() == [(moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) for moment in given]
    assert datetimes_of(micros) == given
    assert [datetime_of(value) for value in micros.tolist()] == given
    assert all(moment.tzinfo is UTC for moment in datetimes_of(micros))


def test_naive_and_zoned_objects_in_one_column():
    noon = datetime(2020, 4, 15, 12, tzinfo=UTC).replace(tzinfo=None)
    zoned = noon.replace(tzinfo=timezone(timedelta(hours=2)))
    assert micros_of_datetimes([noon, zoned]).tolist() == [micros_of(noon), micros_of(noon) - 7_200_000_000]


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "2020-04-15",
        "08:05:00",
        "2020-04-15T08:05",
        "2020-04-15T08:05:00.",
        "2020-04-15T08:05:00.Z",
        "2020-04-15T08:05:00,5Z",
        "2020-04-15T08:05:00+02",
        "2020-04-15T08:05:00+24:00",
        "2020-04-15T08:05:00+02:60",
        "2020-04-15T24:00:00Z",
        "2020-04-15T08:60:00Z",
        "2020-04-15T08:05:60Z",
        "2020-00-15T08:05:00Z",
        "2020-13-15T08:05:00Z",
        "2020-02-30T08:05:00Z",
        "1900-02-29T08:05:00Z",
        "0000-01-01T00:00:00Z",
        "2020-04-1\uff15T08:05:00Z",
        "2020_04_15T08:05:00Z",
        "2020-04-15X08:05:00Z",
        "2020-04-15T08:05:00Zx",
        "1586937900",
        "0001-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
        "9999-12-31T23:59:59.9999999Z",
    ],
)
def test_text_that_is_no_instant(text):
    for texts in ([text], ["2020-04-15T08:05:00Z", text], [text, "2020-04-15T08:05:00Z"], [text, text]):
        with pytest.raises(ValueError):
            parse(texts)
    with pytest.raises(ValueError):
        parse_one(text)


@pytest.mark.parametrize("text", ["2000-02-29T00:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"])
def test_ends_of_the_calendar(text):
    assert parse([text, text]).tolist() == [by_msgspec(text)] * 2


def test_dates_centuries_apart():
    texts = ["0001-01-01T00:00:00Z", "9999-12-31T00:00:00Z"]
    assert parse(texts).tolist() == [by_msgspec(text) for text in texts]


def test_empty_column():
    assert parse([]).tolist() == []
    assert micros_of_datetimes([]).tolist() == []
    assert datetimes_of(np.array([], np.int64)) == []


def test_instants_outside_the_calendar_are_refused():
    with pytest.raises(OverflowError):
        datetimes_of(np.array([2**62]))
    with pytest.raises(ValueError, match="outside"):
        as_utc(datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=2))))


def test_writers_that_leave_out_zeros_do_not_cost_the_fast_path(monkeypatch):
    """Java's Instant writes 0, 3, 6 or 9 digits, Python's isoformat 0 or 6: nearly every batch has texts of several lengths."""
    moments = [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(milliseconds=125 * n, microseconds=n % 2) for n in range(200)]
    texts = [moment.isoformat().replace("+00:00", "Z") for moment in moments]
    assert len(set(map(len, texts))) == 2
    monkeypatch.setattr(instants, "parse_one", None)
    assert instants.parse(texts).tolist() == list(map(instants.micros_of, moments))
