"""The two things that both ends of a transfer are driven with: a stream of packets, and tasks that end together.

Has no counterpart in Go, whose ends are handed a stream and a group of goroutines.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Protocol

Buffer = bytes | bytearray | memoryview
Payload = Buffer | Sequence[Buffer]
"""One encoded packet, possibly in pieces."""


class PacketStream(Protocol):
    """Where packets come from and go to, a message each."""

    async def send_many(self, payloads: Sequence[Payload], /) -> None:
        """Hand over messages; returns once they are taken, under back-pressure."""
        ...

    async def recv_many(self) -> list[bytes]:
        """All messages that have arrived, at least one; none at the clean end of the stream."""
        ...


async def run_together(*coroutines: Coroutine[object, object, None]) -> None:
    """Run coroutines as tasks until all have ended; the first error cancels the others and is raised.

    Cancelling this cancels them. None of them runs any more when it returns.
    """
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in tasks:
        if task in done:
            task.result()
