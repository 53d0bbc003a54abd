"""What counts as the same content: digests for the build cache.

Mirrors the rules of cache/contenthash (not its bytes), v0.32.2: type, mode, owner, size, content, link target,
device numbers and extended attributes count, times do not; a hard link counts as the file that it names. A
directory's digest covers its own attributes and everything below it.
"""

from __future__ import annotations

import hashlib
import posixpath
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fake_buildkitd.store._glob import contains_wildcards, match, split_wildcards
from fake_buildkitd.store._tree import Node, PathError, Tree, clean, join
from pybuildkit.golang.errors import BuildkitError, wrap
from pybuildkit.golang.strconv import quote
from pybuildkit.third_party import patternmatcher

_HEAD = struct.Struct("<IIIQII")


class ContentNotFoundError(BuildkitError):
    """A path that the build asks for is not in the tree: `"PATH": not found`."""

    def __init__(self, path: bytes) -> None:
        super().__init__(path)
        self.path = path

    def __str__(self) -> str:
        return f"{quote(self.path.decode('utf-8', 'surrogateescape'))}: not found"


@dataclass(frozen=True)
class Selector:
    """Which part of a tree an operation reads."""

    path: bytes
    wildcard: bool = False
    follow_links: bool = False
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    required: tuple[bytes, ...] = ()

    def is_plain(self) -> bool:
        """Whether it takes what is at the path, with everything below it."""
        return not (self.wildcard or self.include or self.exclude)


def header_digest(node: Node) -> bytes:
    """The digest of a node's own attributes."""
    head = _HEAD.pack(node.mode, node.uid, node.gid, 0 if node.is_dir() else node.size, node.major, node.minor)
    digest = hashlib.sha256(head + node.blob + b"\0" + node.link)
    for key, value in node.xattrs:
        digest.update(b"\0" + key.encode() + b"\0" + value)
    return digest.digest()


def content_digest(node: Node) -> bytes:
    """The digest of a node and everything below it."""
    if node.digest is not None:
        return node.digest
    own = header_digest(node)
    if node.children is not None:
        digest = hashlib.sha256(own)
        for name in sorted(node.children):
            digest.update(name + b"\0")
            digest.update(content_digest(node.children[name]))
        own = digest.digest()
    node.digest = own
    return own


def root_digest(root: Node) -> bytes:
    """The digest of a whole tree; the root's own attributes do not count."""
    digest = hashlib.sha256(b"root")
    for name in sorted(root.children or ()):
        digest.update(name + b"\0")
        digest.update(content_digest((root.children or {})[name]))
    return digest.digest()


def selected_digest(root: Node, selector: Selector) -> bytes:
    """The digest of the part of a tree that a selector names.

    Raises:
        ContentNotFoundError: a path without wildcards and filters, or a required one, does not exist.
    """
    tree = Tree(root)
    if selector.is_plain():
        return _whole_digest(tree, selector.path, selector.follow_links)
    taken = list(_included(tree, selector))
    for required in selector.required:
        if not any(each.path.startswith(required) for each in taken):
            raise ContentNotFoundError(required)
    digests = [_taken_digest(tree, each, selector) for each in taken]
    path = clean(selector.path)
    if len(taken) == 1 and posixpath.basename(path) == posixpath.basename(taken[0].path):
        return digests[0]
    prefix = len(path if not selector.wildcard else split_wildcards(path)[0].rstrip(b"/"))
    digest = hashlib.sha256()
    for each, own in zip(taken, digests, strict=True):
        digest.update(each.path[prefix:] + b"\0" + own)
    return digest.digest()


@dataclass(frozen=True)
class _Taken:
    """A file or the header of a directory that a selector takes; `top` where no directory above it is taken."""

    path: bytes
    node: Node
    top: bool


def _taken_digest(tree: Tree, taken: _Taken, selector: Selector) -> bytes:
    if not (taken.top and selector.follow_links and taken.node.is_symlink()):
        return header_digest(taken.node)
    return _whole_digest(tree, taken.path, True)


def _whole_digest(tree: Tree, path: bytes, follow_last: bool) -> bytes:
    """The digest of what is at a path, with everything below it."""
    node = _lookup(tree, path, follow_last)
    if node is None:
        raise ContentNotFoundError(clean(path))
    return root_digest(node) if node is tree.root else content_digest(node)


def _lookup(tree: Tree, path: bytes, follow_last: bool = True) -> Node | None:
    """What is at a path, the links in it followed; None where nothing is or can be."""
    try:
        return tree.lstat(tree.resolve(path, follow_last))
    except PathError:
        return None


def _included(tree: Tree, selector: Selector) -> Iterator[_Taken]:
    """The files and directory headers that the selector takes, as its own path names them."""
    include = path_matcher(selector.include, "includepatterns")
    exclude = path_matcher(selector.exclude, "excludepatterns")
    for base, node in _bases(tree, selector):
        if node is tree.root and not selector.wildcard:
            for name in sorted(node.children or ()):
                yield from _filtered(b"", (node.children or {})[name], name, include, exclude)
        else:
            yield from _filtered(base, node, b"", include, exclude)


def path_matcher(patterns: Sequence[str], what: str) -> patternmatcher.PatternMatcher | None:
    """The matcher of a list of patterns, None for none; raises BuildkitError, which names `what` they are."""
    if not patterns:
        return None
    try:
        return patternmatcher.new(patterns)
    except BuildkitError as err:
        raise wrap(err, f"invalid {what}: [{' '.join(patterns)}]") from err


def _bases(tree: Tree, selector: Selector) -> Iterator[tuple[bytes, Node]]:
    path = clean(selector.path)
    if not selector.wildcard or not contains_wildcards(path):
        node = _lookup(tree, path, follow_last=False)
        if node is not None:
            yield path, node
        return
    plain, pattern = split_wildcards(path)
    start = _lookup(tree, plain)
    if start is not None:
        yield from _matching(start, clean(plain), b"", pattern)


def _matching(node: Node, shown: bytes, relative: bytes, pattern: bytes) -> Iterator[tuple[bytes, Node]]:
    for name in sorted(node.children or ()):
        child = (node.children or {})[name]
        child_relative = posixpath.join(relative, name)
        if match(pattern, child_relative):
            yield join(shown, name), child
        else:
            yield from _matching(child, join(shown, name), child_relative, pattern)


def _filtered(
    base: bytes,
    node: Node,
    relative: bytes,
    include: patternmatcher.PatternMatcher | None,
    exclude: patternmatcher.PatternMatcher | None,
    top: bool = True,
) -> Iterator[_Taken]:
    """Pre-order; a directory comes only when it or something below it is taken."""
    own = _Taken(base.rstrip(b"/") + b"/" + relative if relative else base, node, top)
    taken = _takes(relative, include, exclude)
    if node.children is None:
        if taken:
            yield own
        return
    below = [
        each
        for name in sorted(node.children)
        for each in _filtered(base, node.children[name], posixpath.join(relative, name), include, exclude, False)
    ]
    if taken or below:
        yield own
    yield from below


def _takes(
    relative: bytes,
    include: patternmatcher.PatternMatcher | None,
    exclude: patternmatcher.PatternMatcher | None,
) -> bool:
    text = relative.decode("utf-8", "surrogateescape")
    if include is not None and not include.matches_or_parent_matches(text):
        return False
    return exclude is None or not exclude.matches_or_parent_matches(text)
