"""I1 and I3: what a read_committed reader sees against what must be there.

A result has an *identity*, which may appear once (a key and a window; an input record and its number among that record's
outputs), and a *content* (the aggregates; the payload). Results of one *lane* have an order (a key within a source partition; the
windows of a key); a lane of None has none.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from streamkit.testing.checker.verdict import Kind, Source, Verdict


@dataclass(frozen=True, slots=True)
class Expected:
    """A result that must be there, once. ``sources``: the inputs it is made of."""

    identity: Hashable
    content: Hashable
    lane: Hashable = None
    sources: tuple[Source, ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """A result that is there. ``at``: where it lies, such as "totals-0@17"; ``sources``: what its own stamp says."""

    identity: Hashable
    content: Hashable
    at: str = ""
    sources: tuple[Source, ...] = ()


def results(expected: Iterable[Expected], found: Iterable[Found], *, invariant: str = "I1") -> Verdict:
    """Final results, late records, outputs of stateless steps: each exactly once, right, and in the order of its lane.

    ``found`` in the order of the log, partition by partition.

    >>> must = [Expected("a", 1), Expected("b", 2)]
    >>> print(results(must, [Found("a", 1, "t-0@0"), Found("a", 1, "t-0@5")]))
    lost 1, duplicated 1, wrong 0, out of order 0 (looked at: I1 4)
      I1 duplicated: 'a' is there 2 times (t-0@0, t-0@5)
      I1 lost: 'b'
    """
    verdict = Verdict()
    must: dict[Hashable, Expected] = {}
    for one in expected:
        if one.identity in must:
            raise ValueError(f"the reference expects {one.identity!r} twice: an identity is expected once")
        must[one.identity] = one
    there: dict[Hashable, list[Found]] = defaultdict(list)
    for got in found:
        there[got.identity].append(got)
    verdict.looked(invariant, len(must) + sum(map(len, there.values())))
    for identity, copies in there.items():
        wanted = must.get(identity)
        sources = copies[-1].sources or (wanted.sources if wanted is not None else ())
        if wanted is None:
            verdict.add(
                invariant, Kind.WRONG, f"{identity!r} = {copies[0].content!r} ({copies[0].at}) must not be there", sources
            )
            continue
        if len(copies) > 1:
            places = ", ".join(copy.at for copy in copies)
            verdict.add(invariant, Kind.DUPLICATED, f"{identity!r} is there {len(copies)} times ({places})", sources)
        for copy in copies:
            if copy.content != wanted.content:
                what = f"{identity!r} is {copy.content!r} ({copy.at}), must be {wanted.content!r}"
                verdict.add(invariant, Kind.WRONG, what, sources)
    for identity, wanted in must.items():
        if identity not in there:
            verdict.add(invariant, Kind.LOST, f"{identity!r}", wanted.sources)
    _check_order(must, there, verdict, invariant)
    return verdict


def _check_order(
    must: Mapping[Hashable, Expected], there: Mapping[Hashable, Sequence[Found]], verdict: Verdict, invariant: str
) -> None:
    """`there` keeps the order in which identities were first found; of each lane it must be the order of the reference."""
    ranks: Counter[Hashable] = Counter()
    rank_of: dict[Hashable, int] = {}
    for identity, wanted in must.items():
        if wanted.lane is not None:
            rank_of[identity] = ranks[wanted.lane]
            ranks[wanted.lane] += 1
    last: dict[Hashable, Hashable] = {}
    for identity, copies in there.items():
        if identity not in rank_of:
            continue
        lane = must[identity].lane
        before = last.get(lane)
        if before is not None and rank_of[before] > rank_of[identity]:
            what = f"{identity!r} ({copies[0].at}) stands behind {before!r} ({there[before][0].at})"
            verdict.add(invariant, Kind.OUT_OF_ORDER, what, must[identity].sources)
        else:
            last[lane] = identity


def final_results(expected: Iterable[Expected], found: Iterable[Found]) -> Verdict:
    """`results` of windows that are closed once: a second result of a window breaks I6 as well."""
    found = list(found)
    verdict = results(expected, found)
    times = Counter(one.identity for one in found)
    verdict.looked("I6", len(times))
    for identity, count in times.items():
        if count > 1:
            verdict.add("I6", Kind.DUPLICATED, f"window {identity!r} has {count} final results")
    return verdict


def updates(prefixes: Mapping[Hashable, Sequence[Hashable]], found: Iterable[Found]) -> Verdict:
    """Early results: which ones there are depends on when commits fell. The last value of each identity is that of all its
    input; every value is that of some prefix, and never of a shorter one than the value before.

    >>> updates({"a": [1, 3, 6]}, [Found("a", 1), Found("a", 6)]).ok, updates({"a": [1, 3, 6]}, [Found("a", 6), Found("a", 3)]).ok
    (True, False)
    """
    verdict = Verdict()
    reached: dict[Hashable, int] = {}
    for one in found:
        verdict.looked("I1")
        values = prefixes.get(one.identity, ())
        if one.content not in values:
            verdict.add("I1", Kind.WRONG, f"{one.identity!r} = {one.content!r} ({one.at}) is the value of no prefix", one.sources)
            continue
        index = len(values) - 1 - list(reversed(values)).index(one.content)
        if index < reached.get(one.identity, -1):
            verdict.add("I1", Kind.OUT_OF_ORDER, f"{one.identity!r} went back to {one.content!r} ({one.at})", one.sources)
        reached[one.identity] = index
    for identity, values in prefixes.items():
        verdict.looked("I1")
        if identity not in reached:
            verdict.add("I1", Kind.LOST, f"{identity!r} was never told")
        elif reached[identity] != len(values) - 1:
            verdict.add(
                "I1", Kind.LOST, f"the last value of {identity!r} is {values[reached[identity]]!r}, must be {values[-1]!r}"
            )
    return verdict


def state(expected: Mapping[Hashable, Hashable], found: Mapping[Hashable, Hashable], *, where: str = "") -> Verdict:
    """I3: the fold of a committed changelog against the state of the reference.

    >>> state({"a": 1}, {"a": 2}, where="store 'total'").invariants
    ('I3',)
    """
    verdict = Verdict()
    verdict.looked("I3", len(expected.keys() | found.keys()))
    place = f" ({where})" if where else ""
    for identity in expected.keys() - found.keys():
        verdict.add("I3", Kind.LOST, f"state of {identity!r}{place}, must be {expected[identity]!r}")
    for identity in found.keys() - expected.keys():
        verdict.add("I3", Kind.WRONG, f"state of {identity!r}{place} = {found[identity]!r} must not be there")
    for identity in expected.keys() & found.keys():
        if expected[identity] != found[identity]:
            what = f"state of {identity!r}{place} is {found[identity]!r}, must be {expected[identity]!r}"
            verdict.add("I3", Kind.WRONG, what)
    verdict.violations.sort(key=str)
    return verdict
