"""docs/reference/, made from docstrings and from what `streamkit --help` prints: ``python -m tests.support.reference_pages``.

Pages without the mark below are written by hand (settings.md but for its tables: settings_page.py).
"""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamkit as sk
from streamkit.cli.main import EXIT_CODES, commands

PLACE = Path(__file__).resolve().parents[2] / "docs/reference"
MARK = "<!-- Written by tests/support/reference_pages.py (make docs) from docstrings: change those. -->"
WIDTH = 100


@dataclass(frozen=True, slots=True)
class Area:
    """A page: its title, what it says before the names, and the modules whose public names are on it."""

    file: str
    title: str
    intro: str
    modules: tuple[str, ...]


AREAS = (
    Area(
        "app.md", "App",
        "The service as a whole. Settings and the arguments of `run` in detail: [settings](settings.md).",
        ("app", "runtime.explanation"),
    ),
    Area(
        "topics.md", "Topics and serdes",
        "What is on the wire, and as what it is read. `sk.avro` in detail, with evolution: [Avro](avro.md); the bytes of keys "
        "and internal topics: [wire formats](../wire-formats.md).",
        ("plan.topic", "record.model", "serdes"),
    ),
    Area(
        "streams.md", "Streams",
        "The steps of a pipeline. What each does with key, event time and headers is in one table: [operators](../operators.md).",
        ("dsl.stream",),
    ),
    Area(
        "windows.md", "Event time and windows", "The semantics are in [time](../concepts/time.md).",
        ("dsl.event_time", "eventtime.generators", "dsl.windows", "dsl.timeless"),
    ),
    Area(
        "aggregates.md", "Aggregates",
        "What becomes of nulls and of types is in a table: [aggregators](../operators.md#aggregators).",
        ("dsl.windowed", "dsl.aggregates", "dsl.user_defined"),
    ),
    Area(
        "testing.md", "Testing",
        "A pipeline in a test, without a Kafka, and whole topics of a Kafka from a script. A first test: "
        "[step 4 of the tutorial](../tutorial/4-testing.md).",
        ("testing",),
    ),
)  # fmt: skip
ELSEWHERE = {"EngineSettings": "settings.md", "errors": "errors.md"}
FIRST = {"Topic": 0, "Model": 1, "Row": 2, "Record": 3, "WindowedStream": 0, "Aggregated": 1, "Stream": 0, "TestDriver": 0}
"""What stands before the others of its page."""

MADE_BY_OTHERS = {"Stream", "KeyedStream", "WindowedStream", "Aggregated", "Broker", "WindowExplanation"}
"""Classes whose constructor is nobody's business."""


def names_of(area: Area) -> list[str]:
    """The public names whose home is one of the area's modules, the important ones first, else in the order of the alphabet."""
    homes = {name: home for name, home in sk._HOMES.items() if name not in ELSEWHERE}
    found = [name for name, home in homes.items() if any(home == one or home.startswith(f"{one}.") for one in area.modules)]
    return sorted(found, key=lambda name: (FIRST.get(name, 9), name))


def pages() -> dict[str, str]:
    """The text of every generated page by its file name."""
    found = {area.file: _area(area) for area in AREAS}
    return found | {"errors.md": _errors(), "cli.md": _cli(), "README.md": _index()}


def _area(area: Area) -> str:
    return "\n".join(
        [f"# {area.title}", "", MARK, "", area.intro, "", *(line for name in names_of(area) for line in _name(name))]
    )


def _name(name: str) -> Iterator[str]:
    exported = getattr(sk, name)
    kind = "class " if inspect.isclass(exported) else ""
    yield from [f"## sk.{name}", ""]
    if name not in MADE_BY_OTHERS and name not in ("Model", "Row"):  # of these the fields are the user's
        yield from _signature(f"{kind}sk.{name}", exported)
    yield from [_prose(inspect.getdoc(exported) or ""), ""]
    if inspect.isclass(exported):
        for method, function, is_property in _methods(exported):
            yield from [f"### {name}.{method}", ""]
            yield from _property(name, method, function) if is_property else _signature(method, function)
            yield from [_prose(inspect.getdoc(function) or ""), ""]


def _methods(kind: type) -> Iterator[tuple[str, Any, bool]]:
    """Its own and those of bases that have no entry themselves, in the order in which they are written."""
    seen = {"__init__"}
    for base in kind.__mro__:
        if not base.__module__.startswith("streamkit") or (base is not kind and base.__name__ in sk.__all__):
            continue
        for name, value in vars(base).items():
            is_property = isinstance(value, property)
            function = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
            if not name.startswith("_") and name not in seen and inspect.isfunction(function):
                seen.add(name)
                yield name, function, is_property


def _property(name: str, method: str, function: Any) -> list[str]:
    return ["```python", f"{name}.{method}: {inspect.signature(function).return_annotation}", "```", ""]


def _signature(name: str, function: Any) -> list[str]:
    signature = inspect.signature(function)
    given = [each for each in signature.parameters.values() if each.name not in ("self", "cls")]
    shown = list(map(str, _with_stars(given)))
    returned = signature.return_annotation
    back = "" if inspect.isclass(function) or returned is signature.empty else f" -> {returned}"
    line = f"{name}({', '.join(shown)}){back}"
    if len(line) > WIDTH:
        line = "\n".join([f"{name}(", *(f"    {each}," for each in shown), f"){back}"])
    return ["```python", line, "```", ""]


def _with_stars(parameters: list[inspect.Parameter]) -> Iterator[Any]:
    """As they are written: a lone star before the first that is given by name only."""
    starred = False
    for each in parameters:
        starred = starred or each.kind is each.VAR_POSITIONAL
        if each.kind is each.KEYWORD_ONLY and not starred:
            starred = True
            yield "*"
        yield _Shown(each)


class _Shown:
    """A parameter whose annotation is shown as it is written in the source."""

    def __init__(self, parameter: inspect.Parameter) -> None:
        self._of = parameter

    def __str__(self) -> str:
        each = self._of
        stars = "*" if each.kind is each.VAR_POSITIONAL else "**" if each.kind is each.VAR_KEYWORD else ""
        typed = "" if each.annotation is each.empty else f": {each.annotation}"
        if each.default is each.empty:
            return f"{stars}{each.name}{typed}"
        default = getattr(each.default, "__name__", repr(each.default)).replace("<factory>", "{}")
        return f"{each.name}{typed}{' = ' if typed else '='}{default}"


def _prose(text: str) -> str:
    """A docstring as Markdown: examples in fences, literals in single backticks."""
    out: list[str] = []
    fenced = False
    for line in text.splitlines():
        if line.startswith(">>>") and not fenced:
            fenced = True
            out += ["```python"] if not out or not out[-1] else ["", "```python"]
        elif fenced and not line.strip():
            fenced = False
            out += ["```"]
        out.append(line if fenced or line.startswith("    ") else line.replace("``", "`"))
    return "\n".join([*out, "```"] if fenced else out)


def _errors() -> str:
    module = inspect.getdoc(sk.errors) or ""
    head, _, tree = module.partition("\n\n")
    classes = [value for value in vars(sk.errors).values() if inspect.isclass(value) and value.__module__ == sk.errors.__name__]
    lines = ["# Errors and exit codes", "", MARK, "", head, "", "```text", tree, "```", "", "## Exit codes", ""]
    lines += [f"- {code}" for code in EXIT_CODES.removeprefix("Exit codes: ").rstrip(".").split("; ")] + [""]
    for each in classes:
        base = each.__base__.__name__ if each.__base__ not in (None, Exception) else ""
        article = "An" if base.startswith("A") else "A"
        lines += [f"## {each.__name__}", "", f"{article} `{base}`." if base else "", "", _prose(inspect.getdoc(each) or ""), ""]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines))


def _cli() -> str:
    lines = ["# The command line", "", MARK.replace("docstrings", "--help"), "", "```text", _help(), "```", ""]
    for command in commands.registered_commands:
        lines += [f"## streamkit {command.name}", "", "```text", _help(str(command.name)), "```", ""]
    return "\n".join(lines)


def _help(*command: str) -> str:
    own = {name: value for name, value in os.environ.items() if not name.startswith(("STREAMKIT_", "KAFKA_"))}
    done = subprocess.run(
        [sys.executable, "-c", "from streamkit.cli import main; main()", *command, "--help"], check=True, capture_output=True,
        text=True, env=own | {"COLUMNS": str(WIDTH), "NO_COLOR": "1", "TERM": "dumb", "LC_ALL": "C.UTF-8"},
    )  # fmt: skip
    text = done.stdout.replace("Usage: -c", "Usage: streamkit")
    return "\n".join(line.rstrip() for line in text.splitlines()).strip("\n")


def _index() -> str:
    rows = [f"- [{area.title}]({area.file}): {', '.join(f'`{name}`' for name in names_of(area))}" for area in AREAS]
    rows += ["- [Errors and exit codes](errors.md)", "- [The command line](cli.md)"]
    by_hand = [path for path in sorted(PLACE.glob("*.md")) if MARK[:40] not in path.read_text()]
    rows += [f"- [{path.read_text().splitlines()[0].removeprefix('# ')}]({path.name})" for path in by_hand]
    intro = "What is public is what `import streamkit as sk` gives, the commands, the settings, and the bytes on the wire."
    return "\n".join(["# Reference", "", MARK, "", intro, "", *rows, ""])


def main() -> None:
    for name, text in pages().items():
        (PLACE / name).write_text(text.rstrip("\n") + "\n")
        print(name)


if __name__ == "__main__":
    main()
