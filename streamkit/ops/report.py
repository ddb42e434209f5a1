"""The summary of a run, for people: `streamkit run --report`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from streamkit.stages import StageTime


def print_stages(times: Sequence[StageTime], records: int) -> None:
    """A table of where the time went, to standard error, where the log is, too."""
    console = Console(file=sys.stderr)
    whole = sum(each.seconds for each in times)
    waited = sum(each.seconds for each in times if each.stage == "wait")
    table = Table(title=f"{records:,} records in {whole:.1f} s, {waited:.1f} s of it waiting for records")
    for name in ("stage", "operator", "seconds", "share", "µs per record"):
        table.add_column(name, justify="left" if name in ("stage", "operator") else "right")
    for each in times:
        per_record = f"{each.seconds / records * 1e6:.3f}" if records and each.stage != "wait" else ""
        table.add_row(each.stage, each.operator, f"{each.seconds:.2f}", f"{100 * each.seconds / whole:.1f} %", per_record)
    console.print(table, markup=False)
