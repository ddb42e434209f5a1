"""Builds the optional extensions (see streamkit/compiled.py) into the wheel; of a development install, beside their packages.

`STREAMKIT_BUILD_NATIVE` is `auto` (the default: without a C compiler the package is built without it, and says so), `off` or
`require`.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCES = {
    "streamkit.kafka.confluent._native": "streamkit/kafka/confluent/native",
    "streamkit.serdes._columns": "streamkit/serdes/native",
}
VARIABLE = "STREAMKIT_BUILD_NATIVE"


class ExtensionHook(BuildHookInterface[Any]):
    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        wanted = os.environ.get(VARIABLE, "auto")
        if wanted not in ("auto", "off", "require"):
            raise ValueError(f"{VARIABLE}={wanted}: wanted is auto, off or require")
        if wanted == "off":
            return
        try:
            built = self._build()
        except Exception as error:  # whatever the compiler or its tools raise
            if wanted == "require":
                raise
            self.app.display_warning(f"streamkit is built without its extensions, so it will be slower: {error}")
            return
        build_data["pure_python"] = False
        build_data["artifacts"] += [f"/{path}" for path in built]
        if version == "standard":
            platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
            build_data["tag"] = f"cp311-abi3-{platform}"

    def _build(self) -> list[str]:
        """Compiles in place; the paths from the root."""
        from setuptools import Distribution, Extension  # noqa: PLC0415 - only where something is built
        from setuptools.command.build_ext import build_ext  # noqa: PLC0415

        root = Path(self.root)
        extensions = [
            Extension(
                module,
                sources=sorted(str(source.relative_to(root)) for source in (root / folder).glob("*.c")),
                depends=sorted(str(header.relative_to(root)) for header in (root / folder).glob("*.h")),
                extra_compile_args=["-O2", "-fvisibility=hidden"],
                libraries=["dl", "pthread"] if sys.platform == "linux" else [],
                py_limited_api=True,
            )
            for module, folder in SOURCES.items()
        ]
        before = Path.cwd()
        os.chdir(root)
        try:
            command = build_ext(Distribution({"name": "streamkit", "ext_modules": extensions, "packages": []}))
            command.inplace = True
            command.build_temp = "build/native"
            command.ensure_finalized()
            command.run()
            return [str(command.get_ext_filename(module)) for module in SOURCES]
        finally:
            os.chdir(before)
