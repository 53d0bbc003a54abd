"""Tells of merges and differences that are put together when somebody first reads them.

Mirrors unlazyDiffMerge of cache/refs.go, v0.32.2. A merge of several trees is a list of layers until a file
operation, a gateway's read or an export of the tree needs it; an export as an image does not. Here the tree is there
from the beginning, so that only the statuses follow that rule: the merge's own step begins and ends once more.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

from fake_buildkitd.progress import VertexWriter
from fake_buildkitd.store import Snapshot, Step, Store
from pybuildkit.solver.pb import ops_pb2 as pb


class _Note(NamedTuple):
    """What is still to be done for a tree, "" for nothing; and the ids of the trees that have to be whole for it."""

    action: str
    parts: list[str]


class Assembly:
    """What one build knows of such trees.

    Args:
        store: has noted of each of them what is still to be done.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._writers: dict[str, VertexWriter] = {}

    def add(self, snapshot: Snapshot | None, writer: VertexWriter, again: bool) -> None:
        """Name the step that a tree is the result of; `again` also where it is that of another one."""
        if snapshot is not None and (again or snapshot.id not in self._writers):
            self._writers[snapshot.id] = writer

    def postpone(self, op: pb.Op, inputs: Sequence[Snapshot | None], steps: Sequence[Step], made: Snapshot) -> None:
        """Note of the new result of a merge or difference, which has these layers, that it is put together later."""
        trees = [tree for tree in inputs if tree is not None]
        if op.HasField("merge"):
            self._note(made, _Note("merging", [part for tree in trees for part in self._noted(tree).parts]))
        elif len(steps) > 1:
            self._note(made, _Note("merging", []))
        else:
            self._note(made, _Note("diffing", [tree.id for tree in trees]))

    def read(self, snapshot: Snapshot | None) -> None:
        """Somebody reads a tree: tell that it is put together, where that is still to be done."""
        if snapshot is not None:
            self._put_together(snapshot, self._writers.get(snapshot.id), "")

    def _put_together(self, snapshot: Snapshot, writer: VertexWriter | None, name: str) -> None:
        """Tell in one step of a tree and of the parts that must be whole for it; those have names."""
        noted = self._noted(snapshot)
        if not noted.action:
            return
        for part in noted.parts:
            tree = self._store.get(part)
            if tree is not None:
                self._put_together(tree, writer, tree.description)
        self._note(snapshot, _Note("", noted.parts))
        if writer is not None:
            writer.again(name or noted.action, noted.action)

    def _noted(self, snapshot: Snapshot) -> _Note:
        text = self._store.note(f"assembly:{snapshot.id}")
        return _Note(*json.loads(text)) if text is not None else _Note("", [])

    def _note(self, snapshot: Snapshot, note: _Note) -> None:
        self._store.set_note(f"assembly:{snapshot.id}", json.dumps(note), snapshot)
