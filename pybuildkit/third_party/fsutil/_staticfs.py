"""File systems in memory, and one file system over another.

Mirrors util/staticfs of BuildKit, v0.32.2.

Differs from Go: a walk's target is a name, and not the beginning of names: a Dockerfile may stand beside a
`Dockerfile.dockerignore`.
"""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Iterator

from pybuildkit.golang.errors import with_op
from pybuildkit.third_party.fsutil._fs import FS, Entry, File, walking
from pybuildkit.third_party.fsutil._stat import Stat


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


class StaticFS:
    """Files that were added by hand, such as a Dockerfile from memory."""

    def __init__(self) -> None:
        self._files: dict[bytes, tuple[Stat, bytes]] = {}

    def add(self, path: str | bytes, stat: Stat, data: bytes) -> None:
        """Add or replace a file.

        Args:
            path: where; a leading "/" is dropped.
            stat: its mode (0644 where it is 0), owner and time; path and size are set here.
            data: its content.
        """
        name = os.fsencode(path).removeprefix(b"/")
        stat.size = len(data)
        stat.mode = stat.mode or 0o644
        stat.path = name
        self._files[name] = (stat, data)

    def walk(self, target: bytes = b"") -> Iterator[Entry]:
        """See FS."""
        target = target.strip(b"/")
        below = target + b"/"
        names = [name for name in self._files if not target or name == target or name.startswith(below)]
        for name in sorted(names, key=walk_key):
            stat = self._files[name][0]
            yield Entry(name, stat.is_dir(), stat.clone())

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
            same = low is not None and low.path == high.path
            yield _with_source(high, self.upper)
            if same:
                assert low is not None
                low.skip = low.skip or high.skip
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
