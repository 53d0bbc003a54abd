"""Byte streams over sockets, pipes and memory, for asyncio."""

from __future__ import annotations

from pybuildkit.rpc._types import ByteStream


def memory_pipe() -> tuple[ByteStream, ByteStream]:
    """Two byte streams; what is written to one is read from the other."""
    raise NotImplementedError
