"""WindowExplanation: why a window is still open, for people and for programs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from streamkit.clock import SystemClock
from streamkit.config import EngineSettings
from streamkit.errors import DeclarationError, StartError
from streamkit.eventtime.watermark import NO_TIME
from streamkit.kafka.client import KafkaClient
from streamkit.plan.topology import Topology
from streamkit.record import instants
from streamkit.record.model import Row
from streamkit.runtime import why_open
from streamkit.runtime.open_window import Answer, Question, aggregate_of, answer, keys_of, parsed
from streamkit.runtime.stored import StoredTasks
from streamkit.runtime.topics import existing_layout


@dataclass(frozen=True, slots=True)
class WindowExplanation:
    """Why a window is still open, or that it is not: `App.explain_window` and `TestDriver.explain_window` give it.

    ``str()`` is the whole of it: the sentence, the result so far, and a table of the inputs of the window's task with their
    watermarks. Times are UTC; None where there is none yet.
    """

    _answer: Answer

    @property
    def sentence(self) -> str:
        """What holds the window open, and what would close it."""
        return why_open.sentence(self._answer) + "."

    @property
    def state(self) -> Literal["open", "closed", "empty"]:
        """``empty``: nothing has arrived in it for this key, and it has not been passed."""
        return self._answer.state.value

    @property
    def held_back_by(self) -> str | None:
        """The source partition, such as ``bids-2``, whose watermark is the lowest of those that count; through repartition
        topics, that of the task upstream. None where nothing is short."""
        task = self._answer.task
        while task.holder is not None and task.holder.upstream is not None:
            task = task.holder.upstream
        return None if task.holder is None or not task.holder.short_ms else task.holder.name

    @property
    def watermark(self) -> datetime | None:
        """How far time has come in the window's task."""
        return _instant(self._answer.task.watermark_ms)

    @property
    def closes_at(self) -> datetime | None:
        """The watermark of the task that closes the window: its end + grace - 1 ms, and the graces of windows before it. None of
        windows that time does not close, and where there is no window."""
        return None if self._answer.closes_at_ms is None else _instant(self._answer.task.needed_ms)

    @property
    def wanted(self) -> int | None:
        """With how many more records of the key a count window gives its next result; None of other windows."""
        return self._answer.wanted

    @property
    def result(self) -> Row | None:
        """The row that it would give if it closed now; None if nothing is in it."""
        return self._answer.row

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain values, times as RFC 3339 text: what ``streamkit explain --json`` prints."""
        return why_open.as_dict(self._answer)

    def __str__(self) -> str:
        return why_open.text(self._answer)


def _instant(ms: int) -> datetime | None:
    return None if abs(ms) >= -NO_TIME // 2 else instants.datetime_of(ms * 1000)


def explain_stored(
    topology: Topology, client: KafkaClient, settings: EngineSettings, window: str, aggregate: str | None
) -> WindowExplanation:
    """From what Kafka holds. `DeclarationError`: the window is not one of the app's. `StartError`: the app has never run here."""
    node = aggregate_of(topology, aggregate)
    try:
        text, start_ms, end_ms = parsed(window)
    except ValueError as error:
        raise DeclarationError(f"window: {error}") from None
    question = Question(node, keys_of(text, node), start_ms, end_ms)
    admin = client.admin()
    try:
        layout = existing_layout(topology, admin, settings)
        stored = StoredTasks(layout, client, admin, SystemClock(), settings, question.keys)
        if not stored.has_run:
            raise StartError(
                f"app '{topology.plan.app}' has committed nothing on {client.describe()}: it has not run there, it was reset, or "
                "its group's positions have expired"
            )
        return WindowExplanation(answer(stored, layout, question))
    finally:
        admin.close()
