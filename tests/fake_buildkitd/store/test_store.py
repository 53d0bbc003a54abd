"""Both stores keep what they are given; the one on disk through any end of the process."""

from __future__ import annotations

import os
import signal
import stat as st
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as hs

from fake_buildkitd.store import DiskStore, LockedError, MemoryStore, Node, Store, Tree, content_digest, walk
from fake_buildkitd.store._codec import decode_dir, encode_dir
from fake_buildkitd.store._store import SMALL


@pytest.fixture(params=["memory", "disk"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    made = MemoryStore() if request.param == "memory" else DiskStore(str(tmp_path / "state"))
    yield made
    made.close()


def tree(store: Store, **files: bytes) -> Node:
    """A tree of files."""
    made = Tree()
    for name, data in files.items():
        blob = store.put_blob(data)
        made.put(b"/" + name.encode(), Node(st.S_IFREG | 0o644, size=len(data), blob=blob, mtime=5))
    return made.freeze()


@pytest.mark.parametrize("size", [0, 1, SMALL, SMALL + 1, 3 * SMALL])
def test_blobs(store: Store, size: int) -> None:
    data = bytes(range(256)) * (size // 256 + 1)
    data = data[:size]
    digest = store.put_blob(data)
    writer = store.blob_writer()
    for start in range(0, size, 10_000):
        writer.write(data[start : start + 10_000])
    assert writer.finish() == (digest, size)
    assert store.get_blob(digest) == data
    with store.open_blob(digest) as file:
        assert file.read(3) + file.read() == data


def test_records(store: Store) -> None:
    root = tree(store, a=b"one", b=b"x" * (SMALL + 5))
    snapshot = store.commit(root, "some step")
    store.cache("key", snapshot)
    store.set_source("shared", snapshot)
    store.use(snapshot)
    for found in (store.get(snapshot.id), store.cached("key"), store.source("shared")):
        assert found is not None
        assert content_digest(found.root) == content_digest(root)
        assert (found.description, found.usage_count, found.size) == ("some step", 1, 3 + SMALL + 5)
    assert store.cached("other") is None
    assert [each.id for each in store.snapshots()] == [snapshot.id]


def test_a_source_takes_the_place_of_the_one_before(store: Store) -> None:
    first = store.commit(tree(store, a=b"1"))
    store.set_source("shared", first)
    second = store.commit(tree(store, a=b"2"))
    store.set_source("shared", second)
    assert [each.id for each in store.snapshots()] == [second.id]


def test_remove_takes_what_nothing_needs(store: Store) -> None:
    kept = store.commit(tree(store, a=b"both", b=b"y" * (SMALL + 1)))
    gone = store.commit(tree(store, a=b"both", c=b"only here", d=b"z" * (SMALL + 1)))
    store.cache("gone", gone)
    blobs = {path: node.blob for path, node in walk(gone.root)}
    store.remove([gone.id])
    assert store.cached("gone") is None
    assert store.get(gone.id) is None
    assert store.get_blob(blobs[b"a"]) == b"both"
    assert store.get_blob((kept.root.children or {})[b"b"].blob) == b"y" * (SMALL + 1)
    for name in (b"c", b"d"):
        with pytest.raises((KeyError, FileNotFoundError)):
            store.get_blob(blobs[name])


def test_disk_store_comes_back(tmp_path: Path) -> None:
    first = DiskStore(str(tmp_path))
    root = tree(first, a=b"one", big=b"x" * (SMALL + 1))
    snapshot = first.commit(root, "step")
    first.cache("key", snapshot)
    first.close()
    second = DiskStore(str(tmp_path))
    found = second.cached("key")
    assert found is not None
    assert content_digest(found.root) == content_digest(root)
    assert second.get_blob((found.root.children or {})[b"big"].blob) == b"x" * (SMALL + 1)
    second.close()


def test_one_process_at_a_time(tmp_path: Path) -> None:
    first = DiskStore(str(tmp_path))
    with pytest.raises(LockedError, match=f"{tmp_path} is used by another process"):
        DiskStore(str(tmp_path))
    first.close()
    DiskStore(str(tmp_path)).close()


def test_a_broken_database_is_begun_anew(tmp_path: Path) -> None:
    DiskStore(str(tmp_path)).close()
    (tmp_path / "state.db").write_bytes(b"this is no database" * 500)
    store = DiskStore(str(tmp_path))
    assert store.snapshots() == []
    store.close()


_KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[2])
from tests.fake_buildkitd.store.test_store import tree
from fake_buildkitd.store import DiskStore
store = DiskStore(sys.argv[1])
store.cache("whole", store.commit(tree(store, a=b"one", big=b"x" * 100_000)))
store.put_blob(b"not committed")
writer = store.blob_writer()
writer.write(b"y" * 100_000)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_kill_9(tmp_path: Path) -> None:
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", _KILLED, str(tmp_path), str(root)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert [name for name in os.listdir(tmp_path / "blobs") if name.endswith(".tmp")]
    store = DiskStore(str(tmp_path))
    found = store.cached("whole")
    assert found is not None
    assert sorted(path for path, _ in walk(found.root)) == [b"a", b"big"]
    assert not [name for name in os.listdir(tmp_path / "blobs") if name.endswith(".tmp")]
    store.close()


NODES = hs.builds(
    Node,
    hs.sampled_from([st.S_IFREG | 0o644, st.S_IFLNK | 0o777, st.S_IFCHR | 0o600, st.S_IFIFO | 0o4755]),
    uid=hs.integers(0, 2**32 - 1),
    gid=hs.integers(0, 2**32 - 1),
    mtime=hs.integers(-(2**63), 2**63 - 1),
    size=hs.integers(0, 2**63),
    blob=hs.sampled_from([b"", b"d" * 32]),
    link=hs.binary(max_size=300),
    major=hs.integers(0, 2**32 - 1),
    minor=hs.integers(0, 2**32 - 1),
    inode=hs.integers(0, 2**63),
    xattrs=hs.lists(hs.tuples(hs.text(max_size=10), hs.binary(max_size=300)), max_size=2).map(tuple),
)
NAMES = hs.binary(min_size=1, max_size=255).filter(lambda name: b"/" not in name and b"\0" not in name)
DIRS = hs.recursive(
    hs.dictionaries(NAMES, NODES, max_size=3).map(lambda c: Node(st.S_IFDIR | 0o755, children=c)),
    lambda inner: hs.dictionaries(NAMES, hs.one_of(NODES, inner), max_size=3).map(
        lambda c: Node(st.S_IFDIR | 0o700, children=c)
    ),
    max_leaves=8,
)


@given(DIRS)
@settings(max_examples=100)
def test_stored_form(root: Node) -> None:
    texts: dict[bytes, bytes] = {}
    digest = encode_dir(root, texts.__setitem__)
    copy = Node(root.mode, children=decode_dir(texts[digest], texts.__getitem__))
    fields = [name for name in Node.__slots__ if name not in ("children", "owner", "digest", "stored")]
    seen = list(walk(root))
    assert [path for path, _ in walk(copy)] == [path for path, _ in seen]
    for (_, one), (_, other) in zip(seen, walk(copy), strict=True):
        for name in fields:
            if not (one.is_dir() and name in ("size", "blob")):
                assert getattr(one, name) == getattr(other, name), name
