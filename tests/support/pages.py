"""Runs what stands on a page of the documentation: files are written, commands executed, outputs compared.

    <!-- file: app.py -->       the fenced block that follows is the content of this file
    ```console                  lines behind `$ ` are commands; what stands below one is its output (`...` stands for anything)
    <!-- until: text -->        the one command that follows runs until its output has the text, then gets Ctrl-C
    ```python with `>>>`        a session, which tests/docs/test_docstrings.py runs

Blocks of other kinds are for reading.
"""

from __future__ import annotations

import doctest
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

_BLOCK = re.compile(r"(?:^<!-- (file|until): (.+?) -->\n)?^```([a-z]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PATIENCE_S = 150


class PageError(AssertionError):
    """A page that does not do what it says, with the place on it."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command and the output that stands below it; ``until``: the text at which it is interrupted."""

    text: str
    output: str
    line: int
    until: str | None = None


@dataclass(frozen=True, slots=True)
class File:
    name: str
    text: str
    line: int


def parts(page: str) -> Iterator[Command | File]:
    """The files and commands of a page, in order."""
    for block in _BLOCK.finditer(page):
        mark, name, language, body = block.groups()
        line = page.count("\n", 0, block.start(4)) + 1
        if mark == "file":
            yield File(name, body, line)
        elif language == "console":
            yield from _commands(body, line, name if mark == "until" else None)


def _commands(body: str, line: int, until: str | None) -> Iterator[Command]:
    found: list[Command] = []
    for number, text in enumerate(body.splitlines(keepends=True), line):
        if text.startswith("$ "):
            found.append(Command(text[2:].strip(), "", number, until))
        elif not found:
            raise PageError(f"line {number}: output without a command")
        else:
            last = found.pop()
            found.append(Command(last.text, last.output + text, last.line, until))
    return iter(found)


@dataclass(slots=True)
class Page:
    """Runs the parts of pages in one directory."""

    place: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    bin: Path = Path(sys.executable).parent
    ran: int = 0

    def write_files(self, page: str) -> None:
        for part in parts(page):
            if isinstance(part, File):
                self._write(part)

    def run(self, page: str) -> None:
        """`PageError` at the first command that fails or whose output is another."""
        for part in parts(page):
            if isinstance(part, File):
                self._write(part)
            else:
                self._check(part, self._interrupted(part) if part.until else self._finished(part))
                self.ran += 1

    def _write(self, part: File) -> None:
        path = self.place / part.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(part.text)

    def _finished(self, command: Command) -> str:
        """`cd` holds for the commands behind it, as in a terminal."""
        with tempfile.NamedTemporaryFile("r") as where:
            script = f"{command.text}\nstatus=$?; pwd > {where.name}; exit $status"
            done = subprocess.run(
                ["bash", "-c", script], cwd=self.place, env=self._environment(), timeout=_PATIENCE_S, check=False,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True,
            )  # fmt: skip
            self.place = Path(where.read().strip() or self.place)
        if done.returncode and "error: " not in command.output:
            raise PageError(f"line {command.line}: {command.text}: exit code {done.returncode}\n{done.stdout}")
        return done.stdout

    def _interrupted(self, command: Command) -> str:
        with tempfile.TemporaryFile("w+") as out:
            process = subprocess.Popen(
                ["bash", "-c", f"exec {command.text}"], cwd=self.place, env=self._environment(),
                stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            )  # fmt: skip
            try:
                deadline = time.monotonic() + _PATIENCE_S
                while str(command.until) not in (said := _text(out.fileno())):
                    if process.poll() is not None or time.monotonic() > deadline:
                        raise PageError(f"line {command.line}: {command.text} does not come to {command.until!r}:\n{said}")
                    time.sleep(0.05)
                process.send_signal(signal.SIGINT)
                process.wait(_PATIENCE_S)
            finally:
                if process.poll() is None:
                    process.kill()
                    process.wait()
            said = _text(out.fileno())
        if process.returncode:
            raise PageError(f"line {command.line}: {command.text}: exit code {process.returncode} after Ctrl-C\n{said}")
        return said

    def _environment(self) -> dict[str, str]:
        own = {name: value for name, value in os.environ.items() if not name.startswith(("STREAMKIT_", "KAFKA_"))}
        path = f"{self.bin}{os.pathsep}{own.get('PATH', '')}"
        return own | {"PATH": path, "NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "100"} | dict(self.environment)

    def _check(self, command: Command, found: str) -> None:
        wanted = command.output
        if not wanted:  # nothing is said of what it prints
            return
        if command.text.startswith("streamkit dev"):  # which topic is printed first hangs on where commits fall
            wanted, found = (
                "".join(sorted(text.splitlines(keepends=True), key=lambda line: line.split(" ", 1)[0]))
                for text in (wanted, found)
            )
        if not doctest.OutputChecker().check_output(wanted, found, doctest.ELLIPSIS):
            raise PageError(f"line {command.line}: {command.text}\nwanted:\n{wanted}\nfound:\n{found}")


def _text(descriptor: int) -> str:
    """All that a process has written so far; the file's own position is the process's."""
    return os.pread(descriptor, 1 << 20, 0).decode(errors="replace")
