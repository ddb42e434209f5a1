"""Which blocks to write, rewrite and drop, and how they are read back (R27).

The *directory* lists the live blocks, oldest first, with the rows each holds. Blocks are dropped (tombstoned) strictly oldest
first, when all their windows are closed. When the live blocks hold far more rows than are open, the oldest is rewritten: those
of its rows that are in no later block are marked dirty, leave with this commit in a new block with their *current* values, and
the old block is dropped in the same transaction. So the topic and the restore are bounded by what is open, also where nothing
ever closes, and what is written by about twice what changes. Tombstones are garbage collection only.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from streamkit.errors import StateError
from streamkit.state import time_record
from streamkit.state.accumulators import HasCells
from streamkit.state.blocks import decode_block, encode_block
from streamkit.state.key_index import Slots
from streamkit.state.time_record import TimeRecord
from streamkit.state.window_store import Entries, PaneId

MAX_BLOCK_ROWS = 16_384
MAX_BLOCK_BYTES = 800_000
REWRITE_SLACK_ROWS = 8_192
"""Live blocks may hold twice the open rows and this many more before the oldest is rewritten."""

BLOCK_KEY = b"block:"
"""What the key of every block begins with."""

ChangelogRecord = tuple[bytes, bytes | None]


class BlockStore(Protocol):
    """What a store is to its changelog: rows in panes, by slots."""

    @property
    def shared_slots(self) -> bool:
        """Whether a slot is one of the whole store; else each pane has its own."""
        ...

    def __len__(self) -> int: ...
    def needed_through(self, pane: PaneId) -> int:
        """The end of the last window that needs the pane's rows."""
        ...

    def take_dirty(self) -> Iterator[tuple[Slots, Entries]]:
        """The rows that changed since the last call, with their slots."""
        ...

    def mark_dirty(self, pane_id: PaneId, slots: Slots) -> None:
        """Has these rows written again with the next commit, those that are still there."""
        ...

    def load(self, entries: Entries) -> Slots:
        """Sets rows to absolute values; gives their slots."""
        ...


_Places = npt.NDArray[np.signedinteger[Any]]
"""Slots as the directory keeps them, for every row of every live block: in half the bytes, where they fit."""
_I4: np.dtype[np.signedinteger[Any]] = np.dtype(np.int32)
_I8: np.dtype[np.signedinteger[Any]] = np.dtype(np.int64)
_NUMBERS = 2**32 - 1


@dataclass(slots=True)
class _BlockRef:
    key: bytes
    number: int
    rows: int
    slots: dict[PaneId, list[_Places]]


@dataclass(slots=True)
class _Newest:
    """By slot, the number of the last block that the row is in; of how many live blocks that is.

    Numbers begin anew after 2**32 blocks. They are only asked of slots that are in a live block, and so many never live at once.
    """

    blocks: npt.NDArray[np.uint32] = field(default_factory=lambda: np.zeros(0, np.uint32))
    refs: int = 0

    def set(self, slots: _Places, number: int) -> None:
        slots = slots[slots >= 0]
        size = int(slots.max(initial=-1)) + 1
        if size > len(self.blocks):
            grown = np.zeros(max(size, len(self.blocks) * 3 // 2), np.uint32)
            grown[: len(self.blocks)] = self.blocks
            self.blocks = grown
        self.blocks[slots] = number


@dataclass(slots=True)
class BlockChangelog:
    """Writer and reader of one store's changelog in one task.

    ``incarnation`` makes block keys unique to this ownership of the task, so that no owner can overwrite another's block.
    ``shared_slots`` says whether a slot is one of the whole store, or of each pane one.
    """

    store_name: str
    fingerprint: str
    accumulators: Sequence[HasCells]
    incarnation: str
    max_block_bytes: int = MAX_BLOCK_BYTES
    shared_slots: bool = False
    _sequence: int = 0
    _remembered: int = 0
    _directory: deque[_BlockRef] = field(default_factory=deque)
    _newest: dict[PaneId | None, _Newest] = field(default_factory=dict)
    _rows: int = 0

    # ---- writing

    def collect(self, store: BlockStore, time: TimeRecord) -> Iterator[ChangelogRecord]:
        """The records of one transaction: blocks, tombstones, and the time record last."""
        dropped = self._drop_closed(store, time.closed_through)
        dropped += self._rewrite_oldest(store)
        for sections in _batches(store.take_dirty()):
            yield from self._write(sections)
        for ref in dropped:
            yield ref.key, None
        yield time_record.KEY, time_record.encode(msgspec.structs.replace(time, blocks=len(self._directory)))

    def _drop_closed(self, store: BlockStore, closed_through: int) -> list[_BlockRef]:
        dropped = []
        while self._directory and max(map(store.needed_through, self._directory[0].slots)) <= closed_through:
            ref = self._pop()
            self._release(ref)
            dropped.append(ref)
        return dropped

    def _rewrite_oldest(self, store: BlockStore) -> list[_BlockRef]:
        dropped: list[_BlockRef] = []
        while self._directory and self._rows > 2 * len(store) + REWRITE_SLACK_ROWS:
            ref = self._pop()
            for pane, parts in ref.slots.items():
                for slots in parts:
                    kept = slots[slots >= 0].astype(np.int64)
                    store.mark_dirty(pane, kept[self._newest[self._place(pane)].blocks[kept] == ref.number])
            self._release(ref)
            dropped.append(ref)
        return dropped

    def _pop(self) -> _BlockRef:
        ref = self._directory.popleft()
        self._rows -= ref.rows
        return ref

    def _place(self, pane: PaneId) -> PaneId | None:
        return None if self.shared_slots else pane

    def _release(self, ref: _BlockRef) -> None:
        """Of panes that are in no block any more nothing has to be known."""
        for pane in ref.slots:
            newest = self._newest[self._place(pane)]
            newest.refs -= 1
            if not newest.refs:
                del self._newest[self._place(pane)]

    def _write(self, sections: list[tuple[Slots, Entries]]) -> Iterator[ChangelogRecord]:
        value = encode_block(self.fingerprint, [entries for _, entries in sections])
        if len(value) > self.max_block_bytes:
            yield from self._write_halves(sections, len(value))
            return
        key = BLOCK_KEY + f"{self.incarnation}:{self._sequence}".encode()
        self._sequence += 1
        self._remember(key, sections)
        yield key, value

    def _write_halves(self, sections: list[tuple[Slots, Entries]], size: int) -> Iterator[ChangelogRecord]:
        if len(sections) > 1:
            halves = [sections[: len(sections) // 2], sections[len(sections) // 2 :]]
        else:
            slots, entries = sections[0]
            if len(entries) == 1:
                raise StateError(
                    f"store '{self.store_name}': the state of key {entries.keys[0]!r} in the pane ending at {entries.pane.end} "
                    f"takes {size} bytes, over the limit of {self.max_block_bytes} for one changelog record"
                )
            middle = len(entries) // 2
            halves = [[(slots[part], _slice(entries, part))] for part in (slice(middle), slice(middle, None))]
        for half in halves:
            yield from self._write(half)

    def _remember(self, key: bytes, sections: list[tuple[Slots, Entries]]) -> None:
        self._remembered = (self._remembered + 1) & _NUMBERS
        ref = _BlockRef(key, self._remembered, sum(len(entries) for _, entries in sections), {})
        for slots, entries in sections:
            newest = self._newest.setdefault(self._place(entries.pane), _Newest())
            places: _Places = slots.astype(_I4 if int(slots.max(initial=0)) < 2**31 else _I8)
            newest.set(places, ref.number)
            newest.refs += entries.pane not in ref.slots
            ref.slots.setdefault(entries.pane, []).append(places)
        self._directory.append(ref)
        self._rows += ref.rows

    # ---- reading back

    def apply(self, store: BlockStore, key: bytes, value: bytes) -> int:
        """Folds one block into the store, in offset order; gives its rows."""
        sections = [(store.load(e), e) for e in decode_block(value, self.fingerprint, self.accumulators, self.store_name)]
        self._remember(key, sections)
        return sum(len(entries) for _, entries in sections)

    def refuse_gaps(self, blocks: int | None) -> None:
        """StateError if fewer blocks were read back than there were with the last commit (None: it did not say)."""
        if blocks is not None and len(self._directory) < blocks:
            raise StateError(
                f"store '{self.store_name}': its changelog had {blocks} blocks with the last commit and holds "
                f"{len(self._directory)} of them: records of it were deleted (a retention, DeleteRecords, a log that was cut "
                "off), and the state in them is lost. Reset the app (streamkit reset), so that positions and state start anew "
                "together"
            )

    def forget(self, key: bytes) -> None:
        """A tombstone was read: the block is gone."""
        for ref in self._directory:
            if ref.key == key:
                self._directory.remove(ref)
                self._rows -= ref.rows
                self._release(ref)
                return


def _slice(entries: Entries, part: slice) -> Entries:
    return Entries(entries.pane, entries.keys[part], [[cell[part] for cell in cells] for cells in entries.cells])


def _batches(dirty: Iterator[tuple[Slots, Entries]]) -> Iterator[list[tuple[Slots, Entries]]]:
    """Sections put together to blocks of at most MAX_BLOCK_ROWS rows; a longer pane is cut."""
    block: list[tuple[Slots, Entries]] = []
    rows = 0
    for slots, entries in dirty:
        for start in range(0, len(entries), MAX_BLOCK_ROWS):
            part = slice(start, start + MAX_BLOCK_ROWS)
            section = (slots[part], _slice(entries, part))
            if block and rows + len(section[1]) > MAX_BLOCK_ROWS:
                yield block
                block, rows = [], 0
            block.append(section)
            rows += len(section[1])
    if block:
        yield block
