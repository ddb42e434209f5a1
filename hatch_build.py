"""Compiles the optional extensions (see streamkit/compiled.py) into the wheel; of an editable install, beside their packages.

`STREAMKIT_BUILD_NATIVE` is `auto` (the default: without a C compiler the package is built without them, and says so), `off` or
`require`. A wheel with them is for one platform and every CPython from 3.11 on (cp311-abi3), one without them for all
(py3-none-any). What an earlier editable install has left beside the packages never goes into a wheel, and if the extensions are
not compiled again it is removed: it belongs to other sources.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCES = {
    "streamkit.kafka.confluent._native": "streamkit/kafka/confluent/native",
    "streamkit.serdes._columns": "streamkit/serdes/native",
    "streamkit.state._entries": "streamkit/state/native",
}
VARIABLE = "STREAMKIT_BUILD_NATIVE"
FLAGS = ("-O2", "-g0")


class ExtensionHook(BuildHookInterface[Any]):
    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="streamkit-")
        built = self._built(Path(self._temporary.name))
        if version == "editable":
            self._put_beside_the_packages(built)
        elif built:
            build_data["force_include"] |= {str(path): name for name, path in built.items()}
            build_data["pure_python"] = False
            build_data["tag"] = f"cp311-abi3-{_platform()}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002 - as hatchling calls it
        self._temporary.cleanup()

    def _built(self, place: Path) -> dict[str, Path]:
        """What was compiled into ``place``, by its path in the package; empty: nothing."""
        wanted = os.environ.get(VARIABLE) or "auto"
        if wanted not in {"auto", "off", "require"}:
            raise ValueError(f"{VARIABLE}={wanted}: wanted is auto, off or require")
        if wanted == "off":
            return {}
        try:
            return compile_parts(Path(self.root), place)
        except Exception as error:
            if wanted == "require":
                raise RuntimeError(f"{VARIABLE}=require, but the extensions of streamkit cannot be compiled: {error}") from error
            self.app.display_warning(
                f"streamkit is built without its compiled extensions, so it will be slower: {error}\n"
                "They take a C compiler and the headers of C and Python (in Debian: gcc, libc6-dev, python3-dev); "
                f"{VARIABLE}=off says that they are not wanted, {VARIABLE}=require that nothing is built without them."
            )
            return {}

    def _put_beside_the_packages(self, built: dict[str, Path]) -> None:
        """In one step each: processes may run that have loaded the old ones."""
        for module in SOURCES:
            place = Path(self.root, *module.split("."))
            for old in place.parent.glob(f"{place.name}.*"):
                if old.suffix in {".so", ".pyd"} and str(old.relative_to(self.root)) not in built:
                    old.unlink()
        for name, path in built.items():
            new = shutil.copy(path, Path(self.root, f"{name}.new"))
            Path(new).replace(Path(self.root, name))


def compile_parts(root: Path, place: Path, flags: Sequence[str] = FLAGS) -> dict[str, Path]:
    """By setuptools, which knows how this Python was compiled. Raises whatever the compiler or its tools raise."""
    from setuptools import Distribution, Extension  # noqa: PLC0415 - only where something is built
    from setuptools.command.build_ext import build_ext  # noqa: PLC0415 - as above

    extensions = [
        Extension(
            module,
            sources=_sources(root, folder),
            extra_compile_args=[*flags, "-fvisibility=hidden"],
            libraries=["dl", "pthread"] if sys.platform == "linux" else [],
            py_limited_api=True,
        )
        for module, folder in SOURCES.items()
    ]
    before = Path.cwd()
    os.chdir(root)  # sources are relative, so that objects lie below build_temp
    try:
        command = build_ext(Distribution({"name": "streamkit", "ext_modules": extensions, "packages": []}))
        command.build_lib = str(place / "lib")
        command.build_temp = str(place / "objects")
        command.ensure_finalized()
        command.run()
        return {command.get_ext_filename(module): Path(command.get_ext_fullpath(module)) for module in SOURCES}
    finally:
        os.chdir(before)


def _sources(root: Path, folder: str) -> list[str]:
    sources = sorted(str(path.relative_to(root)) for path in (root / folder).glob("*.c"))
    if not sources:
        raise FileNotFoundError(f"{folder} has no C sources")
    return sources


def _platform() -> str:
    """The tag of this machine. Not that of manylinux: nobody has checked what the binary needs of its C library."""
    from packaging.tags import platform_tags  # noqa: PLC0415 - comes with hatchling

    return next(tag for tag in platform_tags() if not tag.startswith(("manylinux", "musllinux")))
