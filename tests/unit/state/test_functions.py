"""Every aggregate function against plain Python: any cut into batches, merged in order, packed into a block and back."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit.record.column import column_from
from streamkit.record.columns import Column
from streamkit.record.schema import Field, Kind
from streamkit.state.accumulators import Accumulator, CannotAddError, CannotGiveError, Cells
from streamkit.state.blocks import decode_block, encode_block
from streamkit.state.functions import accumulator, input_of
from streamkit.state.ordered import TimedColumn
from streamkit.state.scans import running
from streamkit.state.window_store import Entries, PaneId

SLOTS = 3
Inputs = list[tuple[int, Any, int]]
"""(slot, value, event time)."""

VALUES: dict[Kind, st.SearchStrategy[Any]] = {
    Kind.INT: st.integers(-1000, 1000),
    Kind.FLOAT: st.floats(-1000, 1000, width=32),
    Kind.BOOL: st.booleans(),
    Kind.STR: st.text("abc", max_size=2),
    Kind.DATETIME: st.integers(0, 9).map(lambda second: datetime(2024, 1, 1, 0, 0, second, tzinfo=UTC)),
    Kind.DECIMAL: st.integers(-99, 99).map(lambda cents: Decimal(cents) / 100),
    Kind.ANY: st.one_of(st.integers(-9, 9), st.text("ab", max_size=1), st.lists(st.integers(0, 3), max_size=2)),
}


def in_time(inputs: Inputs) -> list[Any]:
    return [value for _, value, _ in sorted(inputs, key=lambda one: one[2]) if value is not None]


def first(inputs: Inputs) -> Any:
    return next(iter(in_time(inputs)), None)


def last(inputs: Inputs) -> Any:
    return next(reversed(in_time(inputs)), None)


def spread(function: Callable[[list[float]], float], least: int) -> Callable[[Inputs], Any]:
    def result(inputs: Inputs) -> Any:
        values = [float(value) for value in in_time(inputs)]
        return pytest.approx(function(values), rel=1e-6, abs=1e-6) if len(values) >= least else None

    return result


CASES: dict[str, tuple[str, dict[str, Any], list[Kind], Callable[[Inputs], Any]]] = {
    "first": ("first", {}, list(VALUES), first),
    "last": ("last", {}, list(VALUES), last),
    "collect": ("collect", {"limit": 4}, list(VALUES), lambda inputs: in_time(inputs)[:4]),
    "count_distinct": (
        "count_distinct", {}, [kind for kind in VALUES if kind is not Kind.ANY], lambda inputs: len(set(in_time(inputs)))
    ),
    "variance": ("variance", {"population": False}, [Kind.INT, Kind.FLOAT, Kind.DECIMAL], spread(statistics.variance, 2)),
    "variance of all": ("variance", {"population": True}, [Kind.INT, Kind.FLOAT, Kind.DECIMAL], spread(statistics.pvariance, 1)),
    "stddev": ("stddev", {"population": False}, [Kind.INT, Kind.FLOAT, Kind.DECIMAL], spread(statistics.stdev, 2)),
    "stddev of all": ("stddev", {"population": True}, [Kind.INT, Kind.FLOAT, Kind.DECIMAL], spread(statistics.pstdev, 1)),
}  # fmt: skip


@st.composite
def inputs_of(draw: st.DrawFn, kind: Kind) -> Inputs:
    value = st.one_of(VALUES[kind], VALUES[kind], st.none())
    return draw(st.lists(st.tuples(st.integers(0, SLOTS - 1), value, st.integers(-5, 5)), max_size=20))


def empty(acc: Accumulator) -> Cells:
    return [np.full(SLOTS, initial, dtype) for dtype, initial in zip(acc.dtypes, acc.initial, strict=True)]


def add(acc: Accumulator, cells: Cells, kind: Kind, inputs: Inputs) -> None:
    column = column_from([value for _, value, _ in inputs], "x", Field(kind, nullable=True))
    times = np.array([time for _, _, time in inputs], np.int64)
    slots = np.array([slot for slot, _, _ in inputs], np.int64)
    timed = TimedColumn(column.values, column.valid, column.kind, times)
    acc.check(cells, slots, timed)
    acc.add(cells, slots, timed)


def written_and_read(acc: Accumulator, cells: Cells) -> Cells:
    block = encode_block("f", [Entries(PaneId(0, 0), np.arange(SLOTS), [cells])])
    (entries,) = decode_block(block, "f", [acc], "store")
    return [cell.copy() for cell in entries.cells[0]]


@pytest.mark.parametrize("name", CASES)
@given(data=st.data())
def test_any_cut_gives_the_same_and_what_plain_python_gives(name: str, data: st.DataObject) -> None:
    function, options, kinds, expected = CASES[name]
    kind = data.draw(st.sampled_from(kinds))
    inputs = data.draw(inputs_of(kind))
    acc = accumulator(function, kind, nullable=True, options=options)
    whole, cut = empty(acc), empty(acc)
    add(acc, whole, kind, inputs)
    at = sorted(data.draw(st.lists(st.integers(0, len(inputs)), max_size=3), label="cuts"))
    for start, end in zip([0, *at], [*at, len(inputs)], strict=True):
        add(acc, cut, kind, inputs[start:end])
        if data.draw(st.booleans(), label="restart"):
            cut = written_and_read(acc, cut)
    found = acc.result(whole).to_list()
    assert repr(acc.result(cut).to_list()) == repr(found)  # to the last bit
    by_slot: dict[int, Inputs] = defaultdict(list)
    for one in inputs:
        by_slot[one[0]].append(one)
    assert found == [expected(by_slot[slot]) for slot in range(SLOTS)]


@pytest.mark.parametrize("name", CASES)
@given(data=st.data())
def test_merged_panes_give_what_all_their_records_give(name: str, data: st.DataObject) -> None:
    """The panes come in the order of time; of the very same time the earlier pane's records came first."""
    function, options, kinds, expected = CASES[name]
    kind = data.draw(st.sampled_from(kinds))
    inputs = sorted(data.draw(inputs_of(kind)), key=lambda one: one[2])
    at = data.draw(st.integers(0, len(inputs)), label="cut")
    acc = accumulator(function, kind, nullable=True, options=options)
    total, other = empty(acc), empty(acc)
    add(acc, total, kind, inputs[:at])
    add(acc, other, kind, inputs[at:])
    before = repr(acc.result(other).to_list())
    acc.merge(total, np.arange(SLOTS), other)
    by_slot: dict[int, Inputs] = defaultdict(list)
    for one in inputs:
        by_slot[one[0]].append(one)
    assert acc.result(total).to_list() == [expected(by_slot[slot]) for slot in range(SLOTS)]
    add(acc, total, kind, inputs)
    assert repr(acc.result(other).to_list()) == before  # nothing of it was shared


def column(values: list[Any], kind: Kind) -> Column:
    return (
        TimedColumn(values, None, kind, np.zeros(len(values), np.int64))
        if kind is Kind.ANY
        else Column(np.array(values), None, kind)
    )


def result(function: str, values: list[Any], kind: Kind, **options: Any) -> Any:
    acc = accumulator(function, kind, nullable=False, options=options)
    cells = [np.full(1, initial, dtype) for dtype, initial in zip(acc.dtypes, acc.initial, strict=True)]
    slots = np.zeros(len(values), np.int64)
    acc.check(cells, slots, column(values, kind))
    acc.add(cells, slots, column(values, kind))
    return acc.result(cells).to_list()[0]


def test_a_small_spread_of_large_values_keeps_its_digits() -> None:
    values = [1e9 + n for n in (4.0, 7.0, 13.0, 16.0)]
    assert result("variance", values, Kind.FLOAT, population=False) == 30.0


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_of_nan_and_infinity_the_variance_is_nan(value: float) -> None:
    assert math.isnan(result("variance", [1.0, value, 2.0], Kind.FLOAT, population=False))


def test_nan_is_one_value_also_after_a_restart() -> None:
    acc = accumulator("count_distinct", Kind.FLOAT, nullable=False)
    cells: Cells = [np.full(SLOTS, None, object)]
    for _ in range(2):
        acc.add(cells, np.array([0, 0]), Column(np.array([math.nan, 1.0]), None, Kind.FLOAT))
        cells = written_and_read(acc, cells)
    assert acc.result(cells).to_list() == [2, 0, 0]


@pytest.mark.parametrize(
    "function, values, says",
    [
        ("variance", [1, "x"], "a number is needed, but the value is 'x'"),
        ("variance", [1, True], "a number is needed, but the value is True"),
        ("stddev", [1, 10**400], "does not fit into 64 bits"),
        ("variance", [1, Decimal("sNaN")], r"Decimal\('sNaN'\) is no number"),
        ("count_distinct", [1, [2]], "list values cannot be compared"),
        ("count_distinct", [1, 10**20], "does not fit into 64 bits"),
        ("count_distinct", [1, Decimal("sNaN")], "Decimal values cannot be compared"),
        ("first", [1, 10**20], "does not fit into 64 bits"),
        ("last", [1, {"a": [{"b": -(10**20)}]}], "does not fit into 64 bits"),
        ("collect", [1, [UUID(int=1)]], "UUID objects cannot be kept in the state"),
        ("min", [None, UUID(int=1)], "UUID objects cannot be kept in the state"),
        ("max", [1, Decimal("NaN")], r"Decimal\('NaN'\) is no number"),
        ("sum", [Decimal(1), Decimal("9E+999999")], "give no exact result"),
    ],
)
def test_what_cannot_be_added_is_named(function: str, values: list[Any], says: str) -> None:
    """Before anything was added: some of these were accepted, and ended the service as the changelog was written."""
    with pytest.raises(CannotAddError, match=says) as caught:
        result(function, values, Kind.ANY, population=False, limit=9)
    assert caught.value.index == 1


def test_sums_of_decimals_are_exact() -> None:
    """They had the 28 digits of the process, and so depended on the order."""
    values = [Decimal("1e30"), Decimal("0.01"), Decimal("-1e30")]
    assert result("sum", values, Kind.ANY) == Decimal("0.01")
    assert result("mean", [*values, Decimal("0.02")], Kind.ANY) == Decimal("0.0075")


@pytest.mark.parametrize("function", ["min", "max"])
def test_nan_among_untyped_numbers_is_the_result_wherever_it_comes(function: str) -> None:
    for values in ([1.0, math.nan, 2.0], [math.nan, 1.0], [1.0, math.nan]):
        assert math.isnan(result(function, values, Kind.ANY))


def test_objects_in_lists_come_back_as_they_were() -> None:
    acc = accumulator("first", Kind.ANY, nullable=True)
    value = {"at": datetime(2024, 1, 1, tzinfo=UTC), "price": [Decimal("1.50"), (1, 2)], "n": None}
    cells: Cells = [np.full(SLOTS, None, object), np.full(SLOTS, 2**63 - 1)]
    acc.add(cells, np.array([1]), column([value], Kind.ANY))
    assert repr(acc.result(written_and_read(acc, cells)).to_list()) == repr([None, value, None])


@pytest.mark.parametrize(
    "function, kind, one, other, says",
    [
        ("sum", Kind.INT, 2**62, 2**62, "the sum does not fit into 64 bits"),
        ("sum", Kind.INT, -(2**62), -(2**62), "the sum does not fit into 64 bits"),  # -2**63 is the mark itself
        ("mean", Kind.INT, 2**62, 2**62, "the sum does not fit into 64 bits"),
        ("sum", Kind.ANY, 2**62, 2**62, "9223372036854775808 does not fit into 64 bits"),
        ("sum", Kind.DECIMAL, Decimal(1), Decimal("1E+9999"), "give no exact result"),
        ("max", Kind.ANY, 1, "x", "not supported between"),
        ("top_k", Kind.ANY, 1, "x", "cannot be ordered"),
    ],
)
def test_parts_that_cannot_be_put_together_have_no_result(function: str, kind: Kind, one: Any, other: Any, says: str) -> None:
    """And take no more records; also after a restart, and whatever is merged with them."""
    acc = accumulator(function, kind, nullable=True, options={"k": 2})

    def part(slot: int, *values: Any) -> Cells:
        given_ = column_from(list(values), "x", Field(kind, nullable=True))
        cells, slots, times = empty(acc), np.full(len(values), slot), np.zeros(len(values), np.int64)
        acc.add(cells, slots, input_of(acc, given_, times, given_))
        return cells

    total = part(1, one)
    acc.merge(total, np.arange(SLOTS), part(1, other))
    acc.merge(total, np.arange(SLOTS), part(0, one))
    total = written_and_read(acc, total)
    for _ in range(2):
        with pytest.raises(CannotGiveError, match=says) as lost:
            acc.result(total)
        assert lost.value.index == 1
        fine = [cell[[0, 2]] for cell in total]
        assert len(acc.result(fine)) == 2
        for value in (one, None):
            given_ = column_from([one, value], "x", Field(kind, nullable=True))
            with pytest.raises(CannotAddError, match="its state was lost before: .*" + says) as caught:
                acc.check(total, np.array([2, 1]), input_of(acc, given_, np.zeros(2, np.int64), given_))
            assert caught.value.index == 1
        again = part(1, one)
        acc.merge(again, np.arange(SLOTS), total)
        total = again


@pytest.mark.parametrize("function", ["sum", "max", "count_distinct", "top_k"])
def test_the_first_record_that_cannot_be_added_is_named(function: str) -> None:
    """Whatever is wrong with it: a count window depends on which records count."""
    acc = accumulator(function, Kind.ANY, nullable=True, options={"k": 2})
    bad = ["x", UUID(int=1)] if function != "count_distinct" else [[1], UUID(int=1)]
    for order in (bad, bad[::-1]):
        given_ = Column([1, *order], None, Kind.ANY)
        with pytest.raises(CannotAddError) as caught:
            acc.check(empty(acc), np.zeros(3, np.int64), input_of(acc, given_, np.zeros(3, np.int64), given_))
        assert caught.value.index == 1


@pytest.mark.parametrize("function", ["sum", "mean", "variance", "stddev", "quantile", "min", "max"])
def test_infinities_and_floats_that_overflow_warn_nobody(function: str) -> None:
    """Warnings are errors here; in a service they would be lines on standard error."""
    acc = accumulator(function, Kind.FLOAT, nullable=True, options={"population": True, "q": 0.5, "error": 0.01})
    for one, other in ((math.inf, -math.inf), (1e308, 1e308), (-1e308, 1e308), (math.nan, 1.0)):
        parts = []
        for values in ([one, other], [one], [other]):
            cells = empty(acc)
            acc.add(cells, np.zeros(len(values), np.int64), Column(np.array(values), None, Kind.FLOAT))
            parts.append(cells)
        acc.merge(parts[1], np.arange(SLOTS), parts[2])
        assert repr(acc.result(parts[0]).to_list()) == repr(acc.result(parts[1]).to_list())


@pytest.mark.parametrize("backwards", [False, True])
def test_running_counts_of_few_values_share_their_sets(backwards: bool) -> None:  # noqa: FBT001 - a parameter
    """Each of them had a set of its own: of a million records in a window as many."""
    function = accumulator("count_distinct", Kind.INT, nullable=False)
    cell = np.empty(300, object)
    cell[:] = [{number % 3} for number in range(300)]
    ((totals,),) = running([function], [[cell]], np.array([0]), backwards=backwards)
    assert len({id(held) for held in totals}) == 3
    assert [len(held) for held in (totals[::-1] if backwards else totals)] == [1, 2, *[3] * 298]
