"""Approximate counts and quantiles: the same bits whatever the order, cut and merging, and errors within what is promised."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit.record.column import column_from
from streamkit.record.columns import Column
from streamkit.record.schema import Field, Kind
from streamkit.state.accumulators import Accumulator, CannotAddError, Cells
from streamkit.state.blocks import decode_block, encode_block
from streamkit.state.functions import accumulator
from streamkit.state.hashing import hashes_of
from streamkit.state.hyperloglog import ApproxCountDistinct
from streamkit.state.window_store import Entries, PaneId

SLOTS = 3
Inputs = list[tuple[int, Any]]

FLOATS = st.one_of(st.floats(-1e6, 1e6), st.floats(allow_nan=False), st.sampled_from([0.0, -0.0, 5e-324, -5e-324, 1e308, -1e308]))
VALUES: dict[Kind, st.SearchStrategy[Any]] = {
    Kind.INT: st.integers(-(2**63), 2**63 - 1),
    Kind.FLOAT: FLOATS,
    Kind.DECIMAL: st.decimals(-(10**6), 10**6, places=2),
    Kind.ANY: st.one_of(st.integers(-9, 9), st.floats(-3, 3)),
}
OTHERS: dict[Kind, st.SearchStrategy[Any]] = {
    Kind.STR: st.text(max_size=3),
    Kind.BYTES: st.binary(max_size=3),
    Kind.BOOL: st.booleans(),
    Kind.DATE: st.dates(),
    Kind.DATETIME: st.datetimes().map(lambda moment: moment.replace(tzinfo=UTC)),
}
CASES: dict[str, tuple[str, dict[str, Any], dict[Kind, st.SearchStrategy[Any]]]] = {
    "few registers": ("approx_count_distinct", {"error": 0.13}, VALUES | OTHERS),
    "many registers": ("approx_count_distinct", {"error": 0.01}, VALUES | OTHERS),
    "quantile": ("quantile", {"q": 0.5, "error": 0.01}, VALUES),
    "quantiles": ("quantiles", {"qs": [0, 0.1, 0.99, 1], "error": 0.2}, VALUES),
}


def empty(acc: Accumulator) -> Cells:
    return [np.full(SLOTS, initial, dtype) for dtype, initial in zip(acc.dtypes, acc.initial, strict=True)]


def add(acc: Accumulator, cells: Cells, kind: Kind, inputs: Inputs) -> None:
    column = column_from([value for _, value in inputs], "x", Field(kind, nullable=True))
    slots = np.array([slot for slot, _ in inputs], np.int64)
    acc.check(cells, slots, column)
    acc.add(cells, slots, column)


def written_and_read(acc: Accumulator, cells: Cells) -> Cells:
    block = encode_block("f", [Entries(PaneId(0, 0), np.arange(SLOTS), [cells])])
    (entries,) = decode_block(block, "f", [acc], "store")
    return [cell.copy() for cell in entries.cells[0]]


def bits(cells: Cells) -> list[Any]:
    return [cell.tobytes() if cell.dtype != object else cell.tolist() for cell in cells]


@pytest.mark.parametrize("name", CASES)
@given(data=st.data())
def test_any_order_cut_and_merging_gives_the_same_bits(name: str, data: st.DataObject) -> None:
    function, options, kinds = CASES[name]
    kind = data.draw(st.sampled_from(list(kinds)), label="kind")
    value = st.one_of(kinds[kind], kinds[kind], kinds[kind], st.none())
    inputs = data.draw(st.lists(st.tuples(st.integers(0, SLOTS - 1), value), max_size=40), label="inputs")
    acc = accumulator(function, kind, nullable=True, options=options)
    whole, total = empty(acc), empty(acc)
    add(acc, whole, kind, inputs)
    shuffled = data.draw(st.permutations(inputs), label="shuffled")
    at = sorted(data.draw(st.lists(st.integers(0, len(inputs)), max_size=3), label="cuts"))
    for start, end in zip([0, *at], [*at, len(inputs)], strict=True):
        part = shuffled[start:end]
        if data.draw(st.booleans(), label="merged"):
            other = empty(acc)
            add(acc, other, kind, part)
            before = bits(other)
            order = data.draw(st.permutations(range(SLOTS)), label="order")
            acc.merge(total, np.array(order), [cell[order] for cell in other])
            assert bits(other) == before
        else:
            add(acc, total, kind, part)
        if data.draw(st.booleans(), label="restart"):
            total = written_and_read(acc, total)
    assert bits(total) == bits(whole)
    check = counted if function == "approx_count_distinct" else ranked
    for slot, found in enumerate(acc.result(whole).to_list()):
        check(acc, options, [value for of, value in inputs if of == slot and value is not None], found)


def counted(acc: Accumulator, options: dict[str, Any], values: list[Any], found: Any) -> None:
    assert isinstance(acc, ApproxCountDistinct)
    if len(set(values)) < 2**acc.precision // 8:
        assert found == len(set(values))
    else:
        assert abs(found - len(set(values))) <= max(4 * options["error"] * len(set(values)), 3)


def ranked(acc: Accumulator, options: dict[str, Any], values: list[Any], found: Any) -> None:
    if not values:
        assert found is None
        return
    values = sorted(float(value) for value in values)
    qs, results = (options["qs"], found) if "qs" in options else ([options["q"]], [found])
    for q, result in zip(qs, results, strict=True):
        exact = values[max(math.ceil(Fraction(str(q)) * len(values)) - 1, 0)]
        near = exact if abs(exact) >= 2.3e-308 or q in (0, 1) else result  # so near to zero it counts as zero
        assert near == result or abs(result - near) <= options["error"] * (1 + 1e-12) * abs(near), (q, exact, result)
        assert values[0] <= result <= values[-1]


@pytest.mark.parametrize("precision", [6, 12, 16])
@pytest.mark.parametrize("kind", [Kind.INT, Kind.FLOAT, Kind.STR])
def test_the_standard_error_is_what_it_is_said_to_be(precision: int, kind: Kind) -> None:
    """Over the whole range, where registers begin to be kept and far behind: the mean square of the relative errors."""
    acc = ApproxCountDistinct(precision)
    registers = 2**precision
    errors = []
    for trial in range(16 if precision < 16 else 4):
        cells: Cells = [np.full(1, None, object)]
        done = 0
        for count in (registers // 8, registers // 2, registers, 3 * registers):
            numbers = np.arange(done, count) + trial * 10**9
            done = count
            column = (
                Column([f"customer-{number}" for number in numbers.tolist()], None, kind)
                if kind is Kind.STR
                else Column(numbers if kind is Kind.INT else numbers / 8, None, kind)
            )
            acc.add(cells, np.zeros(len(numbers), np.int64), column)
            errors.append((acc.result(cells).to_list()[0] - count) / count)
    assert math.sqrt(np.mean(np.square(errors))) <= 1.3 * 1.04 / math.sqrt(registers)
    assert abs(np.mean(errors)) <= 3 * 1.04 / math.sqrt(registers * len(errors))


@pytest.mark.parametrize("distribution", ["uniform", "lognormal", "pareto", "normal"])
def test_quantiles_of_many_values_are_within_the_error(distribution: str) -> None:
    values = getattr(np.random.default_rng(7), distribution)(*([2.0] if distribution == "pareto" else []), size=50_000)
    qs = [0.001, 0.25, 0.5, 0.9, 0.999]
    for error in (0.0005, 0.01, 0.2):
        acc = accumulator("quantiles", Kind.FLOAT, nullable=False, options={"qs": qs, "error": error})
        cells = [np.full(1, initial, dtype) for dtype, initial in zip(acc.dtypes, acc.initial, strict=True)]
        for part in np.split(values, 25):
            acc.add(cells, np.zeros(len(part), np.int64), Column(part, None, Kind.FLOAT))
        exact = np.quantile(values, qs, method="inverted_cdf")
        assert (np.abs(np.array(acc.result(cells).to_list()[0]) - exact) <= error * np.abs(exact)).all()


def test_infinities_are_the_ends_and_nan_is_the_result() -> None:
    acc = accumulator("quantiles", Kind.FLOAT, nullable=False, options={"qs": [0.0, 0.25, 0.5, 1.0], "error": 0.01})
    for values, expected in (
        ([math.inf, 1.0, -math.inf, 2.0], [-math.inf, -math.inf, 1.0, math.inf]),
        ([math.inf], [math.inf] * 4),
        ([-0.0, 0.0], [0.0] * 4),
        ([1.0, math.nan, 2.0], [math.nan] * 4),
        ([math.nan], [math.nan] * 4),
        ([math.inf, math.nan], [math.nan] * 4),
    ):
        cells = [np.full(1, initial, dtype) for dtype, initial in zip(acc.dtypes, acc.initial, strict=True)]
        acc.add(cells, np.zeros(len(values), np.int64), Column(np.array(values), None, Kind.FLOAT))
        assert acc.result(cells).to_list()[0] == pytest.approx(expected, rel=0.01, nan_ok=True)


def test_hashes_never_change() -> None:
    """Changelogs that were written hold them: a change here is a change of format."""
    found = {
        kind.value: hashes_of(column)[0].tolist()
        for kind, column in {
            Kind.INT: Column(np.array([0, 1, -1]), None, Kind.INT),
            Kind.FLOAT: Column(np.array([0.0, -0.0, 1.5, math.nan, -math.nan]), None, Kind.FLOAT),
            Kind.STR: Column(["", "A", "ä"], None, Kind.STR),
            Kind.ANY: Column([1, "1", 1.5, date(2024, 1, 1), datetime(2024, 1, 1, tzinfo=UTC), b"1"], None, Kind.ANY),
        }.items()
    }
    assert found == HASHES


HASHES = {
    "int": [16294208416658607535, 10451216379200822465, 16490336266968443936],
    "float": [16294208416658607535, 16294208416658607535, 15481881892811333770, 14351126860892846918, 14351126860892846918],
    "str": [3244421341483603138, 15047818145317598341, 6066459093398238388],
    "any": [
        5646418012223857726,
        11107950631770992849,
        2616350762109390921,
        6008701494235700967,
        17122350229313134232,
        570751287619963250,
    ],
}
"""Of "" it is the one that the specification of XXH3 gives: 2D06800538D394C2."""


@pytest.mark.parametrize(
    "equal",
    [
        [1, 1.0, True, Decimal("1.00"), Decimal("1E+0")],
        [0, 0.0, -0.0, False, Decimal("-0.0")],
        [0.5, Decimal("0.5"), Decimal("5E-1"), Decimal("0.500")],
        [1e300, Decimal(int(1e300))],
        [math.inf, Decimal("Infinity")],
        [math.nan, -math.nan, Decimal("NaN")],
        [2.0**-20, Decimal("9.5367431640625E-7")],
        [Decimal("1E+5000"), Decimal("10E+4999")],
        [Decimal("1E-5000"), Decimal("10E-5001")],
        [datetime(2024, 1, 1, 12, tzinfo=UTC), datetime(2024, 1, 1, 14, tzinfo=timezone(timedelta(hours=2)))],
    ],
)
def test_equal_values_have_one_hash_and_others_another(equal: list[Any]) -> None:
    hashes, _ = hashes_of(Column(equal, None, Kind.ANY))
    assert len(set(hashes.tolist())) == 1
    others = [2, "1", 0.1, Decimal("0.1"), Decimal("1E+5001"), Decimal("2E-5000"), date(2024, 1, 1), datetime(2024, 1, 1), b"1"]  # noqa: DTZ001 - a naive one
    assert len({*hashes_of(Column(others, None, Kind.ANY))[0].tolist(), int(hashes[0])}) == len(others) + 1


@pytest.mark.parametrize(
    "function, value, says",
    [
        ("approx_count_distinct", [2], "list values cannot be compared"),
        ("approx_count_distinct", 2**63, "does not fit into 64 bits"),
        ("approx_count_distinct", Decimal("sNaN"), "is no number"),
        ("quantile", "six", "a number is needed, but the value is 'six'"),
        ("quantile", True, "a number is needed"),
        ("quantile", Decimal("NaN"), "is no number"),
    ],
)
def test_what_cannot_be_added_is_named(function: str, value: Any, says: str) -> None:
    acc = accumulator(function, Kind.ANY, nullable=True, options={"q": 0.5, "error": 0.05})
    with pytest.raises(CannotAddError, match=says) as caught:
        acc.check(empty(acc), np.zeros(3, np.int64), Column([1, None, value], None, Kind.ANY))
    assert caught.value.index == 2
