"""The client's end: one service over several stores. Mirrors session/content/attachable.go, v0.32.2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pybuildkit.golang.strconv import quote
from pybuildkit.third_party.containerd.content.server import ContentServer
from pybuildkit.third_party.containerd.errdefs import InvalidArgumentError, NotFoundError

if TYPE_CHECKING:
    from pybuildkit.rpc import Metadata
    from pybuildkit.third_party.containerd.content import Store

GRPC_HEADER_ID = "buildkit-attachable-store-id"


def new_attachable(stores: Mapping[str, Store]) -> ContentServer:
    """The content service over stores, by the id that the daemon asks for.

    Args:
        stores: a store for each id; wrap one in a read-only store where the daemon is only to read it.
    """
    found = dict(stores)

    def choose(metadata: Metadata) -> Store:
        for name, value in metadata:
            if name == GRPC_HEADER_ID:
                store_id = value if isinstance(value, str) else value.decode("utf-8", "replace")
                if store_id not in found:
                    raise NotFoundError(f"unknown store {store_id}")
                return found[store_id]
        raise InvalidArgumentError(f"request lacks metadata {quote(GRPC_HEADER_ID)}")

    return ContentServer(choose)
