"""The service's log: one line per event, to standard error, readable on a console and as JSON in a container.

Events and librdkafka's lines go through one handler, so that lines of several threads never mix, and all of them carry the fields
that are bound to the service.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, Final

import structlog

from streamkit.ops.events import EVENTS

_ROOT: Final = "streamkit"
_SERVICE: Final = "streamkit.service"
_LEVELS: Final = {name: getattr(logging, event.level.upper()) for name, event in EVENTS.items()}
_SAID_ANYWAY: Final = frozenset({"failed"})
"""To people the error itself is shown, as the last line of the command or as a traceback."""

_FIRST: Final = ("timestamp", "level", "event")


class LogInstrument:
    """Writes every event as a log line of its level (events.py), but for those ``without``."""

    def __init__(self, log: Any, *, without: frozenset[str] = frozenset()) -> None:
        self._log = log
        self._without = without

    def event(self, name: str, /, **fields: Any) -> None:
        if name not in self._without:
            self._log.log(_LEVELS.get(name, logging.INFO), name, **fields)


class _Handler(logging.StreamHandler[Any]):
    """Standard error, and what is bound to lines that do not come from the service itself."""

    def __init__(self, *, as_json: bool) -> None:
        super().__init__(sys.stderr)
        self.as_json = as_json
        self.bound: Mapping[str, Any] = {}

    def bind(self, _logger: Any, _method: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        for name, value in self.bound.items():
            fields.setdefault(name, value)
        return fields


def configure(*, json: bool | None = None, level: str = "INFO") -> None:
    """Sets the log up for this process. JSON where standard error is no terminal, unless said otherwise. The application's own
    logging, structlog's included, is left alone."""
    as_json = not sys.stderr.isatty() if json is None else json
    handler = _Handler(as_json=as_json)
    renderer: Any = structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder()],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                handler.bind,
                structlog.stdlib.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                _in_order,
                renderer,
            ],
        )
    )
    root = logging.getLogger(_ROOT)
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    root.propagate = False


def service_log(bound: Mapping[str, Any]) -> LogInstrument:
    """An instrument that binds these fields (app, worker) to every line, librdkafka's included."""
    without = frozenset[str]()
    for handler in logging.getLogger(_ROOT).handlers:
        if isinstance(handler, _Handler):
            handler.bound = dict(bound)
            without = without if handler.as_json else _SAID_ANYWAY
    log = structlog.wrap_logger(
        logging.getLogger(_SERVICE),
        processors=[structlog.stdlib.filter_by_level, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        context_class=dict,
        cache_logger_on_first_use=True,
    )
    return LogInstrument(log.bind(**bound), without=without)


def _in_order(_logger: Any, _method: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """What a reader looks for first stands first."""
    return {**{name: fields.pop(name) for name in _FIRST if name in fields}, **fields}
