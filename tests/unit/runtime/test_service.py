"""What ends a service stands in its log."""

from __future__ import annotations

from typing import Any

import pytest

import streamkit as sk
from streamkit.config import EngineSettings
from streamkit.errors import AuthenticationError, DecodeError
from streamkit.instrument import Recorder
from streamkit.runtime.service import RunOptions, run_service


class Failing:
    """A client that cannot even be asked."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def admin(self) -> Any:
        raise self._error


@pytest.mark.parametrize(
    "error,told",
    [
        (AuthenticationError("wrong password"), {"kind": "AuthenticationError", "error": "wrong password"}),
        (KeyError("unexpected"), {"kind": "KeyError", "error": "'unexpected'"}),
        (
            DecodeError("no JSON", topic="bids", partition=2, offset=17, operator="bids"),
            {"kind": "DecodeError", "error": "operator 'bids', bids-2@17: no JSON", "topic": "bids", "partition": 2, "offset": 17,
             "operator": "bids"},
        ),
    ],
)  # fmt: skip
def test_the_error_that_ends_a_service_is_told_with_its_place(error, told):
    app, events = sk.App("app"), Recorder()
    app.stream(sk.Topic("in")).to(sk.Topic("out"))
    with pytest.raises(type(error)):
        run_service(app.topology(), Failing(error), EngineSettings(), RunOptions(), events)
    assert events.of("failed") == [told]
    assert events.of("stopped") == []
