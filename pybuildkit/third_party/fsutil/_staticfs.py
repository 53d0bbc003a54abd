"""File systems in memory, and one file system over another.

Mirrors util/staticfs of BuildKit, v0.32.2.

Differs from Go: a walk's target is a name, and not the beginning of names: a Dockerfile may stand beside a
`Dockerfile.dockerignore`. Directories that were not added come where something is in them, which no receiver takes
without; over another file system they are as they are there.
"""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Iterator

from pybuildkit.golang.errors import with_op
from pybuildkit.third_party.fsutil._fs import FS, Entry, File, walking
from pybuildkit.third_party.fsutil._stat import MODE_DIR, Stat
from pybuildkit.third_party.fsutil._validator import BAD_COMPONENTS


class MemoryFile:
    """A file's content in memory."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def fileno(self) -> int:
        """-1: there is no descriptor."""
        return -1

    def read(self, n: int, /) -> bytes:
        """Up to `n` bytes from where the last call ended."""
        return self._data.read(n)

    def close(self) -> None:
        """Nothing to do; reading goes on working."""


class _ImpliedDir(Entry):
    """A directory that only follows from what is in it."""

    __slots__ = ()


class StaticFS:
    """Files that were added by hand, such as a Dockerfile from memory.

    Directories need not be added; those that are not are root's, with the mode 0755.
    """

    def __init__(self) -> None:
        self._files: dict[bytes, tuple[Stat, bytes]] = {}
        self._implied: set[bytes] = set()

    def add(self, path: str | bytes, stat: Stat, data: bytes) -> None:
        """Add or replace a file.

        Args:
            path: where; a leading "/" is dropped, and directories are separated by "/".
            stat: its mode (0644 where it is 0), owner and time; path and size are set here.
            data: its content.
        """
        name = os.fsencode(path).removeprefix(b"/")
        stat.size = len(data)
        stat.mode = stat.mode or 0o644
        stat.path = name
        self._files[name] = (stat, data)
        parts = name.split(b"/")
        if BAD_COMPONENTS.isdisjoint(parts):  # others are refused by whoever gets them
            self._implied.update(b"/".join(parts[:depth]) for depth in range(1, len(parts)))

    def walk(self, target: bytes = b"") -> Iterator[Entry]:
        """See FS."""
        target = target.strip(b"/")
        below = target + b"/"
        skipped: bytes | None = None
        for name in sorted(self._files.keys() | self._implied, key=walk_key):
            if target and name != target and not name.startswith(below):
                continue
            if skipped is not None and name.startswith(skipped):
                continue
            if name in self._files:
                stat = self._files[name][0]
                entry = Entry(name, stat.is_dir(), stat.clone())
            else:
                entry = _ImpliedDir(name, True, Stat(name, MODE_DIR | 0o755))
            yield entry
            if entry.skip:
                parent, slash, _ = name.rpartition(b"/")
                skipped = name + b"/" if entry.is_dir else parent + slash

    def open(self, path: bytes) -> File:
        """See FS."""
        found = self._files.get(path)
        if found is None:
            raise with_op(FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path), "open")
        return MemoryFile(found[1])


class MergeFS:
    """Two file systems as one; where both have an entry, the upper's counts."""

    def __init__(self, lower: FS, upper: FS) -> None:
        self.lower = lower
        self.upper = upper

    def walk(self, target: bytes = b"") -> Iterator[Entry]:
        """See FS."""
        with walking(self.lower, target) as lower, walking(self.upper, target) as upper:
            yield from self._merge(lower, upper)

    def _merge(self, lower: Iterator[Entry], upper: Iterator[Entry]) -> Iterator[Entry]:
        low, high = next(lower, None), next(upper, None)
        while low is not None or high is not None:
            if high is None or (low is not None and walk_key(low.path) < walk_key(high.path)):
                assert low is not None
                yield _with_source(low, self.lower)
                low = next(lower, None)
                continue
            if low is None or low.path != high.path:
                yield _with_source(high, self.upper)
            else:
                if isinstance(high, _ImpliedDir) and low.is_dir:
                    yield _with_source(low, self.lower)
                else:
                    yield _with_source(high, self.upper)
                low.skip = high.skip = low.skip or high.skip
                low = next(lower, None)
            high = next(upper, None)

    def open(self, path: bytes) -> File:
        """See FS."""
        try:
            return self.upper.open(path)
        except FileNotFoundError:
            return self.lower.open(path)


def _with_source(entry: Entry, fs: FS) -> Entry:
    if entry.source is None:
        entry.source, entry.source_path = fs, entry.path
    return entry


def walk_key(path: bytes) -> bytes:
    """A path's place in the order of a walk: component by component, so that "/" sorts before everything."""
    return path.replace(b"/", b"\0")
