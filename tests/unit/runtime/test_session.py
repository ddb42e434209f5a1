"""R20 where the session time-out is the brokers' setting of the group."""

from __future__ import annotations

from typing import cast

import pytest

from streamkit.config import EngineSettings
from streamkit.errors import AuthorizationError, ConfigError, RetriableError, StreamkitError
from streamkit.instrument import Recorder
from streamkit.kafka.client import Admin
from streamkit.runtime.session import check_session


class Asked:
    """Answers one question, or raises."""

    def __init__(self, answer: int | StreamkitError | None) -> None:
        self._answer = answer

    def group_session_timeout_ms(self, group: str, timeout: float) -> int | None:  # noqa: ARG002 - any
        if isinstance(self._answer, StreamkitError):
            raise self._answer
        return self._answer


def check(answer: int | StreamkitError | None, *, protocol: str = "consumer") -> Recorder:
    events = Recorder()
    check_session(cast("Admin", Asked(answer)), "bids", EngineSettings(group_protocol=protocol), events)
    return events


def test_a_session_that_is_longer_than_a_transaction_is_told() -> None:
    assert check(45_000).events == [("session", {"group": "bids", "timeout": "45s"})]


@pytest.mark.parametrize("session_ms", [6_000, 30_000])
def test_a_session_that_a_transaction_could_outlive_is_refused(session_ms: int) -> None:
    with pytest.raises(ConfigError, match=r"group 'bids' .* is (6|30)s; transaction_timeout \(30s\) must be below it"):
        check(session_ms)


def test_a_session_that_is_longer_than_polls_may_stay_away_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"is 10m; max_poll_interval \(5m\) must not be below it"):
        check(600_000)


@pytest.mark.parametrize("answer", [None, AuthorizationError("no"), RetriableError("no answer")])
def test_where_it_cannot_be_read_that_is_told(answer: StreamkitError | None) -> None:
    ((name, fields),) = check(answer).events
    assert (name, fields["group"]) == ("session-unknown", "bids")


def test_with_the_classic_protocol_nothing_is_asked() -> None:
    assert check(1, protocol="classic").events == []
