"""Transfers over gRPC streams, with either end as the server."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from pybuildkit.golang.context import background, with_cancel
from pybuildkit.rpc import Channel, ClientStream, Method, RpcError, Server, ServerStream, memory_pipe
from pybuildkit.third_party.fsutil import ReceiveOpt, RemoteError, new_fs, receive, send
from tests.third_party.fsutil.changes import make
from tests.third_party.fsutil.transfer import names, open_descriptors

METHOD = Method.raw("/test.Files/Copy")


def tree(root: Path) -> Path:
    make(root, ["ADD d dir", "ADD d/f file abc", "ADD d/l symlink f", "ADD e file >d/f"])
    (root / "large").write_bytes(os.urandom(3_000_000))
    for number in range(300):
        (root / f"s{number:03}").write_bytes(os.urandom(number * 7))
    return root


async def call(handler: object, client: object) -> tuple[BaseException | None, BaseException | None]:
    """Run both ends of one call; their errors."""
    near, far = memory_pipe()
    errors: list[BaseException | None] = [None, None]
    served = asyncio.Event()

    async def handle(stream: ServerStream[bytes, object]) -> None:
        try:
            await handler(stream)  # type: ignore[operator]  # a coroutine function
        except Exception as err:
            errors[0] = err
            raise
        finally:
            served.set()

    server = Server()
    server.add_stream(METHOD, handle)
    ctx, cancel = with_cancel(background())
    serving = asyncio.ensure_future(server.serve(far, ctx))
    channel = Channel.over(near)
    stream: ClientStream[object, bytes] = await channel.stream(ctx, METHOD)
    try:
        await client(stream)  # type: ignore[operator]  # a coroutine function
    except Exception as err:
        errors[1] = err
    stream.cancel()
    await served.wait()
    await channel.close()
    cancel()
    await asyncio.gather(serving, return_exceptions=True)
    return errors[0], errors[1]


@pytest.mark.parametrize("client_sends", [True, False])
async def test_a_tree_arrives(tmp_path: Path, client_sends: bool) -> None:
    source, dest = tree(tmp_path / "src"), make(tmp_path / "dest", [])
    before = open_descriptors()

    async def sending(stream: ServerStream[bytes, object]) -> None:
        await send(background(), stream, new_fs(str(source)))

    async def receiving(stream: ServerStream[bytes, object]) -> None:
        await receive(background(), stream, str(dest), ReceiveOpt())

    ends = (receiving, sending) if client_sends else (sending, receiving)
    assert await call(*ends) == (None, None)
    assert names(dest) == names(source)
    assert all((dest / name).read_bytes() == (source / name).read_bytes() for name in names(source) if name != "d")
    assert open_descriptors() <= before


@pytest.mark.parametrize("client_sends", [True, False])
async def test_an_error_reaches_the_other_end(tmp_path: Path, client_sends: bool) -> None:
    source = tree(tmp_path / "src")

    async def sending(stream: ServerStream[bytes, object]) -> None:
        await send(background(), stream, new_fs(str(source)))

    async def receiving(stream: ServerStream[bytes, object]) -> None:
        await receive(background(), stream, str(tmp_path / "none"), ReceiveOpt(merge=True))

    ends = (receiving, sending) if client_sends else (sending, receiving)
    errors = await call(*ends)
    assert isinstance(errors[0 if client_sends else 1], OSError)
    assert isinstance(errors[1 if client_sends else 0], RemoteError | RpcError)


async def test_a_reset_ends_the_receiver(tmp_path: Path) -> None:
    source, dest = tree(tmp_path / "src"), make(tmp_path / "dest", [])

    async def sending(stream: ServerStream[bytes, object]) -> None:
        task = asyncio.ensure_future(send(background(), stream, new_fs(str(source))))
        await asyncio.wait([task], timeout=0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        stream.cancel()  # type: ignore[attr-defined]  # the client's end has it

    async def receiving(stream: ServerStream[bytes, object]) -> None:
        await receive(background(), stream, str(dest), ReceiveOpt())

    errors = await call(receiving, sending)
    assert errors[0] is not None
    assert not [name for name in names(dest) if ".tmp." in name]
