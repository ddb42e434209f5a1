"""The largest by rank: a function of the set of records, whatever their order, cut and merging."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamkit as sk
from streamkit.record.column import column_from
from streamkit.record.columns import Column
from streamkit.record.schema import Field, Kind
from streamkit.state.accumulators import Accumulator, CannotAddError, Cells
from streamkit.state.blocks import decode_block, encode_block
from streamkit.state.functions import accumulator, input_of
from streamkit.state.window_store import Entries, PaneId

SLOTS, LIMIT = 2, 3
One = tuple[int, Any, Any, int]
"""(slot, value, rank, event time)."""

RANKS: dict[Kind, st.SearchStrategy[Any]] = {
    Kind.INT: st.sampled_from([-(2**63), -1, 0, 1, 2, 2**63 - 1]),
    Kind.FLOAT: st.sampled_from([-math.inf, -1.5, 0.0, 1.5, math.inf, math.nan]),
    Kind.STR: st.text("ab", max_size=2),
    Kind.DATETIME: st.integers(0, 3).map(lambda second: datetime(2024, 1, 1, 0, 0, second, tzinfo=UTC)),
    Kind.DATE: st.integers(1, 3).map(lambda day: date(2024, 1, day)),
    Kind.DECIMAL: st.sampled_from([Decimal("0.1"), Decimal("0.10"), Decimal(3), Decimal("NaN")]),
    Kind.BOOL: st.booleans(),
    Kind.ANY: st.one_of(st.integers(-1, 1), st.sampled_from([0.5, 1.0, math.nan, Decimal("0.5")])),
}


def empty() -> Cells:
    return [np.full(SLOTS, None, object)]


def column(acc: Accumulator, kind: Kind, inputs: list[One]) -> Column:
    values = Column([value for _, value, _, _ in inputs], None, Kind.OBJECT)
    by = column_from([rank for _, _, rank, _ in inputs], "by", Field(kind, nullable=True))
    found = input_of(acc, values, np.array([time for *_, time in inputs], np.int64), by)
    assert found is not None
    return found


def add(acc: Accumulator, cells: Cells, kind: Kind, inputs: list[One]) -> None:
    given_, slots = column(acc, kind, inputs), np.array([one[0] for one in inputs], np.int64)
    acc.check(cells, slots, given_)
    acc.add(cells, slots, given_)


def written_and_read(acc: Accumulator, cells: Cells) -> Cells:
    block = encode_block("f", [Entries(PaneId(0, 0), np.arange(SLOTS), [cells])])
    (entries,) = decode_block(block, "f", [acc], "store")
    return [cell.copy() for cell in entries.cells[0]]


def best(inputs: list[One], slot: int) -> list[Any]:
    """One comparison after the other: rank falling, time rising, encoded value rising."""
    left = [one for one in inputs if one[0] == slot and one[1] is not None and one[2] is not None and one[2] == one[2]]
    found = []
    while left and len(found) < LIMIT:
        leader = left[0]
        for one in left[1:]:
            same_rank, same_time = one[2] == leader[2], one[3] == leader[3]
            smaller = msgspec.msgpack.encode(one[1]) < msgspec.msgpack.encode(leader[1])
            if one[2] > leader[2] or (same_rank and (one[3] < leader[3] or (same_time and smaller))):
                leader = one
        left.remove(leader)
        found.append(leader[1])
    return found


@given(data=st.data())
def test_any_order_cut_and_merging_gives_the_largest(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(list(RANKS)), label="kind")
    value = st.one_of(st.integers(0, 2), st.fixed_dictionaries({"a": st.integers(0, 2)}), st.none())
    one = st.tuples(st.integers(0, SLOTS - 1), value, st.one_of(RANKS[kind], RANKS[kind], st.none()), st.integers(0, 2))
    inputs = data.draw(st.lists(one, max_size=25), label="inputs")
    acc = accumulator("top_k", Kind.OBJECT, nullable=False, options={"k": LIMIT})
    total = empty()
    shuffled = data.draw(st.permutations(inputs), label="shuffled")
    at = sorted(data.draw(st.lists(st.integers(0, len(inputs)), max_size=3), label="cuts"))
    for start, end in zip([0, *at], [*at, len(inputs)], strict=True):
        if data.draw(st.booleans(), label="merged"):
            other = empty()
            add(acc, other, kind, shuffled[start:end])
            before = repr(other)
            order = data.draw(st.permutations(range(SLOTS)), label="order")
            acc.merge(total, np.array(order), [cell[order] for cell in other])
            assert repr(other) == before
        else:
            add(acc, total, kind, shuffled[start:end])
        if data.draw(st.booleans(), label="restart"):
            total = written_and_read(acc, total)
    assert acc.result(total).to_list() == [best(inputs, slot) for slot in range(SLOTS)]


class Inner(msgspec.Struct):
    id: UUID


class Whole(sk.Model):
    name: str
    inner: Inner
    at: datetime
    fee: Decimal


def test_rows_come_back_as_dicts_of_plain_values() -> None:
    acc = accumulator("top_k", Kind.OBJECT, nullable=False, options={"k": LIMIT})
    cells = empty()
    add(acc, cells, Kind.INT, [(0, 2**70, 0, 1)])
    row = Whole("a", Inner(UUID(int=1)), datetime(2024, 1, 1, tzinfo=UTC), Decimal("1.50"))
    add(acc, cells, Kind.INT, [(0, row, 1, 0), (0, sk.Row(x=[1, None]), 0, 0)])
    ((first, second, large), _) = acc.result(written_and_read(acc, cells)).to_list()
    assert first == {"name": "a", "inner": {"id": str(UUID(int=1))}, "at": row.at, "fee": Decimal("1.50")}
    assert (first.fee, second.x, large) == (Decimal("1.50"), [1, None], 2**70)


@pytest.mark.parametrize(
    "value, rank, says",
    [
        (1, "six", "'six' and 5 cannot be ordered"),
        (1, [1], "cannot be ordered"),
        (1, Decimal("sNaN"), "cannot be ordered"),
        (1, 2**70, "does not fit into 64 bits"),
        (sk.Row(x=object()), -9, "cannot be kept in the state"),
        (object(), 9, "cannot be kept in the state"),
    ],
)
def test_what_cannot_be_added_is_named(value: Any, rank: Any, says: str) -> None:
    acc = accumulator("top_k", Kind.ANY, nullable=True, options={"k": LIMIT})
    cells = empty()
    add(acc, cells, Kind.ANY, [(0, "held", 5, 0)])
    inputs: list[One] = [(0, None, 7, 0), (1, "other", "text", 0), (0, value, rank, 0)]
    with pytest.raises(CannotAddError, match=says) as caught:
        add(acc, cells, Kind.ANY, inputs)
    assert caught.value.index == 2
    assert acc.result(cells).to_list() == [["held"], []]
