"""The daemon's store: file trees, contents and the build cache."""

from fake_buildkitd.store._digest import ContentNotFoundError, Selector, content_digest, root_digest, selected_digest
from fake_buildkitd.store._steps import Step, set_steps, steps_of
from fake_buildkitd.store._store import (
    BlobWriter,
    DiskStore,
    LockedError,
    MemoryStore,
    Snapshot,
    Store,
    StoreError,
    new_id,
)
from fake_buildkitd.store._tree import Node, PathError, Tree, empty_root, walk

__all__ = [
    "BlobWriter",
    "ContentNotFoundError",
    "DiskStore",
    "LockedError",
    "MemoryStore",
    "Node",
    "PathError",
    "Selector",
    "Snapshot",
    "Step",
    "Store",
    "StoreError",
    "Tree",
    "content_digest",
    "empty_root",
    "new_id",
    "root_digest",
    "selected_digest",
    "set_steps",
    "steps_of",
    "walk",
]
