"""One module of an installed package, without what the package imports for those who want all of it."""

from __future__ import annotations

__all__ = ["import_part"]

import importlib
import importlib.util
import sys
from types import ModuleType
from typing import Any


def import_part(package: str, module: str) -> Any:  # noqa: ANN401  the caller knows what it gets
    """``package.module``, without running the ``__init__.py`` of ``package``, which in some costs 100 ms and megabytes.

    Where somebody has imported the package, the module is the one that everybody gets. Else it is kept under a name of
    ours: the package is not half imported for others. Relative imports in the module find their siblings.

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
    return importlib.import_module(f"{stand_in}.{module}")
