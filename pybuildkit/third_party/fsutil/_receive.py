"""Receiving a tree from a stream of packets into a directory.

Mirrors Receive of receive.go, tonistiigi/fsutil (6d9dc2e); the protocol is in `_receiver`.

Packets are gathered for a moment and handled in one thread, many at a time, while the next ones arrive; what is
waiting is bounded, and beyond that the stream is not read. Requests go out beside that, for a sender may not read
them before its data is taken.
"""

from __future__ import annotations

import asyncio

from pybuildkit.golang.context import Context, run
from pybuildkit.golang.errors import BuildkitError, error_text
from pybuildkit.third_party.fsutil._packet import error_packet
from pybuildkit.third_party.fsutil._receiver import ReceiveOpt, Receiver
from pybuildkit.third_party.fsutil._sender import RemoteError
from pybuildkit.third_party.fsutil._tasks import PacketStream, run_together
from pybuildkit.third_party.fsutil._worker import Worker

_BATCH_BYTES = 256 << 10
_BATCH_PACKETS = 4000
_BATCH_SECONDS = 0.002
_WAITING_BYTES = 1 << 20
_PACKET_BYTES = 16
"""What a packet costs beside its bytes: the end of a list has none."""
_LAST_WORDS_SECONDS = 2.0


class UnconfirmedError(BuildkitError):
    """Everything has been received and written, but the stream broke before the sender had confirmed the end."""


async def receive(ctx: Context, stream: PacketStream, dest: str | bytes, opt: ReceiveOpt) -> None:
    """Receive a tree into a directory; returns when the sender has confirmed the end.

    Args:
        ctx: ends the transfer.
        stream: both directions of the transfer; it is not closed, and not read to its end.
        dest: the directory, which exists.
        opt: how.

    Raises:
        UnconfirmedError: the stream broke when everything had been received and written, before the sender's FIN.
        RemoteError: the sender has failed; its text is in the message.
        ProtocolError: the sender does not keep to the protocol, or went away.
        OSError, BuildkitError: something cannot be written (the sender is told), or the stream's own error.

    Cancelling it leaves the files that are complete, no part of another, no open file and no task; a call that
    hangs in a file system stays behind in its thread.
    """
    transfer = _Receive(stream, dest, opt)
    try:
        await run(ctx, transfer.run())
    finally:
        if opt.progress is not None:
            opt.progress(transfer.received, True)


class _Receive:
    def __init__(self, stream: PacketStream, dest: str | bytes, opt: ReceiveOpt) -> None:
        self.received = 0
        self._stream = stream
        self._dest = dest
        self._opt = opt
        self._worker = Worker("fsutil-receive")
        self._core: Receiver | None = None
        self._packets: list[bytes] = []
        self._waiting = 0
        self._ended = False
        self._broken = False
        self._some = asyncio.Event()
        self._enough = asyncio.Event()
        self._room = asyncio.Event()
        self._to_send = asyncio.Event()
        self._done = False

    async def run(self) -> None:
        reader: asyncio.Task[None] | None = None
        try:
            try:
                self._core = await self._worker.submit(self._open)
                reader = asyncio.ensure_future(self._read())
                await run_together(self._handle(reader), self._send())
            except (BuildkitError, OSError) as err:
                if self._broken and self._core is not None and self._core.whole:
                    raise UnconfirmedError(error_text(err)) from err
                if not isinstance(err, RemoteError) and not self._broken:
                    await self._fail(err)
                raise
        finally:
            if reader is not None:
                reader.cancel()
                await asyncio.gather(reader, return_exceptions=True)
            self._worker.stopping = True
            self._worker.submit(self._close)
            await self._worker.close()

    def _open(self) -> Receiver:
        core = self._core = Receiver(self._dest, self._opt, self._worker.check)
        return core

    def _close(self) -> None:
        if self._core is not None:
            self._core.close()

    async def _fail(self, err: BaseException) -> None:
        """Tell the sender, if it still listens."""
        try:
            async with asyncio.timeout(_LAST_WORDS_SECONDS):
                await self._stream.send_many([error_packet(error_text(err))])
        except (BuildkitError, OSError):
            return

    async def _read(self) -> None:
        """Gather packets until the stream ends or nobody wants them any more."""
        try:
            while True:
                packets = await self._stream.recv_many()
                if not packets:
                    return
                size = sum(map(len, packets))
                self.received += size
                self._packets += packets
                self._waiting += size + _PACKET_BYTES * len(packets)
                self._some.set()
                if self._waiting >= _BATCH_BYTES or len(self._packets) >= _BATCH_PACKETS:
                    self._enough.set()
                if self._opt.progress is not None:
                    self._opt.progress(self.received, False)
                while self._waiting >= _WAITING_BYTES:
                    self._room.clear()
                    await self._room.wait()
        except (BuildkitError, OSError):
            self._broken = True
            raise
        finally:
            self._ended = True
            self._some.set()
            self._enough.set()

    async def _handle(self, reader: asyncio.Task[None]) -> None:
        """Hand packets to the thread until the transfer is over."""
        core = self._core
        assert core is not None
        loop = asyncio.get_running_loop()
        while not core.finished:
            await self._some.wait()
            if not self._enough.is_set():
                timer = loop.call_later(_BATCH_SECONDS, self._enough.set)
                await self._enough.wait()
                timer.cancel()
            packets, self._packets, self._waiting = self._packets, [], 0
            self._room.set()
            if not self._ended:
                self._some.clear()
                self._enough.clear()
            if not packets:
                await reader
                core.end()
                break
            await self._worker.submit(lambda batch=packets: core.feed(batch))  # type: ignore[misc]  # bound now
            self._to_send.set()
        self._done = True
        self._to_send.set()

    async def _send(self) -> None:
        """Send what there is to say; requests are made when the stream takes them."""
        core = self._core
        assert core is not None
        while True:
            self._to_send.clear()
            packets = core.outgoing(_BATCH_PACKETS)
            if packets:
                try:
                    await self._stream.send_many(packets)
                except (BuildkitError, OSError):
                    self._broken = True
                    await asyncio.sleep(_LAST_WORDS_SECONDS)  # the sender's error may be on its way, and says more
                    raise
            elif self._done:
                return
            else:
                await self._to_send.wait()
