"""A session's two ends in memory: services served at one, a Caller at the other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from pybuildkit import rpc
from pybuildkit.golang import context
from pybuildkit.session import Caller
from pybuildkit.util import grpcerrors

if TYPE_CHECKING:
    from pybuildkit.session import Attachable

SESSION_ID = "session-1"


@asynccontextmanager
async def session_pair(*services: Attachable) -> AsyncIterator[Caller]:
    """Serve the services on a memory pipe, as a Session does, and give the daemon's Caller."""
    server = rpc.Server(to_status=grpcerrors.to_grpc)
    for service in services:
        service.register(server)
    here, there = rpc.memory_pipe()
    ctx, cancel = context.with_cancel(context.background())
    serving = asyncio.ensure_future(server.serve(here, ctx))
    channel = rpc.Channel.over(there)
    headers = {
        "x-docker-expose-session-uuid": [SESSION_ID],
        "x-docker-expose-session-grpc-method": server.methods(),
    }
    try:
        yield Caller(ctx, headers, channel)
    finally:
        await channel.close()
        cancel()
        await asyncio.gather(serving, return_exceptions=True)


class OneSession:
    """A manager's part that the daemon's ends use: finds the one session."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def get(self, ctx: context.Context, session_id: str, no_wait: bool = False) -> Caller:
        """The session."""
        assert session_id == SESSION_ID
        return self._caller
