"""A directory tree reached by descriptors only: no call follows a link, no name leaves the tree.

Mirrors root.go, rootstack.go and rootcache.go of tonistiigi/fsutil (6d9dc2e).

`Root.dir(path)` gives the descriptor of a directory below the root. It is found component by component from the
nearest directory that is still open, each opened relative to its parent with O_NOFOLLOW, and stays open while the
work remains near it: at most `keep` descriptors at a time, however deep the tree is. A Root belongs to one thread
at a time.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat as _unix
from types import TracebackType

from pybuildkit.golang.errors import with_op

OPEN_DIR = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK

_HAS_PROC = os.path.isdir("/proc/self/fd")


class Root:
    """An open directory and a few of those below it.

    Args:
        path: the directory; its own links are followed.
        keep: how many descriptors may be open, the root's included; at least 2.

    Raises:
        OSError: it is no directory, or cannot be opened.
    """

    def __init__(self, path: str | bytes, keep: int = 16) -> None:
        self.path = os.fsencode(path)
        self._keep = keep
        try:
            root = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as err:
            raise with_op(err, "open") from None
        self._names: list[bytes] = []
        self._fds = [root]
        self._current: bytes | None = b""
        self._fd = root
        self._closed = False

    def __enter__(self) -> Root:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every descriptor; the Root is of no use afterwards. A second call does nothing."""
        fds, self._fds, self._names = self._fds, [], []
        self._current, self._fd, self._closed = None, -1, True
        for fd in fds:
            if fd >= 0:
                close_unwritten(fd)

    def dir(self, path: bytes) -> int:
        """The descriptor of a directory, "" for the root; valid until the next call.

        Raises:
            OSError: a component is gone, or is not a directory (a link is none). The name is the absolute one.
        """
        if path == self._current:
            return self._fd
        if self._closed:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF), self.path)
        names = path.split(b"/") if path else []
        common = 0
        for old, new in zip(self._names, names, strict=False):
            if old != new:
                break
            common += 1
        self._drop_below(common)
        self._reopen(names[:common])
        for name in names[common:]:
            self._enter(name)
        self._fd, self._current = self._fds[-1], path
        return self._fd

    def _drop_below(self, depth: int) -> None:
        self._current = None
        while len(self._names) > depth:
            self._names.pop()
            fd = self._fds.pop()
            if fd >= 0:
                close_unwritten(fd)

    def _reopen(self, names: list[bytes]) -> None:
        """Open the last directory of the chain again where it was closed to make room."""
        if self._fds[-1] >= 0:
            return
        depth = len(names)
        while self._fds[depth] < 0:
            depth -= 1
        self._drop_below(depth)
        for name in names[depth:]:
            self._enter(name)

    def _enter(self, name: bytes) -> None:
        """Open a child of the chain's last directory; the oldest below the root makes room."""
        if name in (b"", b".", b"..") or b"/" in name:
            raise with_op(OSError(errno.EINVAL, os.strerror(errno.EINVAL), self._shown(name)), "open")
        try:
            fd = os.open(name, OPEN_DIR, dir_fd=self._fds[-1])
        except OSError as err:
            number = errno.ENOTDIR if err.errno == errno.ELOOP else err.errno
            raise with_op(OSError(number, os.strerror(number or 0), self._shown(name)), "open") from None
        self._names.append(name)
        self._fds.append(fd)
        if len(self._fds) > self._keep:
            for index in range(1, len(self._fds) - 1):
                if self._fds[index] >= 0:
                    close_unwritten(self._fds[index])
                    self._fds[index] = -1
                    return

    def _shown(self, name: bytes) -> bytes:
        return b"/".join([self.path.rstrip(b"/"), *self._names, name])

    def full_path(self, path: bytes) -> bytes:
        """The absolute name of an entry, for messages."""
        return self.path.rstrip(b"/") + b"/" + path if path else self.path

    def lstat(self, path: bytes) -> os.stat_result:
        """What `lstat` says of an entry.

        Raises:
            OSError: with the entry's absolute name.
        """
        parent, _, base = path.rpartition(b"/")
        try:
            return os.stat(base or b".", dir_fd=self.dir(parent), follow_symlinks=False)
        except OSError as err:
            raise with_op(OSError(err.errno, err.strerror, self.full_path(path)), "lstat") from None

    def open_file(self, path: bytes) -> tuple[int, os.stat_result]:
        """Open a regular file for reading, and what `fstat` says of it.

        Opening does not wait, whatever the entry has become.

        Raises:
            OSError: it is gone, unreadable, or no regular file any more. The name is the absolute one.
        """
        parent, _, base = path.rpartition(b"/")
        try:
            fd = os.open(base, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=self.dir(parent))
        except OSError as err:
            raise with_op(OSError(err.errno, err.strerror, self.full_path(path)), "open") from None
        try:
            info = os.fstat(fd)
            if not _unix.S_ISREG(info.st_mode):
                raise OSError(errno.EINVAL, "Not a regular file")
        except OSError as err:
            close_unwritten(fd)
            raise with_op(OSError(err.errno, err.strerror, self.full_path(path)), "open") from None
        return fd, info


def close_unwritten(fd: int) -> None:
    """Close a descriptor that nothing was written to: whatever the system says, it is closed and nothing is lost."""
    with contextlib.suppress(OSError):
        os.close(fd)


def entry_name(fd: int, base: bytes, fallback: bytes) -> bytes:
    """A path name for an entry of an open directory, for the calls that take no descriptor.

    Without /proc it is `fallback`, the entry's absolute name.
    """
    return b"/proc/self/fd/%d/%b" % (fd, base) if _HAS_PROC else fallback
