"""The index.json of an OCI layout: what it names, read and changed under a lock.

Mirrors client/ociindex/ociindex.go, v0.32.2.
"""

from pybuildkit.client.ociindex._ociindex import (
    NameOrTag,
    StoreIndex,
    StoreIndexError,
    name,
    new_store_index,
    tag,
)

__all__ = ["NameOrTag", "StoreIndex", "StoreIndexError", "name", "new_store_index", "tag"]
