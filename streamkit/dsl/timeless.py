"""count_window and global_window: windows that time does not close."""

from __future__ import annotations

from streamkit.eventtime.timeless import CountWindow, GlobalWindow
from streamkit.eventtime.windows import Window


def count_window(size: int, every: int | None = None) -> Window:
    """Windows of so many records of a key, in the order in which they come; with ``every``, a result after that many.

    Without ``every`` they lie side by side: each closes with its ``size``-th record. With it, there is a result for every
    ``every``-th record of a key, over its last ``size`` records: the first ones hold fewer, as long as fewer have come (Flink's
    ``countWindow(size, slide)``). ``every`` may be larger than ``size``: then the records between are in no result.

    The order is that of the log: of the partition that the key is in, behind `key_by` of the repartition topic's. So results are
    a function of that log, whatever batches, crashes and rescaling do. In which order the records of several merged topics are
    read is not determined. No record is ever late (``late()`` is a `DeclarationError`), a duplicate counts again, and a record
    that an aggregator refuses is not counted.

    window_start is the smallest event time of the records, window_end the largest + 1 ms. The event time of a result is
    window_end - 1 ms, or just after its partition's watermark where the records are behind that.

    A window that is not full stays in the state until it is: with ``every``, up to ``size`` records' worth of each key for ever,
    in panes of as many records as the greatest common divisor of both. A result costs the same whatever the size. The end of a
    bounded input does not fill a window, so ``on_close()`` gives no result for it; ``on_update()`` tells it as `early`.
    `DeclarationError`: a number that is no positive whole number.

    >>> import streamkit as sk
    >>> print(sk.count_window(100), sk.count_window(100, every=10))
    count_window(100) count_window(100, every=10)
    >>> VALUES, MEANS = sk.Topic("values", key=str, value=int), sk.Topic("means", key=str)
    >>> app = sk.App("means")
    >>> values = app.stream(VALUES).map(lambda value: sk.Row(v=value))
    >>> windows = values.by_record_key().window(sk.count_window(3, every=2))
    >>> windows.aggregate("mean", n=sk.count(), total=sk.sum("v")).on_close().to(MEANS)
    >>> with sk.TestDriver(app) as driver:
    ...     driver.send(VALUES, 1, 2, 3, 4, 5, key="a")
    ...     [(record.value.n, record.value.total) for record in driver.read(MEANS)]
    [(2, 3), (3, 9)]
    >>> sk.count_window(0)
    Traceback (most recent call last):
    streamkit.errors.DeclarationError: count_window: size must be a whole number of records, at least 1, got 0
    """
    return CountWindow(size=size, every=size if every is None else every)


def global_window() -> Window:
    """One window for all records of a key, of all time: it never closes in a service (Flink's ``GlobalWindow``).

    Its present results are told by ``on_update()``, in all its forms, each replacing the one before of the key. ``on_close()``
    gives something only at the end of a bounded input (``--until-end``): then the final result of each key. Results have no
    window_start and window_end. No record is late (``late()`` is a `DeclarationError`), whatever its time; a duplicate counts
    again; order matters to `first`, `last` and `collect` only, which go by event time.

    Every key stays in the state, in memory and in the changelog, for ever: choose keys of which there is an end.

    >>> import streamkit as sk
    >>> print(sk.global_window())
    global_window()
    >>> SALES, SOLD = sk.Topic("sales", key=str, value=int), sk.Topic("sold", key=str)
    >>> app = sk.App("sold")
    >>> sales = app.stream(SALES).map(lambda amount: sk.Row(amount=amount))
    >>> totals = sales.by_record_key().window(sk.global_window()).aggregate("sold", total=sk.sum("amount"))
    >>> totals.on_update().to(SOLD)
    >>> with sk.TestDriver(app) as driver:
    ...     driver.send(SALES, 3, 4, key="pen")
    ...     driver.send(SALES, 5, key="pen")
    ...     [(record.key, record.value) for record in driver.read(SOLD)]
    [('pen', {'key': 'pen', 'total': 7}), ('pen', {'key': 'pen', 'total': 12})]
    """
    return GlobalWindow()
