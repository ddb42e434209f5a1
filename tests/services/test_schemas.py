"""schemas/ is what the services' models say."""

from __future__ import annotations

import json

import msgspec
import pytest

from services.bids.app import Bid
from tests.support.schemas import DIRECTORY, schemas


def test_every_topic_has_its_schema_and_no_other_is_there():
    assert sorted(path.name for path in DIRECTORY.glob("*.json")) == sorted(schemas())


@pytest.mark.parametrize("name", sorted(schemas()))
def test_a_schema_is_that_of_the_model(name):
    assert json.loads((DIRECTORY / name).read_text()) == json.loads(schemas()[name]), f"{name} has drifted: run make schemas"


def test_a_changed_model_is_found():
    class Changed(Bid):
        currency: str

    assert json.loads((DIRECTORY / "bids.json").read_text())["$defs"]["Bid"] != msgspec.json.schema(Changed)["$defs"]["Changed"]
