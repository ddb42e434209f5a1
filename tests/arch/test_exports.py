"""Everything public is exported once, documented and typed."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import pytest

import streamkit

NAMES = sorted(getattr(streamkit, "__all__", ()))


def public_callables(name: str) -> Iterator[tuple[str, Any]]:
    """The exported object itself and, of a class of ours, its public methods and properties."""
    exported = getattr(streamkit, name)
    if not inspect.isclass(exported):
        yield name, exported
        return
    for base in exported.__mro__:
        if not base.__module__.startswith("streamkit"):
            continue
        for attribute, value in vars(base).items():
            function = _function_of(value)
            # Without a docstring or a name of its own it is generated (dataclass, Struct) or inherited from a library.
            if function is not None and function.__module__ == base.__module__ and not attribute.startswith("_"):
                yield f"{name}.{attribute}", function


def _function_of(value: object) -> Any:
    if isinstance(value, property):
        return value.fget
    if isinstance(value, classmethod | staticmethod):
        return value.__func__
    return value if inspect.isfunction(value) else None


def test_names_are_exported_once():
    assert NAMES, "streamkit exports nothing"
    assert len(streamkit.__all__) == len(set(streamkit.__all__)), "a name stands twice in __all__"
    owners: dict[int, str] = {}
    for name in NAMES:
        value = getattr(streamkit, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            other = owners.setdefault(id(value), name)
            assert other == name, f"{other} and {name} are two names of one thing"


def test_names_are_found_by_completion():
    assert not set(NAMES) - set(dir(streamkit))


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="tumblin"):
        _ = streamkit.tumblin


@pytest.mark.parametrize("name", NAMES)
def test_it_is_there_and_documented(name):
    exported = getattr(streamkit, name)
    if name == "__version__" or not (inspect.isclass(exported) or inspect.isfunction(exported)):
        return  # a constant or a type alias has no docstring of its own
    assert (exported.__doc__ or "").strip(), f"sk.{name} has no docstring"
    generated = f"{name}("  # what dataclass writes where nothing is written: the signature
    assert not exported.__doc__.startswith(generated), f"sk.{name} has no docstring but its signature"


@pytest.mark.parametrize("name", NAMES)
def test_its_functions_and_methods_are_documented_and_typed(name):
    for where, function in public_callables(name):
        if not inspect.isfunction(function):
            continue
        assert (inspect.getdoc(function) or "").strip(), f"sk.{where} has no docstring"
        signature = inspect.signature(function)
        assert signature.return_annotation is not signature.empty, f"sk.{where} does not say what it returns"
        untyped = [p.name for p in signature.parameters.values() if p.annotation is p.empty and p.name not in {"self", "cls"}]
        assert not untyped, f"sk.{where}: no type for {', '.join(untyped)}"
