"""Cuts a plan into sub-topologies at its repartition topics."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from streamkit.errors import DeclarationError, NameCollisionError
from streamkit.plan.nodes import Globally, Node, Repartition, Sink, Source, WindowAggregate

STORE_NAMES_BYTES = 3_600
"""How long the names of a part's stores may be, with commas between: they stand in the metadata of every committed position
(runtime/metadata.py), of which brokers take 4,096 bytes, beside numbers that take up to 468."""


@dataclass(frozen=True, slots=True)
class Plan:
    """All that an app declares: its name (consumer group, prefix of internal topics) and its sinks in order of declaration."""

    app: str
    sinks: tuple[Sink, ...]


@dataclass(frozen=True, slots=True)
class SubTopology:
    """A part of the plan between repartition topics; with a partition number it makes a task.

    ``name`` is stable: that of its first repartition (sorted), else its source topics joined by "+".
    ``reads`` are the repartitions that it consumes, ``writes`` those that it produces to, both by name.
    ``nodes`` are all nodes inside in topological order, its ``sources`` first; the `Repartition` nodes in ``reads`` are not among
    them, those in ``writes`` are.
    """

    name: str
    sources: tuple[Source, ...]
    reads: tuple[Repartition, ...]
    nodes: tuple[Node, ...]
    sinks: tuple[Sink, ...]
    writes: tuple[Repartition, ...]
    stores: tuple[WindowAggregate, ...]


@dataclass(frozen=True, slots=True)
class Topology:
    """The sub-topologies of a plan, upstream before downstream."""

    plan: Plan
    parts: tuple[SubTopology, ...]

    def writer_of(self, repartition: Repartition) -> SubTopology:
        """The sub-topology that produces to this repartition topic."""
        return next(part for part in self.parts if repartition in part.writes)

    def reader_of(self, repartition: Repartition) -> SubTopology:
        """The sub-topology that consumes it."""
        return next(part for part in self.parts if repartition in part.reads)


def cut(plan: Plan) -> Topology:
    """The sub-topologies of a plan. Nodes that lead to no sink are left out.

    Each repartition topic has one writer and one reader: all that is downstream of it without another cut in between.
    `DeclarationError`: no sinks; a sub-topology that waits for its own results; `globally()` merged with partitioned keys; more
    aggregates in one sub-topology than can be committed.
    """
    if not plan.sinks:
        raise DeclarationError(
            f"app '{plan.app}' has no sinks: nothing that it computes is written anywhere. End a stream with .to(sk.Topic(...))"
        )
    nodes = _upstream_first(plan.sinks)
    groups = _Groups()
    for node in nodes:
        if isinstance(node, Source):
            groups.join(node, ("topic", node.topic.name))
        for one in node.inputs:
            groups.join(node, ("reader", one) if isinstance(one, Repartition) else one)
    members: dict[object, list[Node]] = {}
    for node in nodes:
        members.setdefault(groups.of(node), []).append(node)
    parts = [_part(group, plan) for group in members.values()]
    _check_names(parts)
    return Topology(plan, _ordered(parts))


def _upstream_first(sinks: Iterable[Sink]) -> list[Node]:
    """All nodes above the sinks, each once and after its inputs."""
    found: dict[Node, None] = {}
    for sink in sinks:
        todo: list[tuple[Node, bool]] = [(sink, False)]
        while todo:
            node, inputs_done = todo.pop()
            if inputs_done:
                found.setdefault(node)
            elif node not in found:
                todo.append((node, True))
                todo.extend((one, False) for one in reversed(node.inputs))
    return list(found)


@dataclass(slots=True)
class _Groups:
    """Union-find."""

    parents: dict[object, object] = field(default_factory=dict)

    def of(self, one: object) -> object:
        path = []
        while (parent := self.parents.setdefault(one, one)) is not one:
            path.append(one)
            one = parent
        self.parents.update(dict.fromkeys(path, one))
        return one

    def join(self, one: object, other: object) -> None:
        self.parents[self.of(one)] = self.of(other)


def _part(nodes: list[Node], plan: Plan) -> SubTopology:
    inside = set(nodes)
    sources = tuple(node for node in nodes if isinstance(node, Source))
    reads = {one for node in nodes for one in node.inputs if isinstance(one, Repartition)}
    by_name = tuple(sorted(reads, key=lambda repartition: repartition.name))
    part = SubTopology(
        name=by_name[0].name if by_name else "+".join(sorted({source.topic.name for source in sources})),
        sources=sources,
        reads=by_name,
        nodes=(*sources, *(node for node in nodes if not isinstance(node, Source))),
        sinks=tuple(sink for sink in plan.sinks if sink in inside),
        writes=tuple(sorted((n for n in nodes if isinstance(n, Repartition)), key=lambda repartition: repartition.name)),
        stores=tuple(node for node in nodes if isinstance(node, WindowAggregate)),
    )
    _check_keys(part)
    _check_stores(part)
    return part


def _check_keys(part: SubTopology) -> None:
    alone = [repartition.name for repartition in part.reads if isinstance(repartition, Globally)]
    keyed = [repartition.name for repartition in part.reads if not isinstance(repartition, Globally)]
    if alone and keyed:
        raise DeclarationError(
            f"sub-topology '{part.name}' merges globally() ('{alone[0]}', one partition) with key_by() ('{keyed[0]}', many): "
            "records of one key would not meet. Give both streams the same keys before merging them"
        )


def _check_stores(part: SubTopology) -> None:
    length = len(",".join(store.name for store in part.stores))
    if length > STORE_NAMES_BYTES:
        raise DeclarationError(
            f"sub-topology '{part.name}' has {len(part.stores)} aggregates, whose names make {length:,} characters; at most "
            f"{STORE_NAMES_BYTES:,} can be stored with its committed positions. Give the aggregates shorter names, compute what "
            "has the same keys and windows in one of them (aggregate(name, total=..., count=...)), or move some of them to "
            "another app, which may read the same topics"
        )


def _check_names(parts: list[SubTopology]) -> None:
    names: set[str] = set()
    for part in parts:
        if part.name in names:
            raise NameCollisionError(
                f"a source topic and a repartition are both called '{part.name}', so two sub-topologies would have that name; "
                "give the key_by() or globally() another name="
            )
        names.add(part.name)


def _ordered(parts: list[SubTopology]) -> tuple[SubTopology, ...]:
    """Writers before readers; `DeclarationError` where that is not possible."""
    writer = {repartition: part for part in parts for repartition in part.writes}
    done: dict[str, SubTopology] = {}
    left = list(parts)
    while left:
        ready = [part for part in left if all(writer[repartition].name in done for repartition in part.reads)]
        if not ready:
            raise _cycle(left, writer)
        done |= {part.name: part for part in ready}
        left = [part for part in left if part.name not in done]
    return tuple(done.values())


def _cycle(left: list[SubTopology], writer: dict[Repartition, SubTopology]) -> DeclarationError:
    part, path = left[0], [left[0].name]
    while True:
        waits_for = next(repartition for repartition in part.reads if writer[repartition] in left)
        part = writer[waits_for]
        path.append(part.name)
        if part.name in path[:-1]:
            circle = " <- ".join(path[path.index(part.name) :])
            return DeclarationError(
                f"sub-topology '{part.name}' would wait for its own results ({circle}), through the repartition "
                f"'{waits_for.name}': its time could never advance. This comes from merging a stream with what key_by() or "
                "globally() made of it; key all merged streams alike, or write to a topic and read it in another app"
            )
