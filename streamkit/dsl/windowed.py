"""Keyed streams cut into windows, and aggregates over them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from streamkit.dsl.declarations import Declarations
from streamkit.dsl.stream import Stream
from streamkit.errors import DeclarationError
from streamkit.eventtime.duration import Duration, duration_ms
from streamkit.eventtime.windows import Window
from streamkit.plan.aggregators import Aggregator
from streamkit.plan.names import checked_name
from streamkit.plan.nodes import Keyed, Late, Node, OnClose, OnUpdate, WindowAggregate
from streamkit.record.model import Row

K = TypeVar("K")
V = TypeVar("V")


class WindowedStream(Generic[K, V]):
    """A keyed stream cut into windows; `aggregate` says what is computed in each.

    >>> import streamkit as sk
    >>> sk.App("bids").stream(sk.Topic("bids")).globally().window(sk.tumbling("1h"))
    <WindowedStream globally(), tumbling(1h)>
    """

    def __init__(self, node: Node, key: Keyed, window: Window, declarations: Declarations) -> None:
        self._node = node
        self._key = key
        self._window = window
        self._declarations = declarations

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if hasattr(Stream, name) or hasattr(Aggregated, name):
                raise AttributeError(
                    f"a WindowedStream has no {name}(): say what is computed in each window, "
                    "as in .aggregate('per-key', n=sk.count()), and take .on_close() of it"
                )
            raise AttributeError(f"WindowedStream has no attribute '{name}'")

    def __repr__(self) -> str:
        return f"<WindowedStream {self._node.label}, {self._window}>"

    def aggregate(self, name: str, /, **outputs: Aggregator) -> Aggregated[K, V]:
        """Computes the outputs for each key and window; a result row has the key's columns, window_start, window_end, outputs
        (of the global window no window_start and window_end).

        ``name`` owns the state: its changelog is the topic ``<app>.<name>.changelog``. The key's columns are those of `key_by`,
        or ``key`` for a function or the record's own key; none for `globally`. A null key is a group of its own.

        `ExpressionError`: an output over an unknown column. `SchemaError`: over a type that it cannot take, or an output with
        the name of a key or window column. `NameCollisionError`: the name is another's.

        >>> import streamkit as sk
        >>> bids = sk.App("bids").stream(sk.Topic("bids")).key_by("item").window(sk.tumbling("1m"))
        >>> bids.aggregate("per-item", total=sk.sum("price"), bids=sk.count())
        <Aggregated 'per-item': {item: any | null, window_start: datetime, window_end: datetime, total: any | null, bids: int}>
        """
        checked_name(name, what="aggregate")
        for output, aggregator in outputs.items():
            if not isinstance(aggregator, Aggregator):
                raise DeclarationError(
                    f"aggregate '{name}', output '{output}': expected an aggregator such as sk.sum('price') "
                    f"or sk.count(), got {aggregator!r}"
                )
        node = WindowAggregate(self._node, self._key, self._window, name, dict(outputs))
        return Aggregated(self._declarations.own(node), self._declarations)


class Aggregated(Generic[K, V]):
    """An aggregate over windows: its results and its late records are streams.

    >>> import streamkit as sk
    >>> app = sk.App("bids")
    >>> bids = app.stream(sk.Topic("bids"), event_time=sk.event_time("bidtime", out_of_orderness="5s"))
    >>> totals = bids.key_by("item").window(sk.tumbling("1m")).aggregate("per-item", total=sk.sum("price"))
    >>> totals.on_close().to(sk.Topic("totals"))
    >>> totals.late().to(sk.Topic("late-bids"))
    """

    def __init__(self, node: WindowAggregate, declarations: Declarations) -> None:
        self._node = node
        self._declarations = declarations

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if hasattr(Stream, name):
                raise AttributeError(
                    f"an aggregate has no {name}(): say which of its streams is meant, .on_close() (final results), "
                    f".on_update() or .late(), as in .on_close().{name}(...)"
                )
            raise AttributeError(f"Aggregated has no attribute '{name}'")

    def __repr__(self) -> str:
        return f"<Aggregated '{self._node.name}': {self._node.schema}>"

    def on_close(self) -> Stream[K, Row]:
        """The final result of each key and window, once, when the watermark has passed the window's end + grace.

        The record's key is the group's; its event time is the window's end - 1 ms, or the largest time seen if that is less.
        Headers are dropped. Windows in which nothing arrived have no result. A count window closes with the record that fills it,
        the global window with the end of a bounded input only. Results may go into a window again:
        ``on_close().by_record_key().window(...)``; no such record can be late.

        >>> import streamkit as sk
        >>> bids = sk.App("bids").stream(sk.Topic("bids")).globally().window(sk.tumbling("1m"))
        >>> bids.aggregate("totals", n=sk.count()).on_close()
        <Stream on_close(): {window_start: datetime, window_end: datetime, n: int}>
        """
        return Stream(OnClose(self._node), self._declarations)

    def on_update(self, every: Duration | Literal["record"] | None = None) -> Stream[K, Row]:
        """The present result of windows that changed, before they close: a row like that of `on_close`, replacing the one before.

        ``every`` None: with each commit, each changed row once, however many records changed it. A duration: at most so often, by
        the wall clock. ``"record"``: after each record, which costs far more. In any case a row that changed is told when the
        watermark passes the window's end and before the window closes, so the last update of a window is its final result (sums
        of floats may differ in the last digit). The header ``streamkit-result`` says `early`, `on-time` or `late` (within grace).

        A **session** is known by its key and window_start. Where a record comes before that, or puts two sessions together, a row
        with the header `withdrawn` takes back what was told with the old start (the row as it stood before), and the session is
        told with its new one; with the commit, if not before. So keep the last row of each (key, window_start) and delete on
        `withdrawn`: what is left are the final results. (After a restart, with a duration, one that was never told may be
        withdrawn.) A **count window** is `early` while it fills, each such row replaced by the next one of its key, and
        `on-time`, once, when it is full. The **global window** is `early` until the end of a bounded input: keep the last row
        of each key.

        A record changes every window that holds it: sixty, in a hopping window of sixty hops. Which values are told depends on
        when commits fall, and after a restart a value may be told again; the last one does not. Updates can be filtered, mapped
        and written, but not aggregated (`DeclarationError`): they replace one another. (Kafka Streams' unsuppressed windows,
        Flink's early firing.)

        >>> import streamkit as sk
        >>> bids = sk.App("bids").stream(sk.Topic("bids")).globally().window(sk.tumbling("1h"))
        >>> bids.aggregate("totals", n=sk.count()).on_update(every="10s")
        <Stream on_update(every=10s): {window_start: datetime, window_end: datetime, n: int}>
        """
        if every == "record":
            return Stream(OnUpdate(self._node, per_record=True), self._declarations)
        every_ms = None if every is None else duration_ms(every, what="on_update: every")
        if every_ms == 0:
            raise DeclarationError('on_update: every must be longer than 0; leave it out for each commit, or give "record"')
        return Stream(OnUpdate(self._node, every_ms), self._declarations)

    def late(self) -> Stream[K, V]:
        """The records that were late for all of their windows, each once, as they came, with the reason in a header.

        A record is late for a window if its own source partition's watermark had passed the window's end + grace before it came:
        that does not depend on batches, other partitions or restarts. Late records are counted whether or not they are used here.
        Of count windows and the global window none is late: `DeclarationError`.

        >>> import streamkit as sk
        >>> bids = sk.App("bids").stream(sk.Topic("bids")).globally().window(sk.tumbling("1m"))
        >>> bids.aggregate("totals", n=sk.count()).late()
        <Stream late(): {...}>
        """
        return Stream(Late(self._node), self._declarations)
