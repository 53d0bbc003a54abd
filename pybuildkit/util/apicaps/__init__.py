"""Capabilities: what a daemon can do, and whether a build may use it.

Mirrors util/apicaps/caps.go, v0.32.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pybuildkit._lazy import attach

if TYPE_CHECKING:
    from pybuildkit.util.apicaps._caps import (
        CAP_STATUS_EXPERIMENTAL,
        CAP_STATUS_PRERELEASE,
        CAP_STATUS_STABLE,
        Cap,
        CapError,
        CapList,
        CapSet,
        CapStatus,
        set_exported_product,
    )

__all__ = [
    "CAP_STATUS_EXPERIMENTAL",
    "CAP_STATUS_PRERELEASE",
    "CAP_STATUS_STABLE",
    "Cap",
    "CapError",
    "CapList",
    "CapSet",
    "CapStatus",
    "set_exported_product",
]

__getattr__, _ = attach(__name__, dict.fromkeys(__all__, "_caps"))
