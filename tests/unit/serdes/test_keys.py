"""Keys: what was written is read back with its type, equal keys are equal bytes, and what does not fit is refused."""

import math
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any, Optional

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit.errors import SchemaError
from streamkit.serdes.keys import (
    BoolKey,
    BytesKey,
    DateKey,
    DatetimeKey,
    DynamicKey,
    FloatKey,
    IntKey,
    NullKey,
    StringKey,
    TupleKey,
    key_serde_for,
)

ints = st.integers(-(2**80), 2**80)
int64s = st.integers(-(2**63), 2**63 - 1)
texts = st.text()
floats = st.floats(allow_nan=False, allow_infinity=False)
instants = st.datetimes(timezones=st.just(UTC)).map(lambda instant: instant.replace(fold=0))
MIXED = tuple[str, int | None, float, bool]

OF_SERDE = [
    (StringKey(), texts),
    (IntKey(), ints),
    (BytesKey(), st.binary()),
    (FloatKey(), floats),
    (BoolKey(), st.booleans()),
    (DatetimeKey(), instants),
    (DateKey(), st.dates()),
    (TupleKey(tuple[str, int]), st.tuples(texts, ints)),
    (TupleKey(MIXED), st.tuples(texts, st.none() | int64s, floats, st.booleans())),
    (TupleKey(tuple[str, ...]), st.lists(texts).map(tuple)),
    (TupleKey(tuple[datetime, date]), st.tuples(instants, st.dates())),
    (NullKey(), st.none()),
]


def as_list(keys):
    return keys.tolist() if isinstance(keys, np.ndarray) else keys


@pytest.mark.parametrize("serde,keys", OF_SERDE, ids=lambda value: getattr(value, "name", ""))
class TestEverySerde:
    @given(data=st.data())
    def test_round_trip_with_nulls(self, serde, keys, data):
        given = data.draw(st.lists(st.none() | keys, max_size=5))
        wire = serde.encode(given)
        assert wire == [serde.encode_one(key) for key in given]
        assert as_list(serde.decode(wire)) == given == [serde.decode_one(each) for each in wire]
        assert [type(key) for key in as_list(serde.decode(wire))] == [type(key) for key in given]

    def test_null_is_null_and_values_are_equal(self, serde, keys):  # noqa: ARG002 - given to the class
        assert serde.encode_one(None) is None
        assert serde.decode_one(None) is None
        assert list(serde.decode([])) == []
        assert serde.encode([]) == []
        assert serde == key_serde_for(serde.type)
        assert serde != key_serde_for(complex_key)
        assert key_serde_for(serde) is serde


complex_key = tuple[str, str, str, str]


@pytest.mark.parametrize(
    "serde,key",
    [
        (StringKey(), 1),
        (StringKey(), b"a"),
        (IntKey(), "1"),
        (IntKey(), 1.0),
        (IntKey(), True),
        (BytesKey(), "a"),
        (FloatKey(), "1.5"),
        (FloatKey(), True),
        (BoolKey(), 1),
        (DatetimeKey(), "2020-04-15T08:05:00"),
        (DatetimeKey(), date(2020, 4, 15)),
        (DateKey(), "2020-04-15"),
        (TupleKey(tuple[str, int]), ("a", "1")),
        (TupleKey(tuple[str, int]), ("a", None)),
        (TupleKey(tuple[str, int]), ("a",)),
        (TupleKey(tuple[str, int]), ("a", 1, 2)),
        (TupleKey(tuple[str, int]), "a1"),
        (NullKey(), "a"),
    ],
)
def test_key_of_another_type(serde, key):
    for encode in (serde.encode_one, lambda key: serde.encode([None, key]), lambda key: serde.encode([key])):
        with pytest.raises(TypeError, match=r"^key .* is not "):
            encode(key)


@pytest.mark.parametrize(
    "serde,data",
    [
        (StringKey(), b"\xff"),
        (StringKey(), b"\xed\xa0\x80"),
        (FloatKey(), b"NaN"),
        (FloatKey(), b"Infinity"),
        (FloatKey(), b"1e400"),
        (FloatKey(), b""),
        (FloatKey(), b"null"),
        (BoolKey(), b"1"),
        (DatetimeKey(), b"1586937900"),
        (TupleKey(tuple[str, int]), b""),
        (TupleKey(tuple[str, int]), b'["a"]'),
        (TupleKey(tuple[str, int]), b'["a",1.5]'),
        (TupleKey(tuple[str, int]), b'["a",1]["b",2]'),
        (TupleKey(tuple[str, int]), b'["\xff",1]'),
        (TupleKey(tuple[str, int]), b"[" * 100_000),
        (NullKey(), b""),
    ],
)
def test_bytes_that_do_not_fit(serde, data):
    good = (
        serde.encode_one({"str": "a", "float": 1.0, "bool": True}.get(serde.name))
        if serde.name in ("str", "float", "bool")
        else None
    )
    for decode in (serde.decode_one, lambda data: serde.decode([data]), lambda data: serde.decode([good, data, good])):
        with pytest.raises(ValueError):
            decode(data)


class TestInt:
    @given(st.lists(int64s))
    def test_int64_column(self, keys):
        wire = IntKey().encode(np.array(keys, np.int64))
        assert wire == [str(key).encode() for key in keys] == IntKey().encode(keys)
        decoded = IntKey().decode(wire)
        assert isinstance(decoded, np.ndarray)
        assert decoded.dtype == np.int64
        assert decoded.tolist() == keys

    def test_beyond_64_bits_is_a_list(self):
        keys = [1, 2**63, -(2**70)]
        assert IntKey().decode(IntKey().encode(keys)) == keys

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b" ",
            b"007",
            b"+7",
            b" 7",
            b"7 ",
            b"7\n",
            b"-0",
            b"00",
            b"7.0",
            b"7e2",
            b"1_000",
            b"1,2",
            b"x",
            b"-",
            b"\xd9\xa3",
            b"[1]",
        ],
    )
    def test_only_canonical_text(self, data):
        for column in ([data], [b"1", data, b"23"], [data, data]):
            with pytest.raises(ValueError, match="canonical"):
                IntKey().decode(column)
        with pytest.raises(ValueError, match="canonical"):
            IntKey().decode_one(data)

    def test_two_wrongs_that_would_add_up(self):
        # "1,2" is one key too many, b"" one too few; " 7" is too long, and nothing is too short.
        for column in ([b"1,2", b""], [b"", b"1,2"], [b"1,", b",2"], [b"1]", b"[2"]):
            with pytest.raises(ValueError, match="canonical"):
                IntKey().decode(column)

    def test_numpy_scalars(self):
        assert IntKey().encode([np.int32(7), None]) == [b"7", None]


class TestOneFormForEqualKeys:
    def test_floats(self):
        assert FloatKey().encode([0.0, -0.0, 0, 1, 1.0]) == [b"0.0", b"0.0", b"0.0", b"1.0", b"1.0"]
        assert TupleKey(tuple[float]).encode([(-0.0,), (0,)]) == [b"[0.0]", b"[0.0]"]
        assert DynamicKey().encode([-0.0, (-0.0,)]) == [b"0.0", b"[0.0]"]

    @pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, np.float64("nan")])
    def test_no_nan_and_no_infinity(self, number):
        for serde, key in (
            (FloatKey(), number),
            (TupleKey(tuple[float]), (number,)),
            (DynamicKey(), number),
            (DynamicKey(), (number,)),
        ):
            with pytest.raises(ValueError, match="cannot be a key"):
                serde.encode([key])

    def test_instants(self):
        utc = datetime(2020, 4, 15, 8, 5, tzinfo=UTC)
        same = [utc, utc.replace(tzinfo=None), utc.astimezone(timezone(timedelta(hours=2)))]
        assert set(DatetimeKey().encode(same)) == {b'"2020-04-15T08:05:00Z"'}
        assert set(DynamicKey().encode(same)) == {b'"2020-04-15T08:05:00Z"'}
        assert DatetimeKey().decode([b'"2020-04-15T10:05:00+02:00"', b'"2020-04-15T08:05:00"']) == [utc, utc]


class TestDynamic:
    parts = st.recursive(
        st.none() | st.booleans() | ints | floats | texts, lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=6
    )
    keys = st.none() | texts | ints | st.binary() | floats | st.booleans() | instants | st.lists(parts, max_size=3).map(tuple)

    @given(st.lists(keys, max_size=8))
    def test_tags_give_the_types_back(self, given):
        serde = DynamicKey()
        wire, tags = serde.encode(given), serde.tags(given)
        assert wire == [serde.encode_one(key) for key in given]
        assert tags == [serde.tag(key) for key in given]
        back = as_list(serde.decode_tagged(wire, tags))
        assert repr(back) == repr(list(map(self.with_one_zero, given)))

    def with_one_zero(self, key):
        """-0.0 and 0.0 are one key, also inside a tuple."""
        if isinstance(key, tuple):
            return tuple(map(self.with_one_zero, key))
        return key or 0.0 if isinstance(key, float) else key

    def test_negative_zero_inside_a_tuple(self):
        serde = DynamicKey()
        assert repr(as_list(serde.decode_tagged(serde.encode([(-0.0,)]), serde.tags([(-0.0,)])))) == "[(0.0,)]"

    def test_int_column(self):
        serde, keys = DynamicKey(), np.array([7, -1])
        assert serde.tags(keys) == ["i", "i"]
        back = serde.decode_tagged(serde.encode(keys), serde.tags(keys))
        assert isinstance(back, np.ndarray)
        assert back.tolist() == [7, -1]

    def test_without_tags_keys_are_text(self):
        assert DynamicKey().decode([b"7", None]) == ["7", None]

    @pytest.mark.parametrize(
        "key", [[1], {"a": 1}, {1}, object(), date(2020, 4, 15), ([1],), (b"x",), (datetime(2020, 4, 15, tzinfo=UTC),)]
    )
    def test_what_cannot_be_a_key(self, key):
        with pytest.raises(TypeError, match="possible"):
            DynamicKey().encode([key])

    @pytest.mark.parametrize(
        "data,tag", [(b"x", "i"), (b"{}", "j"), (b"", "j"), (b"[" * 100_000, "j"), (b"1", "?"), (b"\xff", None)]
    )
    def test_bytes_that_do_not_fit_their_tag(self, data, tag):
        for decode in (DynamicKey().decode_tagged_one, lambda data, tag: DynamicKey().decode_tagged([data, b"a"], [tag, None])):
            with pytest.raises(ValueError):
                decode(data, tag)


class TestChoice:
    @pytest.mark.parametrize(
        "type_,serde",
        [
            (str, StringKey()),
            (int, IntKey()),
            (bytes, BytesKey()),
            (float, FloatKey()),
            (bool, BoolKey()),
            (datetime, DatetimeKey()),
            (date, DateKey()),
            (None, NullKey()),
            (type(None), NullKey()),
            (Any, DynamicKey()),
            (str | None, StringKey()),
            (Optional[int], IntKey()),  # noqa: UP045 - the case
            (tuple[str, int], TupleKey(tuple[str, int])),
            (tuple[str | None, int], TupleKey(tuple[str | None, int])),
        ],
    )
    def test_of_type(self, type_, serde):
        assert key_serde_for(type_) == serde

    @pytest.mark.parametrize(
        "type_", [list, dict, tuple, object, complex, tuple[list[int], str], tuple[bytes], int | str, "str", 7, list[int]]
    )
    def test_of_unsupported_type(self, type_):
        with pytest.raises(SchemaError, match="choose str, int, bytes"):
            key_serde_for(type_)

    def test_tuples_of_different_types_are_different_serdes(self):
        assert TupleKey(tuple[str, int]) != TupleKey(tuple[str, str])
        assert FloatKey() != BoolKey()
