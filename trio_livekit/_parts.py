"""One module of an installed package, without what the package imports for those who want all of it."""

from __future__ import annotations

__all__ = ["import_part"]

import importlib
import importlib.util
import sys
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def import_part(package: str, module: str, *, unused: Sequence[str] = ()) -> Any:  # noqa: ANN401  the caller knows
    """``package.module``, without running the ``__init__.py`` of ``package``, which in some costs 100 ms and megabytes.

    Where somebody has imported the package, the module is the one that everybody gets. Else it is kept under a name of
    ours: the package is not half imported for others. Relative imports in the module find their siblings.

    ``unused`` are modules that it imports for what nobody here asks of it. They are loaded if something does.

    Raises ``ModuleNotFoundError``.
    """
    if package in sys.modules:
        return importlib.import_module(f"{package}.{module}")
    stand_in = f"{__name__}.{package.replace('.', '_')}"
    if stand_in not in sys.modules:
        spec = importlib.util.find_spec(package)
        if spec is None or spec.submodule_search_locations is None:
            raise ModuleNotFoundError(f"no package named {package!r}", name=package)
        sys.modules[stand_in] = bare = ModuleType(stand_in)
        bare.__path__ = spec.submodule_search_locations
    with _put_off(unused):
        return importlib.import_module(f"{stand_in}.{module}")


@contextmanager
def _put_off(names: Sequence[str]) -> Iterator[None]:
    """Who imports one of these modules meanwhile gets a stand-in, which imports the module once it is used."""
    stand_ins = {name: _stand_in(name) for name in names if name not in sys.modules}
    sys.modules.update(stand_ins)
    try:
        yield
    finally:
        for name, module in stand_ins.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]


def _stand_in(name: str) -> ModuleType:
    module = ModuleType(name)

    def get(attribute: str) -> Any:  # noqa: ANN401  whatever the module has
        if sys.modules.get(name) is module:
            del sys.modules[name]
        return getattr(importlib.import_module(name), attribute)

    vars(module)["__getattr__"] = get  # PEP 562
    return module
