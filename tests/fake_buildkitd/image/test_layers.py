"""A layer is what one tree adds to another: as an archive laid over the lower tree it gives the upper one."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import stat
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fake_buildkitd.image import Compression, ImageError, export_layers
from fake_buildkitd.image._apply import apply_layer
from fake_buildkitd.image._layers import LayerFS, layer_tree, parse_compression
from fake_buildkitd.image._spec import blob_key
from fake_buildkitd.store import DiskStore, MemoryStore, Node, Store, Tree, empty_root, set_steps, steps_of
from pybuildkit.golang.errors import BuildkitError
from pybuildkit.third_party.fsutil._tarwriter import tar_stream
from tests.fake_buildkitd.helpers import tree_of

SECOND = 1_000_000_000


def packed(store: Store, lower: Node, upper: Node) -> io.BytesIO:
    """The archive of what `upper` adds to `lower`."""
    return io.BytesIO(b"".join(tar_stream(LayerFS(store, layer_tree(lower, upper)))))


def archive_of(*members: tuple[str, bytes | None]) -> io.BytesIO:
    """An archive of files (a content) and directories (None)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.mode = 0o755
            info.type = tarfile.DIRTYPE if content is None else tarfile.REGTYPE
            info.size = len(content or b"")
            archive.addfile(info, io.BytesIO(content or b""))
    return io.BytesIO(out.getvalue())


def tree(store: Store, files: Mapping[str, bytes | None]) -> Node:
    """A tree of files (a content) and directories (None)."""
    return apply_layer(store, None, archive_of(*files.items()), "")


def test_deletions_become_whiteouts() -> None:
    store = MemoryStore()
    lower = tree(store, {"a": b"1", "d": None, "d/x": b"2", "d/y": b"3", "gone": None, "gone/z": b"4"})
    upper = tree(store, {"a": b"1", "d": None, "d/y": b"3"})
    with tarfile.open(fileobj=packed(store, lower, upper)) as archive:
        assert sorted(archive.getnames()) == [".wh.gone", "d", "d/.wh.x"]
    applied = apply_layer(store, lower, packed(store, lower, upper), "")
    assert tree_of(store, applied) == tree_of(store, upper)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"a": b"file"}, {"a": None, "a/b": b"in a directory"}),
        ({"a": None, "a/b": b"in a directory"}, {"a": b"file"}),
        ({"a": b"same"}, {"a": b"same"}),
        ({}, {"a": b"", "b": None}),
        ({"a": None, "a/b": b"1"}, {}),
    ],
)
def test_changes_of_kind(before: dict[str, bytes | None], after: dict[str, bytes | None]) -> None:
    store = MemoryStore()
    lower, upper = tree(store, before), tree(store, after)
    applied = apply_layer(store, lower, packed(store, lower, upper), "")
    assert tree_of(store, applied) == tree_of(store, upper)


_NAMES = st.sampled_from(["a", "b", "c", "dir", "dir/a", "dir/sub", "dir/sub/x", "other/y"])
_MODES = st.sampled_from([0o644, 0o600, 0o4755, 0o1777])
_LEAVES = st.one_of(
    st.tuples(st.just("f"), _MODES, st.binary(max_size=6)),
    st.tuples(st.just("d"), _MODES, st.just(b"")),
    st.tuples(st.just("l"), st.just(0o777), st.sampled_from([b"/a", b"../b", b"nothing"])),
    st.tuples(st.just("c"), _MODES, st.just(b"")),
)


@st.composite
def trees(draw: st.DrawFn) -> dict[str, tuple[str, int, bytes]]:
    """Entries by path; one below a name that is no directory is left out."""
    entries = draw(st.dictionaries(_NAMES, _LEAVES, max_size=6))
    kept: dict[str, tuple[str, int, bytes]] = {}
    for path in sorted(entries):
        parents = [path[:at] for at, char in enumerate(path) if char == "/"]
        if all(kept.get(parent, ("d", 0, b""))[0] == "d" for parent in parents):
            kept[path] = entries[path]
    return kept


def build(store: Store, entries: Mapping[str, tuple[str, int, bytes]]) -> Node:
    """The tree of entries."""
    made = Tree()
    for path, (kind, mode, data) in sorted(entries.items()):
        parts = path.split("/")
        for depth in range(1, len(parts)):
            parent = ("/" + "/".join(parts[:depth])).encode()
            if made.lstat(parent) is None:
                made.mkdir(parent, 0o755, 5 * SECOND)
        node = Node({"f": stat.S_IFREG, "d": stat.S_IFDIR, "l": stat.S_IFLNK, "c": stat.S_IFCHR}[kind] | mode)
        node.mtime = 7 * SECOND
        node.uid, node.gid = len(path), 3
        if kind == "f":
            node.blob, node.size = store.put_blob(data), len(data)
            node.xattrs = (("user.of", data),) if len(data) == 3 else ()
        elif kind == "l":
            node.link, node.size = data, len(data)
        elif kind == "c":
            node.major, node.minor = 1, 3
        made.put(("/" + path).encode(), node)
    return made.freeze()


def plain(node: Node, path: bytes = b"") -> dict[bytes, object]:
    """A tree as a value, with everything but the times of directories."""
    found: dict[bytes, object] = {}
    for name, child in (node.children or {}).items():
        mtime = 0 if child.is_dir() else child.mtime
        what = (child.mode, child.uid, child.gid, child.blob, child.link, child.major, child.xattrs, mtime)
        found[path + b"/" + name] = what
        if child.is_dir():
            found |= plain(child, path + b"/" + name)
    return found


@settings(max_examples=150, deadline=None, derandomize=True)
@given(lower=trees(), upper=trees())
def test_any_tree_from_any_other(
    lower: dict[str, tuple[str, int, bytes]], upper: dict[str, tuple[str, int, bytes]]
) -> None:
    store = MemoryStore()
    below, above = build(store, lower), build(store, upper)
    assert plain(apply_layer(store, below, packed(store, below, above), "")) == plain(above)


def test_hard_links_stay_linked() -> None:
    store = MemoryStore()
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        first = tarfile.TarInfo("a")
        first.size = 1
        archive.addfile(first, io.BytesIO(b"x"))
        second = tarfile.TarInfo("b")
        second.type, second.linkname = tarfile.LNKTYPE, "a"
        archive.addfile(second)
    root = apply_layer(store, None, io.BytesIO(out.getvalue()), "")
    assert root.children is not None
    assert root.children[b"a"].inode == root.children[b"b"].inode != 0
    with tarfile.open(fileobj=packed(store, empty_root(), root)) as archive:
        assert archive.getmember("b").islnk()


def test_an_opaque_directory_hides_what_was_below() -> None:
    store = MemoryStore()
    lower = tree(store, {"d": None, "d/old": b"1", "e": b"2"})
    upper = apply_layer(store, lower, archive_of(("d", None), ("d/new", b"3"), ("d/.wh..wh..opq", b"")), "")
    assert set(tree_of(store, upper)) == {"d", "d/new", "e"}


def test_names_stay_inside() -> None:
    store = MemoryStore()
    root = apply_layer(store, None, archive_of(("../../etc/x", b"1"), ("/abs", b"2")), "")
    assert set(tree_of(store, root)) == {"etc", "etc/x", "abs"}


def truncated() -> BinaryIO:
    whole = gzip.compress(archive_of(("a", bytes(4000))).getvalue())
    return io.BytesIO(whole[: len(whole) // 2])


@pytest.mark.parametrize(
    ("blob", "diff_id", "error", "text"),
    [
        (lambda: archive_of(("a", b"1")), "sha256:" + 64 * "0", ImageError, "mismatched layer diffID"),
        (lambda: io.BytesIO(b"no archive at all" * 100), "", ImageError, "failed to extract layer"),
        (truncated, "", ImageError, "failed to extract layer"),
        (lambda: io.BytesIO(b"\x28\xb5\x2f\xfdrest"), "", ImageError, "failed to extract layer"),
    ],
)
def test_broken_layers(blob, diff_id: str, error: type[BuildkitError], text: str) -> None:  # type: ignore[no-untyped-def]  # a function
    with pytest.raises(error, match=text):
        apply_layer(MemoryStore(), None, blob(), diff_id)


def test_layers_of_steps() -> None:
    store = MemoryStore()
    first = store.commit(tree(store, {"a": b"1"}), "the first")
    second = store.commit(tree(store, {"a": b"1", "b": b"2"}), "the second")
    set_steps(store, second, [("", first.id), (first.id, second.id)])
    layers = export_layers(store, second, Compression())
    assert [layer.description for layer in layers] == ["the first", "the second"]
    names = []
    for layer in layers:
        data = store.get_blob(blob_key(layer.descriptor.digest))
        unpacked = gzip.decompress(data)
        assert layer.diff_id == f"sha256:{hashlib.sha256(unpacked).hexdigest()}"
        assert layer.descriptor.size == len(data)
        with tarfile.open(fileobj=io.BytesIO(unpacked)) as archive:
            names.append(archive.getnames())
    assert names == [["a"], ["b"]]
    uncompressed = export_layers(store, second, Compression("uncompressed"))
    assert [layer.descriptor.digest for layer in uncompressed] == [layer.diff_id for layer in layers]
    store.remove([first.id])
    assert steps_of(store, second) == [("", second.id)]
    assert len(export_layers(store, second, Compression())) == 1


@pytest.mark.parametrize("size", [1, 200_000])
@pytest.mark.parametrize("kept", ["memory", "disk"])
def test_layer_blobs_go_with_their_snapshot(tmp_path: Path, kept: str, size: int) -> None:
    store: Store = MemoryStore() if kept == "memory" else DiskStore(str(tmp_path / "state"))
    snapshot = store.commit(tree(store, {"a": os.urandom(size)}))
    (layer,) = export_layers(store, snapshot, Compression())
    key = blob_key(layer.descriptor.digest)
    other = store.commit(tree(store, {"b": b"2"}))
    store.remove([other.id])
    if kept == "disk":
        store.close()
        store = DiskStore(str(tmp_path / "state"))
        again = store.get(snapshot.id)
        assert again is not None
        assert export_layers(store, again, Compression()) == [layer]
    assert store.get_blob(key)
    store.remove([snapshot.id])
    with pytest.raises((KeyError, FileNotFoundError)):
        store.get_blob(key)
    store.close()


def test_times_later_than_the_epoch() -> None:
    store = MemoryStore()
    root = build(store, {"a": ("f", 0o644, b"1")})
    snapshot = store.commit(root)
    (layer,) = export_layers(store, snapshot, Compression("uncompressed"), epoch=3)
    with tarfile.open(fileobj=store.open_blob(blob_key(layer.descriptor.digest))) as archive:
        assert archive.getmember("a").mtime == 3


@pytest.mark.parametrize(
    ("attrs", "error"),
    [
        ({"compression": "lz4"}, "unsupported compression type lz4"),
        ({"compression": "estargz"}, "compression estargz is not supported by this daemon"),
        ({"force-compression": "x"}, "non-bool value x specified for force-compression"),
        ({"compression-level": "x"}, "non-integer value x specified for compression-level"),
    ],
)
def test_refused_compressions(attrs: dict[str, str], error: str) -> None:
    with pytest.raises(BuildkitError, match=error):
        parse_compression(attrs)


def test_compressions() -> None:
    assert parse_compression({"other": "x"}) == Compression()
    attrs = {"compression": "uncompressed", "force-compression": "", "compression-level": "3"}
    assert parse_compression(attrs) == Compression("uncompressed", 3, True)
    assert attrs == {}


def every_kind() -> bytes:
    """An archive with every kind of member, long names and attributes."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        kinds = [
            (tarfile.DIRTYPE, "d", ""),
            (tarfile.REGTYPE, "d/f", ""),
            (tarfile.LNKTYPE, "d/h", "d/f"),
            (tarfile.SYMTYPE, "s", "/d"),
            (tarfile.REGTYPE, "s/through", ""),
            (tarfile.CHRTYPE, "c", ""),
            (tarfile.FIFOTYPE, "p", ""),
            (tarfile.REGTYPE, "d/.wh.gone", ""),
            (tarfile.REGTYPE, 150 * "n", ""),
        ]
        for kind, name, link in kinds:
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.mode = kind, link, 0o644
            info.size = 3 if kind == tarfile.REGTYPE else 0
            info.pax_headers = {"SCHILY.xattr.user.x": "y", "mtime": "12.5"}
            archive.addfile(info, io.BytesIO(b"abc"))
    return out.getvalue()


@settings(max_examples=300, deadline=None, derandomize=True)
@given(changes=st.lists(st.tuples(st.integers(0, len(every_kind()) - 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_a_mutated_layer_is_an_error_or_a_tree(changes: list[tuple[int, int]]) -> None:
    data = bytearray(every_kind())
    for position, value in changes:
        data[position] = value
    store = MemoryStore()
    try:
        root = apply_layer(store, None, io.BytesIO(data), "")
    except BuildkitError:
        return
    for name in plain(root):
        assert b".." not in name.split(b"/")
