"""Both ends of uploads."""

from __future__ import annotations

import asyncio
import io
import os
import threading

import pytest

from pybuildkit.golang import context
from pybuildkit.golang.errors import BuildkitError
from pybuildkit.rpc import RpcError
from pybuildkit.session import upload
from pybuildkit.session.upload import uploadprovider
from tests.session.pair import session_pair

BG = context.background()
DATA = os.urandom(5 << 20)


class AsyncSource:
    """A reader of the event loop."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = list(pieces)
        self.closed = False

    async def read(self, n: int, /) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""

    async def close(self) -> None:
        self.closed = True


async def _receive(caller: object, url: str) -> bytes:
    received = bytearray()

    async def write(data: bytes) -> None:
        received.extend(data)

    stream = await upload.new(BG, caller, url)  # type: ignore[arg-type]  # the pair's Caller
    assert await stream.write_to(write) == len(received)
    return bytes(received)


async def test_file_and_async_reader_are_read_and_closed() -> None:
    uploads = uploadprovider.new()
    file, source = io.BytesIO(DATA), AsyncSource(b"one ", b"two")
    file_url, source_url = uploads.add(file), uploads.add(source)
    assert file_url.startswith("http://buildkit-session/")
    async with session_pair(uploads) as caller:
        assert await _receive(caller, file_url) == DATA
        assert await _receive(caller, source_url) == b"one two"
        assert file.closed
        assert source.closed
        with pytest.raises(RpcError, match="no http response from session for "):
            await _receive(caller, file_url)


async def test_url_that_names_nothing() -> None:
    async with session_pair(uploadprovider.new()) as caller:
        with pytest.raises(RpcError, match="no http response from session for nothere"):
            await _receive(caller, "http://buildkit-session/a/nothere")


async def test_pipe_that_gives_its_data_slowly() -> None:
    reading, writing = os.pipe()
    uploads = uploadprovider.new()
    url = uploads.add(os.fdopen(reading, "rb"))
    async with session_pair(uploads) as caller:
        stream = await upload.new(BG, caller, url)
        pieces = aiter(stream)
        for piece in (b"a", b"bb"):
            os.write(writing, piece)
            assert await anext(pieces) == piece
        os.close(writing)
        assert [piece async for piece in pieces] == []


async def test_silent_reader_does_not_hold_up_the_session() -> None:
    reading, writing = os.pipe()
    uploads = uploadprovider.new()
    silent, other = uploads.add(os.fdopen(reading, "rb")), uploads.add(io.BytesIO(b"data"))
    try:
        async with session_pair(uploads) as caller:
            waiting = asyncio.ensure_future(_receive(caller, silent))
            assert await _receive(caller, other) == b"data"
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
    finally:
        os.close(writing)


class Watched(io.RawIOBase):
    """A reader that waits in `read` until it is let go, and tells that it is closed."""

    def __init__(self) -> None:
        self.reading, self.go_on, self.was_closed = threading.Event(), threading.Event(), threading.Event()

    def read(self, n: int = -1, /) -> bytes:
        self.reading.set()
        assert self.go_on.wait(30)
        return b"late"

    def close(self) -> None:
        self.was_closed.set()


async def test_reader_of_a_call_that_was_given_up_is_closed_once_it_returns() -> None:
    uploads, reader = uploadprovider.new(), Watched()
    url = uploads.add(reader)
    async with session_pair(uploads) as caller:
        waiting = asyncio.ensure_future(_receive(caller, url))
        await asyncio.to_thread(reader.reading.wait, 30)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert await _receive(caller, uploads.add(io.BytesIO(b"other"))) == b"other"
        assert not reader.was_closed.is_set()
        reader.go_on.set()
        assert await asyncio.to_thread(reader.was_closed.wait, 30)


async def test_reader_that_fails_midway_gives_no_whole_upload() -> None:
    class Half(AsyncSource):
        async def read(self, n: int, /) -> bytes:
            if not self._pieces:
                raise BuildkitError("the other half is lost")
            return await super().read(n)

    uploads, source = uploadprovider.new(), Half(b"one half")
    url = uploads.add(source)
    async with session_pair(uploads) as caller:
        with pytest.raises(RpcError, match="the other half is lost"):
            await _receive(caller, url)
    assert source.closed


async def test_failing_reader() -> None:
    class Broken(io.RawIOBase):
        def readinto(self, buffer: object, /) -> int:
            raise OSError(5, "Input/output error")

        def readable(self) -> bool:
            return True

    uploads = uploadprovider.new()
    url = uploads.add(Broken())
    async with session_pair(uploads) as caller:
        with pytest.raises(RpcError, match="input/output error"):
            await _receive(caller, url)
