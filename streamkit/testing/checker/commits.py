"""I2, I5, I6, I7 and I9: what the committed offsets say of the results, who wrote when, how far time came, how a run ended."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from streamkit.kafka.client import TopicPartition
from streamkit.testing.checker.verdict import Kind, Source, Verdict


@dataclass(frozen=True, slots=True)
class Commit:
    """One committed transaction, in the order in which they became visible.

    ``writer`` is who committed; ``offsets`` what it committed; ``effects`` the inputs whose results became visible with it.
    """

    writer: str
    offsets: Mapping[TopicPartition, int]
    effects: Sequence[Source] = ()
    at: float = 0.0


def atomic(commits: Iterable[Commit], told: Iterable[Source]) -> Verdict:
    """I2, at every commit: the inputs below the committed offset are exactly those whose effects are committed.

    ``told``: every input that has an effect of its own which names it (a stamped result, a late record).

    >>> bids = TopicPartition("bids", 0)
    >>> inputs = [Source("bids", 0, n) for n in range(3)]
    >>> atomic([Commit("w", {bids: 2}, inputs[:2]), Commit("w", {bids: 3}, inputs[2:])], inputs).ok
    True
    >>> print(atomic([Commit("w", {bids: 3}, inputs[:2])], inputs))
    lost 1, duplicated 0, wrong 0, out of order 0 (looked at: I2 5)
      I2 lost: w committed bids-0 up to 3 without the effect, from bids-0@2
    """
    verdict = Verdict()
    waiting: dict[TopicPartition, list[Source]] = {}
    for source in sorted(set(told), reverse=True):
        waiting.setdefault(TopicPartition(source.topic, source.partition), []).append(source)
    reached: dict[TopicPartition, int] = {}
    seen: set[Source] = set()
    for commit in commits:
        seen.update(commit.effects)
        for tp, offset in commit.offsets.items():
            reached[tp] = max(offset, reached.get(tp, 0))
        for source in commit.effects:
            tp = TopicPartition(source.topic, source.partition)
            verdict.looked("I2")
            if source.offset >= reached.get(tp, 0):
                what = f"{commit.writer} committed an effect above the offset {reached.get(tp, 0)} of {tp}"
                verdict.add("I2", Kind.DUPLICATED, what, [source])
        for tp, offset in commit.offsets.items():
            left = waiting.get(tp, [])
            while left and left[-1].offset < offset:
                source = left.pop()
                verdict.looked("I2")
                if source not in seen:
                    verdict.add("I2", Kind.LOST, f"{commit.writer} committed {tp} up to {offset} without the effect", [source])
    return verdict


def single_writer(commits: Iterable[Commit]) -> Verdict:
    """I5: the ranges of input that commits stand for are disjoint, contiguous and increasing, whoever wrote them: committed
    offsets never go back, and a commit's effects lie between what was committed before and what it commits.

    >>> bids = TopicPartition("bids", 0)
    >>> print(single_writer([Commit("w1", {bids: 5}), Commit("w2", {bids: 4})]))
    lost 0, duplicated 0, wrong 1, out of order 0 (looked at: I5 2)
      I5 wrong: w2 took bids-0 back from 5 (committed by w1) to 4
    """
    verdict = Verdict()
    reached: dict[TopicPartition, tuple[int, str]] = {}
    for commit in commits:
        for source in commit.effects:
            tp = TopicPartition(source.topic, source.partition)
            before, writer = reached.get(tp, (0, "nobody"))
            verdict.looked("I5")
            if source.offset < before:
                what = f"{commit.writer} wrote what was below the offset {before} of {tp} that {writer} had committed"
                verdict.add("I5", Kind.DUPLICATED, what, [source])
        for tp, offset in commit.offsets.items():
            before, writer = reached.get(tp, (0, "nobody"))
            verdict.looked("I5")
            if offset < before:
                verdict.add("I5", Kind.WRONG, f"{commit.writer} took {tp} back from {before} (committed by {writer}) to {offset}")
            reached[tp] = (offset, commit.writer)
    return verdict


def frontiers(told: Iterable[tuple[Hashable, int]]) -> Verdict:
    """I6: what is persisted of an owner's time (a store's frontier, a window's ``closed_through``) never goes back.

    >>> frontiers([("total/0", 5), ("total/0", 9), ("total/0", 7)]).invariants
    ('I6',)
    """
    verdict = Verdict()
    reached: dict[Hashable, int] = {}
    for owner, value in told:
        verdict.looked("I6")
        if value < reached.get(owner, value):
            verdict.add("I6", Kind.WRONG, f"time of {owner} went back from {reached[owner]} to {value}")
        reached[owner] = max(value, reached.get(owner, value))
    return verdict


def settled(
    last_records: Mapping[TopicPartition, int],
    committed: Mapping[TopicPartition, int],
    stable: Mapping[TopicPartition, tuple[int, int]],
    open_transactions: Iterable[str],
) -> Verdict:
    """I7, asked within a bound after the last fault: no lag, no open transaction, last stable offset = high watermark.

    ``last_records``: 1 + the offset of the last data record of each input (0 for an empty one); ``stable``: (LSO, HW).
    """
    verdict = Verdict()
    for tp, end in last_records.items():
        verdict.looked("I7")
        if committed.get(tp, 0) < end:
            verdict.add("I7", Kind.STUCK, f"{tp} is committed up to {committed.get(tp, 0)} of {end}")
    for tp, (last_stable, high) in stable.items():
        verdict.looked("I7")
        if last_stable != high:
            verdict.add("I7", Kind.STUCK, f"the last stable offset of {tp} is {last_stable}, its end {high}")
    for transactional_id in open_transactions:
        verdict.add("I7", Kind.STUCK, f"the transaction of '{transactional_id}' is open")
    return verdict


def fail_closed(
    error: BaseException | None,
    named: type[BaseException] | tuple[type[BaseException], ...],
    commits: Iterable[Commit],
    since: float,
) -> Verdict:
    """I9: what cannot be repaired ends in a named error, and nothing is committed after `since`, the moment of the damage."""
    verdict = Verdict()
    verdict.looked("I9")
    if not isinstance(error, named):
        wanted = named.__name__ if isinstance(named, type) else " or ".join(one.__name__ for one in named)
        got = "nothing" if error is None else f"{type(error).__name__}: {error}"
        verdict.add("I9", Kind.OPEN, f"the service must stop with {wanted}, got {got}")
    for commit in commits:
        if commit.at > since:
            verdict.add("I9", Kind.OPEN, f"{commit.writer} committed {dict(commit.offsets)} at {commit.at:.3f}, after the damage")
    return verdict
