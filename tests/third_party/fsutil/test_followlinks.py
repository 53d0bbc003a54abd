"""Ports followlinks_test.go of tonistiigi/fsutil."""

from __future__ import annotations

from pathlib import Path

import pytest

from pybuildkit.third_party.fsutil import follow_links, new_fs
from pybuildkit.third_party.fsutil._followlinks import contains_wildcards, read_dir, stat_file
from tests.third_party.fsutil.changes import make

_WILDCARD = [
    "ADD dir dir",
    "ADD foo dir",
    "ADD dir/l1 symlink /foo/bar1",
    "ADD dir/l2 symlink /foo/bar2",
    "ADD dir/anotherlink symlink /foo/bar3",
    "ADD foo/bar2 symlink ../baz",
    "ADD foo/bar1 file",
    "ADD foo/bar3 file",
    "ADD baz file",
]
_NORMALIZED = ["ADD dir dir", "ADD dir/l1 symlink /foo", "ADD dir/l2 symlink /", "ADD foo dir", "ADD foo/bar file"]

CASES: list[tuple[str, list[str], list[str], list[str] | None]] = [
    (
        "TestFollowLinks",
        [
            "ADD dir dir",
            "ADD dir/foo file contents",
            "ADD dir/l1 symlink foo",
            "ADD l2 symlink dir/l1",
            "ADD bar file",
            "ADD baz file",
        ],
        ["l2", "bar"],
        ["bar", "dir/foo", "dir/l1", "l2"],
    ),
    (
        "TestFollowLinksLoop",
        ["ADD l1 symlink l1", "ADD l3 symlink l2", "ADD l2 symlink l3"],
        ["l1", "l3"],
        ["l1", "l2", "l3"],
    ),
    (
        "TestFollowLinksAbsolute",
        ["ADD dir dir", "ADD dir/l1 symlink /foo/bar/baz", "ADD foo dir", "ADD foo/bar symlink ../", "ADD baz file"],
        ["dir/l1"],
        ["baz", "dir/l1", "foo/bar"],
    ),
    (
        "TestFollowLinksAbsolute outside",
        [
            "ADD dir dir",
            "ADD dir/l1 symlink /foo/bar/baz",
            "ADD foo dir",
            "ADD foo/bar symlink ../../../",
            "ADD baz file",
        ],
        ["dir/l1"],
        ["baz", "dir/l1", "foo/bar"],
    ),
    ("TestFollowLinksNotExists", [], ["foo/bar/baz", "bar/baz"], ["bar/baz", "foo/bar/baz"]),
    ("TestFollowLinksNotExists root", [], ["."], None),
    ("TestFollowLinksNotExists glob", [], ["f*/foo/t*"], ["f*/foo/t*"]),
    ("TestFollowLinksNormalized", [], ["foo/bar/baz", "foo/bar"], ["foo/bar"]),
    ("TestFollowLinksNormalized link", _NORMALIZED, ["dir/l1", "foo/bar"], ["dir/l1", "foo"]),
    ("TestFollowLinksNormalized root", _NORMALIZED, ["dir/l2", "foo", "foo/bar"], None),
    ("TestFollowLinksWildcard", _WILDCARD, ["dir/l*"], ["baz", "dir/l*", "foo/bar1", "foo/bar2"]),
    ("TestFollowLinksWildcard dir", _WILDCARD, ["dir"], ["dir"]),
    ("TestFollowLinksWildcard both", _WILDCARD, ["dir", "dir/*link"], ["dir", "foo/bar3"]),
    ("a bad pattern matches nothing", _WILDCARD, ["dir/[x"], ["dir/[x"]),
]


@pytest.mark.parametrize(("name", "tree", "paths", "wanted"), CASES)
def test_follow_links(tmp_path: Path, name: str, tree: list[str], paths: list[str], wanted: list[str] | None) -> None:
    assert follow_links(new_fs(str(make(tmp_path / "d", tree))), paths) == wanted


def test_long_chain_of_links(tmp_path: Path) -> None:
    for n in range(3000):
        (tmp_path / f"l{n}").symlink_to(f"l{n + 1}")
    found = follow_links(new_fs(str(tmp_path)), ["l0"])
    assert found is not None
    assert len(found) == 3001


def test_internal_read_file(tmp_path: Path) -> None:
    """TestInternalReadFile."""
    fs = new_fs(str(make(tmp_path / "d", ["ADD dir dir", "ADD dir/foo1 file"])))
    assert stat_file(fs, "/") is None
    assert stat_file(fs, "") is None
    for path, is_dir in (("dir", True), ("dir/foo1", False)):
        entry = stat_file(fs, path)
        assert entry is not None
        assert (entry.path, entry.is_dir) == (path.encode(), is_dir)
    for path in ("dir/foo2", "dir/x/y/z"):
        with pytest.raises(FileNotFoundError):
            stat_file(fs, path)


def test_internal_read_dir(tmp_path: Path) -> None:
    """TestInternalReadDir."""
    fs = new_fs(str(make(tmp_path / "d", ["ADD dir dir", "ADD dir/foo1 file"])))
    assert [(e.path, e.is_dir) for e in read_dir(fs, "/")] == [(b"dir", True)]
    assert [e.path for e in read_dir(fs, "dir")] == [b"dir/foo1"]
    for path in ("dir2", "dir/foo1"):
        with pytest.raises(FileNotFoundError):
            read_dir(fs, path)


@pytest.mark.parametrize(("name", "wanted"), [("a*", True), ("a\\*", False), ("a?", True), ("[", True), ("a", False)])
def test_contains_wildcards(name: str, wanted: bool) -> None:
    assert contains_wildcards(name) == wanted
