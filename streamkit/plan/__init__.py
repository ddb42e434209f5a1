"""The immutable graph that a pipeline declares, and all that can be said of it without a broker.

`nodes.py` has the nodes, `topology.py` cuts the graph into sub-topologies, `expressions.py` says which expressions may run
on a stream (`elementwise.py` has the list), `projection.py` which fields of a topic are decoded, `views.py` which steps see rows
and which columns, `wire.py` which bytes pass through unchanged, `explain.py` prints a plan as text and Mermaid.
May import: everything below (not `kafka`'s clients). Start reading at `nodes.py`.
"""
