"""The log lines of a step, kept small until they are wanted.

Not in BuildKit, which keeps every line as it is. `LogArchive` is for a terminal's display, where an error makes the
lines wanted: those that are not the newest are compressed in blocks, and a step keeps at most `MAX_COMPRESSED` bytes
of them: the oldest go first. `WaitingLogs` is for the plain display, where steps wait for their turn to be printed:
no line is lost, and those of all steps that are not compressed are at most some `MAX_WAITING` bytes.
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


class WaitingLogs:
    """Lines of one step that wait to be printed, as texts of many lines."""

    __slots__ = ("_texts",)

    def __init__(self) -> None:
        self._texts: list[tuple[bytes, bool]] = []

    def pack(self, lines: list[bytes], room: int) -> int:
        """Add lines; how many bytes of the `room` for texts that are not compressed they take."""
        text = b"\n".join(lines)
        fits = len(text) <= room
        self._texts.append((text if fits else zlib.compress(text, 1), not fits))
        return len(text) if fits else 0

    def take(self) -> tuple[list[bytes], int]:
        """All texts, each without a line feed at its end, and how many bytes of the room they free."""
        texts = [zlib.decompress(text) if is_compressed else text for text, is_compressed in self._texts]
        freed = sum(len(text) for text, is_compressed in self._texts if not is_compressed)
        self._texts.clear()
        return texts, freed
