"""The log lines of a step, kept small until an error makes them wanted.

Not in BuildKit, whose terminal display keeps every line of every step as it is. Here lines that are not the newest
are compressed in blocks, and a step keeps at most `MAX_COMPRESSED` bytes of them: the oldest go first.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Iterator
from typing import Literal

BLOCK_BYTES = 256 * 1024
MAX_COMPRESSED = 16 * 1024 * 1024


class LogArchive:
    """Lines of bytes, none of which holds a line feed; `[-1]` is the newest, the only one that can be changed."""

    __slots__ = ("_blocks", "_compressed", "_open", "_open_bytes", "dropped")

    def __init__(self) -> None:
        self._blocks: deque[bytes] = deque()
        self._compressed = 0
        self._open: list[bytes] = []
        self._open_bytes = 0
        self.dropped = False

    def __bool__(self) -> bool:
        return bool(self._open or self._blocks)

    def __iter__(self) -> Iterator[bytes]:
        for block in self._blocks:
            yield from zlib.decompress(block).split(b"\n")
        yield from self._open

    def append(self, line: bytes) -> None:
        """Add a line."""
        if self._open_bytes > BLOCK_BYTES:
            self.compress()
        self._open.append(line)
        self._open_bytes += len(line) + 1

    def __getitem__(self, index: Literal[-1]) -> bytes:
        return self._open[index]

    def __setitem__(self, index: Literal[-1], line: bytes) -> None:
        self._open_bytes += len(line) - len(self._open[index])
        self._open[index] = line

    def compress(self) -> None:
        """Put away all lines but the newest, which may still grow."""
        if len(self._open) < 2:
            return
        block = zlib.compress(b"\n".join(self._open[:-1]), 1)
        del self._open[:-1]
        self._open_bytes = len(self._open[0]) + 1
        self._blocks.append(block)
        self._compressed += len(block)
        while self._compressed > MAX_COMPRESSED and len(self._blocks) > 1:
            self._compressed -= len(self._blocks.popleft())
            self.dropped = True
