"""The service's log: one line per lifecycle event, to standard error, readable on a console and as JSON in a container."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from typing import Any

import structlog

_QUIET = {"commit"}  # ten a second: for metrics, not for a log
_WARNINGS = {
    "rolled-back",
    "abort-failed",
    "producer-disturbed",
    "producer-replaced",
    "record-skipped",
    "late-records",
    "revoke-aborted",
    "purge-failed",
}


class LogInstrument:
    """Writes every event but commits as a log line, with the fields bound to it."""

    def __init__(self, log: Any) -> None:
        self._log = log

    def event(self, name: str, /, **fields: Any) -> None:
        if name in _QUIET:
            return
        write = self._log.warning if name in _WARNINGS else self._log.info
        write(name, **fields)


def configure(*, json: bool | None = None, level: str = "INFO") -> None:
    """Sets the log up for this process. JSON where standard error is no terminal, unless said otherwise."""
    as_json = not sys.stderr.isatty() if json is None else json
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: Any = structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    formatter = structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processor=renderer)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger("streamkit")
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    root.propagate = False


def service_log(bound: Mapping[str, Any]) -> LogInstrument:
    """An instrument that binds these fields (app, worker) to every line."""
    return LogInstrument(structlog.get_logger().bind(**bound))
