"""In which order, and in which portions, the workers of pytest-xdist get the tests.

Tests on a real broker wait more than they compute, so they come first, beside each other; what computes fills up the rest. A
portion is a file, because the fixtures of a module are made once then, or a single test where none are shared and the file takes
long. What would get in the way of its like is one portion, so that it runs one after the other: clusters of three brokers, and
what builds and counts containers.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

ONE, FILE, TEST = "one after the other", "by file", "by test"
PORTIONS = {  # prefix of the test's id -> portions; in this order
    "tests/containers/": ONE,
    "tests/chaos/": ONE,
    "tests/broker/test_rescale.py": TEST,
    "tests/broker/test_outage.py": TEST,
    "tests/broker/test_kill.py": TEST,
    "tests/broker/": FILE,
    "tests/wheel/": FILE,
    "tests/services/": FILE,
    "tests/conformance/": FILE,
    "tests/unit/runtime/": FILE,
    "tests/docs/": FILE,
    "tests/driver/": TEST,
    "tests/golden/": TEST,
    "tests/sim/": TEST,
    "tests/unit/cli/": FILE,
    "tests/": FILE,
}


def rank(nodeid: str) -> int:
    """Where a test stands in the order."""
    return next((number for number, prefix in enumerate(PORTIONS) if nodeid.startswith(prefix)), len(PORTIONS))


def portion(nodeid: str) -> str:
    """The name of the portion that a test belongs to.

    >>> [portion(f"tests/{name}") for name in ("chaos/test_zoo.py::test_a", "wheel/test_a.py::test_b", "sim/test_a.py::test_c")]
    ['tests/chaos/', 'tests/wheel/test_a.py', 'tests/sim/test_a.py::test_c']
    """
    prefix, how = next(((p, h) for p, h in PORTIONS.items() if nodeid.startswith(p)), ("", FILE))
    return {ONE: prefix, FILE: nodeid.partition("::")[0], TEST: nodeid}[how]


class Portions(LoadScopeScheduling):  # type: ignore[misc] # xdist has no types
    """Hands the portions out in the order of the collection."""

    def __init__(self, config: pytest.Config, log: Any) -> None:
        config.option.loadscopereorder = False  # largest first, by the number of tests
        super().__init__(config, log)
        self.workqueue: OrderedDict[str, dict[str, bool]]

    def _split_scope(self, nodeid: str) -> str:
        return portion(nodeid)

    def _reschedule(self, node: Any) -> None:
        """A worker keeps its last test back until it gets another or is told that there is none: one that has come for a crashed
        one would wait for ever with a portion of a single test."""
        super()._reschedule(node)
        while not node.shutting_down and self._pending_of(self.assigned_work[node]) < 2:
            super()._reschedule(node)

    def remove_node(self, node: Any) -> str | None:
        """A test in which a worker has died has failed: others get the rest of its portions, not that test once more."""
        portions = self.assigned_work[node]
        left = [(name, nodeid) for name, tests in portions.items() for nodeid, done in tests.items() if not done]
        if left:
            name, crashed = left[0]
            portions[name][crashed] = True
        for name in [name for name, tests in portions.items() if all(tests.values())]:
            del portions[name]
        super().remove_node(node)
        return left[0][1] if left else None
