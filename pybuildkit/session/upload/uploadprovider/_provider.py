"""The upload service over readers. Mirrors session/upload/uploadprovider/provider.go, v0.32.2.

Differs on purpose: a reader of the blocking kind is read in a thread, so that a standard input that gives nothing
stops neither the build's other services nor its cancelling; a reader is closed also when the daemon goes away.
"""

from __future__ import annotations

import inspect
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

    def read(self, n: int, /) -> bytes | None: ...

    def close(self) -> None: ...


class _Descriptor(Protocol):
    def fileno(self) -> int: ...


class AsyncReader(Protocol):
    """A reader of the event loop."""

    def read(self, n: int, /) -> Awaitable[bytes]: ...

    def close(self) -> Awaitable[None] | None: ...


class Uploader:
    """The upload service; an Attachable."""

    def __init__(self) -> None:
        self._readers: dict[str, Reader | AsyncReader] = {}

    def add(self, reader: Reader | AsyncReader) -> str:
        """Offer a reader, once; the URL by which a build names it. The service closes it when it has been read."""
        reader_id = identity.new_id()
        self._readers[reader_id] = reader
        return f"http://buildkit-session/{reader_id}"

    def register(self, server: Server) -> None:
        """Offer the service on a server."""
        server.add_stream(PULL, self.pull)

    async def pull(self, stream: ServerStream[BytesMessage, BytesMessage]) -> None:
        """Send one reader's bytes.

        Raises:
            BuildkitError: "no http response from session for ID". OSError: reading fails.
        """
        path = next((value for name, value in stream.metadata if name == KEY_PATH), "")
        text = path if isinstance(path, str) else path.decode("utf-8", "replace")
        reader_id = text.rstrip("/").rpartition("/")[2] or ("/" if text else ".")
        reader = self._readers.pop(reader_id, None)
        if reader is None:
            raise BuildkitError(f"no http response from session for {reader_id}")
        try:
            while data := await _read(stream.ctx, reader):
                for start in range(0, len(data), _MAX_CHUNK):
                    await stream.send(BytesMessage(data=data[start : start + _MAX_CHUNK]))
        finally:
            closing = reader.close()
            if inspect.isawaitable(closing):
                await closing


async def _read(ctx: Context, reader: Reader | AsyncReader) -> bytes:
    if inspect.iscoroutinefunction(reader.read):
        return await cast("AsyncReader", reader).read(_READ_SIZE)
    # a buffered file's `read` waits until it has everything asked for
    read = cast("Callable[[int], bytes | None]", getattr(reader, "read1", reader.read))

    def blocking() -> bytes:
        while (data := read(_READ_SIZE)) is None:
            _wait_readable(cast("_Descriptor", reader))
        return bytes(data)

    return await threads.call(ctx, blocking)


def _wait_readable(reader: _Descriptor) -> None:
    """Wait for a descriptor that does not block, as standard input is when a terminal shares it."""
    import select

    select.select([reader], (), ())


def new() -> Uploader:
    """An upload service that offers nothing yet."""
    return Uploader()
