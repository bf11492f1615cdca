"""What ``__all__`` promises exists, is documented and is typed."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from typing import TYPE_CHECKING, Any

import pytest

import trio_livekit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NOT_FOR_IMPORT = {"cli"}  # a command; it needs an extra
WITH_PUBLIC_PARTS = {"testing"}  # of other packages, only the package itself is for users


def public_modules() -> list[str]:
    """Every module a user may import."""
    found = ["trio_livekit"]
    for module in pkgutil.iter_modules(trio_livekit.__path__):
        if module.name.startswith("_") or module.name in NOT_FOR_IMPORT:
            continue
        found.append(f"trio_livekit.{module.name}")
        if module.name in WITH_PUBLIC_PARTS:
            parts = pkgutil.iter_modules([f"{trio_livekit.__path__[0]}/{module.name}"])
            found += [f"trio_livekit.{module.name}.{part.name}" for part in parts if not part.name.startswith("_")]
    return found


def documented(thing: Any) -> bool:
    """Whether someone wrote a docstring; what dataclasses and named tuples make up for themselves is none."""
    text = inspect.getdoc(thing) if not inspect.isclass(thing) else thing.__dict__.get("__doc__")
    return bool(text) and not text.startswith(f"{getattr(thing, '__name__', '')}(")


def public_methods(cls: type) -> Iterator[tuple[str, Callable[..., Any]]]:
    """The methods and properties that a class defines itself, under the name they are used by."""
    for name, member in vars(cls).items():
        function = member
        if isinstance(member, property):
            function = member.fget
        elif isinstance(member, (classmethod, staticmethod)):
            function = member.__func__
        own = inspect.isfunction(function) and function.__module__ == cls.__module__
        if own and (not name.startswith("_") or name == "__init__"):
            yield name, function


def untyped(function: Callable[..., Any]) -> list[str]:
    """The parameters without an annotation, and ``return``."""
    signature = inspect.signature(function)
    missing = [
        name
        for name, parameter in signature.parameters.items()
        if parameter.annotation is parameter.empty and name not in ("self", "cls")
    ]
    if signature.return_annotation is signature.empty:
        missing.append("return")
    return missing


def complaints(name: str, thing: Any) -> Iterator[str]:
    """What is missing from one exported thing. Constants and type aliases carry neither docstring nor annotations."""
    if inspect.isclass(thing) and type(thing).__module__ != "typing":
        if not documented(thing):
            yield f"{name} has no docstring"
        for method, function in public_methods(thing):
            protocol = getattr(thing, "_is_protocol", False)  # its classes may say it all in one docstring
            if method != "__init__" and not protocol and not documented(function):
                yield f"{name}.{method} has no docstring"
            if missing := untyped(function):
                yield f"{name}.{method} has no annotation for {', '.join(missing)}"
    elif inspect.isfunction(thing):
        if not documented(thing):
            yield f"{name} has no docstring"
        if missing := untyped(inspect.unwrap(thing)):
            yield f"{name} has no annotation for {', '.join(missing)}"


@pytest.mark.parametrize("name", public_modules())
def test_what_a_module_promises_is_there_and_explained(name):
    module = importlib.import_module(name)
    assert documented(module), f"{name} has no docstring"
    exported = getattr(module, "__all__", [])
    assert len(exported) == len(set(exported))
    missing = [export for export in exported if not hasattr(module, export)]
    assert not missing
    found = [line for export in exported for line in complaints(f"{name}.{export}", getattr(module, export))]
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize("name", public_modules())
def test_a_module_says_what_is_public(name):
    module = importlib.import_module(name)
    defined = {
        attribute
        for attribute, thing in vars(module).items()
        if not attribute.startswith("_") and getattr(thing, "__module__", None) == name
    }
    callables = {attribute for attribute in defined if callable(getattr(module, attribute))}
    if callables:
        assert hasattr(module, "__all__"), f"{name} defines {sorted(callables)} and has no __all__"


class Undocumented:
    def method(self, argument):
        return argument


def test_the_check_finds_what_is_missing():
    assert list(complaints("x", Undocumented)) == [
        "x has no docstring",
        "x.method has no docstring",
        "x.method has no annotation for argument, return",
    ]
