"""Writing a tree to disk, entry by entry, the contents of files as they come.

Mirrors diskwriter.go, diskwriter_unix.go and rootdiskwriter.go of tonistiigi/fsutil (6d9dc2e).

Everything is done relative to descriptors of directories, and nothing is followed. An entry that is already there
gives way: a directory stays a directory, anything else is replaced by renaming the new one over it.

No part of a file stands under its final name when something fails: a file that is small or new is made under its
name in one go, and removed when that fails; any other is written under a temporary name and renamed. Blocks of
zeros become holes. Hard links are made when all contents are there; owners, modes, attributes and times of
directories are set last, so that a directory that forbids writing can be filled, again and again.

Differs from Go: see above, where Go leaves what it has, writes in place and sets directories' modes first;
owners that are not ours are skipped without root; devices and `trusted.*` attributes are refused unless they are
allowed; the number of open files is bounded. A hard link has the attributes of the file it leads to.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat as _unix
from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

from pybuildkit.golang.errors import BuildkitError, with_op, wrap
from pybuildkit.third_party.fsutil._diskio import (
    CREATE,
    change_mode,
    link,
    make_temporary,
    open_temporary,
    unlink_quietly,
    with_holes,
    write_all,
    write_pieces,
)
from pybuildkit.third_party.fsutil._root import Root, entry_name
from pybuildkit.third_party.fsutil._stat import (
    FS_ENCODING,
    MODE_CHAR_DEVICE,
    MODE_DEVICE,
    MODE_DIR,
    MODE_NAMED_PIPE,
    MODE_SYMLINK,
    MODE_TYPE,
    Stat,
    unix_permissions,
)
from pybuildkit.third_party.fsutil._validator import BAD_COMPONENTS, ChangeKind

MAX_OPEN_FILES = 16
_FLUSH_FILE = 256 << 10
_FLUSH_ALL = 2 << 20
_PIECE = 64
"""Bytes that a piece of content costs beside itself."""


class RefusedError(BuildkitError):
    """An entry that may not be made here."""


class SizeError(BuildkitError):
    """A file's content is longer or shorter than its STAT says."""


class Hasher(Protocol):
    """As the objects of hashlib."""

    def update(self, data: bytes | memoryview, /) -> None: ...

    def hexdigest(self) -> str: ...


class HashedChange:
    """What a change is announced with.

    Attributes:
        stat: the entry as it was received, before the filter.
        digest: "sha256:…" of what the hasher was fed.
    """

    __slots__ = ("digest", "stat")

    def __init__(self, stat: Stat, digest: str) -> None:
        self.stat = stat
        self.digest = digest


NotifyFunc = Callable[[ChangeKind, bytes, HashedChange | None], None]
ContentHasher = Callable[[Stat], "Hasher | hashlib._Hash"]


class FileWriter:
    """A regular file whose content is expected; `key` is for the use of who expects it."""

    __slots__ = (
        "buffered",
        "chunks",
        "fd",
        "hasher",
        "key",
        "original",
        "path",
        "received",
        "stat",
        "temp",
        "written",
    )

    def __init__(self, path: bytes, stat: Stat, original: Stat) -> None:
        self.path = path
        self.stat = stat
        self.original = original
        self.hasher: Hasher | hashlib._Hash | None = None
        self.received = 0
        self.written = 0
        self.buffered = 0
        self.chunks: list[bytes | memoryview] = []
        self.fd = -1
        self.temp = b""
        self.key = b""


class DiskWriter:
    """Writes one tree. Its methods block and belong to one thread.

    Args:
        dest: the directory that is written to; it exists.
        special_files: whether devices and `trusted.*` attributes may be made.
        notify: called for each change, with `hasher` fed with contents.
        hasher: makes the hash object of an entry.
    """

    def __init__(
        self,
        dest: str | bytes,
        *,
        special_files: bool = False,
        notify: NotifyFunc | None = None,
        hasher: ContentHasher | None = None,
    ) -> None:
        self._root = Root(dest, 8)
        self._special = special_files
        self._notify = notify
        self._hasher = hasher
        self._uid = os.geteuid()
        self._dirs: list[tuple[bytes, Stat]] = []
        self._links: list[tuple[ChangeKind, bytes, Stat, Stat]] = []
        self._begun: dict[bytes, FileWriter] = {}
        self._open: OrderedDict[bytes, FileWriter] = OrderedDict()
        self._unwritten: dict[bytes, FileWriter] = {}
        self._buffered = 0

    # Entries

    def add(self, kind: ChangeKind, path: bytes, stat: Stat, original: Stat) -> FileWriter | None:
        """Make or replace an entry.

        Args:
            kind: ADD or MODIFY, for the announcement; a file with content is announced as added in any case.
            stat: what it becomes.
            original: what is announced.

        Returns:
            for a regular file, where its content goes.

        Raises:
            RefusedError: it may not be made.
            OSError, BuildkitError: it cannot be made.
        """
        _check_name(path)
        self._refuse(path, stat)
        mode = stat.mode & MODE_TYPE
        if not mode:
            if stat.linkname:
                self._links.append((kind, path, stat, original))
                return None
            file = FileWriter(path, stat, original)
            file.hasher = self._hash(original)
            return file
        if mode == MODE_DIR:
            created = self._make_dir(path, stat)
            if not created:
                return None
        elif mode == MODE_SYMLINK:
            self._replace(path, "symlink", lambda fd, name: os.symlink(stat.linkname, name, dir_fd=fd), stat)
        else:
            kind_bits = _unix.S_IFIFO
            if mode & MODE_DEVICE:
                kind_bits = _unix.S_IFCHR if mode & MODE_CHAR_DEVICE else _unix.S_IFBLK
            device = self._device(path, stat)
            full = kind_bits | stat.mode & 0o777
            self._replace(path, "mknod", lambda fd, name: os.mknod(name, full, device, dir_fd=fd), stat)
        self._announce(kind, path, original, self._hash(original))
        return None

    def _refuse(self, path: bytes, stat: Stat) -> None:
        mode = stat.mode & MODE_TYPE
        if mode & MODE_DEVICE and not self._special:
            raise RefusedError(f"refusing to create device {_shown(path)}: special files are not allowed")
        if stat.xattrs and not self._special:
            for key in stat.xattrs:
                if key.startswith("trusted."):
                    raise RefusedError(f"refusing to set {key} on {_shown(path)}: special files are not allowed")
        if mode not in (0, MODE_DIR, MODE_SYMLINK, MODE_NAMED_PIPE, MODE_DEVICE, MODE_DEVICE | MODE_CHAR_DEVICE):
            raise RefusedError(f"unknown type of file {_shown(path)}: mode {stat.mode:#o}")

        if b"\0" in stat.linkname:
            raise self._failed(OSError(errno.EINVAL, os.strerror(errno.EINVAL)), "symlink", path)

    def _device(self, path: bytes, stat: Stat) -> int:
        try:
            return os.makedev(stat.devmajor, stat.devminor)
        except (OverflowError, ValueError):
            raise self._failed(OSError(errno.EINVAL, os.strerror(errno.EINVAL)), "mknod", path) from None

    def delete(self, path: bytes) -> None:
        """Remove an entry with all that is in it.

        Raises:
            OSError: something cannot be removed.
        """
        _check_name(path)
        self._remove_all(path)
        if self._notify is not None:
            self._notify(ChangeKind.DELETE, path, None)

    def _make_dir(self, path: bytes, stat: Stat) -> bool:
        """Make a directory, writable for now; False where there was one, which is kept and made so where it is ours."""
        parent, _, base = path.rpartition(b"/")
        fd = self._root.dir(parent)
        self._dirs.append((path, stat))
        mode = stat.mode & 0o777 | 0o700
        try:
            os.mkdir(base, mode, dir_fd=fd)
        except FileExistsError:
            try:
                info = os.stat(base, dir_fd=fd, follow_symlinks=False)
                if _unix.S_ISDIR(info.st_mode):
                    if info.st_uid == self._uid != 0 and info.st_mode & 0o700 != 0o700:
                        change_mode(fd, base, info.st_mode & 0o7777 | 0o700)
                    return False
                os.unlink(base, dir_fd=fd)
                os.mkdir(base, mode, dir_fd=fd)
            except OSError as err:
                raise self._failed(err, "mkdir", path) from None
        except OSError as err:
            raise self._failed(err, "mkdir", path) from None
        return True

    def _replace(self, path: bytes, op: str, make: Callable[[int, bytes], None], stat: Stat) -> None:
        """Make an entry that has no content, under a temporary name where its own is taken."""
        parent, _, base = path.rpartition(b"/")
        try:
            fd = self._root.dir(parent)
            try:
                make(fd, base)
            except FileExistsError:
                temp = make_temporary(fd, make)
                try:
                    self._set_entry(fd, temp, stat)
                    self._rename(temp, path)
                except BaseException:
                    unlink_quietly(self._root.dir(parent), temp)
                    raise
                return
            try:
                self._set_entry(fd, base, stat)
            except BaseException:
                unlink_quietly(fd, base)
                raise
        except OSError as err:
            raise self._failed(err, op, path) from None

    def _rename(self, temp: bytes, path: bytes) -> None:
        """Give a finished entry its name; a directory that has it is removed."""
        parent, _, base = path.rpartition(b"/")
        fd = self._root.dir(parent)
        try:
            os.rename(temp, base, src_dir_fd=fd, dst_dir_fd=fd)
        except (IsADirectoryError, FileExistsError) as err:
            if not _unix.S_ISDIR(os.stat(base, dir_fd=fd, follow_symlinks=False).st_mode):
                raise err from None
            self._remove_all(path)
            fd = self._root.dir(parent)
            os.rename(temp, base, src_dir_fd=fd, dst_dir_fd=fd)

    def _remove_all(self, path: bytes) -> None:
        parent, _, base = path.rpartition(b"/")
        try:
            try:
                os.unlink(base, dir_fd=self._root.dir(parent))
                return
            except FileNotFoundError:
                return
            except (IsADirectoryError, PermissionError) as err:
                info = os.stat(base, dir_fd=self._root.dir(parent), follow_symlinks=False)
                if not _unix.S_ISDIR(info.st_mode):
                    raise err from None
            waiting = [path]
            while waiting:
                below = self._empty_dir(waiting[-1])
                waiting += below
                if not below:
                    parent, _, base = waiting.pop().rpartition(b"/")
                    os.rmdir(base, dir_fd=self._root.dir(parent))
        except OSError as err:
            raise wrap(self._failed(err, "unlinkat", path), f"failed to remove: {_shown(path)}") from None

    def _empty_dir(self, path: bytes) -> list[bytes]:
        """Remove what a directory holds but its directories, which are returned."""
        fd = self._root.dir(path)
        below: list[bytes] = []
        with os.scandir(fd) as entries:
            names = [(e.name.encode(FS_ENCODING, "surrogateescape"), e.is_dir(follow_symlinks=False)) for e in entries]
        for name, is_dir in names:
            if is_dir:
                below.append(path + b"/" + name)
            else:
                os.unlink(name, dir_fd=fd)
        return below

    # Contents

    def write(self, file: FileWriter, data: bytes | memoryview) -> None:
        """Take a piece of a file's content.

        Raises:
            SizeError: there is more of it than the STAT says.
            OSError: it cannot be written.
        """
        size = len(data)
        file.received += size
        if file.received > file.stat.size:
            raise SizeError(f"{_shown(file.path)} is longer than its size of {file.stat.size} bytes")
        if file.hasher is not None:
            file.hasher.update(data)
        file.chunks.append(data)
        file.buffered += size + _PIECE
        self._buffered += size + _PIECE
        if file.buffered >= _FLUSH_FILE:
            self._flush(file)
        else:
            self._unwritten[file.path] = file
            if self._buffered >= _FLUSH_ALL:
                for waiting in list(self._unwritten.values()):
                    self._flush(waiting)

    def end(self, file: FileWriter) -> None:
        """A file's content is complete: give it its attributes and its name.

        Raises:
            SizeError: there is less of it than the STAT says.
            OSError: it cannot be written.
        """
        if file.received != file.stat.size:
            text = f"{_shown(file.path)} is shorter than its size of {file.stat.size} bytes: {file.received} received"
            raise SizeError(text)
        try:
            if file.temp or not self._write_small(file):
                self._flush(file)
                self._complete(file)
        except OSError as err:
            raise self._failed(err, "write", file.path) from None
        self._announce(ChangeKind.ADD, file.path, file.original, file.hasher)

    def _write_small(self, file: FileWriter) -> bool:
        """Make a file of which nothing is written yet, in one go; False where its name is taken."""
        parent, _, base = file.path.rpartition(b"/")
        dir_fd = self._root.dir(parent)
        try:
            fd = os.open(base, CREATE, file.stat.mode & 0o777 | 0o600, dir_fd=dir_fd)
        except FileExistsError:
            return False
        try:
            try:
                for chunk in file.chunks:
                    write_all(fd, chunk)
                self._set_open(fd, file.stat)
            finally:
                os.close(fd)
        except BaseException:
            unlink_quietly(dir_fd, base)
            raise
        self._forget_chunks(file)
        return True

    def _forget_chunks(self, file: FileWriter) -> None:
        self._unwritten.pop(file.path, None)
        self._buffered -= file.buffered
        file.buffered = 0
        file.chunks = []

    def _flush(self, file: FileWriter) -> None:
        """Write what has come of a file to its temporary name."""
        try:
            fd = self._open_temp(file)
            file.written = write_pieces(fd, with_holes(file.chunks, file.written), file.written)
        except OSError as err:
            raise self._failed(err, "write", file.path) from None
        self._forget_chunks(file)

    def _open_temp(self, file: FileWriter) -> int:
        if file.fd >= 0:
            self._open.move_to_end(file.path)
            return file.fd
        if len(self._open) >= MAX_OPEN_FILES:
            self._park(self._open.popitem(last=False)[1])
        dir_fd = self._root.dir(file.path.rpartition(b"/")[0])
        if file.temp:
            file.fd = os.open(file.temp, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
        else:
            file.temp, file.fd = open_temporary(dir_fd)
            self._begun[file.path] = file
        self._open[file.path] = file
        return file.fd

    def _park(self, file: FileWriter) -> None:
        """Close a file until more of it comes."""
        fd, file.fd = file.fd, -1
        try:
            os.close(fd)
        except OSError as err:
            raise self._failed(err, "close", file.path) from None

    def _complete(self, file: FileWriter) -> None:
        fd = self._open_temp(file)
        if file.stat.size and os.fstat(fd).st_size != file.stat.size:
            os.ftruncate(fd, file.stat.size)
        self._set_open(fd, file.stat)
        del self._open[file.path]
        file.fd = -1
        os.close(fd)
        self._rename(file.temp, file.path)
        del self._begun[file.path]

    # Attributes

    def _set_open(self, fd: int, stat: Stat) -> None:
        """Owner, attributes, mode and time of an open file or directory."""
        info = os.fstat(fd)
        changed = info.st_uid != stat.uid or info.st_gid != stat.gid
        if changed:
            self._chown(fd, stat)
        for key, value in (stat.xattrs or {}).items():
            try:
                os.setxattr(fd, key, value)
            except (OSError, ValueError):
                continue  # as Go: the file system may know none, or the name may be none
        permissions = unix_permissions(stat.mode)
        if changed or info.st_mode & 0o7777 != permissions:
            os.fchmod(fd, permissions)
        os.utime(fd, ns=(stat.mod_time, stat.mod_time))

    def _set_entry(self, fd: int, name: bytes, stat: Stat) -> None:
        """The same for an entry that must not be opened."""
        info = os.stat(name, dir_fd=fd, follow_symlinks=False)
        if info.st_uid != stat.uid or info.st_gid != stat.gid:
            self._chown(fd, stat, name)
        path = entry_name(fd, name, b"")
        for key, value in (stat.xattrs or {}).items():
            try:
                os.setxattr(path, key, value, follow_symlinks=False)
            except (OSError, ValueError):
                continue  # as Go: the file system may know none, or the name may be none
        if not stat.mode & MODE_SYMLINK:
            change_mode(fd, name, unix_permissions(stat.mode))
        os.utime(name, ns=(stat.mod_time, stat.mod_time), dir_fd=fd, follow_symlinks=False)

    def _chown(self, fd: int, stat: Stat, name: bytes | None = None) -> None:
        try:
            if name is None:
                os.fchown(fd, stat.uid, stat.gid)
            else:
                os.chown(name, stat.uid, stat.gid, dir_fd=fd, follow_symlinks=False)
        except OSError as err:
            # EINVAL: an owner that this user namespace does not know
            if self._uid == 0 or err.errno not in (errno.EPERM, errno.EINVAL):
                raise

    # The end

    def finish(self) -> None:
        """Make hard links, then give directories their attributes, the innermost first.

        Raises:
            OSError: something cannot be done.
        """
        if self._links:
            self._make_links()
        for path, stat in reversed(self._dirs):
            try:
                self._set_open(self._root.dir(path), stat)
            except OSError as err:
                raise self._failed(err, "chmod", path) from None
        self._dirs = []
        self.close()

    def _make_links(self) -> None:
        with Root(self._root.path, 8) as sources:
            for kind, path, stat, original in self._links:
                source_dir, _, source = stat.linkname.rpartition(b"/")
                parent, _, base = path.rpartition(b"/")
                try:
                    source_fd = sources.dir(source_dir)
                    fd = self._root.dir(parent)
                    try:
                        link(source_fd, source, fd, base)
                    except FileExistsError:
                        temp = make_temporary(fd, lambda fd, name: link(source_fd, source, fd, name))  # noqa: B023
                        try:
                            self._rename(temp, path)
                        finally:
                            # renaming one name of a file over another leaves both
                            unlink_quietly(self._root.dir(parent), temp)
                except OSError as err:
                    shown = OSError(err.errno, err.strerror, self._root.full_path(stat.linkname))
                    text = f"failed to link {_shown(path)} to {_shown(stat.linkname)}"
                    raise wrap(with_op(shown, "link"), text) from None
                self._announce(kind, path, original, self._hash(original))
        self._links = []

    def close(self) -> None:
        """Close what is open and remove files that are not complete."""
        for file in self._open.values():
            with contextlib.suppress(OSError):  # it is given up
                os.close(file.fd)
            file.fd = -1
        self._open.clear()
        for file in self._begun.values():
            try:
                unlink_quietly(self._root.dir(file.path.rpartition(b"/")[0]), file.temp)
            except OSError:
                continue
        self._begun.clear()
        self._unwritten.clear()
        self._root.close()

    def write_plain(self, name: bytes, data: bytes) -> None:
        """Make a file of our own at the root, in place of whatever has its name.

        Raises:
            OSError: it cannot be written.
        """
        self._remove_all(name)
        root = self._root.dir(b"")
        try:
            fd = os.open(name, CREATE, 0o644, dir_fd=root)
            try:
                try:
                    write_all(fd, data)
                finally:
                    os.close(fd)
            except BaseException:
                unlink_quietly(root, name)
                raise
        except OSError as err:
            raise self._failed(err, "write", name) from None

    # Announcements and errors

    def _hash(self, stat: Stat) -> Hasher | hashlib._Hash | None:
        if self._notify is None:
            return None
        assert self._hasher is not None
        return self._hasher(stat)

    def _announce(self, kind: ChangeKind, path: bytes, stat: Stat, hasher: Hasher | hashlib._Hash | None) -> None:
        if self._notify is not None:
            assert hasher is not None
            self._notify(kind, path, HashedChange(stat, f"sha256:{hasher.hexdigest()}"))

    def _failed(self, err: OSError, op: str, path: bytes) -> OSError:
        """The error with the entry's absolute name."""
        name = err.filename
        if hasattr(err, "go_op") and isinstance(name, str | bytes) and os.fsencode(name).startswith(b"/"):
            return err
        return with_op(OSError(err.errno, err.strerror, self._root.full_path(path)), op)


def _check_name(path: bytes) -> None:
    """Refuse what does not lead below the root; names were checked before, and nothing else keeps us inside."""
    if not BAD_COMPONENTS.isdisjoint(path.split(b"/")):
        raise with_op(OSError(errno.EINVAL, os.strerror(errno.EINVAL), path), "invalid path")


def _shown(path: bytes) -> str:
    return path.decode(FS_ENCODING, "replace")
