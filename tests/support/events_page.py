"""docs/reference/events.md, made from the table of events: ``python -m tests.support.events_page`` writes it."""

from __future__ import annotations

from pathlib import Path

from streamkit.ops.events import EVENTS, FIELDS

PAGE = Path(__file__).resolve().parents[2] / "docs/reference/events.md"

HEAD = """\
# Events in the log

<!-- Written by tests/support/events_page.py (make docs) from streamkit/ops/events.py: change that. -->

A service writes one line per event to standard error: readable on a terminal, JSON anywhere else (`log_format` says otherwise).
Every line has `timestamp`, `level`, `event`, `app` and `worker`: instance id and index, or `supervisor`, the parent of
`--workers`. `log_level` is the least level that is written. Lines whose `event` is a sentence are librdkafka's: they have its
`client`, and its `code` where there is one. Secrets are never written.

    {"timestamp": "2026-04-15T08:21:00.012345Z", "level": "info", "event": "running", "app": "bids", "worker": "bids-1-0", ...}

A start is `started`, `assigned`, `restoring` (if it takes longer than a second), `restored`, `running`; a stop is `draining`,
`stopped`. An error that ends a service is `failed`, once more as `error: ...` on the last line, and in the
[exit code](errors.md#exit-codes).
"""


def page() -> str:
    lines = [HEAD, "| event | level | | fields |", "|---|---|---|---|"]
    for name, event in EVENTS.items():
        fields = ", ".join(f"`{field}`" for field in event.fields)
        lines.append(f"| `{name}` | {event.level} | {event.meaning} | {fields} |")
    lines += ["", "| field | |", "|---|---|"]
    lines += [f"| `{name}` | {meaning} |" for name, meaning in FIELDS.items() if meaning]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Writes the page."""
    PAGE.write_text(page())
    print(PAGE.name)


if __name__ == "__main__":
    main()
