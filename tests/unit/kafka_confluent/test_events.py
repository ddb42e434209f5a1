"""Log lines and error events of librdkafka, and the group metadata it serialises."""

from __future__ import annotations

import logging

import pytest
from confluent_kafka import KafkaError, KafkaException

from streamkit.errors import FatalError, RetriableError
from streamkit.kafka.client import GroupMetadata
from streamkit.kafka.confluent import group_metadata
from streamkit.kafka.confluent.events import ErrorEvents, LogTap, Repeats, _fatal_in, attach


@pytest.mark.parametrize(
    "facility,text",
    [
        ("FAIL", "[thrd:TxnCoordinator]: TxnCoordinator: 10.0.0.1:9092: Disconnected (after 5ms in state UP)"),
        ("REQTMOUT", "[thrd:TxnCoordinator]: TxnCoordinator/1: Timed out EndTxnRequest in flight (after 10000ms, timeout #0)"),
        ("STATE", "[thrd:TxnCoordinator]: TxnCoordinator/1: Broker changed state UP -> DOWN"),
    ],
)
def test_a_disturbed_coordinator_connection_is_noticed(facility, text):
    tap = LogTap()
    tap.log(logging.DEBUG, "%s [%s] %s", facility, "streamkit#producer-1", text)
    assert tap.disturbance == f"{facility} {text}"
    tap.forget()
    assert tap.disturbance is None


@pytest.mark.parametrize(
    "facility,text",
    [
        ("RETRY", "[thrd:TxnCoordinator]: TxnCoordinator/1: Moved 1 retry buffer(s) to output queue"),
        ("WAKEUP", "[thrd:main]: Wake-up sent to 2 broker threads in state >= INIT: begin transaction"),
        ("FAIL", "[thrd:10.0.0.1:9092/2]: 10.0.0.1:9092/2: Disconnected (after 5ms in state UP)"),
    ],
)
def test_routine_and_other_connections_are_not(facility, text):
    tap = LogTap()
    tap.log(logging.DEBUG, "%s [%s] %s", facility, "streamkit#producer-1", text)
    assert tap.disturbance is None


def test_any_connection_that_was_up_and_is_lost_is_noticed():
    tap = LogTap()
    for facility, text in (
        ("STATE", "[thrd:10.0.0.1:9092/2]: 10.0.0.1:9092/2: Broker changed state UP -> DOWN"),
        ("REQTMOUT", "[thrd:10.0.0.1:9092/2]: 10.0.0.1:9092/2: Timed out TxnOffsetCommitRequest in flight (after 10000ms)"),
    ):
        tap.log(logging.DEBUG, "%s [%s] %s", facility, "streamkit#producer-1", text)
        assert tap.broken == f"{facility} {text}"
        tap.forget()
        assert tap.broken is None
    for facility, text in (
        ("STATE", "[thrd:10.0.0.1:9092/2]: 10.0.0.1:9092/2: Broker changed state APIVERSION_QUERY -> UP"),
        ("STATE", "[thrd:10.0.0.1:9092/2]: 10.0.0.1:9092/2: Broker changed state CONNECT -> DOWN"),
        ("FAIL", "[thrd:10.0.0.1:9092/2]: 10.0.0.1:9092/2: Connect to ipv4#10.0.0.1:9092 failed: Connection refused"),
    ):
        tap.log(logging.DEBUG, "%s [%s] %s", facility, "streamkit#producer-1", text)
        assert tap.broken is None


def test_lines_go_to_the_logger_and_to_the_listener_but_debug_lines_only_if_asked_for(caplog):
    heard: list[str] = []
    with caplog.at_level(logging.DEBUG, logger="streamkit.kafka"):
        for debug in (False, True):
            tap = LogTap(debug=debug, on_log=heard.append)
            tap.log(logging.DEBUG, "", "STATE", "p", "detail")
            tap.log(logging.WARNING, "", "GETPID", "p", "news")
    assert heard == ["GETPID news", "STATE detail", "GETPID news"]
    assert [record.levelname for record in caplog.records] == ["WARNING", "DEBUG", "WARNING"]


def test_a_failure_that_comes_as_an_event_too_is_one_line(caplog):
    tap, events = LogTap(), ErrorEvents("admin")
    attach({}, tap, events)
    for spent in (302, 301):  # librdkafka tries again
        text = f"sasl_ssl://k:9092/bootstrap: SASL authentication error: no (after {spent}ms in state AUTH_REQ)"
        tap.log(logging.ERROR, "", "FAIL", "p", f"[thrd:sasl_ssl://k:9092/bootstrap]: {text}")
        events(KafkaError(KafkaError._AUTHENTICATION, text))
    assert len(caplog.records) == 1


def test_a_connection_that_is_closed_at_once_explains_the_time_out_that_follows():
    tap, events = LogTap(), ErrorEvents("admin")
    attach({}, tap, events)
    text = "k:9092/bootstrap: Disconnected: connection closed by peer (after 36ms in state APIVERSION_QUERY)"
    tap.log(logging.INFO, "", "FAIL", "p", f"[thrd:k:9092/bootstrap]: {text}")
    events(KafkaError(KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down"))
    lately = events.lately()
    assert lately.startswith("k:9092/bootstrap: Disconnected")
    assert "check kafka.security.protocol" in lately


def test_the_topic_that_a_transaction_may_not_write_to_is_read_from_its_line():
    tap = LogTap()
    text = (
        '[thrd:main]: TxnCoordinator/1: Failed to add partition "totals" [2] to transaction: Broker: Topic authorization failed'
    )
    tap.log(logging.ERROR, "", "ADDPARTS", "p", text)
    assert tap.refused_topic == "totals"


def test_a_line_that_repeats_is_written_once_in_a_while():
    now = [0.0]
    repeats = Repeats(lambda: now[0])
    assert [repeats.is_news("down"), repeats.is_news("down"), repeats.is_news("up")] == [True, False, True]
    now[0] = 10.0
    assert repeats.is_news("down")


def test_what_was_said_is_remembered_within_bounds():
    repeats = Repeats(lambda: 0.0)
    assert all(repeats.is_news(str(number)) for number in range(1_000))
    assert not repeats.is_news("999")
    assert repeats.is_news("0")


@pytest.mark.parametrize(
    "code,reason,refuses",
    [
        (KafkaError._AUTHENTICATION, "SASL authentication error", True),
        (KafkaError._SSL, "SSL handshake failed: certificate verify failed", True),
        (KafkaError._SSL, "SSL handshake failed: connection reset by peer", False),
        (KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down", False),
        (KafkaError._TRANSPORT, "Connection refused", False),
    ],
)
def test_a_refusal_by_the_cluster_is_raised_once(code, reason, refuses):
    events = ErrorEvents("consumer")
    events(KafkaError(code, reason))
    if refuses:
        with pytest.raises(FatalError, match=reason):
            events.check()
    events.check()


def test_a_time_out_says_what_happened_lately():
    events = ErrorEvents("consumer")
    timed_out = KafkaError(KafkaError._TIMED_OUT, "Timed out")
    assert "lately" not in str(events.classified(timed_out, "committed", about="group 'g'"))
    events(KafkaError(KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down"))
    error = events.classified(timed_out, "committed", about="group 'g'")
    assert isinstance(error, RetriableError)
    assert "group 'g' (lately: 1/1 brokers are down): Timed out" in str(error)
    events(KafkaError(KafkaError._AUTHENTICATION, "wrong password"))
    assert isinstance(events.classified(timed_out, "committed"), FatalError)


def test_the_fatal_error_is_caught_in_both_of_its_disguises():
    fatal = KafkaException(KafkaError(KafkaError._FENCED, "fenced", fatal=True))
    plain, disguised = ErrorEvents("p"), ErrorEvents("p")
    with plain.caught():
        raise fatal
    with disguised.caught():
        raise SystemError("LogTap.log returned a result with an exception set") from fatal
    for events in (plain, disguised):
        assert events.fatal is not None
        assert events.fatal.name() == "_FENCED"
    with pytest.raises(KafkaException), plain.caught():
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
    with pytest.raises(SystemError), plain.caught():
        raise SystemError("something else")


def test_group_metadata_round_trip():
    blob = b"CGMDv2:\x07\x00\x00\x00my-group\0member-1\0\x01"
    decoded = group_metadata.decode(blob)
    assert decoded == GroupMetadata("my-group", 7, "member-1", opaque=blob)
    assert group_metadata.encode(decoded) == blob
    assert group_metadata.encode(GroupMetadata("my-group", 7, "member-1")) == blob
    assert group_metadata.decode(b"CGMDv2:\xff\xff\xff\xffg\0\0\x01") == GroupMetadata(
        "g", -1, "", opaque=b"CGMDv2:\xff\xff\xff\xffg\0\0\x01"
    )
    with pytest.raises(FatalError, match="not supported"):
        group_metadata.decode(b"CGMDv3:\x07\x00\x00\x00g\0m\0\x01")


def test_a_fatal_error_is_found_also_where_it_is_no_exception():
    """confluent_kafka was seen to raise a bare KafkaError, which no `except` clause with a class catches."""
    fatal = KafkaError(KafkaError._FENCED, "fenced", True)
    passing = KafkaError(KafkaError._TIMED_OUT, "late")
    behind = SystemError("a call returned a result with an exception set")
    behind.__cause__ = KafkaException(fatal)
    assert [_fatal_in(raised) for raised in (fatal, KafkaException(fatal), behind)] == [fatal] * 3
    assert [_fatal_in(raised) for raised in (passing, KafkaException(passing), ValueError(), None)] == [None] * 4
