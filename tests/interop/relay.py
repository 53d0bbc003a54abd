"""A relay made of grpcio: a grpcio server that hands every call on through a grpcio client.

Between our client and our daemon it proves that neither relies on a mistake of the other: what passes has been read
and written by an implementation that is not ours, on both sides.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc

_LIMIT = [("grpc.max_receive_message_length", 1 << 24), ("grpc.max_send_message_length", 1 << 24)]
_OWN = ("user-agent", "grpc-accept-encoding", "grpc-encoding")


class _Relay(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpcio has no types
    """Hands on calls of every method; messages stay as they are."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self.methods: set[str] = set()

    def service(self, details: Any) -> Any:
        self.methods.add(details.method)

        async def handle(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
            async for message in self._call(details, requests, context):
                yield message

        return grpc.stream_stream_rpc_method_handler(handle)

    async def _call(self, details: Any, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        metadata = [(key, value) for key, value in details.invocation_metadata if key not in _OWN]
        call = self._channel.stream_stream(details.method)(metadata=metadata, timeout=context.time_remaining())
        sender = asyncio.ensure_future(_send(call, requests))
        try:
            await context.send_initial_metadata(tuple(await call.initial_metadata()))
            while (message := await call.read()) is not grpc.aio.EOF:
                yield message
            context.set_trailing_metadata(tuple(await call.trailing_metadata()))
            if await call.code() is not grpc.StatusCode.OK:
                await context.abort(await call.code(), await call.details(), tuple(await call.trailing_metadata()))
        except grpc.aio.AioRpcError as err:
            await context.abort(err.code(), err.details(), tuple(err.trailing_metadata()))
        finally:
            sender.cancel()
            call.cancel()
            await asyncio.gather(sender, return_exceptions=True)


async def _send(call: Any, requests: AsyncIterator[bytes]) -> None:
    try:
        async for message in requests:
            await call.write(message)
        await call.done_writing()
    except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
        return  # the call has ended, and says so to its reader


@asynccontextmanager
async def relay(listen: str, target: str) -> AsyncIterator[_Relay]:
    """A relay from the unix socket `listen` to the unix socket `target`."""
    async with grpc.aio.insecure_channel(f"unix:{target}", options=_LIMIT) as channel:
        handler = _Relay(channel)
        server = grpc.aio.server(options=_LIMIT)
        server.add_generic_rpc_handlers((handler,))
        server.add_insecure_port(f"unix:{listen}")
        await server.start()
        try:
            yield handler
        finally:
            await server.stop(None)
