"""The settings in effect: defaults, below a TOML file, below the environment, below arguments; and where each came from."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeVar

from streamkit.config.catalogue import BOOTSTRAP, Value, default_of, reader, settings
from streamkit.config.duration import duration_text
from streamkit.config.engine import EngineSettings, broken_order, public_name
from streamkit.config.secrecy import is_secret
from streamkit.config.sources import Given, from_arguments, from_environment, from_file
from streamkit.errors import ConfigError

Checked = TypeVar("Checked")

DEFAULT = "default"
_KAFKA = "kafka."


@dataclass(frozen=True, slots=True)
class Settings:
    """One run's settings. ``kafka`` has librdkafka's properties, and ``origins`` says of each name where its value came from."""

    engine: EngineSettings
    bootstrap_servers: str
    instance_id: str
    on_error: Literal["stop", "skip"]
    on_lost_offset: Literal["stop", "earliest"]
    log_level: str
    log_format: str
    kafka: Mapping[str, str] = field(repr=False)  # has secrets
    origins: Mapping[str, str]

    @property
    def log_as_json(self) -> bool | None:
        """None: what suits standard error."""
        return None if self.log_format == "auto" else self.log_format == "json"

    def origin(self, name: str) -> str:
        """Where the value of a setting came from, ``default`` if from nowhere else.

        >>> resolve({"max_records": 500}, environ={}).origin("max_records")
        'argument max_records'
        """
        return self.origins.get(name, DEFAULT)

    def checked(self, name: str, check: Callable[[], Checked]) -> Checked:
        """Runs a check of one setting; its `ConfigError` says where the value came from, if it was given."""
        try:
            return check()
        except ConfigError as error:
            if name not in self.origins:
                raise
            raise ConfigError(f"{self.origin(name)}: {error}") from None


def resolve(
    arguments: Mapping[str, object] | None = None,
    *,
    file: str | Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """Reads all sources, now. ``file`` is instead of STREAMKIT_CONFIG and streamkit.toml; ``environ`` instead of the process's.

    `ConfigError`: a key that there is not, a value that is wrong or out of range, with its place; an order of R20 that is broken.

    >>> resolve({"commit_interval": "50ms"}, environ={"STREAMKIT_MAX_RECORDS": "500"}).engine.max_records
    500
    >>> resolve(environ={"STREAMKIT_COMIT_INTERVAL": "50ms"})
    Traceback (most recent call last):
    streamkit.errors.ConfigError: environment STREAMKIT_COMIT_INTERVAL: there is no setting 'comit_interval'; did you mean ...
    """
    surroundings = os.environ if environ is None else environ
    winners: dict[str, Given] = {}
    values: dict[str, Value] = {name: default_of(setting) for name, setting in settings().items()}
    for given in (*from_file(file, surroundings), *from_environment(surroundings), *from_arguments(arguments or {})):
        winners[given.name] = given
        values[given.name] = _read(given)
    origins = {name: given.origin for name, given in winners.items()}
    return Settings(
        engine=_engine(values, origins),
        bootstrap_servers=str(values[BOOTSTRAP]),
        instance_id=str(values["instance_id"]),
        on_error="skip" if values["on_error"] == "skip" else "stop",
        on_lost_offset="earliest" if values["on_lost_offset"] == "earliest" else "stop",
        log_level=str(values["log_level"]),
        log_format=str(values["log_format"]),
        kafka=MappingProxyType(_properties(values)),
        origins=MappingProxyType(origins),
    )


def engine_arguments(engine: EngineSettings) -> dict[str, object]:
    """An `EngineSettings` as arguments: all of its fields count as given."""
    return {
        public_name(name): timedelta(milliseconds=value) if name.endswith("_ms") else value
        for name, value in asdict(engine).items()
    }


def kafka_arguments(properties: Mapping[str, object]) -> dict[str, object]:
    """Properties of librdkafka under the names of settings.

    >>> kafka_arguments({"security.protocol": "SSL"})
    {'kafka.security.protocol': 'SSL'}
    """
    return {f"{_KAFKA}{name}": value for name, value in properties.items()}


def listing(resolved: Settings) -> list[tuple[str, Value, str]]:
    """Every setting by name, its value as users write it (None: not set, or hidden) and its origin; Kafka's last."""
    values: dict[str, Value] = {public_name(name): value for name, value in asdict(resolved.engine).items()}
    values |= {name: getattr(resolved, name) for name in ("instance_id", "on_error", "on_lost_offset", "log_level", "log_format")}
    values[BOOTSTRAP] = resolved.bootstrap_servers
    rows: list[tuple[str, Value, str]] = []
    for name, setting in settings().items():
        value = values[name]
        shown = setting.said(value) if setting.kind == "duration" else value
        where = resolved.origin(name)
        rows.append((name, shown, f"{where} ({setting.unset})" if setting.unset and where == DEFAULT else where))
    for name in sorted(resolved.kafka):
        hidden = is_secret(name)
        where = resolved.origin(f"{_KAFKA}{name}")
        rows.append((f"{_KAFKA}{name}", None if hidden else resolved.kafka[name], f"hidden; {where}" if hidden else where))
    return rows


def _read(given: Given) -> Value:
    try:
        return reader(given.name)(given.value)
    except ValueError as error:
        place = given.origin if given.origin.endswith(f" {given.name}") else f"{given.origin}: {given.name}"
        raise ConfigError(f"{place}: {error}") from None


def _engine(values: Mapping[str, Value], origins: Mapping[str, str]) -> EngineSettings:
    fields: dict[str, Any] = {each.field: values[name] for name, each in settings().items() if each.field is not None}
    wrong = broken_order(fields, duration_text)
    if wrong is not None:
        order, sentence = wrong
        places = ", ".join(f"{name}: {origins.get(name, DEFAULT)}" for name in (public_name(order.low), public_name(order.high)))
        raise ConfigError(f"{sentence} ({places})")
    return EngineSettings(**fields)


def _properties(values: Mapping[str, Value]) -> dict[str, str]:
    return {
        name.removeprefix(_KAFKA): str(value) for name, value in values.items() if name.startswith(_KAFKA) and name != BOOTSTRAP
    }
