"""Content stores of the client, for the daemon: local caches, OCI layouts, exports to stores.

Mirrors package session/content of BuildKit, v0.32.2. Every call names its store by the request header
`buildkit-attachable-store-id`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pybuildkit._lazy import attach

if TYPE_CHECKING:
    from pybuildkit.session.content._attachable import GRPC_HEADER_ID, new_attachable
    from pybuildkit.session.content._caller import CallerStore, new_caller_store

_EXPORTS = {
    "GRPC_HEADER_ID": "_attachable",
    "CallerStore": "_caller",
    "new_attachable": "_attachable",
    "new_caller_store": "_caller",
}

__all__ = ["GRPC_HEADER_ID", "CallerStore", "new_attachable", "new_caller_store"]

__getattr__, _ = attach(__name__, _EXPORTS)
