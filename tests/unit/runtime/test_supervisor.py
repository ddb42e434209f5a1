"""The supervisor of several workers, with small processes in their place."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from streamkit.instrument import Recorder
from streamkit.runtime.decide.restart import GIVE_UP_AFTER, LONGEST_PAUSE_S, GiveUp, RestartAfter, after_exit
from streamkit.runtime.supervisor import Supervisor


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def prepared(directory: Path, handling: str) -> list[str]:
    """A process that says by a file that it handles SIGTERM."""
    return python(
        f"import os, pathlib, signal, sys, time; signal.signal(signal.SIGTERM, {handling}); "
        f"pathlib.Path({str(directory)!r}, f'ready{{os.getpid()}}').touch(); time.sleep(60)"
    )


def tell(directory: Path, number: signal.Signals, processes: int) -> None:
    """Sends this process the signal once so many of its children are ready for it."""

    def wait_and_tell() -> None:
        while len(list(directory.glob("ready*"))) < processes:
            time.sleep(0.02)
        os.kill(os.getpid(), number)

    threading.Thread(target=wait_and_tell, daemon=True).start()


def test_all_that_end_well_end_the_service_well() -> None:
    recorder = Recorder()
    assert Supervisor(lambda _: python("pass"), 3, recorder).run() == 0
    assert sorted(event["index"] for event in recorder.of("worker-started")) == [0, 1, 2]


def test_one_that_dies_is_started_again_and_the_others_go_on(tmp_path: Path) -> None:
    once = tmp_path / "died"
    die_once = f"import os, pathlib; p = pathlib.Path({str(once)!r}); d = p.exists(); p.touch(); d or os.kill(os.getpid(), 9)"
    recorder = Recorder()
    assert Supervisor(lambda index: python(die_once if index == 1 else "pass"), 2, recorder).run() == 0
    assert [event["index"] for event in recorder.of("worker-started")] == [0, 1, 1]
    assert [(event["index"], event["code"]) for event in recorder.of("worker-died")] == [(1, -9)]


def test_one_that_dies_again_and_again_ends_the_service_with_its_code() -> None:
    recorder = Recorder()
    started = time.monotonic()
    code = Supervisor(
        lambda index: python("raise SystemExit(7)" if index == 0 else "import time; time.sleep(60)"),
        2,
        recorder,
        first_pause_s=0.02,
    ).run()
    assert code == 7
    assert time.monotonic() - started < 30  # the other one was stopped, not waited for
    assert len(recorder.of("worker-died")) == GIVE_UP_AFTER - 1
    assert recorder.of("worker-given-up")[0]["index"] == 0


def test_a_signal_goes_on_to_all(tmp_path: Path) -> None:
    recorder = Recorder()
    supervisor = Supervisor(lambda _: prepared(tmp_path, "lambda *a: sys.exit(0)"), 2, recorder)
    tell(tmp_path, signal.SIGTERM, 2)
    assert supervisor.run() == 0
    assert recorder.of("worker-died") == []


def test_who_asks_the_parent_asks_all(tmp_path: Path) -> None:
    """And nobody dies of it, the parent included."""
    recorder = Recorder()
    answer = (
        "import os, pathlib, signal, sys, time; "
        f"signal.signal(signal.SIGUSR1, lambda *a: sys.exit(pathlib.Path(r'{tmp_path}', str(os.getpid())).touch())); "
        "signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1}); "
        f"pathlib.Path(r'{tmp_path}', f'ready{{os.getpid()}}').touch(); time.sleep(60)"
    )
    supervisor = Supervisor(lambda _: python(answer), 2, recorder)
    tell(tmp_path, signal.SIGUSR1, 2)
    assert supervisor.run() == 0
    assert len(list(tmp_path.iterdir())) == 4
    assert recorder.of("worker-died") == []


@pytest.mark.parametrize("restarts", [False, True], ids=["starting", "waiting for a start"])
def test_a_question_is_kept_until_it_can_be_answered(tmp_path: Path, *, restarts: bool) -> None:
    """Whoever has only just been started, or is started again in a moment, neither dies of it nor forgets it."""
    recorder = Recorder()
    died = tmp_path / "died"
    answer = (
        "import pathlib, signal, sys, time; "
        f"died = pathlib.Path(r'{died}'); "
        f"first = {restarts} and not died.exists(); died.touch(); "
        "first and sys.exit(1); "
        "time.sleep(0.5); "
        f"signal.signal(signal.SIGUSR1, lambda *a: sys.exit(pathlib.Path(r'{tmp_path}', 'answered').touch())); "
        "signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1}); time.sleep(20); sys.exit(1)"
    )
    supervisor = Supervisor(lambda _: python(answer), 1, recorder, first_pause_s=0.3)

    def ask() -> None:
        while not recorder.of("worker-died" if restarts else "worker-started"):
            time.sleep(0.002)
        os.kill(os.getpid(), signal.SIGUSR1)

    threading.Thread(target=ask, daemon=True).start()
    assert supervisor.run() == 0
    assert (tmp_path / "answered").exists()
    assert len(recorder.of("worker-died")) == restarts


def test_pauses_grow_up_to_a_bound_and_old_deaths_are_forgotten() -> None:
    assert after_exit(1, [0.0], 1000.0, stopping=False) == RestartAfter(0.5)
    pauses = [after_exit(1, [float(n) for n in range(k)], float(k), stopping=False) for k in range(GIVE_UP_AFTER - 1)]
    assert all(isinstance(p, RestartAfter) and p.pause_s <= LONGEST_PAUSE_S for p in pauses)
    assert [p.pause_s for p in pauses if isinstance(p, RestartAfter)] == [0.5, 1.0, 2.0, 4.0]
    assert isinstance(after_exit(1, [1.0] * (GIVE_UP_AFTER - 1), 2.0, stopping=False), GiveUp)


def test_one_that_does_not_end_when_told_is_killed(tmp_path: Path) -> None:
    recorder = Recorder()
    supervisor = Supervisor(lambda _: prepared(tmp_path, "signal.SIG_IGN"), 1, recorder, stop_timeout_s=0.5)
    tell(tmp_path, signal.SIGTERM, 1)
    started = time.monotonic()
    assert supervisor.run() == 128 + signal.SIGKILL
    assert time.monotonic() - started < 30
    assert len(recorder.of("worker-killed")) == 1


def test_one_that_was_being_started_when_the_signal_came_is_told_as_well() -> None:
    recorder = Recorder()

    def command(_: int) -> list[str]:
        os.kill(os.getpid(), signal.SIGTERM)
        return python("import time; time.sleep(60)")

    started = time.monotonic()
    assert Supervisor(command, 1, recorder).run() == 0
    assert time.monotonic() - started < 30
