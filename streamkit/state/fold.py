"""Aggregates by users' functions: reduce, and those with a state of their own.

The state is kept as the msgpack bytes that go into the changelog, and is decoded once per batch and slot. So a function may
change the state that it is given, what was handed out stays as it was, and a state means the same before and after a restart:
what cannot be encoded, or does not come back as it was, is refused with the record that led there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any

import msgspec
import numpy as np
import numpy.typing as npt

from streamkit.record.column import column_from
from streamkit.record.columns import Column, ColumnError
from streamkit.record.model import Row
from streamkit.record.schema import Field
from streamkit.state.accumulators import (
    INT64,
    CannotAddError,
    CannotGiveError,
    Cells,
    Checked,
    Failed,
    Slots,
    refuse_failed,
    results_of,
)
from streamkit.state.packing import pack, unpack

_OBJECT = np.dtype(object)
_UNTYPED = (Any, Row, object, dict, list, tuple, set)
_INT64 = Annotated[int, msgspec.Meta(ge=int(INT64.min), le=int(INT64.max))]


class StateCodec:
    """A state of this type to bytes and back. Of a type that says nothing of what is inside, Decimals, dates, datetimes, tuples
    and sets come back as they were, objects of classes do not."""

    def __init__(self, state_type: Any) -> None:
        self.type = state_type
        self._untyped = state_type in _UNTYPED
        self._encoder = msgspec.msgpack.Encoder()
        wanted = Any if self._untyped else _INT64 if state_type is int else state_type
        self._decoder = msgspec.msgpack.Decoder(wanted, ext_hook=unpack if self._untyped else None)

    def encode(self, state: Any) -> bytes:
        """ValueError says why a state would not be the same after a restart."""
        if self._untyped and type(state) is int and not INT64.min <= state <= INT64.max:
            raise ValueError(f"{state} does not fit into 64 bits")
        try:
            data = self._encoder.encode(pack(state) if self._untyped else state)
            back = self.decode(data)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise ValueError(f"{_brief(state)} cannot be kept as a state: {error}") from error
        if back != state and repr(back) != repr(state):  # NaN is never equal
            raise ValueError(
                f"the state {_brief(state)} would come back from the changelog as {_brief(back)}: annotate its type, with what "
                "is in it, or make it a Model"
            )
        return data

    def decode(self, data: bytes) -> Any:
        state = self._decoder.decode(data)
        return Row(state) if self.type is Row and isinstance(state, dict) else state

    def copy(self, state: Any) -> Any:
        """As it comes back."""
        return self.decode(self.encode(state))


@dataclass(frozen=True, slots=True)
class Functions:
    """What users gave. ``init`` None: the first value is the state. ``result`` None: the state is the result."""

    add: Callable[[Any, Any], Any]
    merge: Callable[[Any, Any], Any]
    init: Callable[[], Any] | None = None
    result: Callable[[Any], Any] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class FoldColumn(Column):
    """A column for a `Fold`. ``checked``: what `check` has worked out for `add`, so that users' functions are called once."""

    checked: Checked[bytes] = field(default_factory=Checked)

    def take(self, chosen: npt.NDArray[Any]) -> FoldColumn:
        taken = Column.take(self, chosen)
        return FoldColumn(taken.values, taken.valid, taken.kind)


@dataclass(frozen=True, slots=True, eq=False)
class Fold:
    """The encoded state per slot; None until a value was added. Null values are skipped.

    ``empty``: the encoded state of nothing, if there is one; each slot begins with a copy of its own. ``given``: the results.
    """

    functions: Functions
    codec: StateCodec
    given: Field
    empty: bytes | None

    dtypes = (_OBJECT,)
    initial = (None,)

    def check(self, cells: Cells, slots: Slots, column: Column | None) -> None:
        assert isinstance(column, FoldColumn)  # noqa: S101 - the operator gives it to who needs it
        refuse_failed(cells[0], slots)
        column.checked.keep(cells[0], slots, self._fold(cells[0], slots, column))

    def add(self, cells: Cells, slots: Slots, column: Column | None) -> None:
        assert isinstance(column, FoldColumn)  # noqa: S101 - see check
        states = column.checked.take(cells[0], slots)
        for slot, state in (self._fold(cells[0], slots, column) if states is None else states).items():
            cells[0][slot] = state

    def _fold(self, cell: npt.NDArray[Any], slots: Slots, column: Column) -> dict[int, bytes]:
        """The new states of the slots that change."""
        values = column.to_list()
        records: dict[int, list[int]] = {}
        for index, slot in enumerate(slots.tolist()):
            if values[index] is not None:
                records.setdefault(slot, []).append(index)
        states: dict[int, bytes] = {}
        failed: list[CannotAddError] = []
        for slot, of_slot in records.items():
            try:
                states[slot] = self._folded(cell[slot], [(index, values[index]) for index in of_slot])
            except CannotAddError as error:
                failed.append(error)
        if failed:
            raise min(failed, key=lambda error: error.index)
        return states

    def _folded(self, held: bytes | None, records: list[tuple[int, Any]]) -> bytes:
        state = self._start(held)
        try:
            for index, value in records:
                state = self._one(state, value, index)
            return self._encoded(state, records[-1][0])
        except CannotAddError:
            self._find_first(held, records)
            raise

    def _find_first(self, held: bytes | None, records: list[tuple[int, Any]]) -> None:
        """Raises CannotAddError for the first record that fails, or behind which the state cannot be kept."""
        state = self._start(held)
        for index, value in records:
            state = self._one(state, value, index)
            self._encoded(state, index)

    def _one(self, state: Any, value: Any, index: int) -> Any:
        try:
            after = self.codec.copy(value) if state is None else self.functions.add(state, value)
        except Exception as error:  # whatever a user's function raises
            raise CannotAddError(index, _told(error)) from error
        return _made(after, index)

    def _start(self, held: bytes | None) -> Any:
        if held is not None:
            return self.codec.decode(held)
        return None if self.empty is None else self.codec.decode(self.empty)

    def _encoded(self, state: Any, index: int) -> bytes:
        try:
            return self.codec.encode(state)
        except ValueError as error:
            raise CannotAddError(index, str(error)) from error

    def merge(self, cells: Cells, slots: Slots, other: Cells) -> None:
        for slot, more in zip(slots.tolist(), other[0].tolist(), strict=True):
            if more is not None:
                cells[0][slot] = self._both(cells[0][slot], more)

    def _both(self, one: bytes | Failed | None, other: bytes | Failed) -> bytes | Failed:
        if one is None or isinstance(other, Failed):
            return other
        if isinstance(one, Failed):
            return one
        try:
            return self._encoded(_made(self.functions.merge(self.codec.decode(one), self.codec.decode(other)), 0), 0)
        except CannotAddError as error:
            return Failed(error.reason)
        except Exception as error:  # noqa: BLE001 - a user's function may raise anything
            return Failed(_told(error))

    def result(self, cells: Cells) -> Column:
        give = self.functions.result
        values = []
        for index, held in enumerate(results_of(cells[0])):
            state = self._start(held)
            try:
                values.append(state if give is None else give(state))
            except Exception as error:  # whatever a user's function raises
                raise CannotGiveError(index, _told(error)) from error
        try:
            return column_from(values, "result", self.given)
        except ColumnError as error:
            raise CannotGiveError(error.index, f"the result is not what was declared: {error}") from error


def _made(state: Any, index: int) -> Any:
    if state is None:
        raise CannotAddError(index, "the function returned None: it has to return the new state")
    return state


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
