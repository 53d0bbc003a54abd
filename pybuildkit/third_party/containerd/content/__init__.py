"""Content stores: blobs by digest, and resumable ingests that become blobs.

Mirrors packages core/content, plugins/content/local and plugins/services/content of github.com/containerd/containerd,
v2.3.3.

    Store       what can be done with a store, in blocking calls
    local       a store in a folder, laid out as an OCI image layout's blobs
    server      the gRPC service over a Store
    proxy       a store at the other end of a channel, in asynchronous calls
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pybuildkit._lazy import attach

if TYPE_CHECKING:
    from pybuildkit.third_party.containerd.content._content import (
        Info,
        ReaderAt,
        Status,
        Store,
        Writer,
        check_digest,
        digest_of,
    )
    from pybuildkit.third_party.containerd.content.local import new_store
    from pybuildkit.third_party.containerd.content.proxy import ProxyStore, RemoteWriter
    from pybuildkit.third_party.containerd.content.server import ContentServer

_EXPORTS = {
    "ContentServer": "server",
    "Info": "_content",
    "ProxyStore": "proxy",
    "ReaderAt": "_content",
    "RemoteWriter": "proxy",
    "Status": "_content",
    "Store": "_content",
    "Writer": "_content",
    "check_digest": "_content",
    "digest_of": "_content",
    "new_store": "local",
}

__all__ = [
    "ContentServer",
    "Info",
    "ProxyStore",
    "ReaderAt",
    "RemoteWriter",
    "Status",
    "Store",
    "Writer",
    "check_digest",
    "digest_of",
    "new_store",
]

__getattr__, _ = attach(__name__, _EXPORTS)
