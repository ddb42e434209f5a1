"""Each state machine is drawn at the top of its module; the drawing is the table."""

from __future__ import annotations

import re

import pytest

from streamkit.kafka.memory.client import classic_membership, producer
from streamkit.kafka.memory.server import classic_group, consumer_group, transaction

MODULES = [classic_membership, producer, classic_group, consumer_group, transaction]

_LINE = re.compile(r"^ {4}([A-Z_]+) +-> ([A-Z_]+(?:, [A-Z_]+)*)(?: |$)", re.MULTILINE)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__.split(".")[-1])
def test_the_drawing_is_the_table(module):
    drawn = {state: set(targets.split(", ")) for state, targets in _LINE.findall(module.__doc__)}
    table = {state.name: {target.name for target in targets} for state, targets in module.TRANSITIONS.items() if targets}
    assert drawn == table
