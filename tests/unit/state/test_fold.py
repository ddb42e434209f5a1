"""Users' functions: states that are encoded, cut anywhere, merged and read back; and what they may not do."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamkit as sk
from streamkit.record.columns import Column
from streamkit.record.schema import Field, Kind
from streamkit.state.accumulators import Accumulator, CannotAddError, CannotGiveError, Cells
from streamkit.state.blocks import decode_block, encode_block
from streamkit.state.fold import Functions
from streamkit.state.functions import Defined, accumulator, input_of
from streamkit.state.window_store import Entries, PaneId

SLOTS = 3


class Words(sk.Model):
    count: int = 0
    longest: str = ""
    seen: set[str] = msgspec.field(default_factory=set)


def add_word(state: Words, word: str) -> Words:
    if word == "bad":
        raise ValueError("no such word")
    state.count += 1
    state.longest = max(state.longest, word, key=lambda one: (len(one), one))
    state.seen.add(word)
    return state


def merge_words(one: Words, other: Words) -> Words:
    one.count += other.count
    one.longest = max(one.longest, other.longest, key=lambda word: (len(word), word))
    one.seen |= other.seen
    return one


WORDS = Functions(add_word, merge_words, Words, lambda state: [state.count, state.longest, sorted(state.seen)])


def fold(functions: Functions, state_type: Any, field: Field = Field(Kind.ANY, nullable=True)) -> Accumulator:  # noqa: B008 - frozen
    return accumulator("any", Kind.ANY, nullable=True, defined=Defined(functions, state_type, field))


def empty() -> Cells:
    return [np.full(SLOTS, None, object)]


def add(acc: Accumulator, cells: Cells, inputs: list[tuple[int, Any]]) -> None:
    column = input_of(acc, Column([value for _, value in inputs], None, Kind.ANY), np.zeros(len(inputs), np.int64), None)
    slots = np.array([slot for slot, _ in inputs], np.int64)
    acc.check(cells, slots, column)
    acc.add(cells, slots, column)


def written_and_read(acc: Accumulator, cells: Cells) -> Cells:
    block = encode_block("f", [Entries(PaneId(0, 0), np.arange(SLOTS), [cells])])
    (entries,) = decode_block(block, "f", [acc], "store")
    return [cell.copy() for cell in entries.cells[0]]


@given(data=st.data())
def test_any_cut_and_merging_gives_the_same(data: st.DataObject) -> None:
    word = st.one_of(st.text("ab", max_size=3), st.none())
    inputs = data.draw(st.lists(st.tuples(st.integers(0, SLOTS - 1), word), max_size=20), label="inputs")
    acc = fold(WORDS, Words)
    total = empty()
    at = sorted(data.draw(st.lists(st.integers(0, len(inputs)), max_size=3), label="cuts"))
    for start, end in zip([0, *at], [*at, len(inputs)], strict=True):
        if data.draw(st.booleans(), label="merged"):
            other = empty()
            add(acc, other, inputs[start:end])
            before = repr(other)
            order = data.draw(st.permutations(range(SLOTS)), label="order")
            acc.merge(total, np.array(order), [cell[order] for cell in other])
            assert repr(other) == before  # although merge changes what it is given
        else:
            add(acc, total, inputs[start:end])
        if data.draw(st.booleans(), label="restart"):
            total = written_and_read(acc, total)
    for slot, found in enumerate(acc.result(total).to_list()):
        words = [value for of, value in inputs if of == slot and value is not None]
        assert found == [len(words), max(words, key=lambda one: (len(one), one), default=""), sorted(set(words))]


def test_what_was_checked_is_not_computed_again() -> None:
    calls = []

    def larger(one: int, other: int) -> int:
        calls.append((one, other))
        return max(one, other)

    acc = fold(Functions(larger, larger), int)
    cells = empty()
    add(acc, cells, [(0, 1), (0, 3), (1, 7), (0, 2)])
    assert calls == [(1, 3), (3, 2)]
    assert acc.result(cells).to_list() == [3, 7, None]


def test_a_state_of_nothing_that_all_would_share_is_not_changed() -> None:
    shared: list[int] = []

    def append(state: list[int], value: int) -> list[int]:
        state.append(value)
        return state

    acc = fold(Functions(append, lambda one, other: one + other, lambda: shared), list[int])
    cells = empty()
    add(acc, cells, [(0, 1), (1, 2), (0, 3)])
    assert acc.result(cells).to_list() == [[1, 3], [2], []]
    assert shared == []


def test_rows_of_which_nothing_is_known_may_be_anything() -> None:
    acc = fold(Functions(lambda one, other: one + other, lambda one, other: one + other), sk.Row)
    cells = empty()
    add(acc, cells, [(0, 1), (1, "a"), (0, 3)])
    assert acc.result(cells).to_list() == [4, "a", None]


@pytest.mark.parametrize(
    "state_type, one, other",
    [
        (Any, [Decimal("1.50"), (1, 2)], [{1, 2}]),
        (sk.Row, sk.Row(a=1), sk.Row(a=datetime(2024, 1, 1, tzinfo=UTC))),
        (Words, Words(1, "a", {"a"}), Words(2, "b")),
        (float, 1.5, float("nan")),
        (Decimal, Decimal("1.50"), Decimal(2)),
        (datetime, datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 1, 3, tzinfo=UTC)),
        (bytes, b"1", b"2"),
    ],
)
def test_values_of_any_type_come_back_as_they_were(state_type: Any, one: Any, other: Any) -> None:
    acc = fold(Functions(lambda _, new: new, lambda _, new: new), state_type)
    cells = empty()
    add(acc, cells, [(0, one)])
    add(acc, cells, [(1, one), (1, other)])
    found = acc.result(written_and_read(acc, cells)).to_list()
    assert repr(found) == repr([one, other, None])
    assert list(map(type, found)) == [type(one), type(other), type(None)]


class Opaque:
    pass


def fails(_: Any, value: Any) -> Any:
    if value == "bad":
        raise KeyError("bad")
    made = {"none": None, "large": 2**63, "opaque": Opaque(), "tuple": [(1, 2)], "nested": [Words()]}
    return made.get(value, value) if isinstance(value, str) else value


@pytest.mark.parametrize(
    "state_type, value, says",
    [
        (str, "bad", "KeyError: 'bad'"),
        (str, "none", "the function returned None"),
        (str, 5, r"5 cannot be kept as a state: Expected `str`, got `int`"),
        (int, "large", "9223372036854775808 cannot be kept as a state"),
        (Any, "opaque", "Opaque object.* cannot be kept as a state"),
        (list[Any], "tuple", r"the state \[\(1, 2\)\] would come back from the changelog as \[\[1, 2\]\]: annotate its type"),
        (Any, "nested", r"would come back from the changelog as \[\{'count': 0"),
    ],
)
def test_the_record_that_fails_is_named(state_type: Any, value: Any, says: str) -> None:
    """Also where it is not the last of its key in the batch: what comes after it must not be blamed."""
    start = {str: "x", int: 1, list[Any]: ["x"]}.get(state_type, "x")
    acc = fold(Functions(fails, fails), state_type)
    cells = empty()
    add(acc, cells, [(0, start)])
    before = repr(cells)
    with pytest.raises(CannotAddError, match=says) as caught:
        add(acc, cells, [(1, start), (0, start), (0, value), (0, start), (0, value), (1, start)])
    assert caught.value.index == 2
    assert repr(cells) == before
    if value != 5:
        other = empty()
        other[0][0] = cells[0][0]
        acc = fold(Functions(fails, lambda one, _: fails(one, value)), state_type)
        acc.merge(cells, np.arange(SLOTS), other)
        cells = written_and_read(acc, cells)
        with pytest.raises(CannotGiveError, match=says) as lost:
            acc.result(cells)
        assert lost.value.index == 0
        with pytest.raises(CannotAddError, match="its state was lost before: .*" + says) as caught:
            add(acc, cells, [(1, start), (0, None)])
        assert caught.value.index == 1
