"""Streams: what can be done with records, with and without a key."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, overload

import polars as pl

from streamkit.dsl.columns import select_node
from streamkit.dsl.declarations import Declarations
from streamkit.dsl.fit import check_fits, check_sink
from streamkit.dsl.keys import key_by_columns, key_by_function, source_name
from streamkit.dsl.windows import checked_window
from streamkit.errors import DeclarationError, ExpressionError
from streamkit.plan.expressions import expression_field, expression_text
from streamkit.plan.names import checked_name
from streamkit.plan.nodes import ByRecordKey, Filter, FlatMap, Globally, Into, Keyed, Map, Merge, Node, Records, Sink, Unary
from streamkit.plan.topic import Topic, checked_topic_argument
from streamkit.plan.types import describe
from streamkit.record.model import Record, Row
from streamkit.record.schema import Kind, schema_of

if TYPE_CHECKING:
    from streamkit.dsl.windowed import WindowedStream
    from streamkit.eventtime.windows import Window

K = TypeVar("K")
K2 = TypeVar("K2")
V = TypeVar("V")
W = TypeVar("W")
M = TypeVar("M")

_KEYED_ONLY = {"window", "aggregate"}


class Stream(Generic[K, V]):
    """Records with a key and a value, as `App.stream` and every step give them. Immutable: a step makes a new stream.

    One stream may be used many times; each use sees all records. Records keep key, event time and headers through every step
    that changes only values. A null value (a tombstone) is a `DecodeError` where a topic is read.

    >>> import polars as pl, streamkit as sk
    >>> app = sk.App("shop")
    >>> orders = app.stream(sk.Topic("orders"))
    >>> orders.filter(pl.col("amount") > 100).to(sk.Topic("large-orders"))
    >>> orders.to(sk.Topic("orders-copy"))
    >>> print(app.describe())
    app 'shop': 1 sub-topology
    <BLANKLINE>
    sub-topology 'orders'
      reads   orders (json), event time: Kafka timestamp
        1  filter(amount > 100)   columns   <- orders
        2  to(large-orders)       bytes
        3  to(orders-copy)        bytes     <- orders
      writes  large-orders, orders-copy
    """

    def __init__(self, node: Node, declarations: Declarations) -> None:
        self._node = node
        self._declarations = declarations

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if name in _KEYED_ONLY and not isinstance(self, KeyedStream):
                raise AttributeError(
                    f"{name}() needs a stream with a key: call key_by(...), by_record_key() or globally() before {name}()"
                )
            raise AttributeError(f"{type(self).__name__} has no attribute '{name}'")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._node.label}: {self._node.schema}>"

    def filter(self, keep: pl.Expr | Callable[[V], bool]) -> Self:
        """Keeps the records for which an expression or a function is true; false and null drop them (SQL's WHERE).

        An expression runs on whole columns, a function on one value after the other. `ExpressionError`: an expression that
        is not elementwise, of an unknown column, or not a condition. A function that raises is a `UserFunctionError` naming
        the record.

        >>> import polars as pl, streamkit as sk
        >>> bids = sk.App("bids").stream(sk.Topic("bids"))
        >>> bids.filter(pl.col("price") > 0).filter(lambda bid: bid.item != "test")
        <Stream filter(lambda): {...}>
        """
        where = f"filter({describe(keep)})"
        if isinstance(keep, pl.Expr):
            field = expression_field(keep, self._node.schema)
            if field.kind not in (Kind.BOOL, Kind.ANY):
                raise ExpressionError(
                    f"{where}: a condition is true or false, this expression is {field}; compare it with something"
                )
        elif not callable(keep):
            raise DeclarationError(f"filter: expected an expression such as pl.col('price') > 0, or a function, got {keep!r}")
        return self._same_type(Filter(self._node, keep))

    def map(self, fn: Callable[[V], W]) -> Stream[K, W]:
        """One new value for each value; key, event time and headers stay.

        What the function is annotated to return (a `Model` or dataclass) is the type of the new rows; without an annotation
        nothing is known of them until they are there. A function that raises is a `UserFunctionError` naming the record.

        >>> import streamkit as sk
        >>> def doubled(row: sk.Row) -> sk.Row:
        ...     return sk.Row(row, price=row.price * 2)
        >>> sk.App("bids").stream(sk.Topic("bids")).map(doubled)
        <Stream map(doubled): {...}>
        """
        return Stream(Map(self._node, _function(fn, "map")), self._declarations)

    def flat_map(self, fn: Callable[[V], Iterable[W]]) -> Stream[K, W]:
        """Any number of new values for each value, in the order that the function gives them; key, time and headers are its own.

        A function that raises half-way gives nothing for that record: it is a `UserFunctionError` naming the record.

        >>> import streamkit as sk
        >>> orders = sk.App("shop").stream(sk.Topic("orders"))
        >>> orders.flat_map(lambda order: order.lines)
        <Stream flat_map(lambda): {...}>
        """
        return Stream(FlatMap(self._node, _function(fn, "flat_map")), self._declarations)

    def select(self, *columns: pl.Expr | str, **named: pl.Expr) -> Stream[K, Row]:
        """Rows of exactly these columns: names, expressions, or name=expression; key, event time and headers stay.

        `ExpressionError`: not elementwise, or an unknown column. `DeclarationError`: no columns, or two of one name.

        >>> import polars as pl, streamkit as sk
        >>> class Bid(sk.Model):
        ...     item: str
        ...     price: float
        >>> bids = sk.App("bids").stream(sk.Topic("bids", value=Bid))
        >>> bids.select("item", cents=(pl.col("price") * 100).round().cast(pl.Int64))
        <Stream select(item, cents): {item: str, cents: int}>
        >>> bids.select("prise")
        Traceback (most recent call last):
        streamkit.errors.ExpressionError: expression 'prise': unknown column 'prise'; did you mean 'price'? There is: item, price
        """
        return Stream(select_node(self._node, columns, named, keep=False), self._declarations)

    def with_columns(self, **named: pl.Expr) -> Stream[K, Row]:
        """The rows with these columns added or replaced; key (also one that was made of a column), time and headers stay.

        Errors as in `select`.

        >>> import polars as pl, streamkit as sk
        >>> bids = sk.App("bids").stream(sk.Topic("bids"))
        >>> bids.with_columns(dear=pl.col("price") > 100)
        <Stream with_columns(dear): {dear: any | null, ...}>
        """
        return Stream(select_node(self._node, (), named, keep=True), self._declarations)

    def into(self, model: type[M]) -> Stream[K, M]:
        """The rows as instances of a model; key, event time and headers stay.

        Where the fields are known, names and types are compared here: `SchemaError` lists what is missing, left over or of
        another type. Untyped rows are checked one by one when they come (`UserFunctionError`).

        >>> import streamkit as sk
        >>> class Bid(sk.Model):
        ...     item: str
        ...     price: float
        >>> sk.App("bids").stream(sk.Topic("bids")).into(Bid)
        <Stream into(Bid): {item: str, price: float}>
        """
        schema_of(model)
        check_fits(self._node.schema, model, where="into")
        return Stream(Into(self._node, model), self._declarations)

    def records(self) -> Stream[K, Record[K, V]]:
        """Each value as a `Record` with its key, event time, headers, topic, partition and offset.

        A later ``map(lambda record: record.value)`` gives the values back; key, time and headers are still the record's.

        >>> import streamkit as sk
        >>> orders = sk.App("shop").stream(sk.Topic("orders"))
        >>> orders.records().filter(lambda record: record.headers.get("source") != b"test").map(lambda record: record.value)
        <Stream map(lambda): {...}>
        """
        return Stream(Records(self._node), self._declarations)

    def merge(self, *others: Stream[K, V]) -> Stream[K, V]:
        """All records of these streams, which have the same type. Records of one partition stay in order, others may interleave.

        Each record is late or not by the watermark of its own partition; time is the slowest stream's. The result has no key of
        its own even if all had: use `by_record_key`. `SchemaError`: different types. `DeclarationError`: a stream merged with
        itself, or of another app.

        >>> import streamkit as sk
        >>> app = sk.App("shop")
        >>> app.stream(sk.Topic("web")).merge(app.stream(sk.Topic("shops")))
        <Stream merge: {...}>
        """
        for other in others:
            if not isinstance(other, Stream):
                raise DeclarationError(f"merge: expected a stream, got {other!r}")
            if other._declarations is not self._declarations:
                apps = f"'{self._declarations.app}' and '{other._declarations.app}'"
                raise DeclarationError(f"merge: streams of two apps ({apps}); write one to a topic and read it in the other")
        if not others:
            return Stream(self._node, self._declarations)
        return Stream(Merge((self._node, *(other._node for other in others))), self._declarations)

    @overload
    def key_by(self, key: str | pl.Expr, *more: str | pl.Expr, name: str | None = None) -> KeyedStream[Any, V]: ...
    @overload
    def key_by(self, key: Callable[[V], K2], *, name: str) -> KeyedStream[K2, V]: ...
    def key_by(self, key: Any, *more: str | pl.Expr, name: str | None = None) -> KeyedStream[Any, V]:
        """Gives records a new key, and with it a new place: they travel through the topic ``<app>.<name>.repartition``.

        By columns or expressions; several make a composite key. The name is ``<source>-by-<columns>`` (the source is the topic or
        aggregate that records come from); by a function it must be given. The key is the columns at this point: changing them
        later does not change it. Null is a key like any other. Values, event time and watermarks travel with the records.

        `ExpressionError`: an unknown column, not elementwise. `SchemaError`: a datetime, date, decimal or object as a key.
        `NameCollisionError`: the name is another's.

        >>> import streamkit as sk
        >>> class Order(sk.Model):
        ...     shop: str
        ...     amount: float
        >>> orders = sk.App("shop").stream(sk.Topic("orders", key=str, value=Order))
        >>> orders.key_by("shop")
        <KeyedStream key_by(shop): {shop: str, amount: float}>
        >>> orders.key_by(lambda order: order.amount // 10, name="orders-by-band")
        <KeyedStream key_by(lambda): {shop: str, amount: float}>
        """
        if isinstance(key, (str, pl.Expr)):
            node = key_by_columns(self._node, (key, *more), name)
        elif callable(key):
            if more:
                raise DeclarationError("key_by: one function, or any number of columns; for several keys return a tuple")
            node = key_by_function(self._node, key, name)
        else:
            raise DeclarationError(f"key_by: expected a column, an expression or a function, got {key!r}")
        return KeyedStream(self._declarations.own(node), self._declarations)

    def by_record_key(self) -> KeyedStream[K, V]:
        """Keyed by the key that records have already: of their topic, or of the group whose result they are. Nothing travels.

        All records of one key must be in one partition, which is what every producer with the default partitioner sees to.

        >>> import streamkit as sk
        >>> sk.App("shop").stream(sk.Topic("orders", key=str, value=int)).by_record_key()
        <KeyedStream by_record_key(): {...}>
        """
        return KeyedStream(ByRecordKey(self._node), self._declarations)

    def globally(self, *, name: str | None = None) -> KeyedStream[None, V]:
        """All records in one group, through a repartition topic of one partition: one task handles them all.

        The key is None. The name is ``<source>-globally`` unless given.

        >>> import streamkit as sk
        >>> sk.App("shop").stream(sk.Topic("orders")).globally()
        <KeyedStream globally(): {...}>
        """
        given = f"{source_name(self._node)}-globally" if name is None else name
        node = Globally(self._node, checked_name(given, what="globally"))
        return KeyedStream(self._declarations.own(node), self._declarations)

    @overload
    def to(self: Stream[K, Row], topic: Topic[Any, Any], *, key: str | None = None) -> None: ...
    @overload
    def to(self, topic: Topic[Any, V] | Topic[Any, Row], *, key: str | None = None) -> None: ...
    def to(self, topic: Topic[Any, Any], *, key: str | None = None) -> None:
        """Writes every record to a topic, with its key (or the column ``key``), event time and headers.

        Where the fields are known they are compared with the topic's type here: `SchemaError` lists what does not fit. A value
        that cannot be written is an `EncodeError` naming the record. The topic must exist when the app starts.

        >>> import streamkit as sk
        >>> class Bid(sk.Model):
        ...     item: str
        ...     price: float
        >>> bids = sk.App("bids").stream(sk.Topic("bids", value=Bid))
        >>> bids.select("item").to(sk.Topic("items", value=Bid))
        Traceback (most recent call last):
        streamkit.errors.SchemaError: to(items): the rows do not fit Bid: field 'price' (float) is missing. ...
        """
        checked_topic_argument(topic, where="to")
        check_sink(self._node, topic, key)
        self._declarations.sinks.append(Sink(self._node, topic, key))

    def _same_type(self, node: Node) -> Self:
        return type(self)(node, self._declarations)


class KeyedStream(Stream[K, V]):
    """A stream whose records of one key are together in one task, in order: it can have windows.

    Steps that change only values keep it so.

    >>> import streamkit as sk
    >>> orders = sk.App("shop").stream(sk.Topic("orders"))
    >>> orders.key_by("shop").map(lambda order: order)
    <KeyedStream map(lambda): {...}>
    """

    def map(self, fn: Callable[[V], W]) -> KeyedStream[K, W]:
        """As `Stream.map`; the key stays.

        >>> import streamkit as sk
        >>> sk.App("shop").stream(sk.Topic("orders")).globally().map(lambda order: order.amount)
        <KeyedStream map(lambda): {...}>
        """
        return KeyedStream(super().map(fn)._node, self._declarations)

    def flat_map(self, fn: Callable[[V], Iterable[W]]) -> KeyedStream[K, W]:
        """As `Stream.flat_map`; the key stays.

        >>> import streamkit as sk
        >>> sk.App("shop").stream(sk.Topic("orders")).globally().flat_map(lambda order: order.lines)
        <KeyedStream flat_map(lambda): {...}>
        """
        return KeyedStream(super().flat_map(fn)._node, self._declarations)

    def select(self, *columns: pl.Expr | str, **named: pl.Expr) -> KeyedStream[K, Row]:
        """As `Stream.select`; the key stays, also if its column is left out.

        >>> import streamkit as sk
        >>> sk.App("shop").stream(sk.Topic("orders")).key_by("shop").select("amount")
        <KeyedStream select(amount): {amount: any | null}>
        """
        return KeyedStream(super().select(*columns, **named)._node, self._declarations)

    def with_columns(self, **named: pl.Expr) -> KeyedStream[K, Row]:
        """As `Stream.with_columns`; the key stays, also if its column is replaced.

        >>> import polars as pl, streamkit as sk
        >>> sk.App("shop").stream(sk.Topic("orders")).key_by("shop").with_columns(net=pl.col("amount") / 1.2)
        <KeyedStream with_columns(net): {net: any | null, ...}>
        """
        return KeyedStream(super().with_columns(**named)._node, self._declarations)

    def into(self, model: type[M]) -> KeyedStream[K, M]:
        """As `Stream.into`; the key stays.

        >>> import streamkit as sk
        >>> class Order(sk.Model):
        ...     shop: str
        >>> sk.App("shop").stream(sk.Topic("orders")).key_by("shop").into(Order)
        <KeyedStream into(Order): {shop: str}>
        """
        return KeyedStream(super().into(model)._node, self._declarations)

    def records(self) -> KeyedStream[K, Record[K, V]]:
        """As `Stream.records`; a record's key is the key of this stream.

        >>> import streamkit as sk
        >>> sk.App("shop").stream(sk.Topic("orders")).key_by("shop").records()
        <KeyedStream records(): {...}>
        """
        return KeyedStream(super().records()._node, self._declarations)

    def window(self, window: Window) -> WindowedStream[K, V]:
        """Groups the records of each key by windows of event time: `tumbling`, `hopping`, `cumulating` or `calendar`.

        A record that is late for all of its windows goes to `Aggregated.late` and counts in none.

        >>> import streamkit as sk
        >>> bids = sk.App("bids").stream(sk.Topic("bids"))
        >>> bids.key_by("item").window(sk.tumbling("1m", grace="10s"))
        <WindowedStream key_by(item), tumbling(1m, grace=10s)>
        """
        from streamkit.dsl.windowed import WindowedStream  # noqa: PLC0415 - its results are streams again

        return WindowedStream(self._node, self._keyed(), checked_window(window), self._declarations)

    def _keyed(self) -> Keyed:
        node = self._node
        while not isinstance(node, Keyed):
            assert isinstance(node, Unary), node  # noqa: S101 - every step that keeps the key has one input
            node = node.input
        return node


def _function(fn: Any, where: str) -> Callable[[Any], Any]:
    if isinstance(fn, pl.Expr):
        raise DeclarationError(
            f"{where}: {expression_text(fn)} is an expression; {where}() takes a function. Use select() or with_columns()"
        )
    if not callable(fn):
        raise DeclarationError(f"{where}: expected a function, got {fn!r}")
    found: Callable[[Any], Any] = fn
    return found
