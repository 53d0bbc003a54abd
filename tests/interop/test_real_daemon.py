"""Short calls to real daemons through both channels."""

from __future__ import annotations

import pytest

from pybuildkit.api.services.control import _methods, control_pb2
from pybuildkit.client._dial import resolve
from pybuildkit.golang import context
from pybuildkit.rpc import BlockingChannel, Channel, Code, Method, RpcError

NONE = Method.raw("/moby.buildkit.v1.Control/NoSuchMethod")


async def test_workers_and_info_over_the_channel(real_addr: str) -> None:
    target = resolve(real_addr)
    channel = Channel(target.dial, authority=target.authority)
    ctx, cancel = context.with_timeout(context.background(), 20)
    workers = await channel.unary(ctx, _methods.LIST_WORKERS, control_pb2.ListWorkersRequest())
    assert workers.record
    await channel.ping(ctx)
    with pytest.raises(RpcError) as caught:
        await channel.unary(ctx, NONE, b"")
    assert caught.value.code == Code.UNIMPLEMENTED
    cancel()
    await channel.close()


def test_workers_over_the_blocking_channel(real_addr: str) -> None:
    target = resolve(real_addr)
    channel = BlockingChannel(target.dial, authority=target.authority, timeout=20)
    for _ in range(3):
        assert channel.unary(_methods.LIST_WORKERS, control_pb2.ListWorkersRequest(), timeout=20).record
    usage = channel.unary(_methods.DISK_USAGE, control_pb2.DiskUsageRequest(), timeout=20)
    assert isinstance(usage, control_pb2.DiskUsageResponse)
    channel.close()
