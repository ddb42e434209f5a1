"""Who takes part in the suite, and what each needs: programs of this environment, and some that bring their own.

What is installed goes to a cache beside the broker's (STREAMKIT_CACHE, else ~/.cache/streamkit), once per version. A contestant
that cannot be had is `AbsentError` with the reason; the suite reports it and goes on.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from benchmarks import job
from streamkit import compiled
from tests.support.jvm import JvmError, find_java

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
INSTALL_S = 900
HEAP = ("-Xms2g", "-Xmx2g", "-XX:+UseParallelGC")

Report = Callable[[str], None]


class AbsentError(Exception):
    """A contestant cannot take part; the message says why."""


@dataclass(frozen=True, slots=True)
class Program:
    """A command that takes a job as its last argument, and of what versions it is made."""

    command: tuple[str, ...]
    version: str
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Contestant:
    name: str
    title: str
    prepare: Callable[[Report], Program]


def _cache() -> Path:
    root = os.environ.get("STREAMKIT_CACHE") or Path.home() / ".cache" / "streamkit"
    return Path(root) / "benchmarks"


def _here(module: str, *distributions: str, native: str = "") -> Callable[[Report], Program]:
    """``native``: with (require) or without (off) streamkit's compiled parts."""

    def prepare(_: Report) -> Program:
        versions = ", ".join(f"{name} {version(name)}" for name in distributions)
        return Program(tuple(job.command(module)), versions, {compiled.VARIABLE: native} if native else {})

    return prepare


def _quix(report: Report) -> Program:
    python, versions = _environment("quix", report)
    return Program((str(python), "-m", "benchmarks.contestants.quix.contestant"), versions, {"PYTHONPATH": str(ROOT)})


def _flink(report: Report) -> Program:
    java = _java()
    jars = _maven("flink", ["dependency:copy-dependencies", "-DexcludeTransitive", "-DincludeScope=runtime"], report) / "libs"
    (jar,) = jars.glob("flink-sql-connector-kafka-*.jar")
    python, versions = _environment("flink", report)
    environment = {
        "PYTHONPATH": str(ROOT),
        "JAVA_HOME": str(java),
        "FLINK_KAFKA_JAR": str(jar),
        "JVM_ARGS": " ".join(HEAP),
    }
    connector = jar.stem.removeprefix("flink-sql-connector-kafka-")
    words = f"{versions}, Kafka connector {connector}, {_java_version(java)}"
    return Program((str(python), "-m", "benchmarks.contestants.flink.contestant"), words, environment)


def _kafka_streams(report: Report) -> Program:
    java = _java()
    built = _maven("kafka_streams", ["compile", "dependency:copy-dependencies", "-DincludeScope=runtime"], report)
    (jar,) = (built / "libs").glob("kafka-streams-*.jar")
    class_path = os.pathsep.join((str(built / "classes"), str(built / "libs" / "*")))
    logging = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
    command = (str(java / "bin" / "java"), *HEAP, logging, "-cp", class_path, "Contestant")
    return Program(command, f"{jar.stem.replace('kafka-streams-', 'Kafka Streams ')}, {_java_version(java)}")


def _java() -> Path:
    try:
        return find_java().home
    except JvmError as error:
        raise AbsentError(str(error)) from error


def _java_version(home: Path) -> str:
    done = subprocess.run([home / "bin" / "java", "-version"], capture_output=True, text=True, check=False)
    quoted = done.stderr.split('"')
    return f"Java {quoted[1]}" if len(quoted) > 2 else "Java"


def _environment(name: str, report: Report) -> tuple[Path, str]:
    """Python in an environment of its own with the contestant's requirements.txt, and in words what that asks for."""
    requirements = (HERE / name / "requirements.txt").read_text()
    versions = ", ".join(requirements.replace("==", " ").split("\n")).strip(", ")
    directory = _cache() / f"{name}-{'-'.join(requirements.split()).replace('=', '')}"
    python, stamp = directory / "bin" / "python", directory / "installed"
    if not stamp.exists():
        report(f"installing {versions} into an environment of its own (once) ...")
        shutil.rmtree(directory, ignore_errors=True)
        _must([sys.executable, "-m", "venv", str(directory)])
        _must([str(python), "-m", "pip", "install", "--quiet", "-r", str(HERE / name / "requirements.txt")])
        stamp.touch()
    return python, versions


def _maven(name: str, goals: Sequence[str], report: Report) -> Path:
    """The directory with what Maven made of the contestant's pom.xml: libs, and classes if it compiles."""
    sources = sorted(path for path in (HERE / name).rglob("*") if path.suffix in {".xml", ".java"})
    newest = max(path.stat().st_mtime_ns for path in sources)
    directory = _cache() / f"{name}-maven"
    stamp = directory / "built"
    if not stamp.exists() or stamp.stat().st_mtime_ns < newest:
        maven = shutil.which("mvn")
        if maven is None:
            raise AbsentError("Maven is not installed (mvn is not on the PATH)")
        report(f"fetching and compiling {name.replace('_', ' ')} with Maven (once) ...")
        to = [f"-DbuildTo={directory}", f"-DoutputDirectory={directory / 'libs'}"]
        _must([maven, "-q", "-B", "-f", str(HERE / name / "pom.xml"), *goals, *to])
        directory.mkdir(parents=True, exist_ok=True)
        stamp.touch()
    return directory


def _must(command: Sequence[str]) -> None:
    what = Path(command[0]).name
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=INSTALL_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise AbsentError(f"{what}: {error}") from error
    if done.returncode:
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        raise AbsentError(f"{what} failed: {' / '.join(lines[-3:])[:300]}")


_LIBRARIES = ("confluent-kafka", "orjson")
_OURS = ("streamkit", "confluent-kafka", "msgspec", "numpy", "polars")

CONTESTANTS = {
    each.name: each
    for each in (
        Contestant("floor", "raw consume (floor)", _here("floor", "confluent-kafka")),
        Contestant("floor-out", "raw consume and produce (floor)", _here("floor_out", "confluent-kafka")),
        Contestant("streamkit", "streamkit", _here("streamkit", *_OURS, native="require")),
        Contestant("streamkit-off", "streamkit without its compiled parts", _here("streamkit", *_OURS, native="off")),
        Contestant("hand", "hand-written loop, tuned", _here("hand", *_LIBRARIES)),
        Contestant("hand-plain", "hand-written loop, default settings", _here("hand_plain", *_LIBRARIES)),
        Contestant("kafka-streams", "Kafka Streams", _kafka_streams),
        Contestant("flink", "Flink SQL", _flink),
        Contestant("quix", "Quix Streams", _quix),
    )
}
