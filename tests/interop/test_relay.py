"""The double's suite over grpcio: our client and our daemon with a grpcio server and a grpcio client between them."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fake_buildkitd import Daemon
from pybuildkit.client import Client
from pybuildkit.client._client import new
from pybuildkit.client._solveopt import SolveOpt
from pybuildkit.frontend.gateway import client as gateway
from pybuildkit.golang import context
from pybuildkit.golang.context import Context
from tests.fake_buildkitd.dockerfiles import CASES
from tests.fake_buildkitd.mistakes import MISTAKES
from tests.fake_buildkitd.twins import RECORDED, RECORDED_MISTAKES, complain, observe
from tests.interop.relay import relay


@asynccontextmanager
async def relayed(folder: Path) -> AsyncIterator[tuple[Client, set[str]]]:
    """A client of a daemon behind a relay, and the methods that have passed."""
    async with Daemon() as daemon:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(folder / "daemon.sock"))
            listener.listen(8)
            listener.setblocking(False)
            serving = asyncio.ensure_future(daemon.listen(listener))
            try:
                async with (
                    relay(str(folder / "relay.sock"), str(folder / "daemon.sock")) as between,
                    await new(context.background(), f"unix://{folder}/relay.sock") as client,
                ):
                    yield client, between.methods
            finally:
                daemon.stop()
                await asyncio.gather(serving, return_exceptions=True)


async def test_trees_and_errors(tmp_path: Path) -> None:
    answers = json.loads(RECORDED.read_text())
    async with relayed(tmp_path) as (client, methods):
        for case in CASES:
            assert await observe(client, case) == answers[case.name], case.name
    assert {method.rpartition("/")[2] for method in methods} >= {"Solve", "Status", "Session"}


async def test_mistakes_with_their_details(tmp_path: Path) -> None:
    answers = json.loads(RECORDED_MISTAKES.read_text())
    async with relayed(tmp_path) as (client, _):
        for case in MISTAKES[::6]:
            assert await complain(client, case) == answers[case.name], case.name


async def test_gateway_and_short_calls(tmp_path: Path) -> None:
    async def look(ctx: Context, bridge: gateway.Client) -> gateway.Result:
        assert bridge.build_opts().workers
        return gateway.Result()

    async with relayed(tmp_path) as (client, methods):
        ctx = context.background()
        assert len(await client.list_workers(ctx)) == 1
        assert await client.info(ctx) is not None
        await client.build(ctx, SolveOpt(), "", look)
    assert {method.rpartition("/")[2] for method in methods} >= {"ListWorkers", "Info", "Ping", "Return"}
