"""File systems that have much content without a disk, or stall."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from pybuildkit.third_party.fsutil import Entry, File, MemoryFile, Stat

_BLOCK = bytes(range(256)) * 4096


class _EndlessFile:
    def __init__(self, fs: Endless, size: int) -> None:
        self._fs = fs
        self._left = size

    def fileno(self) -> int:
        return -1

    def read(self, n: int, /) -> bytes:
        data = self._fs.block[: min(n, self._left)]
        self._left -= len(data)
        self._fs.read += len(data)
        return data

    def close(self) -> None:
        """Nothing is open."""


class Endless:
    """Files of given sizes, with content that is made when it is read.

    Attributes:
        read: bytes read so far.
        block: what the content repeats.
    """

    def __init__(self, **sizes: int) -> None:
        self.read = 0
        self.block = _BLOCK
        self._sizes = {name.encode(): size for name, size in sizes.items()}

    def walk(self, target: bytes = b"") -> Iterator[Entry]:
        """See FS."""
        for name in sorted(self._sizes):
            yield Entry(name, False, Stat(name, 0o644, size=self._sizes[name]))

    def open(self, path: bytes) -> File:
        """See FS."""
        return _EndlessFile(self, self._sizes[path])


class Stalling:
    """One file `f`; the step named `where` ("walk", "open" or "read") hangs until `release` is set.

    Attributes:
        entered: set when it hangs.
        size: bytes of the file.
    """

    def __init__(self, where: str, size: int = 4) -> None:
        self.entered = threading.Event()
        self.release = threading.Event()
        self.size = size
        self._where = where

    def _step(self, name: str) -> None:
        if name == self._where:
            self.entered.set()
            self.release.wait(60)

    def walk(self, target: bytes = b"") -> Iterator[Entry]:
        """See FS."""
        self._step("walk")
        yield Entry(b"f", False, Stat(b"f", 0o644, size=self.size))

    def open(self, path: bytes) -> File:
        """See FS."""
        self._step("open")
        stalling = self

        class Slow(MemoryFile):
            def read(self, n: int, /) -> bytes:
                stalling._step("read")
                return super().read(n)

        return Slow(bytes(self.size))


class Piped:
    """One file `f` whose content comes from a FIFO: opening it hangs in the system until somebody writes."""

    def __init__(self, fifo: str) -> None:
        self.entered = threading.Event()
        self._fifo = fifo

    def walk(self, target: bytes = b"") -> Iterator[Entry]:
        """See FS."""
        yield Entry(b"f", False, Stat(b"f", 0o644, size=4))

    def open(self, path: bytes) -> File:
        """See FS."""
        self.entered.set()
        with open(self._fifo, "rb") as file:
            return MemoryFile(file.read(4))
