"""File systems that can be walked and read: a directory on disk, and several below one another.

Mirrors fs.go and the walking half of diff.go, tonistiigi/fsutil (6d9dc2e).

A walk is an iterator of entries in fsutil's order: names of a directory sorted by their bytes, a directory before
what is in it. It works as it is asked for entries, so the caller's loop decides in which thread and how far. What
Go's callback returns is an attribute here: `entry.skip = True` before the next step leaves a directory out, or for
a file the rest of its directory. A directory that cannot be read comes a second time with `error` set; who does
not raise it, leaves the directory out.

Differs from Go: a directory is entered and an entry read relative to its parent's descriptor, nothing is followed;
an entry that goes away during the walk is left out alone, and not with the rest of its directory; a root that
cannot be read is an error.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from pybuildkit.golang.errors import BuildkitError, WrappedError, with_op
from pybuildkit.third_party.fsutil._root import Root, close_unwritten, entry_name
from pybuildkit.third_party.fsutil._stat import FS_ENCODING, MODE_DIR, MODE_SYMLINK, MODE_TYPE, Stat, from_lstat
from pybuildkit.third_party.fsutil._xattr import load_xattrs, may_have_xattrs


class File(Protocol):
    """The content of a regular file, read from its beginning.

    `fileno` is the descriptor that it may be read from at any offset, or -1 where there is none.
    """

    def fileno(self) -> int: ...

    def read(self, n: int, /) -> bytes: ...

    def close(self) -> None: ...


class Entry:
    """One step of a walk.

    Attributes:
        path: the name below the file system's root.
        is_dir: whether it is a directory.
        error: why a directory could not be read, on its second coming.
        skip: set by the caller, see the module.
        source, source_path: the file system that has the content, and its name there; None where that is the one
            that is walked, and `path`.
    """

    __slots__ = ("_stat", "error", "is_dir", "path", "skip", "source", "source_path")

    def __init__(
        self, path: bytes, is_dir: bool, stat: Stat | None = None, source: FS | None = None, source_path: bytes = b""
    ) -> None:
        self.path = path
        self.is_dir = is_dir
        self.error: OSError | None = None
        self.skip = False
        self.source = source
        self.source_path = source_path
        self._stat = stat

    def stat(self) -> Stat:
        """What is known of the entry; always the same object.

        Raises:
            FileNotFoundError: it has gone away.
            OSError, BuildkitError: it cannot be read.
        """
        assert self._stat is not None
        return self._stat

    @property
    def is_symlink(self) -> bool:
        """Whether it is a symbolic link."""
        return self.stat().mode & MODE_SYMLINK != 0


class FS(Protocol):
    """A tree of files. Its methods block; they are called in a thread of the caller's choice, one at a time."""

    def walk(self, target: bytes = b"") -> Iterator[Entry]:
        """The entries below `target` and `target` itself ("" for all); none where it does not exist."""
        ...

    def open(self, path: bytes) -> File:
        """The content of a regular file.

        Raises:
            FileNotFoundError: there is no such entry.
            OSError: it cannot be read.
        """
        ...


class DiskFile:
    """A regular file on disk."""

    __slots__ = ("_fd",)

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def fileno(self) -> int:
        """The open descriptor."""
        return self._fd

    def read(self, n: int, /) -> bytes:
        """Up to `n` bytes from where the last call ended."""
        return os.read(self._fd, n)

    def close(self) -> None:
        """Close the descriptor, once."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            close_unwritten(fd)


class DiskFS:
    """A directory on disk; made by `new_fs`.

    Args:
        root: the directory's absolute name.
        xattrs: whether entries come with their extended attributes.
    """

    def __init__(self, root: bytes, xattrs: bool = True) -> None:
        self.root = root
        self._xattrs = xattrs

    def walk(self, target: bytes = b"") -> Iterator[Entry]:
        """See FS."""
        with Root(self.root) as root:
            yield from _Walker(self, root, self._xattrs).walk(_clean_target(target))

    def open(self, path: bytes) -> File:
        """See FS."""
        with Root(self.root, 2) as root:
            return DiskFile(root.open_file(_clean_target(path))[0])


def _clean_target(target: bytes) -> bytes:
    return os.path.normpath(b"/" + target).lstrip(b"/")


class _DiskEntry(Entry):
    """An entry whose Stat is read when it is asked for."""

    __slots__ = ("_base", "_parent", "_walker")

    def __init__(self, walker: _Walker, parent: bytes, base: bytes, path: bytes, is_dir: bool) -> None:
        self.path = path
        self.is_dir = is_dir
        self.error = None
        self.skip = False
        self.source = walker.fs
        self.source_path = path
        self._stat = None
        self._walker = walker
        self._parent = parent
        self._base = base

    def stat(self) -> Stat:
        found = self._stat
        if found is None:
            found = self._stat = self._walker.stat(self._parent, self._base, self.path)
        return found


class _Walker:
    """One walk over a directory on disk."""

    def __init__(self, fs: FS, root: Root, xattrs: bool) -> None:
        self.fs = fs
        self._root = root
        self._top = root.full_path(b"").rstrip(b"/") + b"/"
        self._xattrs = xattrs
        self._first_names: dict[tuple[int, int], bytes] = {}

    def stat(self, parent: bytes, base: bytes, path: bytes) -> Stat:
        """The Stat of an entry; hard links to an entry that came earlier name it."""
        fd = self._root.dir(parent)
        try:
            info = os.stat(base, dir_fd=fd, follow_symlinks=False)
            stat = from_lstat(path, info)
            if stat.mode & MODE_TYPE and stat.mode & MODE_SYMLINK:
                stat.linkname = os.readlink(base, dir_fd=fd)
        except OSError as err:
            raise with_op(OSError(err.errno, err.strerror, self._root.full_path(path)), "lstat") from None
        if stat.nlink > 1 and not stat.mode & (MODE_DIR | MODE_SYMLINK):
            first = self._first_names.setdefault((info.st_dev, info.st_ino), path)
            if first is not path:
                stat.linkname = first
        if self._xattrs and may_have_xattrs(self._top + path):
            full = self._root.full_path(path)
            stat.xattrs = load_xattrs(entry_name(fd, base, full), full)
        return stat

    def walk(self, target: bytes) -> Iterator[Entry]:
        if not target:
            yield from self._walk_dir(None, b"")
            return
        parent, _, base = target.rpartition(b"/")
        try:
            info = self._root.lstat(target)
        except OSError as err:
            if err.errno in (errno.ENOENT, errno.ENOTDIR):
                return
            raise
        is_dir = (info.st_mode & 0o170000) == 0o040000
        entry = _DiskEntry(self, parent, base, target, is_dir)
        yield entry
        if is_dir and not entry.skip:
            yield from self._walk_dir(entry, target)

    def _walk_dir(self, top: Entry | None, path: bytes) -> Iterator[Entry]:
        """Everything below a directory, without recursion: the stack holds what is left of each level."""
        stack = [self._list(top, path)]
        while stack:
            level = stack[-1]
            if level.error is not None:
                stack.pop()
                if level.entry is None:
                    raise level.error
                level.entry.error = level.error
                yield level.entry
                continue
            parent, prefix = level.path, level.prefix
            entered = False
            for base, is_dir in level.names:
                entry = _DiskEntry(self, parent, base, prefix + base, is_dir)
                yield entry
                if entry.skip:
                    if is_dir:
                        continue
                    break
                if is_dir:
                    stack.append(self._list(entry, entry.path))
                    entered = True
                    break
            if not entered:
                stack.pop()

    def _list(self, entry: Entry | None, path: bytes) -> _Level:
        """A directory's names in order; one that has gone away, or is a directory no longer, has none."""
        names: list[tuple[bytes, bool]] = []
        error: OSError | None = None
        try:
            with os.scandir(self._root.dir(path)) as entries:
                names = [
                    (e.name.encode(FS_ENCODING, "surrogateescape"), e.is_dir(follow_symlinks=False)) for e in entries
                ]
            names.sort()
        except OSError as err:
            if entry is None or err.errno not in (errno.ENOENT, errno.ENOTDIR):
                error = with_op(OSError(err.errno, err.strerror, self._root.full_path(path)), "open")
        return _Level(entry, path, iter(names), error)


class _Level:
    """A directory that is being walked."""

    __slots__ = ("entry", "error", "names", "path", "prefix")

    def __init__(
        self, entry: Entry | None, path: bytes, names: Iterator[tuple[bytes, bool]], error: OSError | None
    ) -> None:
        self.entry = entry
        self.path = path
        self.prefix = path + b"/" if path else b""
        self.names = names
        self.error = error


class ResolveError(WrappedError):
    """The root of a file system does not exist."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__(cause, "resolve ")


def new_fs(root: str | bytes | os.PathLike[str], *, xattrs: bool = True) -> DiskFS:
    """The file system below a directory.

    Args:
        root: the directory, or a link to one.
        xattrs: whether entries come with their extended attributes.

    Raises:
        ResolveError: it does not exist; "resolve : lstat NAME: no such file or directory".
        OSError: it is no directory.
    """
    try:
        real = os.path.realpath(os.fsencode(root), strict=True)
    except NotADirectoryError as err:
        raise ResolveError(BuildkitError("not a directory")) from err
    except OSError as err:
        if err.errno == errno.ELOOP:
            raise ResolveError(BuildkitError("EvalSymlinks: too many links")) from err
        raise ResolveError(with_op(err, "lstat")) from err
    try:
        if not os.path.isdir(real):
            os.stat(real)
            name = os.path.normpath(os.fsencode(root))
            is_plain = real == os.path.abspath(name)
            raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), name if is_plain else real)
    except OSError as err:
        raise with_op(err, "stat") from None
    return DiskFS(real, xattrs)


@dataclass(frozen=True)
class Dir:
    """A file system and the directory that it becomes.

    Args:
        stat: the directory; its path is one component.
        fs: what is in it.
    """

    stat: Stat
    fs: FS


class SubDirFS:
    """Several file systems, each below a directory of its own.

    Raises:
        OSError: a directory's path has several components, or two have the same.
    """

    def __init__(self, dirs: Sequence[Dir]) -> None:
        self._dirs = sorted(dirs, key=lambda d: d.stat.path)
        self._by_name: dict[bytes, Dir] = {}
        for d in self._dirs:
            path = d.stat.path
            if not path or b"/" in path or path in (b".", b".."):
                raise with_op(OSError(errno.EISDIR, os.strerror(errno.EISDIR), path), "invalid path")
            if path in self._by_name:
                raise with_op(OSError(errno.EEXIST, os.strerror(errno.EEXIST), path), "duplicate path")
            self._by_name[path] = d

    def walk(self, target: bytes = b"") -> Iterator[Entry]:
        """See FS."""
        first, _, rest = _clean_target(target).partition(b"/")
        for d in self._dirs:
            if first and first != d.stat.path:
                continue
            if not d.stat.is_dir():
                raise with_op(OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), d.stat.path), "walk subdir")
            top = Entry(d.stat.path, True, d.stat.clone())
            if not rest:
                yield top
                if top.skip:
                    continue
            yield from self._below(d, rest)

    def _below(self, d: Dir, target: bytes) -> Iterator[Entry]:
        name = d.stat.path
        with walking(d.fs, target) as walk:
            for inner in walk:
                if inner.error is not None:
                    raise inner.error
                try:
                    stat = inner.stat()
                except FileNotFoundError:
                    continue
                source, source_path = inner.source, inner.source_path
                if source is None:
                    source, source_path = d.fs, inner.path
                stat.path = name + b"/" + stat.path
                if stat.linkname:
                    if not stat.mode & MODE_SYMLINK:
                        stat.linkname = name + b"/" + stat.linkname
                    elif stat.linkname.startswith(b"/"):
                        stat.linkname = os.path.normpath(b"/" + name + stat.linkname)
                outer = Entry(name + b"/" + inner.path, inner.is_dir, stat, source, source_path)
                yield outer
                inner.skip = outer.skip

    def open(self, path: bytes) -> File:
        """See FS."""
        first, _, rest = _clean_target(path).partition(b"/")
        d = self._by_name.get(first)
        if d is None:
            raise with_op(FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), first), "open")
        return d.fs.open(rest)


@contextlib.contextmanager
def walking(fs: FS, target: bytes) -> Iterator[Iterator[Entry]]:
    """A walk that is closed at the end of the block, whoever still holds on to it."""
    walk = fs.walk(target)
    try:
        yield walk
    finally:
        close_walk(walk)


def close_walk(walk: Iterator[Entry]) -> None:
    """End a walk that is not used up, which closes what it has open."""
    close = getattr(walk, "close", None)
    if close is not None:
        close()
