"""Frozen dataclasses that are quick to define: more than a hundred of them are, before the first connection.

The standard decorator compiles six methods for each class. That takes 1.2 ms, and for all of them was a fifth of the
time from starting Python to being connected. Here only ``__init__`` is compiled (0.3 ms), and the other methods are
the same for all classes. To the user of a class, and to type checkers, there is no difference. Making an instance
takes longer by a few microseconds, so what is made for each packet is something else.
"""

from __future__ import annotations

__all__ = ["dataclass"]

import dataclasses
from typing import TYPE_CHECKING, Literal, TypeVar, dataclass_transform

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field,))
def dataclass(*, frozen: Literal[True], slots: Literal[True], kw_only: bool = False) -> Callable[[type[T]], type[T]]:
    """``dataclasses.dataclass`` for classes with slots that never change; all of their fields are compared."""

    def define(cls: type[T]) -> type[T]:
        made = dataclasses.dataclass(repr=False, eq=False, slots=slots, kw_only=kw_only)(cls)
        for name, method in _METHODS.items():
            if name not in vars(cls):
                setattr(made, name, method)
        return made

    return define


def _repr(self: object) -> str:
    shown = (f"{field.name}={getattr(self, field.name)!r}" for field in dataclasses.fields(self) if field.repr)  # type: ignore[arg-type]
    return f"{type(self).__qualname__}({', '.join(shown)})"


def _values(self: object) -> tuple[object, ...]:
    return tuple([getattr(self, field.name) for field in dataclasses.fields(self)])  # type: ignore[arg-type]


def _eq(self: object, other: object) -> bool:
    return _values(self) == _values(other) if type(self) is type(other) else NotImplemented


def _hash(self: object) -> int:
    return hash(_values(self))


def _set_once(self: object, name: str, value: object) -> None:
    """For ``__init__``: a slot is empty until it is set."""
    if hasattr(self, name):
        raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")
    object.__setattr__(self, name, value)


def _refuse(self: object, name: str) -> None:
    raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")


_METHODS: dict[str, object] = {
    "__repr__": _repr,
    "__eq__": _eq,
    "__hash__": _hash,
    "__setattr__": _set_once,
    "__delattr__": _refuse,
}
