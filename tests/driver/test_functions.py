"""Every aggregate function through a whole app: typed and untyped rows, hopping windows, a kill half-way, results as JSON."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

import streamkit as sk
from streamkit.errors import AggregateError

AT = datetime.fromisoformat("2024-01-01T00:00:00Z")


class Sale(sk.Model):
    at: datetime
    shop: str
    amount: int
    customer: str | None
    fee: Decimal


SALES = sk.Topic("sales", key=str, value=Sale)
OUTPUTS: dict[str, Any] = {
    "spread": sk.variance("amount", population=True),
    "deviation": sk.stddev("amount"),
    "opened": sk.first("amount"),
    "closed": sk.last("amount"),
    "first_customer": sk.first("customer"),
    "last_fee": sk.last("fee"),
    "amounts": sk.collect("amount", limit=3),
    "customers": sk.count_distinct("customer"),
    "fees": sk.count_distinct("fee"),
}


def app_over(topic: sk.Topic[Any, Any], window: Any) -> sk.App:
    app = sk.App("shop")
    sales = app.stream(topic, event_time=sk.event_time("at", out_of_orderness="10s"))
    sales.key_by("shop").window(window).aggregate("all", **OUTPUTS).on_close().to(sk.Topic("results"))
    return app


def sale(second: int, amount: int, customer: str | None, fee: str = "0.10") -> Sale:
    return Sale(AT + timedelta(seconds=second), "A", amount, customer, Decimal(fee))


ARRIVING = [sale(3, 5, None), sale(1, 2, "bo"), sale(9, 4, "al", "0.25"), sale(2, 9, "bo"), sale(7, 5, None)]
ROW = {
    "shop": "A",
    "spread": 5.2,  # of 2, 9, 5, 5, 4
    "deviation": pytest.approx(6.5**0.5),
    "opened": 2,
    "closed": 4,
    "first_customer": "bo",
    "last_fee": "0.25",
    "amounts": [2, 9, 5],
    "customers": 2,
    "fees": 2,
}


def results(driver: sk.TestDriver) -> list[dict[str, Any]]:
    rows = [json.loads(record.value or b"") for record in driver.cluster.read("results")]
    return sorted(rows, key=lambda row: row["window_end"])


def without_bounds(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if not name.startswith("window_")}


@pytest.mark.parametrize("kill", [False, True], ids=["straight", "killed"])
def test_all_functions_over_typed_rows(kill: bool) -> None:  # noqa: FBT001 - a parameter of the test
    with sk.TestDriver(app_over(SALES, sk.tumbling("10s"))) as driver:
        for one in ARRIVING:
            driver.send(SALES, one)
            if kill:
                driver.crash()
                driver.restart()
        driver.end_of_input()
        (row,) = results(driver)
        assert without_bounds(row) == ROW


def test_hopping_windows_put_the_parts_together() -> None:
    with sk.TestDriver(app_over(SALES, sk.hopping("10s", hop="2s"))) as driver:
        for one in ARRIVING:
            driver.send(SALES, one)
            driver.crash()
            driver.restart()
        driver.end_of_input()
        rows = {row["window_start"][17:19]: row for row in results(driver)}
        assert without_bounds(rows["00"]) == ROW
        amounts = [[2], [2, 9, 5], [2, 9, 5], [2, 9, 5], [2, 9, 5], [9, 5, 5], [5, 4], [5, 4], [4]]
        assert [row["amounts"] for row in rows.values()] == amounts


def test_a_group_of_nulls_only() -> None:
    with sk.TestDriver(app_over(SALES, sk.tumbling("10s"))) as driver:
        driver.send(SALES, sale(1, 7, None))
        driver.end_of_input()
        (row,) = results(driver)
        expected = {"deviation": None, "spread": 0.0, "first_customer": None, "customers": 0, "amounts": [7]}
        assert {name: row[name] for name in expected} == expected


def test_untyped_rows_and_values_that_cannot_be_added() -> None:
    untyped = sk.Topic("sales", key=str)
    row = {"at": "2024-01-01T00:00:01Z", "shop": "A", "amount": 3, "customer": "bo", "fee": 1.5}
    with sk.TestDriver(app_over(untyped, sk.tumbling("10s"))) as driver:
        driver.send(untyped, sk.Row(row))
        driver.send(untyped, sk.Row(row, amount=5, customer=None))
        with pytest.raises(AggregateError, match=r"repartition-0@\d+: .*key 'A': a number is needed, but the value is 'six'"):
            driver.send(untyped, sk.Row(row, amount="six"))
    with sk.TestDriver(app_over(untyped, sk.tumbling("10s")), on_error="skip") as driver:
        for amount in (3, "six", 5):
            driver.send(untyped, sk.Row(row, amount=amount))
        driver.send(untyped, sk.Row(row, customer=["bo"]))
        driver.end_of_input()
        (found,) = results(driver)
        assert (found["opened"], found["closed"], found["amounts"], found["customers"]) == (3, 5, [3, 5], 1)
