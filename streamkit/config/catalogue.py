"""Every setting by the name that users write: what it takes, its default, and what it means."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, fields
from functools import cache
from types import MappingProxyType
from typing import Any, Literal

from streamkit.config.duration import duration_text, parse_ms
from streamkit.config.engine import EngineSettings, public_name

Value = str | int | None

BOOTSTRAP = "kafka.bootstrap.servers"
_NUMBER = re.compile(r"[+-]?[0-9]{1,18}(_[0-9]{1,3}){0,5}")  # Python refuses to read numbers of thousands of digits


@dataclass(frozen=True, slots=True)
class Setting:
    """``field`` is where an engine setting lives in `EngineSettings`; ``default`` None means that the value is found elsewhere,
    as ``unset`` says."""

    name: str
    kind: Literal["duration", "number", "text", "flag"]
    default: Value
    doc: str
    field: str | None = None
    least: int = 0
    most: int = 0
    choices: tuple[str, ...] = ()
    unset: str = ""

    def read(self, value: object) -> Value:
        """The value as the engine wants it. `ValueError` says what is wrong with it.

        >>> settings()["commit_interval"].read("50ms"), settings()["max_records"].read("500")
        (50, 500)
        """
        if self.kind == "text":
            return self._text(value)
        if self.kind == "flag":
            return _flag(value)
        read = parse_ms(value) if self.kind == "duration" else _number(value)
        if not self.least <= read <= self.most:
            raise ValueError(
                f"{value!r} is out of range; it must be at least {self.said(self.least)}, at most {self.said(self.most)}"
            )
        return read

    def said(self, value: Value) -> str:
        """A value as users write it."""
        if isinstance(value, bool):
            return "true" if value else "false"
        return duration_text(value) if self.kind == "duration" and isinstance(value, int) else str(value)

    def _text(self, value: object) -> str:
        if not isinstance(value, str) or not value.strip():
            raise ValueError(f"{value!r} is empty" if isinstance(value, str) else f"{value!r} is not a text")
        if not self.choices:
            return value
        found = next((choice for choice in self.choices if choice.lower() == value.lower()), None)
        if found is None:
            raise ValueError(f"{value!r} is none of {', '.join(self.choices)}")
        return found


@cache
def settings() -> Mapping[str, Setting]:
    """All but the pass-through `kafka.*`, in the order in which they are listed."""
    return MappingProxyType({setting.name: setting for setting in (*_of_engine(), *_of_service())})


def default_of(setting: Setting) -> Value:
    """The default, looked up where it depends on the machine."""
    return socket.gethostname() if setting.name == "instance_id" else setting.default


def kafka_value(value: object) -> str:
    """The value of a librdkafka property, which is text for librdkafka. The error does not repeat it: it may be a secret.

    >>> kafka_value(True), kafka_value(20), kafka_value("SASL_SSL")
    ('true', '20', 'SASL_SSL')
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float, str)):
        return str(value)
    raise ValueError(f"a {type(value).__name__} is no value of a Kafka property; write a text, a number, true or false")


def reader(name: str) -> Callable[[object], Value]:
    """What reads the values of a known setting."""
    return kafka_value if name.startswith("kafka.") and name != BOOTSTRAP else settings()[name].read


def _of_engine() -> list[Setting]:
    return [
        Setting(
            public_name(each.name),
            _kind(each),
            _default(each),
            each.metadata["doc"],
            field=each.name,
            least=each.metadata.get("least", 0),
            most=each.metadata.get("most", 0),
            choices=each.metadata.get("choices", ()),
            unset=each.metadata["unset"] if each.default is None else "",
        )
        for each in fields(EngineSettings)
    ]


def _kind(engine_field: Field[Any]) -> Literal["duration", "number", "text", "flag"]:
    if "choices" in engine_field.metadata:
        return "text"
    if isinstance(engine_field.default, bool):
        return "flag"
    return "duration" if engine_field.name.endswith("_ms") else "number"


def _default(engine_field: Field[Any]) -> Value:
    default: Any = engine_field.default  # every field of EngineSettings has one
    return default  # type: ignore[no-any-return]


def _of_service() -> list[Setting]:
    levels = ("DEBUG", "INFO", "WARNING", "ERROR")
    return [
        Setting("instance_id", "text", None, "tells workers of one app apart", unset="host name"),
        Setting("on_error", "text", "stop", "what to do with a record that cannot be processed", choices=("stop", "skip")),
        Setting(
            "on_lost_offset",
            "text",
            "stop",
            "where records of a source were deleted before they were read: stop, or go on with the earliest that is left "
            "([what that means](../concepts/exactly-once.md#records-that-are-deleted-before-they-are-read))",
            choices=("stop", "earliest"),
        ),
        Setting("log_level", "text", "INFO", "of the log on standard error", choices=levels),
        Setting(
            "log_format",
            "text",
            "auto",
            "console for people, json for machines; auto is console on a terminal and json elsewhere",
            choices=("auto", "console", "json"),
        ),
        Setting(BOOTSTRAP, "text", "localhost:9092", "addresses of the Kafka"),
    ]


def _flag(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in ("true", "false"):
        return value.strip().lower() == "true"
    raise ValueError(f"{value!r} is neither true nor false")


def _number(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        return int(value)
    raise ValueError(f"{value!r} is not a whole number")
