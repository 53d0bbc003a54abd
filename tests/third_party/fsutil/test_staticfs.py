"""Ports util/staticfs/*_test.go of BuildKit."""

from __future__ import annotations

from pathlib import Path

import pytest

from pybuildkit.third_party.fsutil import (
    FS,
    MODE_DIR,
    FilterOpt,
    MapResult,
    MergeFS,
    Stat,
    StaticFS,
    new_filter_fs,
    new_fs,
)
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


def in_folders() -> StaticFS:
    """Files in folders, of which one was added."""
    fs = StaticFS()
    fs.add("d", Stat(mode=MODE_DIR | 0o700), b"")
    for path in ("d/f", "d/g", "d.f", "e/x/y", "e/x/z", "e/z"):
        fs.add(path, Stat(), path.encode())
    return fs


def test_static_walks_in_the_order_of_a_tree() -> None:
    """With the directories that were not added."""
    assert listing(in_folders()) == [
        (b"d", 0, MODE_DIR | 0o700),
        (b"d/f", 3, 0o644),
        (b"d/g", 3, 0o644),
        (b"d.f", 3, 0o644),
        (b"e", 0, MODE_DIR | 0o755),
        (b"e/x", 0, MODE_DIR | 0o755),
        (b"e/x/y", 5, 0o644),
        (b"e/x/z", 5, 0o644),
        (b"e/z", 3, 0o644),
    ]
    assert [entry.path for entry in in_folders().walk(b"e/x")] == [b"e/x", b"e/x/y", b"e/x/z"]


@pytest.mark.parametrize("path", ["../x", "./x", "a//b", "a/", "a/../b"])
def test_static_takes_any_name(path: str) -> None:
    """An unclean one is shown as it is, and refused by who gets it."""
    fs = StaticFS()
    fs.add(path, Stat(), b"")
    assert [entry.path for entry in fs.walk()] == [path.encode()]


@pytest.mark.parametrize(
    ("skip", "wanted"),
    [
        (b"d", [b"d", b"d.f", b"e", b"e/x", b"e/x/y", b"e/x/z", b"e/z"]),
        (b"e/x/y", [b"d", b"d/f", b"d/g", b"d.f", b"e", b"e/x", b"e/x/y", b"e/z"]),
        (b"d.f", [b"d", b"d/f", b"d/g", b"d.f"]),
    ],
)
def test_static_walk_skips(skip: bytes, wanted: list[bytes]) -> None:
    """A directory with what is in it; behind a file the rest of its directory."""
    found = []
    for entry in in_folders().walk():
        found.append(entry.path)
        entry.skip = entry.path == skip
    assert found == wanted


@pytest.mark.parametrize(
    ("opt", "wanted"),
    [
        (FilterOpt(follow_paths=["e/x/y"]), [b"e", b"e/x", b"e/x/y"]),
        (FilterOpt(follow_paths=["d"]), [b"d", b"d/f", b"d/g"]),
        (FilterOpt(exclude_patterns=["e"]), [b"d", b"d/f", b"d/g", b"d.f"]),
        (
            FilterOpt(map=lambda path, stat: MapResult.SKIP_DIR if path == b"e" else MapResult.KEEP),
            [b"d", b"d/f", b"d/g", b"d.f"],
        ),
    ],
)
@pytest.mark.parametrize("merged", [False, True])
def test_static_through_a_filter(opt: FilterOpt, wanted: list[bytes], merged: bool) -> None:
    fs = MergeFS(StaticFS(), in_folders()) if merged else in_folders()
    assert [entry.path for entry in new_filter_fs(fs, opt).walk()] == wanted


def test_static_over_directories_that_are_there(tmp_path: Path) -> None:
    """They stay what they are where only what is in them was added; a file gives way."""
    disk = new_fs(str(make(tmp_path / "l", ["ADD d dir", "ADD d/x file", "ADD e dir", "ADD e/w file", "ADD f file"])))
    for name in ("d", "e"):
        (tmp_path / "l" / name).chmod(0o711)
    memory = StaticFS()
    for path in ("d/y", "e/x/y", "f/g"):
        memory.add(path, Stat(), b"")
    found = [(entry.path, entry.stat().mode, entry.source is disk) for entry in MergeFS(disk, memory).walk()]
    folder = MODE_DIR | 0o755
    assert found == [
        (b"d", MODE_DIR | 0o711, True),
        (b"d/x", 0o644, True),
        (b"d/y", 0o644, False),
        (b"e", MODE_DIR | 0o711, True),
        (b"e/w", 0o644, True),
        (b"e/x", folder, False),
        (b"e/x/y", 0o644, False),
        (b"f", folder, False),
        (b"f/g", 0o644, False),
    ]


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
