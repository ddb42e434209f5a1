"""Finds the app that a command names: ``module:attribute``, the attribute an App or a function that makes one, or a path."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from streamkit.app import App
from streamkit.errors import ConfigError, StreamkitError
from streamkit.plan.names import near_names

_DEFAULT = "app"


def load_app(target: str) -> App:
    """The app behind ``services.bids.app:app``, ``services.bids.app:make_app`` or ``services/bids/app.py`` (then ``:app``).

    `ConfigError`: no such module or file, it does not import (with the cause), no such attribute (with near names), not an App.
    """
    place, _, attribute = target.partition(":") if not _is_windows_path(target) else (target, "", "")
    module = _module(place, target)
    found = _attribute(module, attribute or _DEFAULT, place)
    if isinstance(found, App):
        return found
    if callable(found) and not inspect.isclass(found):
        return _made(found, target)
    named = target if attribute else f"{place}:{_DEFAULT}"
    raise ConfigError(f"'{named}' is {_described(found)}, not a sk.App or a function that makes one; {_apps_of(module)}")


def _module(place: str, target: str) -> ModuleType:
    path = Path(place)
    is_path = place.endswith(".py") or "/" in place or "\\" in place
    if is_path and not path.is_file():
        raise ConfigError(f"there is no file '{place}' (looked in {Path.cwd()})")
    if not is_path and path.is_file():
        raise ConfigError(f"'{place}' is a file, but none of Python; write module:app, such as services.bids.app:app, or app.py")
    if not is_path and not all(part.isidentifier() for part in place.split(".")):
        raise ConfigError(f"'{target}' names no module; write module:app, such as services.bids.app:app, or a file")
    here = str(Path.cwd())
    if here not in sys.path:  # as `python -m` does
        sys.path.insert(0, here)
    name = _module_name(path) if is_path else place
    try:
        return importlib.import_module(name) if name is not None else _from_file(path)
    except ModuleNotFoundError as error:
        if name is not None and error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise ConfigError(f"there is no module '{error.name}' (looked in {here} and the installed packages)") from None
        raise _broken(place, error) from error
    except StreamkitError:
        raise
    except (Exception, SystemExit) as error:  # sys.exit would end the command without a word, with any exit code
        raise _broken(place, error) from error


def _module_name(path: Path) -> str | None:
    """The dotted name of a file below the current directory, so that it is the same module to whoever imports it; else None."""
    resolved, here = path.resolve(), Path.cwd()
    if not resolved.is_relative_to(here):
        return None
    parts = resolved.relative_to(here).with_suffix("").parts
    return ".".join(parts) if all(part.isidentifier() for part in parts) else None


def _from_file(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path.resolve())
    if spec is None or spec.loader is None:
        raise ConfigError(f"'{path}' is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # where msgspec and typing look annotations up
    spec.loader.exec_module(module)
    return module


def _broken(place: str, error: BaseException) -> ConfigError:
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "importlib" not in frame.filename and frame.filename != __file__]
    at = f" at {own[-1].filename}:{own[-1].lineno}" if own else ""
    return ConfigError(f"'{place}' does not import: {type(error).__name__}{at}: {error}")


def _attribute(module: ModuleType, path: str, place: str) -> Any:
    found: Any = module
    for name in path.split("."):
        if not hasattr(found, name):
            public = [known for known in vars(found) if not known.startswith("_")] if hasattr(found, "__dict__") else []
            if isinstance(found, ModuleType):  # not all that it imports
                public = [known for known in public if _may_give_an_app(vars(found)[known], found)]
            there_is = near_names(name, public) if public else "it has no sk.App, and no function or class that could give one"
            if path == _DEFAULT and public:
                there_is = f"{there_is}. Name one, as in {place}:{public[0]}"
            raise ConfigError(f"'{place}' has no '{name}'; {there_is}")
        found = getattr(found, name)
    return found


def _made(factory: Any, target: str) -> App:
    try:
        required = [
            parameter.name
            for parameter in inspect.signature(factory).parameters.values()
            if parameter.default is parameter.empty and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        ]
    except (TypeError, ValueError):  # a callable without a signature: calling it will tell
        required = []
    if required:
        raise ConfigError(
            f"'{target}' is a function that needs arguments ({', '.join(required)}); a factory is called without any"
        )
    made = factory()
    if not isinstance(made, App):
        raise ConfigError(f"'{target}()' returns {_described(made)}, not a sk.App")
    return made


def _apps_of(module: ModuleType) -> str:
    apps = [name for name, value in vars(module).items() if isinstance(value, App)]
    return f"the module has these apps: {', '.join(apps)}" if apps else "the module has no app"


def _may_give_an_app(value: Any, module: ModuleType) -> bool:
    return isinstance(value, App) or (callable(value) and getattr(value, "__module__", "") == module.__name__)


def _described(value: Any) -> str:
    return f"the class {value.__name__}" if inspect.isclass(value) else f"of type {type(value).__name__}"


def _is_windows_path(target: str) -> bool:
    return len(target) > 2 and target[1] == ":" and target[2] in "\\/"
