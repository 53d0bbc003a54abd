"""Ports util/staticfs/*_test.go of BuildKit."""

from __future__ import annotations

from pathlib import Path

import pytest

from pybuildkit.third_party.fsutil import FS, MODE_DIR, MergeFS, Stat, StaticFS, new_fs
from tests.third_party.fsutil.changes import make, shown


def content(fs: FS, path: bytes) -> bytes:
    file = fs.open(path)
    data = file.read(100)
    file.close()
    return data


def listing(fs: FS) -> list[tuple[bytes, int, int]]:
    return [(entry.path, entry.stat().size, entry.stat().mode) for entry in fs.walk()]


def test_static() -> None:
    fs = StaticFS()
    fs.add("foo", Stat(mode=0o644), b"foofoo")
    fs.add("/bar", Stat(mode=0o444), b"barbarbar")
    assert content(fs, b"bar") == b"barbarbar"
    with pytest.raises(FileNotFoundError):
        fs.open(b"abc")
    assert listing(fs) == [(b"bar", 9, 0o444), (b"foo", 6, 0o644)]
    fs.add("abc", Stat(), b"abcabcabc")
    assert content(fs, b"abc") == b"abcabcabc"
    assert listing(fs)[0] == (b"abc", 9, 0o644)


def test_static_walk_is_a_copy() -> None:
    fs = StaticFS()
    fs.add("foo", Stat(), b"")
    next(iter(fs.walk())).stat().mode = 0
    assert listing(fs) == [(b"foo", 0, 0o644)]


def test_static_walks_in_the_order_of_a_tree() -> None:
    fs = StaticFS()
    for path in ("a.b", "a/c", "a"):
        fs.add(path, Stat(), b"")
    assert [path for path, _, _ in listing(fs)] == [b"a", b"a/c", b"a.b"]


def test_merge() -> None:
    one, two, three = StaticFS(), StaticFS(), StaticFS()
    one.add("foo", Stat(mode=0o644), b"foofoo")
    one.add("bar", Stat(mode=0o444), b"barbarbar")
    two.add("abc", Stat(mode=0o400), b"abcabc")
    two.add("foo", Stat(mode=0o440), b"foofoofoofoo")
    fs = MergeFS(one, two)
    assert content(fs, b"foo") == b"foofoofoofoo"
    assert content(fs, b"bar") == b"barbarbar"
    assert listing(fs) == [(b"abc", 6, 0o400), (b"bar", 9, 0o444), (b"foo", 12, 0o440)]

    three.add("bax", Stat(mode=0o600), b"bax")
    merged = MergeFS(fs, three)
    assert content(merged, b"bar") == b"barbarbar"
    assert content(merged, b"bax") == b"bax"
    with pytest.raises(FileNotFoundError):
        merged.open(b"bay")
    assert [path for path, _, _ in listing(merged)] == [b"abc", b"bar", b"bax", b"foo"]


def test_merge_with_a_directory_on_disk(tmp_path: Path) -> None:
    disk = new_fs(str(make(tmp_path / "d", ["ADD Dockerfile file old", "ADD src dir", "ADD src/x file x"])))
    memory = StaticFS()
    memory.add("Dockerfile", Stat(), b"FROM scratch")
    fs = MergeFS(disk, memory)
    assert shown(fs.walk()) == ["file Dockerfile", "dir src", "file src/x"]
    assert content(fs, b"Dockerfile") == b"FROM scratch"
    assert [(e.source, e.source_path) for e in fs.walk()][::2] == [(memory, b"Dockerfile"), (disk, b"src/x")]


def test_merge_skips_in_both(tmp_path: Path) -> None:
    lower = new_fs(str(make(tmp_path / "l", ["ADD d dir", "ADD d/x file", "ADD e file"])))
    upper = new_fs(str(make(tmp_path / "u", ["ADD d dir", "ADD d/y file"])))
    found = []
    for entry in MergeFS(lower, upper).walk():
        found.append(entry.path)
        entry.skip = entry.is_dir
    assert found == [b"d", b"e"]


def test_a_target_is_a_name() -> None:
    """A Dockerfile is found beside a Dockerfile.dockerignore, and a directory with what is in it."""
    fs = StaticFS()
    fs.add("d", Stat(mode=MODE_DIR | 0o755), b"")
    for path in ("Dockerfile", "Dockerfile.dockerignore", "d/f", "d.f"):
        fs.add(path, Stat(), b"")
    assert [entry.path for entry in fs.walk(b"Dockerfile")] == [b"Dockerfile"]
    assert [entry.path for entry in fs.walk(b"/d")] == [b"d", b"d/f"]
    assert [entry.path for entry in fs.walk(b"D")] == []
