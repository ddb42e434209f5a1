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
from types import TracebackType
from typing import Any, Final, Self

from streamkit.errors import StuckError
from streamkit.instrument import Instrument
from streamkit.runtime.deadlines import Deadlines, Overdue

STUCK_EXIT_CODE: Final = 75
"""EX_TEMPFAIL of sysexits.h: try again."""

LOOK_EVERY_S: Final = 0.25
_REPORT_WITHIN_S: Final = 5.0
_ARM_EVERY_S: Final = 5.0
_STANDARD_ERROR: Final = 2


class Watchdog:
    """Looks at the deadlines while it is entered. ``situation`` tells of the worker; it is called on the watchdog's thread.

    ``exit_code`` is asked when it comes to leaving. ``lock_held_s``: after so long without this thread running at all,
    faulthandler's timer ends the process; None: no timer.
    """

    def __init__(
        self,
        deadlines: Deadlines,
        situation: Callable[[], Mapping[str, Any]],
        instrument: Instrument,
        *,
        lock_held_s: float | None = None,
        exit_code: Callable[[], int] = lambda: STUCK_EXIT_CODE,
        leave: Callable[[int], Any] = os._exit,
        look_every_s: float = LOOK_EVERY_S,
    ) -> None:
        self._deadlines = deadlines
        self._situation = situation
        self._instrument = instrument
        self._lock_held_s = lock_held_s
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
                code = self._exit_code()
                self._report(overdue, code)
                self._leave(code)
                return

    def _report(self, overdue: Overdue, code: int) -> None:
        """In a thread of its own, for a moment only: the worker may be stuck *in* the log, with nobody reading its pipe."""
        reporting = threading.Thread(target=self._tell, args=(overdue, code), name="streamkit-watchdog-report", daemon=True)
        reporting.start()
        reporting.join(_REPORT_WITHIN_S)

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
