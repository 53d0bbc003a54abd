"""Loading a package's public names when they are first used.

Has no counterpart in Go.

A Go package is a Python package whose `__init__.py` exports the public names of its modules. Loading those
modules at once would make every short command pay for all of them, and Python's parent packages would form
import cycles that Go's import graph does not have. So `__init__.py` holds

    __getattr__, __all__ = attach(__name__, {"Session": "_session", …})

and a `TYPE_CHECKING` block with the real imports for type checkers. A class or function that is exported so
carries the package as its `__module__`, which is what tracebacks and documentation show.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping


def attach(package: str, exports: Mapping[str, str]) -> tuple[Callable[[str], object], list[str]]:
    """The `__getattr__` and `__all__` of a package.

    Args:
        package: the package's name (`__name__`).
        exports: public name to the module below the package that defines it; a leading `/` names a module by
            its whole dotted path.
    """

    def load(name: str) -> object:
        module = exports.get(name)
        if module is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        from importlib import import_module

        path = module[1:] if module.startswith("/") else f"{package}.{module}"
        value: object = getattr(import_module(path), name)
        if getattr(value, "__module__", None) == path and callable(value):
            try:
                value.__module__ = package
            except (AttributeError, TypeError):
                pass  # a value that takes no attributes keeps the module's path
        setattr(sys.modules[package], name, value)
        return value

    return load, sorted(exports)
