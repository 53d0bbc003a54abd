"""What a list of entries must be like, whoever sends it.

Mirrors validator.go and hardlinks.go of tonistiigi/fsutil (6d9dc2e).

- Names are clean, relative and stay inside; entries come in the order of a walk, each after its directory.
- A hard link names an earlier entry that is a file of its own.

Differs from Go: a name with a NUL is refused as well.
"""

from __future__ import annotations

import enum
import errno
import os
from array import array
from collections.abc import Iterator

from pybuildkit.golang.errors import BuildkitError, with_op
from pybuildkit.golang.strconv import quote
from pybuildkit.third_party.fsutil._fs import FS, Entry, File, walking
from pybuildkit.third_party.fsutil._stat import FS_ENCODING, MODE_DIR, MODE_SYMLINK, Stat


class ChangeKind(enum.IntEnum):
    """What happens to an entry."""

    ADD = 0
    MODIFY = 1
    DELETE = 2

    def __str__(self) -> str:
        return self.name.lower()


class OrderError(BuildkitError):
    """Entries in an order that no walk gives."""


class LinkError(BuildkitError):
    """A hard link to something that was not there before."""


BAD_COMPONENTS = frozenset((b"", b".", b".."))
"""What no clean relative name has between its slashes."""


class Validator:
    """Checks names and order, entry by entry."""

    def __init__(self) -> None:
        self._dirs: list[bytes] = [b""]
        self._last: list[bytes] = [b""]

    def handle_change(self, kind: ChangeKind, path: bytes, stat: Stat | None) -> None:
        """Check the next entry.

        Raises:
            OSError: the name is unclean, absolute or leads outside (Go's texts).
            OrderError: the entry is out of order, or its directory did not come before.
        """
        if b"\0" in path or not BAD_COMPONENTS.isdisjoint(path.split(b"/")):
            _refuse(path)
        parent, _, base = path.rpartition(b"/")
        dirs, last = self._dirs, self._last
        while dirs[-1] != parent:
            if len(dirs) == 1 or (parent.startswith(dirs[-1]) and parent[len(dirs[-1]) : len(dirs[-1]) + 1] == b"/"):
                raise self._out_of_order(path)
            dirs.pop()
            last.pop()
        if last[-1] >= base:
            raise self._out_of_order(path)
        last[-1] = base
        if stat is not None and stat.mode & MODE_DIR and kind != ChangeKind.DELETE:
            dirs.append(path)
            last.append(b"")

    def _out_of_order(self, path: bytes) -> OrderError:
        before = b"/".join(part for part in (self._dirs[-1], self._last[-1]) if part)
        return OrderError(f"changes out of order: {_quoted(path)} {_quoted(before)}")


def _refuse(path: bytes) -> None:
    if b"\0" in path:
        op = "invalid path"
    elif path != (os.path.normpath(path) if path else b".") or path.startswith(b"//"):
        op = "unclean path"
    elif path.startswith(b"/"):
        op = "absolute path"
    elif path == b".." or path.startswith(b"../"):
        op = "escape check"
    else:
        op = "unclean path"
    raise with_op(OSError(errno.EINVAL, os.strerror(errno.EINVAL), path), op)


def _quoted(path: bytes) -> str:
    return quote(path.decode(FS_ENCODING, "surrogateescape"))


class Hardlinks:
    """Checks that hard links lead to entries that came before.

    Of a name only its hash is kept, and looked up only once there are links: lists are long, links are few. A name
    that shares its hash with another one is no way out of the tree: the link is made inside it, or fails.
    """

    def __init__(self) -> None:
        self._hashes = array("q")
        self._seen: set[int] | None = None

    def handle_change(self, kind: ChangeKind, path: bytes, stat: Stat) -> None:
        """Check the next entry.

        Raises:
            LinkError: it links to nothing that was listed.
        """
        if kind == ChangeKind.DELETE or stat.mode & (MODE_DIR | MODE_SYMLINK):
            return
        if not stat.linkname:
            if self._seen is None:
                self._hashes.append(hash(path))
            else:
                self._seen.add(hash(path))
            return
        if self._seen is None:
            self._seen = set(self._hashes)
            self._hashes = array("q")
        if hash(stat.linkname) not in self._seen:
            name = path.decode(FS_ENCODING, "replace")
            raise LinkError(f"invalid link {name} to unknown path: {_quoted(stat.linkname)}")


class HardlinkFilter:
    """A file system whose hard links were mended: where the first name is filtered out, the next takes its place."""

    def __init__(self, fs: FS) -> None:
        self._fs = fs

    def walk(self, target: bytes = b"") -> Iterator[Entry]:
        """See FS."""
        seen: dict[bytes, bytes] = {}
        with walking(self._fs, target) as walk:
            for entry in walk:
                if entry.error is not None:
                    raise entry.error
                try:
                    stat = entry.stat()
                except FileNotFoundError:
                    entry.skip = entry.is_dir
                    continue
                if stat.nlink != 1 and not stat.mode & (MODE_DIR | MODE_SYMLINK):
                    _mend(stat, entry.path, seen)
                yield entry

    def open(self, path: bytes) -> File:
        """See FS."""
        return self._fs.open(path)


def _mend(stat: Stat, path: bytes, seen: dict[bytes, bytes]) -> None:
    if stat.linkname:
        first = seen.setdefault(stat.linkname, stat.path)
        if first is stat.path:
            stat.linkname = b""
        elif first != stat.path:
            stat.linkname = first
    seen[path] = stat.path


def with_hardlink_reset(fs: FS) -> FS:
    """`fs` with its hard links mended; see HardlinkFilter."""
    return HardlinkFilter(fs)


def compare_path(a: bytes, b: bytes) -> int:
    """Negative, zero or positive as `a` comes before, at or after `b` in a walk."""
    if a == b:
        return 0
    return -1 if a.replace(b"/", b"\0") < b.replace(b"/", b"\0") else 1
