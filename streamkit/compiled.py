"""The compiled parts of the package, which are optional: without them the same is done record by record, with the same results.

`STREAMKIT_NATIVE` in the environment decides for all of them: `auto` (the default) takes what was built, `off` goes without,
`require` fails where one is missing. It is no setting: it belongs to an installation, not to an app.

    streamkit.kafka.confluent._native   records between librdkafka and Python by columns    (kafka/confluent/native/)
    streamkit.serdes._columns           JSON from and to columns                            (serdes/native/)
    streamkit.state._entries            the table of an aggregation's int keys              (state/native/)
"""

from __future__ import annotations

import importlib
import logging
import os
from typing import Any, Final

from streamkit.errors import ConfigError

VARIABLE: Final = "STREAMKIT_NATIVE"
PARTS: Final = {
    "kafka": "streamkit.kafka.confluent._native",
    "serdes": "streamkit.serdes._columns",
    "state": "streamkit.state._entries",
}
_CHOICES: Final = ("auto", "off", "require")

logger = logging.getLogger("streamkit")


def load(module: str) -> Any | None:
    """The compiled module, or None. `ConfigError`: it is required and cannot be loaded, or the variable has another value."""
    wanted = os.environ.get(VARIABLE) or "auto"
    if wanted not in _CHOICES:
        raise ConfigError(f"{VARIABLE}={wanted}: wanted is one of {', '.join(_CHOICES)}")
    if wanted == "off":
        return None
    try:
        return importlib.import_module(module)
    except ImportError as error:
        if wanted == "require":
            raise ConfigError(f"{VARIABLE}=require, but {module} cannot be loaded: {error}") from error
        logger.info("%s is not there, so records are handled one by one: %s", module, error)
        return None


def loaded() -> list[str]:
    """The parts that are used in this process."""
    return [part for part, module in PARTS.items() if load(module) is not None]


def required() -> bool:
    return os.environ.get(VARIABLE) == "require"
