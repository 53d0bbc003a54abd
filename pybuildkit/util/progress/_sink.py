"""Writing progress somewhere without ever holding up the event loop.

Not in BuildKit, where a goroutine may block in a write. A terminal can be stopped, a pipe's reader can sleep and a
file system can stall, and the loop must answer the daemon's health calls all the while: so a write that may block is
done by a thread of its own. A thread that is stuck when the program ends is left behind.
"""

from __future__ import annotations

import _thread
import asyncio
import contextlib
import os
import select
import stat
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

PART_BYTES = 2 * 1024 * 1024
"""How much is written at once."""
_ATOMIC = 4096
_LARGE = 256 * 1024


class Output(Protocol):
    """Where the bytes go: a binary stream, or a descriptor's wrapper with a `write` that takes bytes.

    A terminal is recognised by `isatty()` together with `fileno()` or `fd`, where the object has them.
    """

    def write(self, data: bytes, /) -> object: ...


class LazyBytes(Protocol):
    """Bytes that are made when they are written; `len` tells how many."""

    def __len__(self) -> int: ...
    def __bytes__(self) -> bytes: ...


Piece = bytes | LazyBytes


class FdOutput:
    """A file descriptor as an output; it is never closed here."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def write(self, data: bytes, /) -> None:
        """Write everything, also where the descriptor does not block; raises OSError."""
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[os.write(self.fd, rest) :]
            except BlockingIOError:
                select.select((), (self.fd,), ())

    def fileno(self) -> int:
        """The descriptor."""
        return self.fd

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return os.isatty(self.fd)


class Sink:
    """Bytes on their way to an output.

    Args:
        out: where they go.
        errors_matter: whether `flush` raises every OSError. Otherwise a lost write is nobody's concern, as in Go,
            but for a reader that went away (BrokenPipeError).
    """

    def __init__(self, out: Output, *, errors_matter: bool = False) -> None:
        self._out = out
        self._errors_matter = errors_matter
        self._pending: list[Piece] = []
        self.pending_bytes = 0
        self._is_pipe = _is_pipe(descriptor(out))
        self._writing: asyncio.Future[None] | None = None

    def put(self, data: bytes) -> None:
        """Keep bytes for the next `flush`."""
        if data:
            self._pending.append(data)
            self.pending_bytes += len(data)

    def put_pieces(self, pieces: Sequence[Piece]) -> None:
        """Keep several bytes, in order."""
        self._pending += pieces
        self.pending_bytes += sum(map(len, pieces))

    def take(self) -> bytes:
        """What has been put and not flushed; it is flushed by whoever takes it."""
        data = b"".join(map(bytes, self._pending))
        self._pending.clear()
        self.pending_bytes = 0
        return data

    def _take_part(self) -> list[Piece]:
        """The first `PART_BYTES` or a little more of what was put: large pieces as they are, others joined."""
        size = count = 0
        while size < PART_BYTES and count < len(self._pending):
            size += len(self._pending[count])
            count += 1
        taken = self._pending[:count]
        del self._pending[:count]
        self.pending_bytes -= size
        return taken if size > count * _LARGE else [b"".join(map(bytes, taken))]

    async def flush(self) -> None:
        """Return when everything that was put has been written.

        Cancelling leaves a write that blocks to its thread. Raises OSError as `errors_matter` says, and whatever
        else the output raises.
        """
        await self._written()
        if 0 < self.pending_bytes <= _ATOMIC and self._is_pipe and self._is_writable():
            with self._judged():
                self._write([self.take()])
        while self._pending:
            await self.hand_over()
        await self._written()

    async def hand_over(self) -> None:
        """Begin to write a part of what was put; return when what was handed over before has been written.

        Raises as `flush`, what befell the write before. Cancelling hands nothing over.
        """
        await self._written()
        if self._pending:
            self._writing = _in_thread(self._write, self._take_part())

    async def _written(self) -> None:
        """Wait for the thread that writes, if there is one."""
        writing = self._writing
        if writing is None:
            return
        await asyncio.wait((writing,))
        self._writing = None
        with self._judged():
            writing.result()

    @contextlib.contextmanager
    def _judged(self) -> Iterator[None]:
        """Raise only those errors of a write that matter."""
        try:
            yield
        except OSError as err:
            if self._errors_matter or isinstance(err, BrokenPipeError):
                raise

    def _write(self, pieces: Sequence[Piece]) -> None:
        for piece in pieces:
            self._out.write(bytes(piece))
        flush = getattr(self._out, "flush", None)
        if flush is not None:
            flush()

    def _is_writable(self) -> bool:
        fd = descriptor(self._out)
        if fd is None:
            return False
        poll = select.poll()
        poll.register(fd, select.POLLOUT)
        return any(event & select.POLLOUT for _, event in poll.poll(0))


def descriptor(out: Output) -> int | None:
    """The file descriptor of an output, or None where it has none."""
    fd = getattr(out, "fd", None)
    if fd is None:
        fileno = getattr(out, "fileno", None)
        try:
            fd = fileno() if fileno is not None else None
        except (OSError, ValueError):
            return None
    return fd if isinstance(fd, int) else None


def is_terminal(out: Output) -> bool:
    """Whether an output is a terminal."""
    fd = descriptor(out)
    try:
        return fd is not None and os.isatty(fd)
    except OSError:
        return False


def _is_pipe(fd: int | None) -> bool:
    try:
        return fd is not None and stat.S_ISFIFO(os.fstat(fd).st_mode)
    except OSError:
        return False


def _in_thread(write: Callable[[Sequence[Piece]], None], pieces: Sequence[Piece]) -> asyncio.Future[None]:
    """Run the write in a thread that the program's end does not wait for."""
    loop = asyncio.get_running_loop()
    result: asyncio.Future[None] = loop.create_future()

    def settle(err: BaseException | None) -> None:
        if result.done():
            return
        if err is None:
            result.set_result(None)
        else:
            result.set_exception(err)

    def run() -> None:
        error: BaseException | None = None
        try:
            write(pieces)
        except Exception as err:  # noqa: BLE001  # whoever waits for the write gets it
            error = err
        try:
            loop.call_soon_threadsafe(settle, error)
        except RuntimeError:
            return  # the loop was closed while the write was stuck

    _thread.start_new_thread(run, ())  # not Thread.start, which waits until the thread runs
    return result
