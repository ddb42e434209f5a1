"""What a check has found: nothing, or violations that name an invariant and the input that is concerned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple, Self


class Source(NamedTuple):
    """Provenance: the input record that something came from. ``number`` is the one in its payload, or -1."""

    topic: str
    partition: int
    offset: int
    number: int = -1

    def __str__(self) -> str:
        place = f"{self.topic}-{self.partition}@{self.offset}"
        return place if self.number < 0 else f"{place} (number {self.number})"


class Kind(Enum):
    LOST = "lost"
    DUPLICATED = "duplicated"
    WRONG = "wrong"
    OUT_OF_ORDER = "out of order"
    STUCK = "stuck"
    OPEN = "not failed closed"


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that is wrong. ``invariant`` is "I1" to "I9"; ``what`` is a sentence; ``sources`` are the inputs concerned."""

    invariant: str
    kind: Kind
    what: str
    sources: tuple[Source, ...] = ()

    def __str__(self) -> str:
        of = f", from {', '.join(map(str, self.sources[:4]))}" if self.sources else ""
        more = f" and {len(self.sources) - 4} more" if len(self.sources) > 4 else ""
        return f"{self.invariant} {self.kind.value}: {self.what}{of}{more}"


@dataclass(slots=True)
class Verdict:
    """The outcome of one or several checks: what is wrong, and how much was looked at, by invariant.

    >>> verdict = Verdict()
    >>> verdict.looked("I1", 3)
    >>> verdict.add("I1", Kind.LOST, "window 10 of key a", [Source("bids", 0, 4, 17)])
    >>> print(verdict)
    lost 1, duplicated 0, wrong 0, out of order 0 (looked at: I1 3)
      I1 lost: window 10 of key a, from bids-0@4 (number 17)
    >>> verdict.ok
    False
    """

    violations: list[Violation] = field(default_factory=list)
    looked_at: Counter[str] = field(default_factory=Counter)

    def add(self, invariant: str, kind: Kind, what: str, sources: Iterable[Source] = ()) -> None:
        self.violations.append(Violation(invariant, kind, what, tuple(sources)))

    def looked(self, invariant: str, count: int = 1) -> None:
        self.looked_at[invariant] += count

    def __iadd__(self, other: Verdict) -> Self:
        self.violations += other.violations
        self.looked_at += other.looked_at
        return self

    @property
    def ok(self) -> bool:
        return not self.violations

    def count(self, kind: Kind) -> int:
        return sum(violation.kind is kind for violation in self.violations)

    @property
    def lost(self) -> int:
        return self.count(Kind.LOST)

    @property
    def duplicated(self) -> int:
        return self.count(Kind.DUPLICATED)

    @property
    def invariants(self) -> tuple[str, ...]:
        """Those that were broken."""
        return tuple(sorted({violation.invariant for violation in self.violations}))

    def __str__(self) -> str:
        counts = [f"{kind.value} {self.count(kind)}" for kind in list(Kind)[:4]]
        counts += [f"{kind.value} {self.count(kind)}" for kind in list(Kind)[4:] if self.count(kind)]
        looked = ", ".join(f"{name} {count}" for name, count in sorted(self.looked_at.items()))
        return "\n".join([f"{', '.join(counts)} (looked at: {looked or 'nothing'})", *(f"  {v}" for v in self.violations)])
