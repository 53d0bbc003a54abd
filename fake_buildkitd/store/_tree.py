"""File trees as values: what a snapshot holds, without a file system below it.

A tree is a directory node; a node has the type, mode, owner, time, size and extended attributes of a file, and
for a regular file the digest of its content, which lies in the blob store. So any user can hold any owner,
device or set-id bit.

Rules:
- Nodes of a committed tree never change. A `Tree` is a view that copies a directory before its first change in
  it, so two trees share what is equal in them, and copying a whole directory costs nothing.
- Names and link targets are bytes. Paths are absolute, separated by slashes, and name the tree's own root.
- Hard links of one file are nodes with the same `inode` (not 0).

Errors read like those of Go's os package: `lstat /a/b: no such file or directory`.
"""

from __future__ import annotations

import errno
import os
import stat as st
from collections.abc import Iterator

from pybuildkit.golang.errors import BuildkitError

MAX_LINKS = 255
Xattrs = tuple[tuple[str, bytes], ...]


class PathError(BuildkitError):
    """A failed operation on a path of a tree: `OP PATH: REASON`."""

    def __init__(self, op: str, path: bytes, code: int) -> None:
        super().__init__(op, path, code)
        self.op = op
        self.path = path
        self.errno = code

    def __str__(self) -> str:
        return f"{self.op} {self.path.decode('utf-8', 'replace')}: {self.reason()}"

    def reason(self) -> str:
        """Go's words for the errno."""
        reason = os.strerror(self.errno)
        return reason[:1].lower() + reason[1:]


class Node:
    """One file; `mode` is Unix's st_mode, `mtime` counts nanoseconds since the epoch.

    `children` is set for directories only, `blob` (a SHA-256 digest) for regular files that are not empty.
    """

    __slots__ = (
        "blob",
        "children",
        "digest",
        "gid",
        "inode",
        "link",
        "major",
        "minor",
        "mode",
        "mtime",
        "owner",
        "size",
        "stored",
        "uid",
        "xattrs",
    )

    def __init__(
        self,
        mode: int,
        *,
        uid: int = 0,
        gid: int = 0,
        mtime: int = 0,
        size: int = 0,
        blob: bytes = b"",
        link: bytes = b"",
        major: int = 0,
        minor: int = 0,
        xattrs: Xattrs = (),
        inode: int = 0,
        children: dict[bytes, Node] | None = None,
    ) -> None:
        self.mode = mode
        self.uid = uid
        self.gid = gid
        self.mtime = mtime
        self.size = size
        self.blob = blob
        self.link = link
        self.major = major
        self.minor = minor
        self.xattrs = xattrs
        self.inode = inode
        self.children = {} if children is None and st.S_ISDIR(mode) else children
        self.owner: object = None
        self.digest: bytes | None = None
        self.stored: bytes | None = None

    def clone(self) -> Node:
        """A copy that may be changed; a directory's children are shared, its list of them is not."""
        children = dict(self.children) if self.children is not None else None
        return Node(
            self.mode,
            uid=self.uid,
            gid=self.gid,
            mtime=self.mtime,
            size=self.size,
            blob=self.blob,
            link=self.link,
            major=self.major,
            minor=self.minor,
            xattrs=self.xattrs,
            inode=self.inode,
            children=children,
        )

    def is_dir(self) -> bool:
        """Whether the node is a directory."""
        return self.children is not None

    def is_regular(self) -> bool:
        """Whether the node is a regular file."""
        return st.S_ISREG(self.mode)

    def is_symlink(self) -> bool:
        """Whether the node is a symbolic link."""
        return st.S_ISLNK(self.mode)


def empty_root(mtime: int = 0) -> Node:
    """The root of a tree without files."""
    return Node(st.S_IFDIR | 0o755, mtime=mtime)


def split(path: bytes) -> list[bytes]:
    """The components of a path, "." and empty ones left out, ".." applied to the names before it."""
    parts: list[bytes] = []
    for part in path.split(b"/"):
        if part == b"..":
            if parts:
                parts.pop()
        elif part not in (b"", b"."):
            parts.append(part)
    return parts


def clean(path: bytes) -> bytes:
    """The shortest absolute form of a path."""
    return b"/" + b"/".join(split(path))


def join(parent: bytes, name: bytes) -> bytes:
    """A name below a clean path."""
    return b"/" + name if parent == b"/" else parent + b"/" + name


def parent_of(path: bytes) -> tuple[bytes, bytes]:
    """A clean path's parent and its last component ("" for the root)."""
    head, _, tail = path.rpartition(b"/")
    return head or b"/", tail


class Tree:
    """A view of a tree that may be changed; the tree it was made from stays as it is.

    Args:
        root: the tree's root, or None for an empty one.
    """

    def __init__(self, root: Node | None = None) -> None:
        self.root = root if root is not None else empty_root()
        self._owner = object()

    def freeze(self) -> Node:
        """The root of the tree as it is now; later changes do not touch it."""
        self._owner = object()
        return self.root

    def lstat(self, path: bytes) -> Node | None:
        """The node at a path, without following any link; None where nothing is."""
        node = self.root
        for part in split(path):
            if node.children is None:
                return None
            child = node.children.get(part)
            if child is None:
                return None
            node = child
        return node

    def must_lstat(self, path: bytes) -> Node:
        """As `lstat`.

        Raises:
            PathError: nothing is there.
        """
        node = self.lstat(path)
        if node is None:
            raise PathError("lstat", path, errno.ENOENT)
        return node

    def stat(self, path: bytes) -> Node | None:
        """The node at a path, all links followed inside the tree; None where nothing is."""
        return self.lstat(self.resolve(path))

    def resolve(self, path: bytes, follow_last: bool = True) -> bytes:
        """The path with its symbolic links replaced by what they name, never above the root.

        Components that do not exist stay as they are. With `follow_last` false the last component is kept even
        where it is a link.

        Raises:
            PathError: too many links, or a name below something that is no directory.
        """
        todo = split(path)[::-1]
        done: list[bytes] = []
        nodes: list[Node | None] = [self.root]
        links = 0
        while todo:
            part = todo.pop()
            if part in (b"", b"."):
                continue
            if part == b"..":
                if done:
                    done.pop()
                    nodes.pop()
                continue
            node = self._child(nodes[-1], done, part)
            if node is None or not node.is_symlink() or (not todo and not follow_last):
                done.append(part)
                nodes.append(node)
                continue
            links += 1
            if links > MAX_LINKS:
                raise BuildkitError("too many links")
            if node.link.startswith(b"/"):
                done.clear()
                del nodes[1:]
            todo += node.link.split(b"/")[::-1]
        return b"/" + b"/".join(done)

    @staticmethod
    def _child(node: Node | None, done: list[bytes], part: bytes) -> Node | None:
        if node is None:
            return None
        if node.children is None:
            raise PathError("lstat", b"/" + b"/".join([*done, part]), errno.ENOTDIR)
        return node.children.get(part)

    def own(self, path: bytes) -> Node:
        """The node at a path, copied so far that it may be changed.

        Raises:
            PathError: nothing is there.
        """
        self.root = node = self._mine(self.root)
        for part in split(path):
            children = node.children
            child = children.get(part) if children is not None else None
            if children is None or child is None:
                raise PathError("lstat", path, errno.ENOENT)
            node = children[part] = self._mine(child)
        return node

    def _mine(self, node: Node) -> Node:
        if node.owner is self._owner:
            node.digest = node.stored = None
            return node
        copy = node.clone()
        copy.owner = self._owner
        return copy

    def put(self, path: bytes, node: Node, op: str = "open") -> None:
        """Set what is at a path, in place of anything there; its parent must be a directory.

        Raises:
            PathError: named after `op`, the parent does not exist or is no directory.
        """
        parent, name = parent_of(path)
        if not name:
            node.owner = None
            self.root = node
            return
        found = self.lstat(parent)
        if found is None:
            raise PathError(op, path, errno.ENOENT)
        if found.children is None:
            raise PathError(op, path, errno.ENOTDIR)
        owned = self.own(parent)
        assert owned.children is not None
        owned.children[name] = node

    def remove(self, path: bytes) -> None:
        """Take away what is at a path, with everything below it; nothing happens where nothing is."""
        parent, name = parent_of(path)
        node = self.lstat(parent)
        if not name or node is None or node.children is None or name not in node.children:
            return
        owned = self.own(parent)
        assert owned.children is not None
        del owned.children[name]

    def mkdir(self, path: bytes, mode: int, mtime: int, now: int | None = None) -> Node:
        """Make a directory with these permissions; its parent must exist, and gets the time `now` (default: `mtime`).

        Raises:
            PathError: something is there already, or the parent is no directory.
        """
        if self.lstat(path) is not None:
            raise PathError("mkdir", path, errno.EEXIST)
        node = Node(st.S_IFDIR | (mode & 0o7777), mtime=mtime)
        node.owner = self._owner
        self.put(path, node, "mkdir")
        self.touch_parent(path, mtime if now is None else now)
        return node

    def touch_parent(self, path: bytes, mtime: int) -> None:
        """Note a change in the directory that holds a path."""
        self.own(parent_of(path)[0]).mtime = mtime


def walk(node: Node, path: bytes = b"") -> Iterator[tuple[bytes, Node]]:
    """Every node below a directory with its path ("a/b"), parents first, names in byte order."""
    if node.children is None:
        return
    for name in sorted(node.children):
        child = node.children[name]
        child_path = path + b"/" + name if path else name
        yield child_path, child
        if child.children is not None:
            yield from walk(child, child_path)


def has_hard_links(node: Node) -> bool:
    """Whether a file with several names is at or below a node."""
    if node.children is None:
        return node.inode != 0
    return any(has_hard_links(child) for child in node.children.values())


def total_size(node: Node) -> int:
    """The bytes of the regular files at and below a node."""
    if node.children is None:
        return node.size if node.is_regular() else 0
    return sum(total_size(child) for child in node.children.values())
