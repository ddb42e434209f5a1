"""Time of the embedded cluster in the conformance suite: it passes, and nobody sits through it."""

from __future__ import annotations

from streamkit.kafka.memory.network import Punctual

_ASKING_S = 0.001


class Elapsing(Punctual):
    """Whoever waits moves the clock to whatever is due next: the same waits and time-outs, and nobody sits through them. (Threads
    that wait by the machine's clock are in tests/unit/kafka_memory.)"""

    def wait(self, client_id: str, seen: int, deadline: float) -> bool:  # noqa: ARG002 - all clients alike
        clock = self._broker.clock
        while True:
            due = self._be_on_time()
            if self._broker.version != seen:
                return True
            left = deadline - clock.monotonic()
            if left <= 0:
                clock.sleep(_ASKING_S)
                return False
            clock.sleep(left if due is None else min(left, max(due - clock.monotonic(), _ASKING_S)))
