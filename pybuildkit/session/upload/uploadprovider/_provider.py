"""The upload service over readers. Mirrors session/upload/uploadprovider/provider.go, v0.32.2.

Differs on purpose: a reader of the blocking kind is read in a thread, so that a standard input that gives nothing
stops neither the build's other services nor its cancelling; a reader is closed also when the daemon goes away.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol, cast

from pybuildkit import identity
from pybuildkit.golang import threads
from pybuildkit.golang.errors import BuildkitError
from pybuildkit.session.upload._methods import PULL
from pybuildkit.session.upload._upload import KEY_PATH
from pybuildkit.session.upload.upload_pb2 import BytesMessage

if TYPE_CHECKING:
    from pybuildkit.golang.context import Context
    from pybuildkit.rpc import Server, ServerStream

_MAX_CHUNK = 3 << 20
_READ_SIZE = 256 << 10


class Reader(Protocol):
    """A blocking reader, such as a binary file."""

    def read(self, n: int, /) -> bytes | None:
        """At most `n` bytes; b"" at the end, None where a descriptor that does not block has nothing yet."""

    def close(self) -> None:
        """Called once, after the end, a failure or the end of the build."""


class _Descriptor(Protocol):
    def fileno(self) -> int: ...


class AsyncReader(Protocol):
    """A reader of the event loop."""

    def read(self, n: int, /) -> Awaitable[bytes]:
        """At most `n` bytes; b"" at the end. It is cancelled when the daemon gives up."""

    def close(self) -> Awaitable[None] | None:
        """Called once, after the end, a failure or the end of the build."""


class Uploader:
    """The upload service; an Attachable."""

    def __init__(self) -> None:
        self._readers: dict[str, Reader | AsyncReader] = {}

    def add(self, reader: Reader | AsyncReader) -> str:
        """Offer a reader, once.

        Args:
            reader: where the bytes come from. Once a daemon has asked for it the service closes it, in any case; one
                that nobody asks for stays open.

        Returns:
            the URL by which a build names it, for example as the frontend's option "context".
        """
        reader_id = identity.new_id()
        self._readers[reader_id] = reader
        return f"http://buildkit-session/{reader_id}"

    def register(self, server: Server) -> None:
        """Offer the service on a server."""
        server.add_stream(PULL, self.pull)

    async def pull(self, stream: ServerStream[BytesMessage, BytesMessage]) -> None:
        """Send one reader's bytes; when the daemon gives up, reading stops and the reader is closed.

        Args:
            stream: the daemon's call, whose metadata names the reader.

        Raises:
            BuildkitError: "no http response from session for ID". OSError: reading fails.
        """
        path = next((value for name, value in stream.metadata if name == KEY_PATH), "")
        text = path if isinstance(path, str) else path.decode("utf-8", "replace")
        reader_id = text.rstrip("/").rpartition("/")[2] or ("/" if text else ".")
        reader = self._readers.pop(reader_id, None)
        if reader is None:
            raise BuildkitError(f"no http response from session for {reader_id}")
        source = _source(reader)
        try:
            while data := await source.read(stream.ctx):
                for start in range(0, len(data), _MAX_CHUNK):
                    await stream.send(BytesMessage(data=data[start : start + _MAX_CHUNK]))
        finally:
            await source.close()


class _AsyncSource:
    def __init__(self, reader: AsyncReader) -> None:
        self._reader = reader

    async def read(self, ctx: Context) -> bytes:
        return await self._reader.read(_READ_SIZE)

    async def close(self) -> None:
        closing = self._reader.close()
        if inspect.isawaitable(closing):
            await closing


class _BlockingSource:
    """A blocking reader. Closing a file waits for a read of it, so a read that was given up closes it itself."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        # a buffered file's `read` waits until it has everything asked for
        self._read_some = cast("Callable[[int], bytes | None]", getattr(reader, "read1", reader.read))
        self._lock = threading.Lock()
        self._reading = False
        self._given_up = False

    async def read(self, ctx: Context) -> bytes:
        self._reading = True
        return await threads.call(ctx, self._read)

    def _read(self) -> bytes:
        try:
            while (data := self._read_some(_READ_SIZE)) is None:
                _wait_readable(cast("_Descriptor", self._reader))
            return bytes(data)
        finally:
            with self._lock:
                self._reading = False
            if self._given_up:
                self._reader.close()

    async def close(self) -> None:
        with self._lock:
            self._given_up = self._reading
        if not self._given_up:
            self._reader.close()


def _source(reader: Reader | AsyncReader) -> _AsyncSource | _BlockingSource:
    if inspect.iscoroutinefunction(reader.read):
        return _AsyncSource(cast("AsyncReader", reader))
    return _BlockingSource(cast("Reader", reader))


def _wait_readable(reader: _Descriptor) -> None:
    """Wait for a descriptor that does not block, as standard input is when a terminal shares it."""
    import select

    select.select([reader], (), ())


def new() -> Uploader:
    """An upload service that offers nothing yet."""
    return Uploader()
