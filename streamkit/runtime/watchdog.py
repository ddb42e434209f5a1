"""Ends a process whose worker does not come back from a call (R31): a thread beside the worker's.

librdkafka has calls that ignore their time-out (send_offsets_to_transaction while the group's coordinator is gone). Nothing can
interrupt one from inside, and signals are not handled meanwhile. So the process says what it was doing, with the stacks of all
threads, and leaves at once with an exit code of its own. Whoever looks after the process (`--workers`, a container's restart
policy) starts a new one, whose init_transactions fences the transaction that was left open.

The thread needs the interpreter's lock, which librdkafka gives back in every call that waits. A call that keeps it (a fault in an
extension of the user's) stops this thread too; for that case faulthandler's own timer, which needs no lock, is set anew again and
again: it writes the stacks and ends the process with exit code 1.
"""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Self

from streamkit.errors import StuckError
from streamkit.instrument import Instrument
from streamkit.runtime.deadlines import Deadlines, Overdue

STUCK_EXIT_CODE: Final = 75
"""EX_TEMPFAIL of sysexits.h: try again."""

LOOK_EVERY_S: Final = 0.25
_REPORT_WITHIN_S: Final = 5.0
_ABANDON_WITHIN_S: Final = 3.0
_IN_THE_CONSUMER: Final = frozenset({"poll", "close"})
_ARM_EVERY_S: Final = 5.0
_STANDARD_ERROR: Final = 2


class Watchdog:
    """Looks at the deadlines while it is entered. ``situation`` tells of the worker; it is called on the watchdog's thread.

    ``abandon`` leaves the group, which would otherwise wait for the session of a dead member to time out; it is not called while
    the consumer itself is at work, since two threads may not be in it. ``exit_code`` is asked when it comes to leaving.
    ``lock_held_s``: after so long without this thread running at all, faulthandler's timer ends the process; None: no timer.
    """

    def __init__(
        self,
        deadlines: Deadlines,
        situation: Callable[[], Mapping[str, Any]],
        instrument: Instrument,
        *,
        lock_held_s: float | None = None,
        abandon: Callable[[], None] | None = None,
        exit_code: Callable[[], int] = lambda: STUCK_EXIT_CODE,
        leave: Callable[[int], Any] = os._exit,
        look_every_s: float = LOOK_EVERY_S,
    ) -> None:
        self._deadlines = deadlines
        self._situation = situation
        self._instrument = instrument
        self._lock_held_s = lock_held_s
        self._abandon = abandon
        self._exit_code = exit_code
        self._leave = leave
        self._every_s = look_every_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="streamkit-watchdog", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()
        if self._lock_held_s is not None:
            faulthandler.cancel_dump_traceback_later()

    def _watch(self) -> None:
        arm_at = 0.0
        while not self._over.wait(self._every_s):
            now = time.monotonic()
            if self._lock_held_s is not None and now >= arm_at:
                faulthandler.dump_traceback_later(self._lock_held_s, exit=True, file=_STANDARD_ERROR)
                arm_at = now + _ARM_EVERY_S
            overdue = self._deadlines.look(now)
            if overdue is not None:
                self._end(overdue)
                return

    def _end(self, overdue: Overdue) -> None:
        code = self._exit_code()
        _for_a_moment(lambda: self._tell(overdue, code), _REPORT_WITHIN_S)
        if self._abandon is not None and _IN_THE_CONSUMER.isdisjoint((overdue.doing, *overdue.inside)):
            _for_a_moment(self._abandon, _ABANDON_WITHIN_S)
        self._leave(code)

    def _tell(self, overdue: Overdue, code: int) -> None:
        try:
            situation = dict(self._situation())
        except Exception as error:  # noqa: BLE001 - the worker's thread may be changing what is read here; the rest is still told
            situation = {"situation": f"not to be had: {error!r}"}
        self._instrument.event(
            "stuck",
            error=str(stuck(overdue, code)),
            call=overdue.doing,
            inside=list(overdue.inside),
            waited_s=round(overdue.waited_s, 1),
            exit_code=code,
            **situation,
            stack=all_stacks(),
        )


def _for_a_moment(work: Callable[[], None], seconds: float) -> None:
    """In a thread of its own, and no longer: the worker may be stuck *in* the log, with nobody reading its pipe."""

    def run() -> None:
        with suppress(Exception):  # the process leaves, whatever comes of this
            work()

    thread = threading.Thread(target=run, name="streamkit-watchdog-last", daemon=True)
    thread.start()
    thread.join(seconds)


def stuck(overdue: Overdue, code: int = STUCK_EXIT_CODE) -> StuckError:
    """The error by its name; a process cannot raise it in the thread that hangs, a simulation can."""
    then = "all is committed" if code == 0 else "nothing of its transaction is committed, and it is to be started again"
    return StuckError(
        f"{overdue}. A client call that never returns cannot be interrupted: the worker leaves with exit code {code}; {then}",
        call=overdue.doing,
    )


def all_stacks() -> str:
    """Where every thread is, by its name."""
    named = {thread.ident: thread.name for thread in threading.enumerate()}
    parts = []
    for ident, frame in sys._current_frames().items():  # the one way to see the other threads
        parts.append(f"thread {named.get(ident, ident)}:\n{''.join(traceback.format_stack(frame))}")
    return "\n".join(parts)
