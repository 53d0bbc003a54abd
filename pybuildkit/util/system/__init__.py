"""Paths and defaults of the operating system that a build is for, which need not be the one it runs on.

Mirrors package util/system, v0.32.2, as far as a client uses it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pybuildkit._lazy import attach

if TYPE_CHECKING:
    from pybuildkit.util.system._path import (
        DEFAULT_PATH_ENV_UNIX,
        DEFAULT_PATH_ENV_WINDOWS,
        SystemPathError,
        check_system_drive_and_remove_drive_letter,
        clean,
        default_path_env,
        from_slash,
        is_abs,
        join,
        normalize_path,
        normalize_workdir,
        to_slash,
    )

__all__ = [
    "DEFAULT_PATH_ENV_UNIX",
    "DEFAULT_PATH_ENV_WINDOWS",
    "SystemPathError",
    "check_system_drive_and_remove_drive_letter",
    "clean",
    "default_path_env",
    "from_slash",
    "is_abs",
    "join",
    "normalize_path",
    "normalize_workdir",
    "to_slash",
]

__getattr__, _ = attach(__name__, dict.fromkeys(__all__, "_path"))
