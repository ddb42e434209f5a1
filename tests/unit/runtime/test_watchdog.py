"""The thread that ends a process whose worker does not come back: what it says, and that nothing can keep it from leaving."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any

import pytest

from streamkit.instrument import Recorder
from streamkit.runtime.deadlines import Deadlines
from streamkit.runtime.watchdog import STUCK_EXIT_CODE, Watchdog

TICK_S = 0.01


class Left:
    """In the place of os._exit."""

    def __init__(self) -> None:
        self.codes: list[int] = []
        self.left = threading.Event()

    def __call__(self, code: int) -> None:
        self.codes.append(code)
        self.left.set()


def test_it_says_what_was_called_and_where_every_thread_is_and_leaves() -> None:
    deadlines, events, left = Deadlines(TICK_S), Recorder(), Left()
    with Watchdog(deadlines, lambda: {"tasks": {"bids/0": "running"}}, events, leave=left, look_every_s=TICK_S):
        deadlines.enter("step", 100.0)
        deadlines.enter("send_offsets", 0.05)
        assert left.left.wait(10)
    assert left.codes == [STUCK_EXIT_CODE]
    (said,) = events.of("stuck")
    assert said["call"] == "send_offsets"
    assert said["inside"] == ["step"]
    assert said["tasks"] == {"bids/0": "running"}
    assert said["exit_code"] == STUCK_EXIT_CODE
    assert "'send_offsets' (in step) has not returned" in said["error"]
    assert "thread MainThread:" in said["stack"]
    assert "test_it_says_what_was_called" in said["stack"]


def test_it_leaves_also_when_the_worker_cannot_be_described_or_the_log_is_stuck() -> None:
    class Deaf:
        def event(self, _name: str, /, **_fields: Any) -> None:
            gate.wait(30)

    def broken() -> Mapping[str, Any]:
        raise RuntimeError("dictionary changed size during iteration")

    gate = threading.Event()
    for instrument in (Deaf(), Recorder()):
        deadlines, left = Deadlines(TICK_S), Left()
        with Watchdog(deadlines, broken, instrument, leave=left, look_every_s=TICK_S):
            deadlines.enter("commit", 0.02)
            assert left.left.wait(20)
        assert left.codes == [STUCK_EXIT_CODE]
    gate.set()


@pytest.mark.parametrize("inside, leaves", [("step", True), ("poll", False)])
def test_it_leaves_the_group_unless_the_consumer_is_at_work(inside: str, *, leaves: bool) -> None:
    deadlines, left, abandoned = Deadlines(TICK_S), Left(), threading.Event()
    with Watchdog(deadlines, dict, Recorder(), leave=left, abandon=abandoned.set, look_every_s=TICK_S):
        deadlines.enter(inside, 100.0)
        deadlines.enter("send_offsets", 0.02)
        assert left.left.wait(10)
    assert abandoned.is_set() is leaves
    assert left.codes == [STUCK_EXIT_CODE]


def test_a_group_that_cannot_be_left_keeps_nobody() -> None:
    def refuse() -> None:
        raise RuntimeError("consumer closed")

    for abandon in (refuse, lambda: time.sleep(30)):
        deadlines, left = Deadlines(TICK_S), Left()
        with Watchdog(deadlines, dict, Recorder(), leave=left, abandon=abandon, look_every_s=TICK_S):
            deadlines.enter("commit", 0.02)
            assert left.left.wait(15)
        assert left.codes == [STUCK_EXIT_CODE]


def test_what_has_done_its_work_leaves_with_another_code() -> None:
    deadlines, events, left = Deadlines(TICK_S), Recorder(), Left()
    with Watchdog(deadlines, dict, events, leave=left, exit_code=lambda: 0, look_every_s=TICK_S):
        deadlines.enter("close", 0.02)
        assert left.left.wait(10)
    assert left.codes == [0]
    assert events.of("stuck")[0]["exit_code"] == 0
    assert "all is committed" in events.of("stuck")[0]["error"]


def test_it_stops_with_the_service() -> None:
    deadlines, left = Deadlines(TICK_S), Left()
    with Watchdog(deadlines, dict, Recorder(), leave=left, look_every_s=TICK_S):
        deadlines.enter("step", 100.0)
        deadlines.leave()
    deadlines.enter("step", 0.0)
    time.sleep(5 * TICK_S)
    assert left.codes == []
    assert "streamkit-watchdog" not in {thread.name for thread in threading.enumerate()}


def end_of(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", PREFIX + code], capture_output=True, text=True, timeout=200, check=False)


PREFIX = """
import ctypes, time
from streamkit.instrument import NoInstrument
from streamkit.runtime.deadlines import Deadlines
from streamkit.runtime.watchdog import Watchdog
deadlines = Deadlines(0.25)
"""


def test_a_call_that_waits_in_c_without_the_lock_is_ended() -> None:
    """As librdkafka's do: here it is libc's sleep, which ctypes calls without the interpreter's lock."""
    ended = end_of("""
with Watchdog(deadlines, dict, NoInstrument()):
    deadlines.enter("sleep", 0.5)
    ctypes.CDLL(None).sleep(100)
""")
    assert ended.returncode == STUCK_EXIT_CODE, ended.stderr


def test_a_call_that_keeps_the_lock_is_ended_by_the_timer_that_needs_none() -> None:
    ended = end_of("""
import faulthandler, threading
armed, later = threading.Event(), faulthandler.dump_traceback_later
faulthandler.dump_traceback_later = lambda *given, **named: (later(*given, **named), armed.set())
with Watchdog(deadlines, dict, NoInstrument(), lock_held_s=2.0):
    deadlines.enter("sleep", 0.5)
    armed.wait(50)
    ctypes.PyDLL(None).sleep(100)
""")
    assert ended.returncode == 1, ended.stderr
    assert "Timeout (0:00:02)" in ended.stderr
    assert "<string>" in ended.stderr  # the stack of the thread that holds it
