"""The module behind `streamkit dev`: loaded, watched, and loaded anew when it or what it imports of the project is saved."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import streamkit
from streamkit.app import App
from streamkit.errors import ConfigError, StreamkitError
from streamkit.load import load_app
from streamkit.plan.fingerprint import fingerprint
from streamkit.plan.topic import Topic
from streamkit.plan.topology import Topology

Stamp = tuple[int, int]  # mtime in ns, size


@dataclass(frozen=True, slots=True)
class Version:
    """An app as one import of its module made it."""

    app: App
    topology: Topology

    @classmethod
    def of(cls, app: App) -> Version:
        return cls(app, app.topology())

    @property
    def sources(self) -> dict[str, Topic[Any, Any]]:
        return {source.topic.name: source.topic for part in self.topology.parts for source in part.sources}

    @property
    def sinks(self) -> dict[str, Topic[Any, Any]]:
        return {sink.topic.name: sink.topic for part in self.topology.parts for sink in part.sinks}

    @property
    def stores(self) -> dict[str, str]:
        """Store -> fingerprint of what it holds."""
        return {store.name: fingerprint(store) for part in self.topology.parts for store in part.stores}


class WatchedModule:
    """Loads the app of ``target``, again and again."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._own: dict[str, ModuleType] = {}
        self._stamps: dict[Path, Stamp] = {}

    @property
    def files(self) -> list[Path]:
        return list(self._stamps)

    def load(self) -> Version:
        """Imports the module and what it imports of the project as if for the first time.

        An error leaves everything as it was, so that the version that runs can go on (it may import late).
        """
        for name in self._own:
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        # No bytecode is written: it is told apart by whole seconds and size, so a quick second save could load the first.
        before = set(sys.modules)
        writes_bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True
        try:
            version = Version.of(load_app(self._target))
        except BaseException as error:
            for name in _project_modules(before):
                del sys.modules[name]
            sys.modules.update(self._own)
            if isinstance(error, StreamkitError) or not isinstance(error, Exception):
                raise
            raise ConfigError(f"'{self._target}' cannot be made: {type(error).__name__}: {error}") from error
        finally:
            sys.dont_write_bytecode = writes_bytecode
        self._own = _project_modules(before)
        self._stamps = stamps(_file(module) for module in self._own.values())
        return version

    def changed(self) -> list[Path]:
        """The files that were saved since the last call or load; one that is gone for a moment is not one."""
        now = stamps(self._stamps)
        changed = [path for path, stamp in now.items() if self._stamps[path] != stamp]
        self._stamps.update(now)
        return changed


def stamps(paths: Any) -> dict[Path, Stamp]:
    found = {}
    for path in paths:
        with suppress(OSError):
            status = path.stat()
            found[path] = (status.st_mtime_ns, status.st_size)
    return found


def _project_modules(before: set[str]) -> dict[str, ModuleType]:
    """What was imported since and is no installed package, nor streamkit itself, whose classes must stay the same."""
    return {
        name: module
        for name, module in list(sys.modules.items())
        if name not in before and (path := _file(module)) is not None and not _is_installed(path)
    }


def _file(module: ModuleType) -> Path | None:
    name = getattr(module, "__file__", None)
    return Path(name).resolve() if isinstance(name, str) and name.endswith(".py") else None


def _is_installed(path: Path) -> bool:
    places = (Path(streamkit.__file__).resolve().parent, Path(sys.base_prefix).resolve(), Path(sys.prefix).resolve())
    return "site-packages" in path.parts or any(path.is_relative_to(place) for place in places)


@dataclass(frozen=True, slots=True)
class StateChange:
    """What becomes of the state when one version follows another."""

    kept: tuple[str, ...]
    anew: tuple[str, ...]
    misfit: tuple[str, ...]  # stores whose changelog holds something else than they would write: nothing can be kept

    def __str__(self) -> str:
        kept, anew = (", ".join(names) or "nothing" for names in (self.kept, self.anew))
        return f"kept state of: {kept}; started anew: {anew}"


def state_change(old: Version, new: Version, seen: Mapping[str, str]) -> StateChange:
    """``seen``: every store of the session so far. One that was gone for a version and comes back has a changelog that misses
    what happened in between, so it fits no longer."""
    before, after = old.stores, new.stores
    if old.app.name != new.app.name:
        return StateChange((), tuple(after), ())
    misfit = tuple(
        name for name, print_ in after.items() if before.get(name, print_) != print_ or (name in seen and name not in before)
    )
    if misfit:
        return StateChange((), tuple(after), misfit)
    return StateChange(tuple(n for n in after if n in before), tuple(n for n in after if n not in before), ())
