"""All scenarios by name: those that go on whatever happens, and those that must stop."""

from __future__ import annotations

from tests.sim.damaged import DAMAGED
from tests.sim.load import Load
from tests.sim.pipelines import (
    Chained,
    Cumulating,
    Idle,
    Late,
    Pipeline,
    Poison,
    Rekeyed,
    Repartitioned,
    Stateless,
    Tumbling,
    Updates,
)
from tests.sim.sliding_kinds import KINDS as SLIDING
from tests.sim.time_kinds import KINDS as TIME
from tests.sim.window_kinds import KINDS
from tests.support.reference import Grid

SCENARIOS: dict[str, Pipeline] = {
    one.name: one
    for one in (
        Stateless(),
        Tumbling(keyed="record-key"),
        Repartitioned(keyed="column"),
        Updates(keyed="record-key"),
        Cumulating(grid=Grid(1_200, 400, grace_ms=100), keyed="column"),
        Idle(load=Load(topics=("events", "more"), may_be_empty=True)),
        Late(load=Load(partitions=3, late=0.4), grid=Grid(1_000, 1_000)),
        Chained(),
        Rekeyed(),
        Poison(on_error="skip"),
    )
}
SCENARIOS |= KINDS | SLIDING | TIME
"""These go on, whatever the faults."""

ALL = {**SCENARIOS, **DAMAGED}
TURNS = (*sorted(SCENARIOS), *sorted(SCENARIOS), *sorted(SCENARIOS), *sorted(DAMAGED))
"""The order in which a campaign takes them."""
