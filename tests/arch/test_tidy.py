"""What a reader may rely on in every file: sizes, names, no swallowed errors, no notes to oneself."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULE_LINES = 500
FUNCTION_LINES = 70  # without the docstring
VAGUE_NAMES = {"util", "utils", "helper", "helpers", "common", "manager", "misc"}
TEXT_FILES = re.compile(r".*\.(py|md|toml|yml|yaml|xml)|Makefile|run|Dockerfile.*")
SKIPPED = {".git", ".venv", "build", "dist", "node_modules"}

# What may be larger than the limits, and why. An exception that is no longer needed fails, too.
TOO_LONG_FOR_A_REASON: dict[str, str] = {}  # "streamkit/x.py" or "streamkit/x.py:Class.function" -> reason

# Notes to oneself, and names that mean something only where we happen to work. Written in pieces: this file is searched too.
BANNED = {
    "a note to oneself": re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X")) + r")\b"),
    "a path of one machine": re.compile(r"(?<![\w.])/(wo" + r"rk|ro" + r"ot|ho" + r"me/\w+)/"),
    "a tool of the workplace": re.compile(r"\bissues (sh" + r"ow|no" + r"te)\b|\bshared/(des" + r"ign|sty" + r"le|exactly)"),
}


@dataclass(frozen=True, slots=True)
class Source:
    """A Python file, parsed."""

    path: str
    text: str
    tree: ast.Module


@dataclass(frozen=True, slots=True)
class Findings:
    """What is looked for in a Python file. Its tree is not kept: with all of them in memory the garbage collector takes longer
    than the parser."""

    path: str
    too_long: dict[str, int]
    swallowed: list[int]
    prints: list[int]


@cache
def findings() -> tuple[Findings, ...]:
    files = [path for top in ("streamkit", "services", "benchmarks", "tests") for path in sorted((ROOT / top).rglob("*.py"))]
    return tuple(findings_in(str(path.relative_to(ROOT)), path.read_text()) for path in files)


def findings_in(path: str, text: str) -> Findings:
    tree = ast.parse(text)
    return Findings(path, too_long(Source(path, text, tree)), swallowed(tree), prints(tree))


def text_files() -> Iterator[Path]:
    for directory, below, names in os.walk(ROOT):
        below[:] = [name for name in below if name not in SKIPPED]
        yield from (Path(directory, name) for name in names if TEXT_FILES.fullmatch(name) and Path(directory, name).is_file())


def functions(tree: ast.AST, prefix: str = "") -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for node in ast.iter_child_nodes(tree):
        name = f"{prefix}{node.name}" if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) else ""
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield name, node
        yield from functions(node, f"{name}." if name else prefix)


def lines_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    lines = (function.end_lineno or function.lineno) - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function) is not None:
        lines -= (first.end_lineno or first.lineno) - first.lineno + 1
    return lines


def too_long(source: Source) -> dict[str, int]:
    found = {f"{source.path}:{name}": lines_of(node) for name, node in functions(source.tree)}
    found = {place: lines for place, lines in found.items() if lines > FUNCTION_LINES}
    module_lines = source.text.count("\n")
    return found | ({source.path: module_lines} if module_lines > MODULE_LINES else {})


def swallowed(tree: ast.Module) -> list[int]:
    """Lines of exception handlers that do nothing. (`contextlib.suppress` says the same, and it says it by name.)"""

    def does_nothing(statement: ast.stmt) -> bool:
        is_constant = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
        return isinstance(statement, ast.Pass) or is_constant

    handlers = [node for node in ast.walk(tree) if isinstance(node, ast.ExceptHandler)]
    return [handler.lineno for handler in handlers if all(map(does_nothing, handler.body))]


def prints(tree: ast.Module) -> list[int]:
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [call.lineno for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]


def banned(text: str) -> list[str]:
    return [f"{what}: {match[0]}" for what, pattern in BANNED.items() for match in pattern.finditer(text)]


def test_modules_and_functions_are_small():
    found = {place: lines for source in findings() for place, lines in source.too_long.items()}
    new = {place: lines for place, lines in found.items() if place not in TOO_LONG_FOR_A_REASON}
    assert not new, f"split these, or say in TOO_LONG_FOR_A_REASON why they are better whole: {new}"
    assert not set(TOO_LONG_FOR_A_REASON) - set(found), "no longer needed: take it out of TOO_LONG_FOR_A_REASON"


def test_modules_are_named_by_what_they_are_about():
    assert not [source.path for source in findings() if Path(source.path).stem.strip("_") in VAGUE_NAMES]
    assert not [source.path for source in findings() if VAGUE_NAMES & set(Path(source.path).parts[:-1])]


def test_no_error_is_swallowed():
    assert not [f"{source.path}:{line}" for source in findings() for line in source.swallowed]


def test_only_commands_print():
    inside = [s for s in findings() if s.path.startswith("streamkit/") and not s.path.startswith("streamkit/cli")]
    assert not [f"{source.path}:{line}" for source in inside for line in source.prints]


def test_every_package_says_what_lives_there():
    packages = {path.parent for path in (ROOT / "streamkit").rglob("*.py")}
    for package in sorted(packages):
        init = package / "__init__.py"
        assert init.exists(), f"{package.relative_to(ROOT)} has modules and no __init__.py"
        assert ast.get_docstring(ast.parse(init.read_text())), f"{init.relative_to(ROOT)} has no docstring"


def test_no_file_holds_what_is_only_for_us():
    found = [f"{path.relative_to(ROOT)}: {hit}" for path in text_files() for hit in banned(path.read_text(errors="replace"))]
    assert not found


LONG_FUNCTION = "class A:\n    def f(self):\n        '''One\n\n        line.'''\n" + "        x = 1\n" * 70


@pytest.mark.parametrize(
    "check,bad,good",
    [
        (swallowed, "try:\n    f()\nexcept E:\n    pass\n", "try:\n    f()\nexcept E:\n    g()\n"),
        (swallowed, "try:\n    f()\nexcept E:\n    ...\n", "with suppress(E):\n    f()\n"),
        (prints, "print(1)\n", "console.print(1)\n"),
    ],
)
def test_the_checks_find_what_they_look_for(check, bad, good):
    assert check(ast.parse(bad))
    assert not check(ast.parse(good))


def test_sizes_are_counted_without_the_docstring():
    long = Source("a.py", LONG_FUNCTION, ast.parse(LONG_FUNCTION))
    assert too_long(long) == {"a.py:A.f": 71}
    assert not too_long(Source("a.py", "", ast.parse(LONG_FUNCTION.removesuffix("        x = 1\n"))))
    assert too_long(Source("a.py", "\n" * 501, ast.parse(""))) == {"a.py": 501}


def test_banned_words_are_found():
    assert banned("# TO" + "DO: later") == ["a note to oneself: TO" + "DO"]
    assert banned("see /wo" + "rk/main") == ["a path of one machine: /wo" + "rk/"]
    assert not banned("todo lists, frame/work/s and /tmp/x")
