"""Trees: paths, links, copies on change."""

from __future__ import annotations

import stat as st

import pytest

from fake_buildkitd.store import Node, PathError, Tree
from fake_buildkitd.store._tree import MAX_LINKS, clean, split
from pybuildkit.golang.errors import BuildkitError


def make(*paths: str, **links: str) -> Tree:
    """A tree with directories (a trailing slash), files and links (name=target)."""
    tree = Tree()
    for path in paths:
        name = b"/" + path.rstrip("/").encode()
        if path.endswith("/"):
            tree.mkdir(name, 0o755, 0)
        else:
            tree.put(name, Node(st.S_IFREG | 0o644))
    for link, target in links.items():
        tree.put(b"/" + link.encode(), Node(st.S_IFLNK | 0o777, link=target.encode()))
    return tree


@pytest.mark.parametrize(
    ("path", "want"),
    [("", "/"), ("/", "/"), ("a", "/a"), ("/a//b/./c/", "/a/b/c"), ("/a/../../b", "/b"), ("..", "/")],
)
def test_clean(path: str, want: str) -> None:
    assert clean(path.encode()).decode() == want
    assert split(path.encode()) == split(want.encode())


@pytest.mark.parametrize(
    ("path", "follow", "want"),
    [
        ("/d/f", True, "/d/f"),
        ("/to_d/f", True, "/d/f"),
        ("/to_d", False, "/to_d"),
        ("/to_d", True, "/d"),
        ("/up/f", True, "/d/f"),
        ("/chain/f", True, "/d/f"),
        ("/dangling/x", True, "/no/where/x"),
        ("/d/new/deep", True, "/d/new/deep"),
        ("/to_d/../f", True, "/f"),
    ],
)
def test_resolve(path: str, follow: bool, want: str) -> None:
    tree = make("d/", "d/f", to_d="d", up="../../../d", chain="/to_d/.", dangling="no/where")
    assert tree.resolve(path.encode(), follow).decode() == want


def test_resolve_gives_up() -> None:
    with pytest.raises(BuildkitError, match="too many links"):
        make(a="b", b="a").resolve(b"/a")
    tree = make("f")
    for number in range(MAX_LINKS):
        tree.put(b"/l%d" % number, Node(st.S_IFLNK | 0o777, link=b"l%d" % (number + 1)))
    assert tree.resolve(b"/l0") == b"/l%d" % MAX_LINKS
    with pytest.raises(PathError, match="lstat /f/x: not a directory"):
        tree.resolve(b"/f/x")


def test_a_copy_leaves_the_original() -> None:
    before = make("d/", "d/e/", "d/e/f").freeze()
    tree = Tree(before)
    tree.put(b"/d/e/g", Node(st.S_IFREG | 0o600))
    tree.own(b"/d").mode = st.S_IFDIR | 0o700
    tree.remove(b"/d/e/f")
    old, new = Tree(before), Tree(tree.freeze())
    assert old.lstat(b"/d/e/f") is not None
    assert old.lstat(b"/d/e/g") is None
    assert old.must_lstat(b"/d").mode == st.S_IFDIR | 0o755
    assert new.lstat(b"/d/e/f") is None
    assert new.lstat(b"/d/e/g") is not None


def test_a_frozen_tree_does_not_change() -> None:
    tree = make("d/", "d/f")
    first = tree.freeze()
    tree.remove(b"/d/f")
    assert Tree(first).lstat(b"/d/f") is not None


@pytest.mark.parametrize(("path", "reason"), [(b"/none/x", "no such file or directory"), (b"/f/x", "not a directory")])
def test_put_needs_a_parent(path: bytes, reason: str) -> None:
    with pytest.raises(PathError, match=f"mkdir {path.decode()}: {reason}"):
        make("f").put(path, Node(st.S_IFDIR | 0o755), "mkdir")


def test_mkdir_twice() -> None:
    with pytest.raises(PathError, match="mkdir /d: file exists"):
        make("d/").mkdir(b"/d", 0o755, 0)
