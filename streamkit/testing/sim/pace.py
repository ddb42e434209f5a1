"""R30 as an observer sees it: commits leave time for work between them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

from streamkit.config import EngineSettings
from streamkit.runtime.pace import LOOKS_BACK
from streamkit.testing.checker import Kind, Verdict
from streamkit.testing.sim.trace import Entry

_HURRIES: Final = frozenset(
    {"revoked", "parked", "lost", "left", "rolled-back", "running", "resumed", "assigned", "revoke-aborted"}
)
"""A commit that stands beside one of these was hurried: partitions are given away, or a start position is committed."""

_TOLERANCE_S: Final = 0.005  # times are told in milliseconds


def pace(entries: Iterable[Entry], settings: EngineSettings) -> Verdict:
    """I8: between two commits of a process lies the commit interval, and four times the least of what the last three took (but
    never so long that the next transaction would be timed out)."""
    verdict = Verdict()
    last: dict[str, float] = {}  # process -> when its last commit was over
    taken: dict[str, deque[float]] = {}  # process -> how long its last ones took; hurried ones count
    too_soon: dict[str, str] = {}  # unless it turns out to have been hurried
    for entry in entries:
        if entry.what in _HURRIES:
            last.pop(entry.actor, None)
            too_soon.pop(entry.actor, None)
        elif entry.what == "commit":
            took_s = float(entry.detail.rsplit("seconds=", 1)[1])
            verdict.looked("I8")
            if entry.actor in too_soon:
                verdict.add("I8", Kind.WRONG, too_soon.pop(entry.actor))
            of_late = taken.setdefault(entry.actor, deque(maxlen=LOOKS_BACK))
            over, seconds = last.get(entry.actor, float("-inf")), min(of_late, default=0.0)
            least_s = max(settings.commit_interval_ms / 1000, min(4 * seconds, settings.transaction_timeout_ms / 4000))
            gap_s = entry.at - took_s - over
            if gap_s < least_s - _TOLERANCE_S:
                too_soon[entry.actor] = (
                    f"{entry.actor} committed again after {gap_s:.3f} s, at {entry.at:.3f}; the last ones took {seconds:.3f} s, "
                    f"so at least {least_s:.3f} s must lie between"
                )
            last[entry.actor] = entry.at
            of_late.append(took_s)
    return verdict
