"""Columns of select and with_columns: names, expressions and the fields they give."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from streamkit.errors import DeclarationError
from streamkit.plan.elementwise import node_of
from streamkit.plan.expressions import bare_column, check_elementwise, expression_field, tree_of
from streamkit.plan.nodes import Node, Select
from streamkit.record.model import Row
from streamkit.record.schema import Schema


def select_node(stream: Node, positional: tuple[str | pl.Expr, ...], named: Mapping[str, Any], *, keep: bool) -> Select:
    """A Select node: of these columns alone, or (``keep``) added to those that there are."""
    where = "with_columns" if keep else "select"
    pairs = [named_column(column, where=where) for column in positional]
    pairs += [(name, _expression(value, where)) for name, value in named.items()]
    if not pairs:
        raise DeclarationError(f"{where}: no columns; name at least one, such as {where}(total=pl.col('price') * 2)")
    columns: dict[str, pl.Expr] = {}
    for name, expr in pairs:
        if name in columns:
            raise DeclarationError(
                f"{where}: two columns are named '{name}'; give one another name with .alias() or name=expression"
            )
        columns[name] = plain(expr)
    fields = {name: expression_field(expr, stream.schema) for name, expr in columns.items()}
    before = stream.schema
    if keep:
        return Select(stream, columns, True, Schema({**before.fields, **fields}, open=before.open, type=Row))
    return Select(stream, columns, False, Schema(fields, type=Row))


def named_column(column: Any, *, where: str) -> tuple[str, pl.Expr]:
    """Name and expression: a str is a column, an expression is named as Polars names it."""
    expr = _expression(column, where)
    check_elementwise(expr)
    return expr.meta.output_name(), plain(expr)


def is_named(column: str | pl.Expr) -> bool:
    """Whether an expression is a column or has a name that its author gave it."""
    if isinstance(column, str) or bare_column(column) is not None:
        return True
    return node_of(tree_of(column))[0] in ("Alias", "RenameAlias", "KeepName")


def plain(expr: pl.Expr) -> pl.Expr:
    """The expression itself; of a column under another name the column, which then needs no computing."""
    bare = bare_column(expr)
    return expr if bare is None else pl.col(bare)


def _expression(column: Any, where: str) -> pl.Expr:
    if isinstance(column, str):
        column = pl.col(column)
    if not isinstance(column, pl.Expr):
        raise DeclarationError(f"{where}: expected the name of a column or an expression such as pl.col('price'), got {column!r}")
    return column
