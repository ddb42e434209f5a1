"""Whether record headers are wanted behind a repartition topic: aggregations drop them, so most plans need not carry them."""

from __future__ import annotations

from streamkit.plan.nodes import Node, OnClose, OnUpdate, Records, Repartition, Sink
from streamkit.plan.topology import Topology


def headers_needed(topology: Topology, start: Repartition) -> bool:
    """True if a sink or `records()` can see headers of the records that ``start`` sends on."""
    behind: dict[int, list[Node]] = {}
    for part in topology.parts:
        for node in part.nodes:
            for one in node.inputs:
                behind.setdefault(id(one), []).append(node)
    todo: list[Node] = [start]
    seen: set[int] = set()
    while todo:
        node = todo.pop()
        if id(node) in seen or isinstance(node, OnClose | OnUpdate):
            continue
        seen.add(id(node))
        if isinstance(node, Sink | Records):
            return True
        todo.extend(behind.get(id(node), []))
    return False
