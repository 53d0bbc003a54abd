"""Merging trees, and the difference between two.

Mirrors what snapshot/merge.go and diffapply of v0.32.2 do to the resulting trees.

A layer is what one step changed: a tree of what it added or changed, with the directories above that, and the paths
that it removed. Layers are laid over each other, later ones on top: what a layer removed goes first, then directories
are joined with the attributes of the last, and anything else replaces what was there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from fake_buildkitd.store import Node, empty_root


@dataclass(frozen=True)
class Layer:
    """A tree to lay over others; what stands at `deleted` paths below it is taken away first."""

    root: Node
    deleted: frozenset[bytes] = field(default=frozenset())


def merge(layers: Sequence[Layer]) -> Node:
    """The layers on top of each other, the first at the bottom."""
    result = empty_root()
    for layer in layers:
        if layer.deleted:
            result = _without(result, b"", layer.deleted)
        result = _over(result, layer.root)
    return result


def _over(lower: Node, upper: Node) -> Node:
    if lower.children is None or upper.children is None:
        return upper
    if not lower.children:
        return upper
    merged = upper.clone()
    children = dict(lower.children)
    for name, child in upper.children.items():
        below = children.get(name)
        children[name] = _over(below, child) if below is not None else child
    merged.children = children
    return merged


def _without(node: Node, path: bytes, deleted: frozenset[bytes]) -> Node:
    if node.children is None:
        return node
    kept = node.clone()
    kept.children = {
        name: _without(child, path + b"/" + name, deleted)
        for name, child in node.children.items()
        if path + b"/" + name not in deleted
    }
    return kept


def diff(lower: Node, upper: Node) -> Layer:
    """What has to be laid over `lower` to make `upper`."""
    deleted: set[bytes] = set()
    root = _changes(lower, upper, b"", deleted)
    return Layer(root if root is not None else empty_root(), frozenset(deleted))


def _changes(lower: Node, upper: Node, path: bytes, deleted: set[bytes]) -> Node | None:
    """The changed part of a directory, or None where nothing in it changed."""
    if lower is upper or (lower.stored is not None and lower.stored == upper.stored and _same(lower, upper)):
        return None
    below, above = lower.children or {}, upper.children or {}
    changed: dict[bytes, Node] = {}
    gone = below.keys() - above.keys()
    deleted.update(path + b"/" + name for name in gone)
    for name, child in above.items():
        old = below.get(name)
        if old is not None and old.is_dir() and child.is_dir():
            part = _changes(old, child, path + b"/" + name, deleted)
            if part is not None:
                changed[name] = part
        elif old is None or not _same(old, child):
            changed[name] = child
    if not changed and not gone and _same(lower, upper):
        return None
    result = upper.clone()
    result.children = changed
    return result


def _same(a: Node, b: Node) -> bool:
    """Whether two nodes look alike: attributes, times and content, not what lies below."""
    return (
        a.mode == b.mode
        and (a.uid, a.gid, a.blob, a.link, a.major, a.minor) == (b.uid, b.gid, b.blob, b.link, b.major, b.minor)
        and a.xattrs == b.xattrs
        and (a.mtime == b.mtime or a.is_dir())
    )
