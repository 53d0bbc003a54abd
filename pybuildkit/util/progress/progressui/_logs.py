"""The log lines of a step, kept small until they are wanted.

Not in BuildKit, which keeps every line as it is. `LogArchive` is for a terminal's display, where an error makes the
lines wanted: those that are not the newest are compressed in blocks, and a step keeps at most `MAX_COMPRESSED` bytes
of them: the oldest go first. `PackedLines` are for the plain display, where steps wait for their turn to be printed:
no line is lost, and those of all steps that are packed and not compressed are at most `MAX_WAITING` bytes.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Iterator
from typing import Literal

BLOCK_BYTES = 256 * 1024
MAX_COMPRESSED = 16 * 1024 * 1024
MAX_WAITING = 4 * 1024 * 1024
PACKED_LINES = 64


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


class PackedLines:
    """Lines as a text, compressed or not, that becomes what is printed only while it is written.

    Attributes:
        room: how many bytes of the room for texts that are not compressed it takes.
        tail: its last lines.
    """

    __slots__ = ("_data", "_is_compressed", "_line_feeds", "_separator", "_size", "_skipped", "room", "tail")

    def __init__(self, lines: list[bytes], room: int, tail: int) -> None:
        text = b"\n".join(lines)
        fits = len(text) <= room
        self._is_compressed = not fits
        self._data = text if fits else zlib.compress(text, 1)
        self._size = len(text)
        self._line_feeds = len(lines) - 1
        self._separator = b"\n"
        self._skipped = 0
        self.room = len(text) if fits else 0
        self.tail = lines[-tail:]

    def skip(self, size: int) -> None:
        """Leave out so many bytes of the first line."""
        self._skipped = size
        self.tail = [self.tail[0][size:], *self.tail[1:]] if len(self.tail) > self._line_feeds else self.tail

    def set_number(self, number: bytes) -> None:
        """Put something in front of every line but the first, and of the one that follows."""
        self._separator = b"\n" + number

    def __len__(self) -> int:
        added = (self._line_feeds + 1) * len(self._separator) - self._line_feeds
        return self._size - self._skipped + added

    def __bytes__(self) -> bytes:
        text = zlib.decompress(self._data) if self._is_compressed else self._data
        return text[self._skipped :].replace(b"\n", self._separator) + self._separator
