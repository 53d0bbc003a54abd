"""Copying between trees, as `cp -a` would.

Mirrors fsutil/copy (copy.go, copy_linux.go, mkdir.go), as vendored by BuildKit v0.32.2.

Rules:
- Missing parents of the destination are made with mode 0755 (or the given mode), the given owner and time.
- A source that is a directory goes into an existing destination directory, or with `copy_dir_contents` its
  contents do. The metadata of a destination directory that existed stays, those below it are overwritten.
- With include patterns a directory is made only when it, or something below it, is taken.
"""

from __future__ import annotations

import errno
import posixpath
import secrets
import stat as st
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fake_buildkitd.chmod import parse_mode
from fake_buildkitd.store._digest import path_matcher
from fake_buildkitd.store._glob import contains_wildcards, match, split_wildcards
from fake_buildkitd.store._tree import Node, PathError, Tree, has_hard_links, join, parent_of
from pybuildkit.golang.errors import BuildkitError, wrap
from pybuildkit.third_party import patternmatcher

DEFAULT_DIRECTORY_MODE = 0o755

Owner = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class CopyInfo:
    """How to copy.

    Args:
        owner: the new owner of everything, None to keep each one's.
        time: the new time (nanoseconds) of everything, None to keep each one's.
        mode: the new permissions in octal, None to keep them; `mode_words` is a change in words.
        now: the time of what is made on the way.
    """

    now: int
    owner: Owner | None = None
    time: int | None = None
    mode: int | None = None
    mode_words: str = ""
    copy_dir_contents: bool = False
    follow_links: bool = False
    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    always_replace: bool = False


def mkdir_all(tree: Tree, path: bytes, mode: int, owner: Owner | None, time: int | None, now: int) -> list[bytes]:
    """Make a directory and its missing parents; the paths of those that were made, parents first.

    Raises:
        PathError: something on the way is no directory.
    """
    node = tree.stat(path)
    if node is not None:
        if node.is_dir():
            return []
        raise PathError("mkdir", path, errno.ENOTDIR)
    made = mkdir_all(tree, parent_of(path)[0], mode, owner, time, now)
    existing = tree.lstat(path)
    if existing is not None and existing.is_dir():
        return made
    node = tree.mkdir(path, mode, time if time is not None else now, now)
    if owner is not None:
        node.uid, node.gid = owner
    return [*made, path]


def resolve_wildcards(tree: Tree, path: bytes, follow_links: bool) -> list[bytes]:
    """The paths that a pattern matches, in order; a path without wildcards is itself."""
    if not contains_wildcards(path):
        return [path]
    plain, pattern = split_wildcards(path)
    base = tree.resolve(plain, follow_links)
    found: list[bytes] = []

    def visit(node: Node, at: bytes, relative: bytes) -> None:
        for name in sorted(node.children or ()):
            child = (node.children or {})[name]
            child_relative = posixpath.join(relative, name)
            if _match(pattern, child_relative):
                found.append(join(at, name))
            else:
                visit(child, join(at, name), child_relative)

    node = tree.must_lstat(base)
    visit(node, base, b"")
    return found


def _match(pattern: bytes, name: bytes) -> bool:
    try:
        return match(pattern, name)
    except patternmatcher.BadPatternError:
        return False


def copy(source: Tree, src: bytes, target: Tree, dst: bytes, info: CopyInfo) -> None:
    """Copy what is at `src` to `dst`.

    Raises:
        PathError, BuildkitError: Go's texts.
    """
    _Copier(source, target, info).run(src, dst)


class _Copier:
    def __init__(self, source: Tree, target: Tree, info: CopyInfo) -> None:
        self.source = source
        self.target = target
        self.info = info
        self.change: Callable[[int, bool], int] | None = parse_mode(info.mode_words) if info.mode_words else None
        self.include = path_matcher(info.include, "includepatterns")
        self.exclude = path_matcher(info.exclude, "excludepatterns")
        self.pending: list[tuple[Node, bytes]] = []
        self.inodes: dict[int, int] = {}

    def run(self, src: bytes, dst: bytes) -> None:
        info = self.info
        head, tail = dst.rsplit(b"/", 1) if b"/" in dst else (b"", dst)
        wanted = (head or b"/") if tail not in (b"", b".") else dst
        made = self._make_dirs(self.target.resolve(wanted))
        target = self.target.resolve(dst)
        followed = self.source.resolve(src, info.follow_links)
        node = self.source.must_lstat(followed)
        target, more = self._prepare(node, src, target)
        self._copy(node, b"", target, False)
        if info.time is not None:
            for path in [*more, *made]:
                self.target.own(path).mtime = info.time

    def _make_dirs(self, path: bytes) -> list[bytes]:
        info = self.info
        mode = info.mode if info.mode is not None else DEFAULT_DIRECTORY_MODE
        return mkdir_all(self.target, path, mode & 0o777, info.owner, info.time, info.now)

    def _prepare(self, node: Node, src: bytes, target: bytes) -> tuple[bytes, list[bytes]]:
        existing = self.target.stat(target)
        contents = self.info.copy_dir_contents
        if existing is not None and ((not contents and node.is_dir()) or (not node.is_dir() and existing.is_dir())):
            base = posixpath.basename(src.rstrip(b"/"))
            target = join(target, base) if base else target
        parent = target if contents and node.is_dir() and existing is None else parent_of(target)[0]
        return target, self._make_dirs(parent)

    def _copy(self, node: Node, relative: bytes, target: bytes, overwrite: bool) -> None:
        taken, excluded = self._takes(relative)
        if not taken and not node.is_dir():
            return
        existing = self._existing(target, relative)
        if taken:
            if self.info.always_replace and existing is not None and not (node.is_dir() and existing.is_dir()):
                self.target.remove(target)
                existing = None
            self._make_pending(overwrite)
        if node.is_dir():
            self._copy_dir(node, relative, target, existing, overwrite, taken, excluded)
            return
        if existing is not None and existing.is_dir():
            raise BuildkitError(f"cannot replace to directory {_shown(target)} with file")
        fresh = self._with_info(node)
        if node.inode:
            fresh.inode = self._inode(node.inode)
        self.target.put(target, fresh)
        self.target.touch_parent(target, self.info.now)

    def _existing(self, target: bytes, relative: bytes) -> Node | None:
        existing = self.target.lstat(target)
        if existing is None and relative:
            above = self.target.lstat(parent_of(target)[0])
            if above is not None and not above.is_dir():
                raise wrap(PathError("lstat", target, errno.ENOTDIR), f"failed to stat {_shown(target)}")
        return existing

    def _takes(self, relative: bytes) -> tuple[bool, bool]:
        """Whether the patterns take a path, and whether an exclude pattern matches it."""
        if not relative:
            return True, False
        text = relative.decode("utf-8", "surrogateescape")
        taken = self.include is None or self.include.matches_or_parent_matches(text)
        excluded = self.exclude is not None and self.exclude.matches_or_parent_matches(text)
        return taken and not excluded, excluded

    def _copy_dir(
        self,
        node: Node,
        relative: bytes,
        target: bytes,
        existing: Node | None,
        overwrite: bool,
        taken: bool,
        excluded: bool,
    ) -> None:
        if taken and existing is None and self._share(node, target):
            return
        created = self._only_dir(node, target, overwrite) if taken else False
        if not excluded or (self.exclude is not None and self.exclude.exclusions()):
            if not taken:
                self.pending.append((node, target))
            depth = len(self.pending)
            for name in sorted(node.children or ()):
                child = (node.children or {})[name]
                self._copy(child, posixpath.join(relative, name), join(target, name), True)
            del self.pending[depth - (0 if taken else 1) :]
        if not taken:
            return
        if created or overwrite:
            self._set_info(node, target)
        elif existing is not None:
            self.target.own(target).mtime = self.info.time if self.info.time is not None else node.mtime

    def _share(self, node: Node, target: bytes) -> bool:
        """Take over a whole directory as it is, where the copy would not differ from it."""
        info = self.info
        changes = info.owner is not None or info.time is not None or info.mode is not None or self.change is not None
        if changes or self.include is not None or self.exclude is not None or target == b"/" or has_hard_links(node):
            return False
        self.target.put(target, node, "mkdir")
        self.target.touch_parent(target, info.now)
        return True

    def _only_dir(self, node: Node, target: bytes, overwrite: bool) -> bool:
        existing = self.target.lstat(target)
        if existing is None:
            self.target.mkdir(target, node.mode, self.info.now)
            return True
        if not existing.is_dir():
            raise BuildkitError(f"cannot copy to non-directory: {_shown(target)}")
        if overwrite:
            self.target.own(target).mode = node.mode
        return False

    def _make_pending(self, overwrite: bool) -> None:
        for node, target in self.pending:
            if self._only_dir(node, target, overwrite):
                self._set_info(node, target)
        self.pending = []

    def _inode(self, inode: int) -> int:
        """Hard links of one copy belong together, those of another do not."""
        return self.inodes.setdefault(inode, secrets.randbits(63) | 1)

    def _with_info(self, node: Node) -> Node:
        info = self.info
        fresh = node.clone()
        fresh.inode = 0
        if info.owner is not None:
            fresh.uid, fresh.gid = info.owner
        if not node.is_symlink():
            fresh.mode = self._mode(node)
        if info.time is not None:
            fresh.mtime = info.time
        return fresh

    def _mode(self, node: Node) -> int:
        if self.change is not None:
            return st.S_IFMT(node.mode) | self.change(node.mode & 0o7777, node.is_dir())
        if self.info.mode is not None:
            return st.S_IFMT(node.mode) | (self.info.mode & 0o7777)
        return node.mode

    def _set_info(self, node: Node, target: bytes) -> None:
        fresh = self._with_info(node)
        owned = self.target.own(target)
        owned.mode, owned.uid, owned.gid, owned.mtime = fresh.mode, fresh.uid, fresh.gid, fresh.mtime
        owned.xattrs = node.xattrs


def _shown(path: bytes) -> str:
    return path.decode("utf-8", "replace")
