"""`make sanitize`: the tests of the compiled parts, on a build that ends the process where memory or arithmetic goes wrong.

The parts are built with gcc's address and undefined-behaviour sanitizers into a copy of the package, so the build that is
installed stays as it is. Before the tests, a fault that is made on purpose must be found: else nothing would be. Wants gcc, with
its libasan, on Linux.

Every process of the tests has libasan loaded first, and Python takes its memory from malloc, so that what lies behind an object
is known. A JVM does not live under that: a test of a real Kafka takes one that runs already, by KAFKA_BOOTSTRAP_SERVERS.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from unittest import mock

import hatch_build
from streamkit import compiled

ROOT: Final = Path(hatch_build.__file__).parent
COPIED: Final = ("streamkit", "services", "tests", "pyproject.toml")
SANITIZERS: Final = "-fsanitize=address,undefined"
FLAGS: Final = ("-O1", "-g", "-fno-omit-frame-pointer", SANITIZERS, "-fno-sanitize-recover=all", "-fno-wrapv")
"""The last: Python is compiled with -fwrapv, and under it no overflow would be one."""
TESTS: Final = (
    "tests/unit/kafka_confluent",
    "tests/unit/operators/test_joined.py",
    "tests/unit/record/test_joined.py",
    "tests/unit/serdes/test_compiled.py",
    "tests/unit/state/test_native_entries.py",
)
FOUND: Final = 97
"""Exit code of a process in which something was found."""
REPORT: Final = "report"
"""The file that libasan writes then, behind a dot its process id; what overflows is told by libubsan on stderr."""
BEHIND_THE_END: Final = """
import ctypes
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
ctypes.memset(libc.malloc(8), 0, 9)
"""
"""A write behind the end of a block."""


class SanitizerError(Exception):
    """The tests cannot be run in this way here."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0 if the tests pass and nothing is found."""
    parser = argparse.ArgumentParser(prog="make sanitize")
    parser.add_argument("tests", nargs="*", help="others than those of the compiled parts")
    parser.add_argument("--examples", default="streamkit", choices=["streamkit", "streamkit-fast"], help="how much is drawn")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="streamkit-sanitize-") as place:
        try:
            environment = prepare(Path(place))
        except SanitizerError as error:
            print(f"sanitize: {error}", file=sys.stderr)
            return 2
        wanted = given.tests or [*TESTS, "--no-broker"]
        options = ["-q", "-p", "no:cacheprovider", "--capture=sys", f"--hypothesis-profile={given.examples}"]
        code = python(["-m", "pytest", *options, *wanted], Path(place), environment).returncode
        reports = [path.read_text(errors="replace") for path in sorted(Path(place).glob(f"{REPORT}.*"))]
    print(*reports, sep="\n")
    print(f"sanitize: {verdict(code, len(reports))}")
    return code or (FOUND if reports else 0)


def verdict(code: int, reports: int) -> str:
    """In words: the tests' exit code, and what was found in any process of theirs, whatever they made of its end."""
    if reports or code == FOUND:
        return "FOUND: see the report above"
    return "nothing found" if code == 0 else f"FAILED: the tests ended with {code}"


def prepare(place: Path) -> dict[str, str]:
    """Fills ``place`` with a copy whose compiled parts have sanitizers; gives the environment in which faults are seen there."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, place / name, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
        else:
            shutil.copy(source, place / name)
    build(place)
    log = f"log_path={place / REPORT}:exitcode={FOUND}"
    environment = os.environ | {
        "LD_PRELOAD": f"{_library('libasan.so')} {_library('libstdc++.so')}",
        "ASAN_OPTIONS": f"detect_leaks=0:strict_string_checks=1:{log}",  # Python itself keeps much until it ends
        "UBSAN_OPTIONS": f"print_stacktrace=1:{log}",
        "PYTHONMALLOC": "malloc",
        "PYTHONPATH": str(place),
        "PYTHONDONTWRITEBYTECODE": "1",
        compiled.VARIABLE: "require",
    }
    loads = f"import {', '.join(hatch_build.SOURCES)}; print({', '.join(f'{name}.__file__' for name in hatch_build.SOURCES)})"
    done = python(["-c", loads], place, environment, quiet=True)
    if done.returncode or done.stdout.count(str(place)) != len(hatch_build.SOURCES):
        raise SanitizerError(f"the build cannot be loaded: {done.stdout}{done.stderr}")
    code = python(["-c", BEHIND_THE_END], place, environment, quiet=True).returncode
    reports = list(place.glob(f"{REPORT}.*"))
    if code != FOUND or len(reports) != 1:
        raise SanitizerError("a write behind the end of a block, made on purpose, was not found")
    reports[0].unlink()
    return environment


def build(place: Path) -> None:
    """The compiled parts of ``place``, as they are compiled for an installation but for the flags."""
    with mock.patch.dict(os.environ, {"CC": "gcc", "LDFLAGS": SANITIZERS}):
        try:
            built = hatch_build.compile_parts(place, place / "build", FLAGS)
        except Exception as error:
            raise SanitizerError(f"the compiled parts cannot be built with gcc's sanitizers: {error}") from error
    for name, path in built.items():
        shutil.copy(path, place / name)


def python(
    arguments: Sequence[str], place: Path, environment: dict[str, str], *, quiet: bool = False
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=place, env=environment, capture_output=quiet, text=True, check=False)


def _library(name: str) -> str:
    """Where gcc has it; libasan wants that of C++ loaded with it, or exceptions of C++ end the process."""
    try:
        done = subprocess.run(["gcc", f"-print-file-name={name}"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise SanitizerError(f"there is no gcc: {error}") from error
    path = done.stdout.strip()
    if not Path(path).is_absolute():
        raise SanitizerError(f"gcc has no {name}: in Debian it comes with libgcc-dev and libstdc++-dev")
    return path


if __name__ == "__main__":
    sys.exit(main())
