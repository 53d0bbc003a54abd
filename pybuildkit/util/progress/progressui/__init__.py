"""Displays of the progress of a solve: plain, tty, rawjson, quiet, and folded ones for CI systems.

Mirrors util/progress/progressui, v0.32.2. Names are loaded when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pybuildkit.util.progress.progressui._display import (
        Display,
        DisplayMode,
        DisplayOpt,
        ProgressModeError,
        new_display,
        with_desc,
        with_phase,
    )

_EXPORTS = {
    "Display": "_display",
    "DisplayMode": "_display",
    "DisplayOpt": "_display",
    "ProgressModeError": "_display",
    "new_display": "_display",
    "with_desc": "_display",
    "with_phase": "_display",
}

__all__ = [
    "Display",
    "DisplayMode",
    "DisplayOpt",
    "ProgressModeError",
    "new_display",
    "with_desc",
    "with_phase",
]


def __getattr__(name: str) -> object:
    module = _EXPORTS.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{module}"), name)
