"""The client's end of the session exporter. Mirrors session/exporter/exporterprovider of BuildKit, v0.32.2."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pybuildkit._lazy import attach

if TYPE_CHECKING:
    from pybuildkit.session.exporter.exporterprovider._provider import (
        Callback,
        Exporter,
        FinalizeCallback,
        Option,
        new,
        with_finalize_callback,
    )

_EXPORTS = {
    "Callback": "_provider",
    "Exporter": "_provider",
    "FinalizeCallback": "_provider",
    "Option": "_provider",
    "new": "_provider",
    "with_finalize_callback": "_provider",
}

__all__ = ["Callback", "Exporter", "FinalizeCallback", "Option", "new", "with_finalize_callback"]

__getattr__, _ = attach(__name__, _EXPORTS)
