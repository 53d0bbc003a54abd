"""Tells of merges and differences that are put together when somebody first reads them.

Mirrors unlazyDiffMerge of cache/refs.go, v0.32.2. A merge of several trees is a list of layers until a file
operation, a gateway's read or an export of the tree needs it; an export as an image does not. Here the tree is there
from the beginning, so that only the statuses follow that rule: the merge's own step begins and ends once more.
"""

from __future__ import annotations

from collections.abc import Sequence

from fake_buildkitd.progress import VertexWriter
from fake_buildkitd.store import Snapshot, Step, Store
from pybuildkit.solver.pb import ops_pb2 as pb


class Assembly:
    """What one build knows of such trees.

    Args:
        store: has noted of each of them what is still to be done.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._writers: dict[str, VertexWriter] = {}

    def add(self, snapshot: Snapshot | None, writer: VertexWriter) -> None:
        """Name the step that a tree is the result of."""
        if snapshot is not None:
            self._writers[snapshot.id] = writer

    def postpone(self, op: pb.Op, inputs: Sequence[Snapshot | None], steps: Sequence[Step], made: Snapshot) -> None:
        """Note of the new result of a merge or difference, which has these layers, that it is put together later."""
        if op.HasField("merge"):
            action = "merging" if sum(each is not None for each in inputs) > 1 else ""
        elif op.diff.lower.input == -1 or inputs[0] is None:
            action = ""
        else:
            action = "merging" if len(steps) > 1 else "diffing" if steps else ""
        self._set(made, action)

    def read(self, snapshot: Snapshot | None) -> None:
        """Somebody reads a tree: tell that it is put together, where that is still to be done."""
        action = self._store.note(f"assembly:{snapshot.id}") if snapshot is not None else None
        if snapshot is None or not action:
            return
        self._set(snapshot, "")
        writer = self._writers.get(snapshot.id)
        if writer is not None:
            writer.again(action)

    def _set(self, snapshot: Snapshot, action: str) -> None:
        self._store.set_note(f"assembly:{snapshot.id}", action, snapshot)
