"""The table of docs/operators.md that says what aggregators make of nulls, NaN, infinities and large integers is what they do."""

from __future__ import annotations

import operator
import re
from pathlib import Path
from typing import Any

import pytest

import streamkit as sk
from streamkit.errors import AggregateError
from streamkit.plan.aggregators import Function

PAGE = Path(__file__).resolve().parents[2] / "docs/operators.md"
NAMES: dict[str, Any] = {
    "sk": sk, "null": None, "NaN": float("nan"), "inf": float("inf"), "MAX": 2**63 - 1, "add": operator.add,
}  # fmt: skip


class Numbers(sk.Model):
    x: float | None = None
    n: int | None = None


def table() -> tuple[list[str], dict[str, list[str]]]:
    """The inputs at the head of the columns, and what each aggregator makes of them."""
    text = PAGE.read_text().partition("## Nulls, NaN, infinities and overflow")[2].partition("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    head, _, *body = rows
    return [cell.strip("`") for cell in head[1:]], {row[0].strip("`"): [cell.strip("`") for cell in row[1:]] for row in body}


def value_of(text: str) -> Any:
    return eval(text, dict(NAMES))


def found(aggregator: str, inputs: str) -> str:
    """What the window holds after these inputs: of whole numbers the field n, else x."""
    values = value_of(f"[{inputs}]")
    integers = "MAX" in inputs
    app = sk.App("table")
    numbers: sk.Topic[Any, Numbers] = sk.Topic("numbers", value=sk.avro(Numbers))
    output = value_of(re.sub(r"\bx\b(?!=)", '"n"' if integers else '"x"', aggregator))
    window = app.stream(numbers).globally().window(sk.tumbling("1h"))
    window.aggregate("totals", out=output).on_close().to(sk.Topic("results"))
    try:
        with sk.TestDriver(app) as driver:
            driver.send(numbers, *(Numbers(n=value) if integers else Numbers(x=value) for value in values))
            (row,) = driver.store("totals")
    except AggregateError:
        return "error"
    return shown(row.out)


def shown(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(shown, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f'"{name}": {shown(inside)}' for name, inside in value.items()) + "}"
    if value is None:
        return "null"
    return re.sub("nan", "NaN", str(value))


HEAD, BODY = table()


@pytest.mark.parametrize("aggregator", BODY)
def test_the_table_is_what_aggregators_do(aggregator: str) -> None:
    assert [found(aggregator, inputs) for inputs in HEAD] == BODY[aggregator]


def test_every_aggregator_is_in_the_table() -> None:
    there = {re.sub(r"sk\.(\w+)\(.*", r"\1", row) for row in BODY}
    public = {name for name, home in sk._HOMES.items() if home in ("dsl.aggregates", "dsl.user_defined")} - {"aggregator"}
    assert there >= public
    assert {function.value for function in Function} - {"aggregator"} <= public
