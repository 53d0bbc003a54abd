"""What counts as the same content, and which part of a tree a selector takes."""

from __future__ import annotations

import stat as st
from collections.abc import Callable

import pytest

from fake_buildkitd.store import ContentNotFoundError, MemoryStore, Node, Selector, Tree, root_digest, selected_digest


def sample() -> Tree:
    """A tree with directories, files and links."""
    store = MemoryStore()
    tree = Tree()
    for path in ("d", "d/e"):
        tree.mkdir(b"/" + path.encode(), 0o755, 7)
    for path, text in (("a.txt", "a"), ("b.go", "b"), ("d/c.txt", "c"), ("d/e/f.txt", "f")):
        blob = store.put_blob(text.encode())
        tree.put(b"/" + path.encode(), Node(st.S_IFREG | 0o644, size=1, blob=blob, mtime=7))
    tree.put(b"/l", Node(st.S_IFLNK | 0o777, link=b"d"))
    tree.put(b"/n", Node(st.S_IFREG | 0o644))
    tree.put(b"/dev", Node(st.S_IFCHR | 0o644, major=1, minor=3))
    tree.own(b"/a.txt").xattrs = (("user.a", b"1"),)
    return tree


def dangle(tree: Tree) -> None:
    tree.put(b"/d/nope", Node(st.S_IFLNK | 0o777, link=b"none"))
    tree.put(b"/nope", Node(st.S_IFLNK | 0o777, link=b"none"))
    tree.mkdir(b"/empty", 0o755, 7)


def touch(tree: Tree) -> None:
    tree.own(b"/d/c.txt").mtime = 99
    tree.own(b"/d").mtime = 99


def chmod(tree: Tree) -> None:
    tree.own(b"/d/c.txt").mode = st.S_IFREG | 0o600


def chown(tree: Tree) -> None:
    tree.own(b"/d/e").uid = 1


def chmod_root(tree: Tree) -> None:
    tree.own(b"/").mode = st.S_IFDIR | 0o700


def chgrp(tree: Tree) -> None:
    tree.own(b"/d/c.txt").gid = 1


def empty_to_fifo(tree: Tree) -> None:
    tree.own(b"/n").mode = st.S_IFIFO | 0o644


def other_device(tree: Tree) -> None:
    tree.own(b"/dev").major = 5


def other_minor(tree: Tree) -> None:
    tree.own(b"/dev").minor = 5


def label(tree: Tree) -> None:
    tree.own(b"/d/c.txt").xattrs = (("user.a", b"1"),)


def relabel(tree: Tree) -> None:
    tree.own(b"/a.txt").xattrs = (("user.a", b"2"),)


def write(tree: Tree) -> None:
    node = tree.own(b"/d/e/f.txt")
    node.blob = b"x" * 32


def rename(tree: Tree) -> None:
    node = tree.must_lstat(b"/d/c.txt")
    tree.remove(b"/d/c.txt")
    tree.put(b"/d/d.txt", node)  # its place among the others is the same


def relink(tree: Tree) -> None:
    tree.own(b"/l").link = b"e"


@pytest.mark.parametrize(
    ("change", "matters"),
    [
        (touch, False),
        (chmod_root, False),
        *((change, True) for change in (chmod, chown, chgrp, write, rename, relink, empty_to_fifo)),
        *((change, True) for change in (other_device, other_minor, label, relabel)),
    ],
)
def test_what_counts(change: Callable[[Tree], None], matters: bool) -> None:
    before = sample().freeze()
    tree = sample()
    change(tree)
    assert (root_digest(tree.freeze()) != root_digest(before)) is matters


@pytest.mark.parametrize(
    ("selector", "changes"),
    [
        (Selector(b"/a.txt"), []),
        (Selector(b"/d"), [chmod, chown, write, rename]),
        (Selector(b"/d/e"), [chown, write]),
        (Selector(b"/*.txt", wildcard=True), []),
        (Selector(b"/d/*", wildcard=True), [chmod, chown, write, rename]),
        (Selector(b"/", include=("d/e",)), [chown, write]),
        (Selector(b"/d", exclude=("e",)), [chmod, rename]),
        (Selector(b"/l", follow_links=True), [chmod, chown, write, rename]),
        (Selector(b"/l*", wildcard=True, follow_links=True), [chmod, chown, write, rename]),
        (Selector(b"/l"), [relink]),
    ],
)
def test_selectors(selector: Selector, changes: list[Callable[[Tree], None]]) -> None:
    before = selected_digest(sample().freeze(), selector)
    for change in (touch, chmod, chown, write, rename):
        tree = sample()
        change(tree)
        changed = selected_digest(tree.freeze(), selector) != before
        assert changed is (change in changes), change.__name__


@pytest.mark.parametrize("selector", [Selector(b"/none"), Selector(b"/", include=("d",), required=(b"/none",))])
def test_not_found(selector: Selector) -> None:
    with pytest.raises(ContentNotFoundError, match='"/none": not found'):
        selected_digest(sample().freeze(), selector)


@pytest.mark.parametrize(
    ("selector", "text"),
    [
        (Selector(b"/n*", wildcard=True, follow_links=True), '"/nope": not found'),
        (Selector(b"/", include=("nope",), follow_links=True), '"/nope": not found'),
        (Selector(b"/d/n*", wildcard=True, follow_links=True), '"/d/nope": not found'),
        (Selector(b"/a.txt/x"), '"/a.txt/x": not found'),
        (Selector(b"/n*", wildcard=True), ""),
        (Selector(b"/", include=("d/nope",), follow_links=True), ""),
        (Selector(b"/d*", wildcard=True, follow_links=True), ""),
    ],
)
def test_links_to_nothing(selector: Selector, text: str) -> None:
    """Only those that are matched themselves are followed, not what lies in a directory."""
    tree = sample()
    dangle(tree)
    if not text:
        assert selected_digest(tree.freeze(), selector)
        return
    with pytest.raises(ContentNotFoundError, match=text):
        selected_digest(tree.freeze(), selector)


@pytest.mark.parametrize("selector", [Selector(b"/e*", wildcard=True), Selector(b"/empty", exclude=("x",))])
def test_an_empty_directory_counts(selector: Selector) -> None:
    tree = sample()
    dangle(tree)
    before = selected_digest(tree.freeze(), selector)
    tree.own(b"/empty").mode = st.S_IFDIR | 0o700
    assert selected_digest(tree.freeze(), selector) != before


@pytest.mark.parametrize(
    ("selector", "other", "same"),
    [
        (Selector(b"/d/c*", wildcard=True), Selector(b"/moved/c*", wildcard=True), True),
        (Selector(b"/d/e", exclude=("x",)), Selector(b"/moved/e", exclude=("x",)), True),
        (Selector(b"/d/*", wildcard=True), Selector(b"/*/*", wildcard=True), False),
    ],
)
def test_where_it_lies_does_not_count(selector: Selector, other: Selector, same: bool) -> None:
    tree = sample()
    before = selected_digest(tree.freeze(), selector)
    tree.put(b"/moved", tree.must_lstat(b"/d"))
    tree.remove(b"/d")
    assert (selected_digest(tree.freeze(), other) == before) is same
