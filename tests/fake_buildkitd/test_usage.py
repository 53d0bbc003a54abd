"""Filters and pruning."""

from __future__ import annotations

import itertools

import pytest

from fake_buildkitd import usage
from fake_buildkitd.store import MemoryStore, Node, Store, Tree
from pybuildkit.api.services.control import control_pb2 as pb
from pybuildkit.api.types import worker_pb2
from pybuildkit.golang.errors import BuildkitError


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
        (['description=="step 2"'], [2]),
        (["description~=/step [12]/"], [1, 2]),
        (['type==regular,description!="step 1"'], [2, 3]),
        (["type==internal", 'description=="step 1"'], [1, 4]),
        (["inuse"], [3]),
        (["mutable"], []),
        (["shared"], []),
        (["private,inuse"], [3]),
        (["parents"], []),
        (["none"], []),
        (["immutable", "none==x"], [1, 2, 3, 4]),
        ([""], [1, 2, 3, 4]),
    ],
)
def test_select(filters: list[str], sizes: list[int]) -> None:
    records = usage.select(filled(), filters, lambda snapshot: snapshot.size == 3)
    assert [record.Size for record in records] == sizes


def test_age_limit() -> None:
    store = filled()
    for snapshot in store.snapshots()[:2]:
        store.use(snapshot)  # at 5000 and 6000; now is 7000
    assert [record.Size for record in usage.select(store, [], lambda snapshot: False, 1500)] == [1, 3, 4]


def test_what_is_used_often_stays_longest() -> None:
    store = filled()
    for _ in range(2):
        store.use(store.snapshots()[0])
    removed = usage.prune(store, pb.PruneRequest(all=True, maxUsedSpace=3), lambda snapshot: False)
    assert [record.Size for record in removed] == [2, 3, 4]


@pytest.mark.parametrize(
    ("filters", "text"),
    [
        (["bogus=="], "[bogus==]: filters: parse error: [bogus==]: expected value or quoted: invalid argument"),
        (["id", "((("], "[id (((]: filters: parse error: [ >|(|< ((]: expected field or quoted: invalid argument"),
    ],
)
def test_bad_filters(filters: list[str], text: str) -> None:
    with pytest.raises(BuildkitError) as caught:
        usage.select(filled(), filters, lambda snapshot: False)
    assert str(caught.value) == f"failed to parse diskusage filters {text}"
    with pytest.raises(BuildkitError) as caught:
        usage.prune(filled(), pb.PruneRequest(filter=filters), lambda snapshot: False)
    assert str(caught.value) == f"failed to parse prune filters {text}"


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ([], "ab"),
        (["id==a"], "a"),
        (["labels.x.y==1"], "a"),
        (["labels.z"], "b"),
        (["labels"], ""),
        (["id", "no"], "ab"),
    ],
)
def test_workers(filters: list[str], found: str) -> None:
    workers = [
        worker_pb2.WorkerRecord(ID="a", Labels={"x.y": "1"}),
        worker_pb2.WorkerRecord(ID="b", Labels={"x.y": "2", "z": ""}),
    ]
    assert "".join(worker.ID for worker in usage.select_workers(workers, filters)) == found


@pytest.mark.parametrize(
    ("request_", "left"),
    [
        (pb.PruneRequest(), [3, 4]),
        (pb.PruneRequest(all=True), [3]),
        (pb.PruneRequest(all=True, filter=['description=="step 1"']), [2, 3, 4]),
        (pb.PruneRequest(filter=["type==internal"]), [1, 2, 3, 4]),
        (pb.PruneRequest(all=True, minFreeSpace=1), [1, 2, 3, 4]),
        (pb.PruneRequest(all=True, minFreeSpace=1 << 62), [3]),
        (pb.PruneRequest(all=True, maxUsedSpace=10), [2, 3, 4]),
        (pb.PruneRequest(all=True, maxUsedSpace=9), [3, 4]),
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
