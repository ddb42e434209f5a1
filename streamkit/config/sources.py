"""Where values come from: a TOML file, the environment, arguments. Each gives names, raw values and the place of each."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from streamkit.config.catalogue import BOOTSTRAP, settings
from streamkit.errors import ConfigError

DEFAULT_FILE = "streamkit.toml"
FILE_VARIABLE = "STREAMKIT_CONFIG"
SERVERS_VARIABLE = "KAFKA_BOOTSTRAP_SERVERS"

_PREFIX = "STREAMKIT_"
_KAFKA = "STREAMKIT_KAFKA__"
# Variables with our prefix that are no settings: the file's name, and what the project's own tests read.
_NOT_SETTINGS = re.compile(r"STREAMKIT_(CONFIG|CACHE|NATIVE|TEST_.*)")
# Kubernetes sets these in every container of a namespace that has a service named `streamkit` or `streamkit-...`.
_SERVICE_LINKS = re.compile(
    r"STREAMKIT_(.+_)?(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_PROTO|_PORT|_ADDR)?)?)"
)


@dataclass(frozen=True, slots=True)
class Given:
    """One value of one source, not yet read."""

    name: str
    value: object = field(repr=False)  # may be a secret
    origin: str


def from_file(named: str | Path | None, environ: Mapping[str, str]) -> list[Given]:
    """What the file says: ``named``, else STREAMKIT_CONFIG, else streamkit.toml in the working directory if it is there."""
    chosen = named or environ.get(FILE_VARIABLE)
    path = Path(chosen or DEFAULT_FILE)
    if chosen is None and not path.is_file():
        return []
    try:
        text = path.read_text(encoding="utf-8")
        document = tomllib.loads(text)
    except (OSError, UnicodeDecodeError) as error:
        by = "" if named or not chosen else f" (named by {FILE_VARIABLE})"
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(f"the configuration file '{path}'{by} cannot be read: {reason}") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not TOML: {error}") from None
    return [
        Given(_known(name, origin, str), value, origin)
        for name, value in _flat(document)
        for origin in (f"{path}{_line(text, name)}",)
    ]


def from_environment(environ: Mapping[str, str]) -> list[Given]:
    """STREAMKIT_COMMIT_INTERVAL is commit_interval, STREAMKIT_KAFKA__SASL_USERNAME is kafka.sasl.username. Empty is not set.

    >>> from_environment({"KAFKA_BOOTSTRAP_SERVERS": "kafka:9092", "HOME": "/", "STREAMKIT_ON_ERROR": ""})
    [Given(name='kafka.bootstrap.servers', origin='environment KAFKA_BOOTSTRAP_SERVERS')]
    """
    given = []
    if environ.get(SERVERS_VARIABLE):
        given.append(Given(BOOTSTRAP, environ[SERVERS_VARIABLE], f"environment {SERVERS_VARIABLE}"))
    for variable, value in sorted(environ.items()):
        if not variable.startswith(_PREFIX) or not value or _is_not_ours(variable):
            continue
        origin = f"environment {variable}"
        given.append(Given(_known(_of_variable(variable), origin, variable_of), value, origin))
    return given


def from_arguments(values: Mapping[str, object]) -> list[Given]:
    """Arguments of a call or a command; None is not given."""
    return [
        Given(_known(name, f"argument {name}", str), value, f"argument {name}")
        for name, value in values.items()
        if value is not None
    ]


def variable_of(name: str) -> str:
    """The environment variable of a setting.

    >>> variable_of("commit_interval"), variable_of("kafka.security.protocol")
    ('STREAMKIT_COMMIT_INTERVAL', 'STREAMKIT_KAFKA__SECURITY_PROTOCOL')
    """
    if name.startswith("kafka."):
        return _KAFKA + name.removeprefix("kafka.").replace(".", "_").upper()
    return _PREFIX + name.upper()


def _of_variable(variable: str) -> str:
    if variable.startswith(_KAFKA):
        return "kafka." + variable.removeprefix(_KAFKA).replace("_", ".").lower()
    return variable.removeprefix(_PREFIX).lower()


def _is_not_ours(variable: str) -> bool:
    is_setting = _of_variable(variable) in settings()
    return not is_setting and bool(_NOT_SETTINGS.fullmatch(variable) or _SERVICE_LINKS.fullmatch(variable))


def _known(name: str, origin: str, spelled: Callable[[str], str]) -> str:
    if name in settings() or (name.startswith("kafka.") and len(name) > len("kafka.")):
        return name
    near = _nearest(name, settings())
    hint = f"did you mean {spelled(near)}?" if near else "`streamkit config` lists all settings"
    if near and f"{near}_ms" == name:
        hint = f'write {spelled(near)}, with the unit in the value, such as "50ms"'
    elif not near and "." in name:
        hint = f"a property of librdkafka is written kafka.{name}"
    raise ConfigError(f"{origin}: there is no setting '{name}'; {hint}")


def _nearest(name: str, known: Iterable[str]) -> str | None:
    """By its own name, or by that of the Kafka property without its prefix and dots."""
    spellings = {each.removeprefix("kafka.").replace(".", "_"): each for each in known}
    near = difflib.get_close_matches(name.replace(".", "_").replace("-", "_").lower(), spellings, n=1)
    return spellings[near[0]] if near else None


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """``security.protocol = ...`` in TOML is a table in a table: the names are joined again."""
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _line(text: str, name: str) -> str:
    """``, line 3`` where exactly one line sets this key, written in full or below the head of its table."""
    parts = name.split(".")
    for start in range(len(parts)):
        key = re.escape(".".join(parts[start:]))
        lines = [number for number, line in enumerate(text.splitlines(), 1) if re.match(rf"""\s*["']?{key}["']?\s*=""", line)]
        if lines:
            return f", line {lines[0]}" if len(lines) == 1 else f", key {name}"
    return f", key {name}"
