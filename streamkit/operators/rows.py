"""Runs a Python function over the rows of a batch and finds exactly the record at which it raises."""

from __future__ import annotations

import os
import sysconfig
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from streamkit.errors import RecordError
from streamkit.operators.operator import Failures, place
from streamkit.record.batch import Batch

Int64s = npt.NDArray[np.int64]
_OURS: Final = f"{Path(__file__).resolve().parents[1]}{os.sep}"
_LIBRARIES: Final = tuple({f"{sysconfig.get_path(name)}{os.sep}" for name in ("stdlib", "platstdlib", "purelib", "platlib")})


def run(
    fn: Callable[[Any], Any],
    values: Iterable[Any],
    batch: Batch,
    operator: str,
    failures: Failures,
    error: type[RecordError],
) -> tuple[list[Any], Batch]:
    """`results_of`, and the batch without the records that were rejected."""
    results, kept = results_of(fn, values, batch, operator, failures, error)
    return results, batch if kept is None else batch.take(kept)


def results_of(
    fn: Callable[[Any], Any],
    values: Iterable[Any],
    batch: Batch,
    operator: str,
    failures: Failures,
    error: type[RecordError],
) -> tuple[list[Any], Int64s | None]:
    """The function's results, and the positions of the records that they stand for (None: all of them).

    Each value is given to the function once: `list.extend` keeps what a failing iterator gave before it failed, and the iterator
    goes on behind the failure, so the position of the failure is known without a call per record in Python.
    """
    results: list[Any] = []
    rejected: list[int] = []
    remaining = iter(values)
    while True:
        try:
            results.extend(map(fn, remaining))
            if len(results) + len(rejected) >= len(batch):
                break
            raise StopIteration  # noqa: TRY301 - the function's own (from next()): to `extend` it was the end of the values
        except Exception as cause:  # noqa: BLE001 - a user's function may raise anything
            index = len(results) + len(rejected)
            failure = error(described_with_line(cause), **place(batch, index, operator))
            failure.__cause__ = cause
            failures.reject(failure)
            rejected.append(index)
    if not rejected:
        return results, None
    return results, np.delete(np.arange(len(batch)), rejected)


def describe(cause: BaseException) -> str:
    """An exception in one line: its type and text."""
    text = str(cause)
    return f"{type(cause).__name__}: {text}" if text else type(cause).__name__


def described_with_line(cause: BaseException) -> str:
    """`describe`, and the line of the user's code in which it was raised: a log has no traceback."""
    frames = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(cause.__traceback__)]
    users = [each for each in frames if not each[0].startswith(_OURS)]
    if not users:  # a function of ours, as of `into`
        return describe(cause)
    own = [each for each in users if not each[0].startswith(_LIBRARIES)]
    file, line = own[-1] if own else users[0]
    return f"{describe(cause)} (at {file}:{line})"
