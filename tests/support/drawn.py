"""Reads the state machines that docstrings draw: ``A, B ──what happens──> C``."""

from __future__ import annotations

import re

_ARROW = re.compile(r"(?=\b((?:[A-Z]{2,}, )*[A-Z]{2,}) ──[^─]+──> ([A-Z]{2,})\b)")


def drawn_transitions(docstring: str | None) -> set[tuple[str, str]]:
    """(from, to) of every arrow.

    >>> sorted(drawn_transitions("NEW ──go──> BUSY ──stop──> DONE     NEW, BUSY ──die──> DEAD"))
    [('BUSY', 'DEAD'), ('BUSY', 'DONE'), ('NEW', 'BUSY'), ('NEW', 'DEAD')]
    """
    return {(start, match[2]) for match in _ARROW.finditer(docstring or "") for start in match[1].split(", ")}
