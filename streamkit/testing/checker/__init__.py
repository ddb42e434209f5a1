"""The checker of exactly-once: pure functions over plain records, the same for the simulator and for real Kafka.

`verdict.py` has what is found wrong and how it is counted, `results.py` compares what was written with what must be there,
`commits.py` looks at offsets, input ranges, time and the end of a run, `changelog.py` folds a committed changelog without the
engine. Callers read their topics (read_committed) and bring the reference; nothing here touches Kafka.
May import: kafka.client (values) only. Start reading at `results.py`.
"""

from streamkit.testing.checker.changelog import TimeOf, fold, times
from streamkit.testing.checker.commits import Commit, atomic, fail_closed, frontiers, settled, single_writer
from streamkit.testing.checker.results import Expected, Found, final_results, results, state, updates
from streamkit.testing.checker.verdict import Kind, Source, Verdict, Violation

__all__ = [
    "Commit",
    "Expected",
    "Found",
    "Kind",
    "Source",
    "TimeOf",
    "Verdict",
    "Violation",
    "atomic",
    "fail_closed",
    "final_results",
    "fold",
    "frontiers",
    "results",
    "settled",
    "single_writer",
    "state",
    "times",
    "updates",
]
