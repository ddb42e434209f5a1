"""A plan for readers: as text, and as a Mermaid flowchart. Without a broker."""

from __future__ import annotations

from collections.abc import Iterator

from streamkit.eventtime.duration import duration_text
from streamkit.plan.names import changelog_topic, repartition_topic
from streamkit.plan.nodes import EventTime, Globally, Node, Repartition, Sink, Source, WindowAggregate
from streamkit.plan.topology import SubTopology, Topology
from streamkit.plan.types import describe
from streamkit.plan.views import view_of


def text(topology: Topology) -> str:
    """Each sub-topology with what it reads, its steps (and the view of the records that each uses) and what it writes.

    An arrow names what a step reads where that is not the step above it.
    """
    count = len(topology.parts)
    lines = [f"app '{topology.plan.app}': {count} sub-topolog{'y' if count == 1 else 'ies'}"]
    for part in topology.parts:
        lines += ["", f"sub-topology '{part.name}'", *(f"  {line}".rstrip() for line in _part_lines(topology, part))]
    return "\n".join(lines)


def mermaid(topology: Topology) -> str:
    """A Mermaid flowchart: topics are cylinders, sub-topologies frames, steps boxes."""
    app = topology.plan.app
    topics: dict[str, str] = {}
    inside: list[str] = []
    edges: list[str] = []
    for number, part in enumerate(topology.parts):
        ids = {node: f"s{number}_{at}" for at, node in enumerate(_steps(part))}
        inside.append(f'  subgraph sub{number}["{_quoted(part.name)}"]')
        inside += [f'    {step}["{_quoted(_step_label(node))}"]' for node, step in ids.items()]
        inside.append("  end")
        for node, step in ids.items():
            for one in node.inputs:
                start = ids[one] if one in ids else _topic_id(topics, _topic_read(app, one))
                edges.append(f"  {start} --> {step}")
            if isinstance(node, Sink | Repartition):
                edges.append(f"  {step} --> {_topic_id(topics, _topic_written(app, node))}")
            if isinstance(node, WindowAggregate):
                edges.append(f"  {step} <-.-> {_topic_id(topics, changelog_topic(app, node.name))}")
    shapes = [f'  {topic}[("{_quoted(name)}")]' for name, topic in topics.items()]
    return "\n".join(["flowchart LR", *shapes, *inside, *edges])


def _part_lines(topology: Topology, part: SubTopology) -> Iterator[str]:
    app = topology.plan.app
    reads = [
        f"{source.topic.name} ({source.topic.value_serde.name}), {_event_time(source.event_time)}" for source in part.sources
    ]
    reads += [
        f"{repartition_topic(app, repartition.name)} (from '{topology.writer_of(repartition).name}')"
        for repartition in part.reads
    ]
    for number, read in enumerate(reads):
        yield f"{'reads' if number == 0 else '':<7} {read}"
    yield from _step_lines(app, part)
    topics = [sink.topic.name for sink in part.sinks] + [repartition_topic(app, repartition.name) for repartition in part.writes]
    if topics:
        yield f"{'writes':<7} {', '.join(dict.fromkeys(topics))}"
    for store in part.stores:
        yield f"{'store':<7} {store.name}, changelog {changelog_topic(app, store.name)}"


def _step_lines(app: str, part: SubTopology) -> Iterator[str]:
    steps = _steps(part)
    numbers = {node: number for number, node in enumerate(steps, 1)}
    labels = [_step_label(node) for node in steps]
    width = min(max(map(len, labels), default=0), 60)
    for node, label in zip(steps, labels, strict=True):
        number = numbers[node]
        view = view_of(node)
        above = [steps[number - 2]] if number > 1 else []
        arrow = "" if list(node.inputs) == above else "<- " + ", ".join(_input_name(app, one, numbers) for one in node.inputs)
        yield f"{number:>3}  {label:<{width}}   {'' if view is None else view.value:<7}   {arrow}"
        if isinstance(node, WindowAggregate):
            yield f"       {'key':<7} {', '.join(node.key.key_columns) or '(one group for all)'}"
            for name, aggregator in node.outputs.items():
                yield f"       {'output':<7} {name} = {aggregator}"


def _steps(part: SubTopology) -> list[Node]:
    return [node for node in part.nodes if not isinstance(node, Source)]


def _step_label(node: Node) -> str:
    if isinstance(node, Globally):
        return f"{node.label}, one partition"
    return node.label


def _input_name(app: str, node: Node, numbers: dict[Node, int]) -> str:
    return str(numbers[node]) if node in numbers else _topic_read(app, node)


def _topic_read(app: str, node: Node) -> str:
    return repartition_topic(app, node.name) if isinstance(node, Repartition) else node.label


def _topic_written(app: str, node: Sink | Repartition) -> str:
    return node.topic.name if isinstance(node, Sink) else repartition_topic(app, node.name)


def _event_time(event_time: EventTime) -> str:
    by = event_time.by
    parts = ["event time: " + ("Kafka timestamp" if by is None else by if isinstance(by, str) else f"{describe(by)}()")]
    if event_time.watermark is not None:
        parts.append(f"watermark: {event_time.watermark}")
    if event_time.out_of_orderness_ms:
        parts.append(f"out of orderness {duration_text(event_time.out_of_orderness_ms)}")
    if event_time.idle_after_ms is not None:
        parts.append(f"idle after {duration_text(event_time.idle_after_ms)}")
    if event_time.advance_when_idle_ms is not None:
        parts.append(f"moves on {duration_text(event_time.advance_when_idle_ms)} after all are idle")
    if event_time.max_future_ms is not None:
        parts.append(f"at most {duration_text(event_time.max_future_ms)} ahead")
    if event_time.max_drift_ms is not None:
        parts.append(f"waits when {duration_text(event_time.max_drift_ms)} ahead of the others")
    return ", ".join(parts)


def _topic_id(topics: dict[str, str], name: str) -> str:
    return topics.setdefault(name, f"t{len(topics)}")


def _quoted(text: str) -> str:
    return text.replace("&", "#amp;").replace('"', "#quot;").replace("<", "#lt;").replace(">", "#gt;")
