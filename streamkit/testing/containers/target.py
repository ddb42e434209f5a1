"""How another process finds an app: the words of the command line for it."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import sys
from types import ModuleType

from streamkit.app import App
from streamkit.errors import ContainerError


def target_of(app: App | str) -> str:
    """``module:attribute`` or ``file.py:attribute``. `ContainerError`: the app is not a variable of a module."""
    if isinstance(app, str):
        return app
    for module in list(sys.modules.values()):
        if isinstance(module, ModuleType):
            for name, value in list(vars(module).items()):
                if value is app and not _is_imported(module, name) and (place := _place(module)) is not None:
                    return f"{place}:{name}"
    raise ContainerError(
        f"{app!r} is no variable of a module, so another process cannot find it: write it at the top of one, "
        "or give service() what `streamkit run` takes, such as 'services.bids.app:make_app'"
    )


def _is_imported(module: ModuleType, name: str) -> bool:
    """Whether the module has it from another one: a test that imports the app is not where a service should start."""
    try:
        tree = ast.parse(inspect.getsource(module))
    except (OSError, TypeError, SyntaxError):  # no source: nothing is known
        return False
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return any(name == (alias.asname or alias.name) for node in imports for alias in node.names)


def _place(module: ModuleType) -> str | None:
    """Its name if an import by that name leads to this file (a test module's need not), else the file."""
    file = getattr(module, "__file__", None)
    if file is None:
        return None
    try:
        spec = importlib.util.find_spec(module.__name__)
    except (ImportError, ValueError):  # `__main__`, and modules that were made by hand
        spec = None
    return module.__name__ if spec is not None and spec.origin == file and "." in module.__name__ else str(file)
