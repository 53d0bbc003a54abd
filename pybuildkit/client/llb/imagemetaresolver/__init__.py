"""Configurations of images, asked from their registries by the client itself.

Mirrors package client/llb/imagemetaresolver, v0.32.2. Names are loaded when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pybuildkit._lazy import attach

if TYPE_CHECKING:
    from pybuildkit.client.llb.imagemetaresolver._registry import RegistryError
    from pybuildkit.client.llb.imagemetaresolver._resolver import default, new, with_default, with_default_platform

__all__ = ["RegistryError", "default", "new", "with_default", "with_default_platform"]

__getattr__, _ = attach(__name__, {name: "_registry" if name == "RegistryError" else "_resolver" for name in __all__})
