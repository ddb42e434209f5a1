"""A call of librdkafka that may never return, in a thread that can be left behind (R31).

`send_offsets_to_transaction` ignores its time-out while it waits for a group coordinator that is gone from the metadata: nothing
wakes it again (librdkafka 2.16, #5511; every time on three brokers, when the coordinator was restarted between two calls). The
thread and its producer are lost then, but not the worker: it goes on with a new producer, whose init_transactions fences the
old one. A hop to a thread costs 0.1 ms, once per commit.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable


class NeverReturnedError(Exception):
    """The call has not come back; what it works on must not be used any more, nor destroyed as long as ``thread`` lives."""

    def __init__(self, thread: threading.Thread) -> None:
        super().__init__(thread.name)
        self.thread = thread


def bounded(call: Callable[[], None], seconds: float, name: str) -> None:
    """Runs `call` in a thread of its own and raises what it raises; `NeverReturnedError` if it is not back in time."""
    raised: list[object] = []
    returned = threading.Event()

    def run() -> None:
        try:
            call()
        except:  # noqa: E722 - it may be a bare KafkaError, which is no BaseException; lost, it would look like success
            raised.append(sys.exc_info()[1])
        finally:
            returned.set()

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    if not returned.wait(seconds):
        raise NeverReturnedError(thread)
    if raised:
        error = raised.pop()
        try:
            raise error if isinstance(error, BaseException) else RuntimeError(f"{name}: {error}")
        finally:
            del error  # which has this frame in its traceback: neither would go before a full collection
