"""Sending a file system over a stream of packets.

Mirrors Send of send.go, tonistiigi/fsutil (6d9dc2e); the protocol is in `_sender`.

Three tasks share the stream: one lists, one sends contents, one reads requests, so that none waits for another.
Everything that may wait for a disk is done in one thread, a batch ahead of what is being sent; only pieces of large
files that the system has in memory are read in the loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from pybuildkit.golang.context import Context, run
from pybuildkit.golang.errors import BuildkitError, error_text
from pybuildkit.third_party.fsutil._fs import FS
from pybuildkit.third_party.fsutil._packet import FIN_PACKET, error_packet
from pybuildkit.third_party.fsutil._sender import LargeFile, ProtocolError, Sender
from pybuildkit.third_party.fsutil._tasks import PacketStream, Payload, run_together
from pybuildkit.third_party.fsutil._worker import Worker

_LAST_WORDS_SECONDS = 2.0


async def send(ctx: Context, stream: PacketStream, fs: FS, progress: Callable[[int, bool], None] | None = None) -> None:
    """Send a file system to a receiver, as far as it wants it.

    Args:
        ctx: ends the transfer.
        stream: both directions of the transfer; it is not closed.
        fs: what is sent.
        progress: called with the bytes sent so far, and at the end once more with True.

    Raises:
        RemoteError: the receiver has failed; its text is in the message.
        ProtocolError: the receiver does not keep to the protocol, or went away.
        OSError, BuildkitError: a file cannot be sent (the receiver is told), or the stream's own error.

    Cancelling it leaves no open file and no task; a call that hangs in a file system stays behind in its thread.
    """
    transfer = _Send(stream, fs, progress)
    try:
        await run(ctx, transfer.run())
    finally:
        transfer.report(0, last=True)


class _Send:
    def __init__(self, stream: PacketStream, fs: FS, progress: Callable[[int, bool], None] | None) -> None:
        self._stream = stream
        self._worker = Worker("fsutil-send")
        self._core = Sender(fs, self._worker.check)
        self._progress = progress
        self._sent = 0
        self._wake = asyncio.Event()
        self._lock = asyncio.Lock()

    async def run(self) -> None:
        try:
            await run_together(self._list(), self._contents(), self._requests())
            await self._stream.send_many([FIN_PACKET])
        finally:
            self._worker.stopping = True
            self._worker.submit(self._core.close)
            await self._worker.close()

    def report(self, size: int, last: bool = False) -> None:
        self._sent += size
        if self._progress is not None:
            self._progress(self._sent, last)

    async def _send(self, payloads: Sequence[Payload]) -> None:
        async with self._lock:
            await self._stream.send_many(payloads)
        if self._progress is not None:
            self.report(sum(map(_size, payloads)))

    async def _fail(self, err: BaseException) -> None:
        """Tell the receiver, if it still listens."""
        try:
            async with asyncio.timeout(_LAST_WORDS_SECONDS):
                async with self._lock:
                    await self._stream.send_many([error_packet(error_text(err))])
        except (BuildkitError, OSError):
            return

    async def _list(self) -> None:
        core, worker = self._core, self._worker
        try:
            ahead = worker.submit(core.list_more)
            while True:
                packets = await ahead
                done = core.listed
                if not done:
                    ahead = worker.submit(core.list_more)
                await self._send(packets)
                if done:
                    return
        except (BuildkitError, OSError) as err:
            await self._fail(err)
            raise

    async def _requests(self) -> None:
        core = self._core
        while not core.finished:
            packets = await self._stream.recv_many()
            if not packets:
                raise ProtocolError("unexpected EOF")
            core.receive_many(packets)
            self._wake.set()

    async def _contents(self) -> None:
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                if self._core.requested:
                    await self._send_requested()
                if self._core.finished:
                    return
        except (BuildkitError, OSError) as err:
            await self._fail(err)
            raise

    async def _send_requested(self) -> None:
        """Send until nothing is asked for any more, reading one batch ahead."""
        core, worker = self._core, self._worker
        ahead = worker.submit(core.read_more)
        while True:
            batch = await ahead
            more = bool(core.requested)
            if more:
                ahead = worker.submit(core.read_more)
            for item in batch:
                if isinstance(item, LargeFile):
                    await self._send_large(item)
                else:
                    await self._send(item)
            if not more:
                if not core.requested:
                    return
                ahead = worker.submit(core.read_more)

    async def _send_large(self, large: LargeFile) -> None:
        while large.size:
            packets = large.read_cached()
            if not packets:
                packets = await self._worker.submit(large.read)
            await self._send(packets)
            await asyncio.sleep(0)  # a stream that takes everything at once must not keep the loop
        large.sent = True


def _size(payload: Payload) -> int:
    return len(payload) if isinstance(payload, bytes | bytearray | memoryview) else sum(map(len, payload))
