"""The compiled module against the ways that it replaces: the same values, the same bytes, and never what they refuse."""

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streamkit.record.column import Column, Constant
from streamkit.record.columns import column_of
from streamkit.record.joined import JoinedBytes
from streamkit.record.model import Model, Row
from streamkit.record.schema import Kind
from streamkit.serdes.compiled import COLUMNS
from streamkit.serdes.json import JsonSerde
from streamkit.serdes.json_blocks import columns_decoder
from streamkit.serdes.json_columns import columns_to_json
from streamkit.serdes.json_text import encode_object
from streamkit.serdes.keys import IntKey
from streamkit.serdes.serde import DECODE_ERRORS
from tests.support.examples import examples

pytestmark = pytest.mark.skipif(COLUMNS is None, reason="the compiled module of the serdes is not built, or STREAMKIT_NATIVE=off")

NOON = datetime(2020, 4, 15, 12, tzinfo=UTC)
INT64 = (-(2**63), -(2**63) + 1, -1, 0, 9, 10, 99, 100, 12345678, 123456789, 10**18, 2**63 - 1)


class All(Model):
    number: int
    real: float
    flag: bool
    text: str
    at: datetime
    perhaps: int | None = None
    maybe: float | None = None
    either: bool | None = None
    note: str | None = None
    later: datetime | None = None
    kept: int = 7


class Renamed(Model, rename="camel"):
    unit_price: int
    line_text: str | None


ALL = JsonSerde(All)
NAMES = frozenset(ALL.schema.names)
GOOD = {
    "number": 1, "real": 0.5, "flag": True, "text": "A", "at": "2020-04-15T12:00:00Z", "perhaps": 2, "maybe": 1.5,
    "either": False, "note": "n", "later": "2020-04-15T12:00:00.000001Z", "kept": 3,
}  # fmt: skip
OTHERS = b',"more":{"a":[1,-2.5e-3,{"b":"\\"]}"}],"c":null},"url":"https://x.example/?a=1&b=\xc3\xbc"'


def written(**changes):
    return msgspec.json.encode({name: value for name, value in (GOOD | changes).items() if value is not ...})


def by_rows(serde, names, values):
    rows = list(map(serde.decoder(names), values))
    return {name: column_of(rows, name, serde.schema.fields[name]) for name in names}


def same(found, expected):
    assert set(found) == set(expected)
    for name, column in expected.items():
        assert found[name].kind is column.kind, name
        assert (found[name].valid is None) == (column.valid is None), name
        assert repr(found[name].to_list()) == repr(column.to_list()), name  # repr: -0.0 is not 0.0


def joined(strings):
    """As the Kafka client puts them together; behind the last one there is nothing."""
    lengths = np.array([-1 if one is None else len(one) for one in strings], np.int32)
    return b"".join(one for one in strings if one is not None), lengths.tobytes()


def check(serde, names, values):
    """Blocks give what rows give, from a list and from joined values; where a block is given up there is nothing to compare. Says
    whether it was read."""
    decode, found = columns_decoder(serde.model, names), []
    for read, data in ((decode, values), (decode.joined, joined(values))):
        try:
            found.append(read(data))
        except (*DECODE_ERRORS, TypeError):
            found.append(None)
    if found == [None, None]:
        return False
    expected = by_rows(serde, names, values)
    for one in found:
        same(one, expected)
    return True


class TestProjection:
    @pytest.mark.parametrize("count", [1, 2, 100])
    def test_what_is_usual_is_read(self, count):
        values = [written(), written()[:-1] + OTHERS + b"}", b" " + msgspec.json.format(written(), indent=3) + b"\n"] * count
        for names in (NAMES, frozenset({"text"}), frozenset({"number", "later"}), frozenset()):
            assert check(ALL, names, values)

    @pytest.mark.parametrize(
        "number", [*INT64, -0.0, 1e3, 0.1, -1.5e-7, 1e22, 1.7976931348623157e308, 5e-324, 2**53 + 1, 123456789012.25]
    )
    def test_numbers(self, number):
        for name in ("real", "maybe") if isinstance(number, float) else ("number", "real", "perhaps", "maybe", "kept"):
            assert check(ALL, NAMES, [written(**{name: number})])

    @pytest.mark.parametrize("name", ["perhaps", "maybe", "either", "note", "later"])
    def test_null_and_left_out(self, name):
        for absent in (None, ...):
            values = [written(), written(**{name: absent}), written()]
            assert check(ALL, NAMES, values)
            found = columns_decoder(All, NAMES)(values)[name]
            assert found.to_list()[1] is None
            assert found.to_list()[0] is not None

    def test_a_default_is_taken(self):
        assert columns_decoder(All, NAMES)([written(), written(kept=...)])["kept"].to_list() == [3, 7]

    @pytest.mark.parametrize("name", ["number", "real", "flag", "text", "at"])
    def test_null_or_nothing_where_a_value_must_be(self, name):
        for wrong in (written(**{name: None}), written(**{name: ...})):
            with pytest.raises(ValueError):
                columns_decoder(All, NAMES)([written(), wrong])

    def test_the_last_of_several_counts(self):
        value = written()[:-1] + b',"number":5,"text":"B","note":null,"perhaps":null,"flag":false}'
        assert check(ALL, NAMES, [value, written()])
        found = columns_decoder(All, NAMES)([value])
        assert [found[name].to_list() for name in ("number", "text", "note", "perhaps")] == [[5], ["B"], [None], [None]]

    @pytest.mark.parametrize("text", ['"', "\\", "\n\t\b\f\r", "\x00", "\x1f", "ü€𝄞", "/", "a" * 40 + '"' + "b" * 9, "\x7f"])
    def test_texts(self, text):
        assert check(ALL, NAMES, [written(text=text), written(note=text)])

    @pytest.mark.parametrize(
        "text",
        [rb"\u00fc", rb"\ud834\udd1e", rb"\ud834", rb"\udd1e", rb"\u12", rb"\x", rb"\/", b"\xff", b"\x1f", b"\xed\xa0\x80"],
    )
    @pytest.mark.parametrize("name", ["text", "more"])
    def test_texts_as_they_may_come(self, text, name):
        check(ALL, NAMES, [written(text=...)[:-1] + b',"text":"A","%s":"%s"}' % (name.encode(), text)] * 3)

    def test_names_on_the_wire(self):
        values = [b'{"unitPrice":1,"lineText":"A","unit_price":2}', b'{"lineText":null,"unitPrice":3}']
        assert check(JsonSerde(Renamed), frozenset({"unit_price", "line_text"}), values)

    def test_a_name_with_an_escape_is_the_same_name(self):
        assert columns_decoder(Renamed, frozenset({"unit_price"}))([rb'{"unit\u0050rice":4}'])["unit_price"].to_list() == [4]

    def test_a_dataclass(self):
        @dataclass
        class Plain:
            number: int
            note: str | None = None

        assert check(JsonSerde(Plain), frozenset({"number", "note"}), [b'{"number":1}', b'{"note":"x","number":2}'])

    def test_models_that_are_left_to_rows(self):
        class Tagged(Model, tag="t"):
            number: int

        class Nested(Model):
            inner: Renamed

        class Limited(Model):
            number: msgspec.Raw

        assert columns_decoder(Tagged, frozenset({"number"})) is None
        assert columns_decoder(Nested, frozenset({"inner"})) is None
        assert columns_decoder(Limited, frozenset({"number"})) is None
        assert columns_decoder(All, NAMES, None) is None

    def test_many_that_are_not_usual_are_left_to_rows(self):
        odd, usual = written(kept=...), written()
        assert check(ALL, NAMES, [usual] * 31 + [odd, odd])
        with pytest.raises(ValueError, match="too many"):
            columns_decoder(All, NAMES)([odd] * 40)

    def test_a_null_value_is_left_to_rows(self):
        decode = columns_decoder(All, NAMES)
        for read, values in ((decode, [written(), None]), (decode.joined, joined([written(), None]))):
            with pytest.raises((ValueError, TypeError)):
                read(values)

    def test_lengths_that_lie(self):
        decode = columns_decoder(All, NAMES)
        data, lengths = joined([written(), written()])
        with pytest.raises(ValueError, match="more than there is"):
            decode.joined((data[:-1], lengths))
        for wrong in ((data, 1), (data,), "text", None):
            with pytest.raises(TypeError):
                COLUMNS.project(wrong, (), 0, msgspec.json.Decoder(str).decode)

    def test_deep_nesting_is_no_crash(self):
        for depth in (10, 40, 100_000):
            deep = written()[:-1] + b',"more":' + b"[" * depth + b"]" * depth + b"}"
            check(ALL, NAMES, [deep])

    @pytest.mark.parametrize("seed", range(8))
    def test_damaged_values(self, seed):
        """Bytes are changed, doubled, cut and put in at random: what a block reads, rows read, with the same values."""
        chance = random.Random(seed)
        seeds = [written(), written(text='a"\\n', real=-1.5e10, number=-12), written()[:-1] + OTHERS + b"}", b'{"number":1}']
        pieces = [
            b'"',
            b"\\",
            b"{",
            b"}",
            b"[",
            b"]",
            b",",
            b":",
            b"0",
            b"-",
            b".",
            b"e",
            b"\n",
            b"\xff",
            b"null",
            b"9" * 18,
            b"\\u00e9",
            b"1",
        ]
        taken = refused = 0
        for _ in range(examples(4_000)):
            value = bytearray(chance.choice(seeds))
            for _ in range(chance.choice((1, 1, 1, 2, 3))):
                at = chance.randrange(len(value) + 1)
                match chance.randrange(4):
                    case 0:
                        value[at:at] = chance.choice(pieces)
                    case 1:
                        value[at : at + 1] = chance.choice(pieces)
                    case 2:
                        del value[at : at + chance.choice((1, 1, 2, 9))]
                    case _:
                        value[at:at] = value[at : at + chance.choice((1, 5, 20))]
            names = chance.choice((NAMES, frozenset({"number", "real"}), frozenset({"text"}), frozenset()))
            if check(ALL, names, [bytes(value)]):
                taken += 1
            else:
                refused += 1
                with pytest.raises(DECODE_ERRORS):
                    by_rows(ALL, names, [bytes(value)])
        assert taken > examples(300)
        assert refused > examples(300)


class TestIntegers:
    @given(st.lists(st.integers(-(2**70), 2**70) | st.sampled_from(INT64)))
    @example(list(INT64))
    def test_read_and_written(self, keys):
        texts = [b"%d" % key for key in keys]
        found, at_once = IntKey().decode(texts), IntKey().decode_joined(joined(texts))
        assert list(found) == keys
        assert IntKey().encode(found) == texts
        if all(-(2**63) <= key < 2**63 for key in keys):
            assert isinstance(found, np.ndarray)
            assert at_once.tolist() == keys
        else:
            assert at_once is None

    @pytest.mark.parametrize(
        "text", [b"", b"-", b"007", b"+7", b"-0", b"7 ", b" 7", b"7.0", b"1,2", b"1e3", b"\xb2", b"7\0", b"00"]
    )
    def test_nothing_else_is_a_key(self, text):
        out = np.empty(2, np.int64)
        assert not COLUMNS.integers([b"1", text], out)
        assert IntKey().decode_joined(joined([b"1", text])) is None
        with pytest.raises(ValueError):
            IntKey().decode([b"1", text])

    def test_null_is_left_to_others(self):
        assert IntKey().decode([b"1", None]) == [1, None]
        assert IntKey().decode_joined(joined([b"1", None])) is None

    def test_an_array_that_does_not_fit(self):
        for out in (np.empty(1, np.int64), np.empty(2, np.int32), np.empty((2, 2), np.int64)):
            with pytest.raises(ValueError, match="another type or length"):
                COLUMNS.integers([b"1", b"2"], out)


class TestPicking:
    STRINGS = (b"a", None, b"", b"bcd", b"\0")

    @given(st.sets(st.integers(0, 4)))
    def test_some(self, at):
        assert COLUMNS.pick(joined(self.STRINGS), np.array(sorted(at), np.int64)) == [self.STRINGS[i] for i in sorted(at)]

    @pytest.mark.parametrize("at", [[1, 0], [0, 0], [5], [-1]])
    def test_positions_that_cannot_be(self, at):
        with pytest.raises(IndexError):
            COLUMNS.pick(joined(self.STRINGS), np.array(at, np.int64))


def columns(count):
    """One of each kind that has an array or text, with and without nulls."""
    ints = np.resize(np.array(INT64), count)
    floats = np.resize(np.array([0.0, -0.0, 1.5, 1e16, 1e-7, 1e300, float("nan"), float("inf"), 5e-324, 123456789.0]), count)
    flags = np.resize(np.array([True, False, False]), count)
    instants = np.resize(np.array([0, 1, 1, 1_586_952_000_000_000, -1]), count)
    texts = (["A", "", "küla", 'say "no"', "a\\b", "\x00\x1f\x7f\n", "𝄞", None, "x" * 3_000] * count)[:count]
    there = np.resize(np.array([True, True, False]), count)
    return {
        "int": Column(ints, None, Kind.INT), "int?": Column(ints, there, Kind.INT),
        "float": Column(floats, None, Kind.FLOAT), "float?": Column(floats, there, Kind.FLOAT),
        "flag": Column(flags, None, Kind.BOOL), "flag?": Column(flags, there, Kind.BOOL),
        "at": Column(instants, None, Kind.DATETIME), "at?": Column(instants, there, Kind.DATETIME),
        "text": Column(texts, None, Kind.STR), "every other": Column(np.repeat(ints, 2)[::2], None, Kind.INT),
        "one": Constant(1, Kind.INT), "noon": Constant(1_586_952_000_000_000, Kind.DATETIME), "no": Constant(None, Kind.ANY),
    }  # fmt: skip


class TestRows:
    @pytest.mark.parametrize("count", [0, 1, 2, 1_000])
    def test_the_same_bytes(self, count):
        of_each = columns(count)
        alone = [[name] for name in of_each]
        between = [["constant", name, "again"] for name in of_each]
        for names in (list(of_each), list(of_each)[::-1], *alone, *between):
            chosen = [of_each.get(name, of_each["one"]) for name in names]
            assert columns_to_json(names)(chosen, count) == columns_to_json(names, None)(chosen, count)

    def test_every_character(self):
        texts = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]
        column = Column(texts, None, Kind.STR)
        assert columns_to_json(["t"])([column], len(texts)) == [b'{"t":%s}' % msgspec.json.encode(text) for text in texts]

    def test_half_a_character_is_refused_as_in_rows(self):
        for compiled in (COLUMNS, None):
            with pytest.raises(UnicodeEncodeError):
                columns_to_json(["t"], compiled)([Column(["\ud800"], None, Kind.STR)], 1)

    def test_names_with_letters_of_others(self):
        column = Column(np.array([1]), None, Kind.INT)
        assert columns_to_json(["größe"])([column], 1) == [encode_object(Row({"größe": 1}))]

    def test_other_objects_among_texts(self):
        texts = ["A", NOON.astimezone(), NOON + timedelta(hours=1), 3, b"b", ["x"]]
        column = Column(texts, None, Kind.STR)
        assert columns_to_json(["t"])([column], 6) == columns_to_json(["t"], None)([column], 6)

    def test_columns_that_do_not_fit(self):
        for kind, column in (("q", np.array([1])), ("s", ["A"]), ("b", [b"1"]), ("s", ("A", "B"))):
            with pytest.raises(ValueError, match="length"):
                COLUMNS.splice(((b"", kind, column),), b"", 2, msgspec.json.encode)
        with pytest.raises(TypeError):
            COLUMNS.splice(((b"", "b", ["A"]),), b"", 1, msgspec.json.encode)

    def test_rows_far_longer_than_expected(self):
        texts = ["x" * (size * 1_000) for size in range(200)]
        written = columns_to_json(["t"])([Column(texts, None, Kind.STR)], 200)
        assert isinstance(written, JoinedBytes)
        assert written == [b'{"t":"%s"}' % text.encode() for text in texts]
        assert len(written.joined[0]) == sum(map(len, texts)) + 8 * 200  # and not a byte more
