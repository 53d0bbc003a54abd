"""The daemon's end of uploads. Mirrors session/upload/upload.go, v0.32.2."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pybuildkit.golang.context import Context
    from pybuildkit.rpc import ClientStream
    from pybuildkit.session import Caller
    from pybuildkit.session.upload.upload_pb2 import BytesMessage

KEY_PATH = "urlpath"
KEY_HOST = "urlhost"


class Upload:
    """A stream of the client, being read; made by `new`."""

    def __init__(self, stream: ClientStream[BytesMessage, BytesMessage]) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """The bytes in pieces; raises RpcError when the client fails. Leaving early ends the call."""
        try:
            while (message := await self._stream.recv()) is not None:
                yield message.data
        finally:
            self._stream.cancel()

    async def write_to(self, write: Callable[[bytes], Awaitable[None]]) -> int:
        """Hand every piece to `write`; how many bytes there were.

        Raises:
            RpcError: the client fails. After that, and after cancelling, the call has ended and cannot be gone on with.
        """
        total = 0
        async for piece in self:
            await write(piece)
            total += len(piece)
        return total


async def new(ctx: Context, caller: Caller, url: str) -> Upload:
    """Begin to read what a session offers under a URL.

    Args:
        ctx: ends the reading.
        caller: the session.
        url: "http://buildkit-session/ID", as the client's `add` gave it.

    Raises:
        RpcError: the session is gone. That it offers nothing there is known only when reading.
    """
    from urllib.parse import urlsplit

    from pybuildkit.session.upload._methods import PULL

    parts = urlsplit(url)
    metadata = [(KEY_PATH, parts.path), (KEY_HOST, parts.netloc)]
    stream = await caller.conn().stream(caller.context(ctx), PULL, metadata=metadata)
    return Upload(stream)
