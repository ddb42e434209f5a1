"""What Avro serdes refuse: schemas and models where they are declared, bytes and rows where they come."""

import enum
import json
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

import msgspec
import pytest

from streamkit.errors import SchemaError
from streamkit.record.model import Model, Row
from streamkit.serdes.avro import avro
from streamkit.serdes.serde import DECODE_ERRORS, ENCODE_ERRORS
from tests.unit.serdes.test_avro import BID, MICROS, NOON, All, Bid, Node, record


class Number(Model):
    n: int


class Maybe(Model):
    n: int | None


class Shade(enum.Enum):
    DARK = "DARK"
    LIGHT = "LIGHT"


class Shaded(Model):
    shade: Shade


class Left(Model, omit_defaults=True):
    n: int = 1


class At(Model):
    at: datetime


def model(annotation: Any) -> type[Model]:
    return type("M", (Model,), {"__annotations__": {"field": annotation}, "__module__": __name__})


class TestDeclaration:
    @pytest.mark.parametrize(
        "annotation",
        [Any, int | str, object, list, dict, dict[int, str], tuple[int, str], complex, Decimal, Decimal | None, Number | Maybe],
        ids=str,
    )
    def test_a_type_without_an_avro_type(self, annotation):
        with pytest.raises(SchemaError, match=r"^M\.field: "):
            avro(model(annotation))

    @pytest.mark.parametrize(
        "model,fields,message",
        [
            (Number, [("n", "string")], "Number.n is int, but string in the schema"),
            (Number, [("n", "double")], "Number.n is int, but double in the schema"),
            (Number, [("n", ["null", "long"])], r"Number.n is int, but null in the schema; write `\| None`"),
            (Number, [("n", ["long", "string"])], "Number.n is int, but string"),
            (Number, [("n", {"type": "array", "items": "long"})], "Number.n is int, but array"),
            (Number, [("m", "long")], "Number has no field 'm'"),
            (Number, [("m", "long", 1)], "Number.n is not in its schema, which has: m"),
            (Maybe, [("n", "long")], "Maybe.n may be None"),
            (Maybe, [("n", "null")], "Maybe.n is .* only null"),
            (At, [("at", "long")], "At.at is datetime, but long in the schema; wanted: timestamp-micros"),
            (At, [("at", {"type": "long", "logicalType": "local-timestamp-micros"})], "At.at is datetime"),
            (Shaded, [("shade", {"type": "enum", "name": "S", "symbols": ["DARK"]})], "has no symbol 'LIGHT'"),
            (model(float), [("field", "long")], "M.field is float, but long"),
            (model(list[int]), [("field", {"type": "array", "items": "string"})], r"M.field\[\] is int, but string"),
        ],
    )
    def test_a_schema_that_does_not_fit_the_model(self, model, fields, message):
        with pytest.raises(SchemaError, match=message):
            avro(model, schema=record(*fields))

    @pytest.mark.parametrize(
        "model,fields,message",
        [
            (Number, [("m", "long")], "Number.n is not in writer schema 'Bid' and has no default; that schema has: m"),
            (Number, [("n", "float")], "Number.n is int, but float"),
            (Number, [("n", ["null", "long"])], "Number.n is int, but null"),
            (At, [("at", "string")], "At.at is datetime, but string"),
        ],
    )
    @pytest.mark.parametrize("argument", ["writers", "writer_schema"])
    def test_a_writer_that_does_not_fit_the_model(self, model, fields, message, argument):
        writer = record(*fields)
        with pytest.raises(SchemaError, match=message):
            avro(model, **{argument: [writer] if argument == "writers" else writer})

    @pytest.mark.parametrize(
        "schema,message",
        [
            ("{", "schema is not JSON"),
            ('{"type": "record"}', "not an Avro schema: "),
            ('{"type": "record", "name": "B", "fields": [{"name": "x", "type": "strnig"}]}', "not an Avro schema: .*strnig"),
            ('{"type": "record", "name": "B", "fields": 7}', "not an Avro schema"),
            ({"type": "string"}, "must be an Avro record"),
            (7, "a schema is a path, text or a dict"),
        ],
    )
    def test_a_schema_that_does_not_parse(self, schema, message):
        with pytest.raises(SchemaError, match=message):
            avro(Bid, schema=schema)

    def test_a_file(self, tmp_path):
        path = tmp_path / "bid.avsc"
        with pytest.raises(SchemaError, match=r"schema file '.*bid\.avsc' cannot be read: No such file"):
            avro(Bid, schema=str(path))
        path.write_text("{'")
        with pytest.raises(SchemaError, match=r"bid\.avsc.* is not JSON"):
            avro(Bid, schema=path)
        path.write_bytes(b"\xff\xfe")
        with pytest.raises(SchemaError, match=r"bid\.avsc.* not UTF-8"):
            avro(Bid, schema=path)
        path.write_text(json.dumps(BID))
        assert avro(Bid, schema=path).decoder()(avro(Bid).encoder()(Bid("A", 1.0, NOON))) == Bid("A", 1.0, NOON)

    def test_other_arguments(self):
        with pytest.raises(SchemaError, match="cannot be written as Avro"):
            avro(str)
        with pytest.raises(SchemaError, match="cannot be written as Avro"):
            avro(Row)
        with pytest.raises(SchemaError, match="framing='confluent' is unknown"):
            avro(Bid, framing="confluent")
        with pytest.raises(SchemaError, match="does not say who wrote it"):
            avro(Bid, framing="none", writers=[BID])
        with pytest.raises(SchemaError, match="array_like"):
            avro(type("L", (Model,), {"__annotations__": {"n": int}}, array_like=True))
        with pytest.raises(SchemaError, match="has no field 'itme'"):
            avro(Bid).decoder(frozenset({"itme"}))

    def test_schemas_that_one_fingerprint_cannot_tell_apart(self):
        millis = record(("at", {"type": "long", "logicalType": "timestamp-millis"}))
        with pytest.raises(SchemaError, match="cannot be told apart"):
            avro(At, schema=record(("at", MICROS)), writers=[millis])

    def test_a_default_that_is_left_out_must_be_that_of_the_schema(self):
        with pytest.raises(SchemaError, match=r"Left\.n has another default"):
            avro(Left, schema=record(("n", "long", 2)))
        assert avro(Left).decoder()(avro(Left).encoder()(Left())) == Left(1)


class TestBytes:
    def test_every_cut_and_every_byte_too_many(self):
        serde = avro(Bid)
        data = serde.encoder()(Bid("item", 2.0, NOON))
        for decode in (serde.decoder(), serde.decoder(frozenset({"item"}))):
            for length in range(len(data)):
                with pytest.raises(DECODE_ERRORS):
                    decode(data[:length])
            with pytest.raises(ValueError, match="2 bytes after the end"):
                decode(data + b"\0\0")

    def test_another_schema_is_named(self):
        data = avro(Number).encoder()(Number(1))
        with pytest.raises(ValueError, match=f"{data[2:10].hex()}.*{avro(Bid).own.fingerprint.hex()}.*writers="):
            avro(Bid).decoder()(data)

    @pytest.mark.parametrize("data", [b"", b"{}", b'{"item":"A"}', b"\0\0\0\0\1abc", b"\xc3", b"\xc3\x01abc"])
    def test_what_is_no_single_object(self, data):
        with pytest.raises(ValueError, match="not an Avro single object"):
            avro(Bid).decoder()(data)

    @pytest.mark.parametrize(
        "model,body",
        [
            (Bid, b"\x02\xff" + b"\0" * 9),  # not UTF-8
            (Bid, b"\x01" + b"\0" * 9),  # a negative length
            (Bid, b"\xff" * 12),  # a length without an end
            (At, b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01"),  # the year 292277
            (Maybe, b"\x08"),  # a branch that the union has not
            (Shaded, b"\x08"),  # a symbol that the enum has not
        ],
    )
    @pytest.mark.parametrize("framing", ["single-object", "none"])
    def test_broken_values(self, model, body, framing):
        serde = avro(model, framing=framing)
        header = b"" if framing == "none" else b"\xc3\x01" + serde.own.fingerprint
        with pytest.raises(DECODE_ERRORS):
            serde.decoder()(header + body)

    def test_a_symbol_that_the_model_has_not(self):
        writer = record(("shade", {"type": "enum", "name": "S", "symbols": ["DARK", "LIGHT", "GREY"]}))
        serde = avro(Shaded, framing="none", writer_schema=writer)
        assert serde.decoder()(b"\0") == Shaded(Shade.DARK)
        with pytest.raises(ValueError, match="GREY"):
            serde.decoder()(b"\x04")

    @pytest.mark.parametrize("fields", [None, frozenset({"value"})])
    def test_depth_is_an_error_and_not_the_end_of_the_process(self, fields):
        serde = avro(Node)
        decode, header = serde.decoder(fields), b"\xc3\x01" + serde.own.fingerprint
        assert decode(header + b"\0\x02" * 50 + b"\0\0").value == 0
        with pytest.raises(DECODE_ERRORS):
            decode(header + b"\0\x02" * 100_000 + b"\0\0")

    def test_every_cut_of_a_recursive_value(self):
        serde = avro(Node)
        data = serde.encoder()(Node(2**62, Node(-1)))
        for length in range(len(data)):
            with pytest.raises(DECODE_ERRORS):
                serde.decoder()(data[:length])

    def test_the_models_own_checks(self):
        class Checked(Model):
            n: int
            m: int = 0

            def __post_init__(self):
                self.m = self.n + 1
                if self.n < 0:
                    raise ValueError("n is negative")

        class Positive(Model):
            n: Annotated[int, msgspec.Meta(ge=0)]

        serde, data = avro(Checked), avro(Checked).encoder()(Checked(1))
        assert serde.decoder(frozenset({"m"}))(data).m == 2
        negative = data[:10] + b"\x01\0"
        for decode in (serde.decoder(), serde.decoder(frozenset({"m"}))):
            with pytest.raises(ValueError, match="n is negative"):
                decode(negative)
        with pytest.raises(ValueError, match=">= 0"):
            avro(Positive).decoder()(b"\xc3\x01" + avro(Positive).own.fingerprint + b"\x01")


class TestRows:
    @pytest.mark.parametrize(
        "row",
        [
            None, 1, "A", [], {}, Row(), Row(item="A", price="1", at=NOON), Row(item="A", price=1.0, at=NOON, more=1),
            Bid(1, 1.0, NOON), Bid("A", "1", NOON), Bid("A", 1.0, None), Bid("A", 1.0, "2020-04-15T12:00:00Z"),
            Bid("\ud800", 1.0, NOON), Number(1),
        ],
        ids=repr,
    )  # fmt: skip
    def test_of_another_type(self, row):
        with pytest.raises(ENCODE_ERRORS):
            avro(Bid).encoder()(row)

    @pytest.mark.parametrize("n", [2**63, -(2**63) - 1, 1.5, True, "1"])
    def test_what_is_no_long(self, n):
        with pytest.raises(ENCODE_ERRORS):
            avro(Number).encoder()(Number(n))

    def test_what_is_no_int(self):
        encode = avro(Number, schema=record(("n", "int"))).encoder()
        assert encode(Number(2**31 - 1))
        with pytest.raises(ENCODE_ERRORS):
            encode(Number(2**31))

    @pytest.mark.parametrize("amount", ["1.234", "12345678901.00", "NaN", "Infinity"])
    def test_a_decimal_with_other_digits(self, amount):
        field = next(part for part in avro(All).avro_schema["fields"] if part["name"] == "money")
        money = type("M", (Model,), {"__annotations__": {"money": All.__annotations__["money"]}})
        assert field["type"]["precision"] == 12
        with pytest.raises(ENCODE_ERRORS):
            avro(money).encoder()(money(Decimal(amount)))

    def test_depth(self):
        node = None
        for value in range(100_000):
            node = Node(value, node)
        with pytest.raises(ENCODE_ERRORS):
            avro(Node).encoder()(node)
        while node is not None:  # ... else its end is as deep
            node = node.next

    @pytest.mark.parametrize("texts", [("null", "a"), ("string", "a"), None, ()])
    def test_a_tuple_is_not_taken_for_a_branch_of_a_union(self, texts):
        class Tags(Model):
            texts: tuple[str, ...] | None

        serde = avro(Tags)
        assert serde.decoder()(serde.encoder()(Tags(texts))) == Tags(texts)
