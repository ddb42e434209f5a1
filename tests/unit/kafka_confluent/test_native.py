"""How the extension comes to a client, and what is done where it cannot: with fakes for both."""

from __future__ import annotations

import itertools
import logging
from typing import Any

import confluent_kafka as ck
import pytest
from confluent_kafka import cimpl

from streamkit import compiled
from streamkit.errors import ConfigError
from streamkit.kafka.confluent.native import Extension

CONFIG = {"bootstrap.servers": "localhost:9092"}


class FakeNative:
    """What the extension offers here; `refuses` is what `load` raises."""

    __file__ = "/streamkit/_native.abi3.so"
    Kept = dict

    def __init__(self, refuses: str | None = None) -> None:
        self.loaded: list[str] = []
        self._refuses = refuses

    def load(self, path: str) -> int:
        self.loaded.append(path)
        if self._refuses is not None:
            raise ImportError(self._refuses)
        return 0x02100000

    def Reader(self, number: int, *_: Any) -> tuple[str, int]:  # noqa: N802 - as the extension calls it
        return "reader", number

    def Sender(self, number: int, *_: Any) -> tuple[str, int]:  # noqa: N802 - as the extension calls it
        return "sender", number


class Clients:
    """Makes clients, and keeps their properties; with `refuses` none that has a plugin, with `broken` none at all."""

    def __init__(self, *, refuses: bool = False, broken: bool = False) -> None:
        self.made: list[dict[str, Any]] = []
        self._refuses = refuses
        self._broken = broken

    def __call__(self, config: dict[str, Any]) -> str:
        if self._broken:
            raise ck.KafkaException(ck.KafkaError(ck.KafkaError._INVALID_ARG, "no such broker"))
        if self._refuses and "plugin.library.paths" in config:
            raise ck.KafkaException(ck.KafkaError(ck.KafkaError._INVALID_ARG, "Failed to load plugin"))
        self.made.append(config)
        return f"client {len(self.made)}"


@pytest.fixture(autouse=True)
def auto(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(compiled.VARIABLE, raising=False)


def test_a_client_gets_the_plugin_and_a_number_by_which_it_is_found(monkeypatch):
    monkeypatch.setattr("streamkit.kafka.confluent.native._numbers", itertools.count(1))  # whoever made clients before
    native, make = FakeNative(), Clients()
    extension = Extension(lambda _: native)
    assert extension.reader(make, CONFIG) == ("client 1", ("reader", 1))
    assert extension.sender(make, CONFIG) == ("client 2", ("sender", 2))
    assert make.made == [
        {**CONFIG, "plugin.library.paths": native.__file__, "streamkit.client": "1"},
        {**CONFIG, "plugin.library.paths": native.__file__, "streamkit.client": "2"},
    ]
    assert extension.native is native
    assert native.loaded == [cimpl.__file__]  # once, in the library that the clients are made with


def test_plugins_of_the_user_stay_and_come_first():
    make = Clients()
    Extension(lambda _: FakeNative()).reader(make, {**CONFIG, "plugin.library.paths": "monitoring.so;tracing.so"})
    assert make.made[0]["plugin.library.paths"] == f"monitoring.so;tracing.so;{FakeNative.__file__}"


def test_it_is_looked_for_once_and_by_its_name():
    asked: list[str] = []
    extension = Extension(asked.append)
    assert asked == []  # not before a client is made
    for _ in range(2):
        extension.reader(Clients(), CONFIG)
    assert asked == ["streamkit.kafka.confluent._native"]


def test_without_it_a_client_has_the_properties_it_was_given():
    make = Clients()
    extension = Extension(lambda _: None)
    assert extension.reader(make, CONFIG) == ("client 1", None)
    assert extension.sender(make, CONFIG) == ("client 2", None)
    assert make.made == [CONFIG, CONFIG]
    assert extension.native is None


def test_off_goes_without(monkeypatch):
    monkeypatch.setenv(compiled.VARIABLE, "off")
    make = Clients()
    assert Extension().reader(make, CONFIG) == ("client 1", None)
    assert make.made == [CONFIG]


def test_one_that_does_not_fit_librdkafka_is_gone_without_and_told(caplog):
    native, make = FakeNative(refuses="this librdkafka has no rd_kafka_produceva"), Clients()
    extension = Extension(lambda _: native)
    with caplog.at_level(logging.WARNING, "streamkit"):
        for _ in range(2):
            assert extension.reader(make, CONFIG)[1] is None
    assert make.made == [CONFIG, CONFIG]
    assert caplog.messages == ["records are read and written one by one: this librdkafka has no rd_kafka_produceva"]


def test_one_that_librdkafka_refuses_is_gone_without_and_told_once(caplog):
    make = Clients(refuses=True)
    extension = Extension(lambda _: FakeNative())
    with caplog.at_level(logging.WARNING, "streamkit"):
        assert extension.sender(make, CONFIG) == ("client 1", None)
        assert extension.reader(make, CONFIG) == ("client 2", None)
    assert make.made == [CONFIG, CONFIG]
    assert extension.native is None
    (told,) = caplog.messages
    assert told.startswith("records are read and written one by one: librdkafka does not load it as a plugin:")
    assert "Failed to load plugin" in told


@pytest.mark.parametrize(
    "native,clients,words",
    [
        (FakeNative(refuses="no rd_kafka_produceva"), Clients(), "no rd_kafka_produceva"),
        (FakeNative(), Clients(refuses=True), "does not load it as a plugin"),
    ],
)
def test_where_it_is_required_no_client_does_without(monkeypatch, native, clients, words):
    monkeypatch.setenv(compiled.VARIABLE, "require")
    extension = Extension(lambda _: native)
    for _ in range(2):
        with pytest.raises(ConfigError, match=f"STREAMKIT_NATIVE=require, but records cannot be moved by columns: .*{words}"):
            extension.reader(clients, CONFIG)


def test_a_client_that_cannot_be_made_is_no_fault_of_the_plugin(caplog):
    native = FakeNative()
    extension = Extension(lambda _: native)
    with caplog.at_level(logging.WARNING, "streamkit"), pytest.raises(ck.KafkaException, match="no such broker"):
        extension.reader(Clients(broken=True), CONFIG)
    assert not caplog.messages
    assert extension.native is native
    assert extension.reader(Clients(), CONFIG)[1] is not None
