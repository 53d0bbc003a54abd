"""Filters and pruning."""

from __future__ import annotations

import itertools

import pytest

from fake_buildkitd import usage
from fake_buildkitd.store import MemoryStore, Node, Store, Tree
from pybuildkit.api.services.control import control_pb2 as pb


def filled() -> Store:
    """A store with four snapshots of 1, 2, 3 and 4 bytes, the last one internal, made at 1000, 2000, …"""
    store = MemoryStore(itertools.count(1000, 1000).__next__)
    for size in range(1, 5):
        tree = Tree()
        tree.put(b"/f", Node(0o100644, size=size, blob=store.put_blob(b"x" * size)))
        store.commit(tree.freeze(), f"step {size}", "internal" if size == 4 else "regular")
    return store


@pytest.mark.parametrize(
    ("filters", "sizes"),
    [
        ([], [1, 2, 3, 4]),
        (["description==step 2"], [2]),
        (["description~=step [12]"], [1, 2]),
        (["type==regular,description!=step 1"], [2, 3]),
        (["type==internal", "description==step 1"], [1, 4]),
        (["inuse"], [3]),
        (["immutable", "none==x"], [1, 2, 3, 4]),
    ],
)
def test_select(filters: list[str], sizes: list[int]) -> None:
    records = usage.select(filled(), filters, lambda snapshot: snapshot.size == 3)
    assert [record.Size for record in records] == sizes


@pytest.mark.parametrize("text", ["a b", "==x", "description~=["])
def test_bad_filters(text: str) -> None:
    with pytest.raises(usage.FilterError, match="failed to parse filter"):
        usage.select(filled(), [text], lambda snapshot: False)


@pytest.mark.parametrize(
    ("request_", "left"),
    [
        (pb.PruneRequest(), [3, 4]),
        (pb.PruneRequest(all=True), [3]),
        (pb.PruneRequest(all=True, filter=["description==step 1"]), [2, 3, 4]),
        (pb.PruneRequest(all=True, maxUsedSpace=9), [2, 3, 4]),
        (pb.PruneRequest(all=True, reservedSpace=5), [3]),
        (pb.PruneRequest(all=True, keepDuration=2500), [3, 4]),
    ],
)
def test_prune(request_: pb.PruneRequest, left: list[int]) -> None:
    store = filled()
    removed = usage.prune(store, request_, lambda snapshot: snapshot.size == 3)
    kept = [snapshot.size for snapshot in store.snapshots()]
    assert kept == left
    assert sorted([record.Size for record in removed] + kept) == [1, 2, 3, 4]
