"""The health service grpc.health.v1, its messages encoded by hand."""

from __future__ import annotations

from pybuildkit.golang.context import Context
from pybuildkit.rpc._channel import Channel
from pybuildkit.rpc._server import Server


def add_health(server: Server) -> None:
    """Offer the health service: everything is always serving."""
    raise NotImplementedError


async def check(channel: Channel, ctx: Context, service: str = "") -> None:
    """Ask whether a service is serving."""
    raise NotImplementedError
