"""The images that the tests name: there, or pulled, or built here as look-alikes.

A look-alike has the public tag and the public image's ways (entry point, variables, paths), made of the machine's package
sources alone: Debian by debootstrap, Python by apt, Kafka by Maven. It is built only where CI or STREAMKIT_TESTS_DOCKER asks for
an engine: on a developer's machine nothing shall stand under a public tag that is not the public image. Each carries the label
`streamkit.look-alike`, which says from what it was built: when that changes, it is built anew.

What a machine needs to reach its package sources (mirror, index, certificates) is asked of apt and pip; it is written down
nowhere.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.support.broker_settings import KAFKA_VERSION
from tests.support.docker.engine import EngineError, client, wanted
from tests.support.jvm import JvmError, Report, cache_directory, find_runtime

HERE = Path(__file__).parent
DEBIAN = "debian:bookworm-slim"
PYTHON = "python:3.11-slim-bookworm"
KAFKA = f"apache/kafka:{KAFKA_VERSION}"
LABEL = "streamkit.look-alike"
PULL_TIMEOUT = 180  # seconds: a registry that cannot be reached must not cost more than that
STEP_TIMEOUT = 900  # debootstrap takes half a minute, and ten times that on a machine that is busy otherwise

_PIP_KEYS = ("index-url", "extra-index-url", "trusted-host")
_CERTIFICATES = Path("/usr/local/share/ca-certificates")


class ImageError(EngineError):
    """An image is not there and cannot be had; the message says what was tried."""


class Images:
    """Sees to images, one after another; remembers that no registry answered, so as to ask only once."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._why_no_pull: str | None = None

    def ensure(self, *tags: str) -> None:
        """Returns when all are there. `ImageError`: one cannot be had."""
        with contextlib.closing(client()) as api:
            for tag in tags:
                self._ensure(api, tag)

    def _ensure(self, api: Any, tag: str) -> None:
        if any(not _is_outdated(image, tag) for image in api.images.list(tag)):
            return
        started = time.monotonic()
        if self._why_no_pull is None:
            self._why_no_pull = self._pull(tag)
        if self._why_no_pull is None:
            self._report(f"{tag} pulled in {time.monotonic() - started:.1f} s")
            return
        build = _LOOK_ALIKES.get(tag)
        if build is None or not wanted():
            raise ImageError(f"{tag} is not here, and it cannot be pulled: {self._why_no_pull}")
        if tag != DEBIAN:
            self._ensure(api, DEBIAN)
            started = time.monotonic()
        build(api, self._report)
        self._report(f"{tag} cannot be pulled ({self._why_no_pull}): a look-alike built in {time.monotonic() - started:.1f} s")

    def _pull(self, tag: str) -> str | None:
        """None if it came; else why not."""
        self._report(f"pulling {tag} (at most {PULL_TIMEOUT} s) ...")
        # In a process of its own: the client has no time-out for a pull that makes no progress.
        command = [sys.executable, "-c", f"import docker; docker.from_env().images.pull({tag!r})"]
        try:
            pull = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PULL_TIMEOUT, check=False
            )
        except subprocess.TimeoutExpired:
            return f"no end after {PULL_TIMEOUT} s"
        if pull.returncode == 0:
            return None
        # The last part alone: those before it are addresses, which say more of the machine than of the fault.
        return (pull.stderr.strip().splitlines() or ["no reason given"])[-1].split(": ")[-1].rstrip('")')[:200]


def _is_outdated(image: Any, tag: str) -> bool:
    """A look-alike of another edition; a public image never is."""
    return tag in _LOOK_ALIKES and image.labels.get(LABEL, _edition(tag)) != _edition(tag)


def _edition(tag: str) -> str:
    """From what a look-alike is built: a digest of the files here. That of Debian has none."""
    directory = _DIRECTORIES.get(tag)
    if directory is None:
        return "1"
    digest = hashlib.sha256()
    for path in sorted(path for path in (HERE / directory).rglob("*") if path.is_file()):
        digest.update(str(path.relative_to(HERE)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def build(
    api: Any,
    directory: Path,
    tag: str,
    *,
    dockerfile: str = "Dockerfile",
    arguments: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
) -> None:
    """`docker build`. `ImageError` with the end of its output."""
    errors = importlib.import_module("docker.errors")
    try:
        api.images.build(
            path=str(directory), dockerfile=dockerfile, tag=tag, rm=True, forcerm=True, buildargs=dict(arguments or {}),
            labels=dict(labels or {}),
        )  # fmt: skip
    except errors.BuildError as error:
        lines = [line.get("stream", line.get("error", "")).rstrip() for line in error.build_log]
        tail = "\n".join(line for line in lines if line)[-2500:]
        raise ImageError(f"building {tag} failed: {error.msg}\n{tail}") from error
    except errors.APIError as error:
        raise ImageError(f"building {tag} failed: {error}") from error


def _debian(api: Any, report: Report) -> None:
    """Debian from the mirror that this machine's apt uses, without what the slim image leaves out."""
    debootstrap = shutil.which("debootstrap")
    if debootstrap is None or os.geteuid() != 0:
        raise ImageError(f"{DEBIAN} is not here and cannot be pulled, and to build one takes debootstrap and root")
    listing = _output("apt-get", "indextargets", "--format", "$(SITE)|$(RELEASE)|$(COMPONENT)", "Created-By: Packages")
    mirrors = [line.split("|")[0] for line in listing.splitlines() if line.endswith("|bookworm|main")]
    cached = cache_directory().parent / "debs"
    cached.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=_memory()) as temporary:
        root = Path(temporary) / "root"
        options = ["--variant=minbase", f"--cache-dir={cached}", "--include=ca-certificates"]
        _output(debootstrap, *options, "bookworm", str(root), *mirrors[:1])
        for directory in ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info", "var/lib/apt/lists"):
            for entry in (root / directory).iterdir():
                shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        for package in (root / "var/cache/apt/archives").glob("*.deb"):
            package.unlink()
        excluded = "".join(f"path-exclude /usr/share/{name}/*\n" for name in ("doc", "man", "locale"))
        (root / "etc/dpkg/dpkg.cfg.d/docker").write_text(excluded)
        slim = 'APT::Install-Recommends "0";\nDir::Cache::pkgcache "";\nDir::Cache::srcpkgcache "";\n'  # 70 MB otherwise
        (root / "etc/apt/apt.conf.d/docker").write_text(slim)
        archive = Path(temporary) / "root.tar"
        _output("tar", "-C", str(root), "--numeric-owner", "-cf", str(archive), ".")
        name, _, version = DEBIAN.partition(":")
        api.api.import_image_from_file(
            str(archive), repository=name, tag=version, changes=f'CMD ["bash"]\nLABEL {LABEL}={_edition(DEBIAN)}'
        )


def _memory() -> str | None:
    """A file system in memory, where there is one with room that takes programs and devices: debootstrap syncs every file that it
    writes, which is most of its time on a busy disk (235 s; in memory, beside the same load, 93)."""
    place = "/dev/shm"
    with contextlib.suppress(OSError):
        found = os.statvfs(place)
        if found.f_bavail * found.f_frsize > 1e9 and not found.f_flag & (os.ST_NODEV | os.ST_NOEXEC):
            return place
    return None


def _python(api: Any, report: Report) -> None:
    """Debian's Python, in /usr/local as in the public image, with what pip needs on this machine."""
    with _context(PYTHON) as context:
        machine = context / "machine"
        machine.mkdir()
        for certificate in _CERTIFICATES.glob("*.crt"):
            shutil.copy(certificate, machine)
        lines = ["[global]", "cert = /etc/ssl/certs/ca-certificates.crt"]
        lines += [f"{key} = {value}" for key in _PIP_KEYS if (value := _pip_setting(key))]
        (machine / "pip.conf").write_text("\n".join(lines) + "\n")
        build(api, context, PYTHON, labels={LABEL: _edition(PYTHON)})


def _kafka(api: Any, report: Report) -> None:
    """The jars of the local broker, with the public image's entry point and tools."""
    try:
        runtime = find_runtime(report)
    except JvmError as error:
        raise ImageError(f"{KAFKA} is not here and cannot be pulled, and to build one: {error}") from error
    with _context(KAFKA) as context:
        (context / "libs").mkdir()
        for jar in runtime.jars:
            shutil.copy(jar, context / "libs")
        build(api, context, KAFKA, labels={LABEL: _edition(KAFKA)})


_LOOK_ALIKES: dict[str, Callable[[Any, Report], None]] = {DEBIAN: _debian, PYTHON: _python, KAFKA: _kafka}
_DIRECTORIES = {PYTHON: "python", KAFKA: "kafka"}


@contextlib.contextmanager
def _context(tag: str) -> Iterator[Path]:
    name = _DIRECTORIES[tag]
    with tempfile.TemporaryDirectory() as temporary:
        yield Path(shutil.copytree(HERE / name, Path(temporary) / name))


def _pip_setting(key: str) -> str:
    for section in ("global", ":env:"):
        command = [sys.executable, "-m", "pip", "config", "get", f"{section}.{key}"]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode == 0:
            return " ".join(done.stdout.split())
    return ""


def _output(*command: str) -> str:
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=STEP_TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ImageError(f"{command[0]} took longer than {STEP_TIMEOUT} s") from error
    if done.returncode:
        raise ImageError(f"{' '.join(command)} failed: {(done.stderr or done.stdout).strip()[-800:]}")
    return done.stdout
