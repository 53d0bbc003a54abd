"""Both ends of the session exporter."""

from __future__ import annotations

import pytest

from pybuildkit.golang import context
from pybuildkit.golang.errors import BuildkitError
from pybuildkit.rpc import RpcError
from pybuildkit.session import exporter
from pybuildkit.session.exporter import exporterprovider
from pybuildkit.session.exporter.exporter_pb2 import ExporterRequest
from tests.session.pair import session_pair

BG = context.background()


async def test_chosen_exporters_and_their_answers() -> None:
    asked: list[tuple[dict[str, bytes], list[str]]] = []
    told: list[dict[str, str]] = []

    async def choose(ctx: context.Context, metadata: dict[str, bytes], refs: list[str]) -> list[ExporterRequest]:
        asked.append((metadata, refs))
        return [ExporterRequest(Type="image", Attrs={"name": "x"})]

    async def finalize(ctx: context.Context, response: dict[str, str]) -> None:
        told.append(response)

    service = exporterprovider.new(choose, exporterprovider.with_finalize_callback(finalize))
    async with session_pair(service) as caller:
        found = await exporter.find_exporters(BG, caller, {"k": b"\xff"}, ["r1", "r2"])
        assert [(one.Type, dict(one.Attrs)) for one in found] == [("image", {"name": "x"})]
        await exporter.finalize_export(BG, caller, {"digest": "d"})
    assert asked == [({"k": b"\xff"}, ["r1", "r2"])]
    assert told == [{"digest": "d"}]


async def test_no_callback_and_no_service() -> None:
    for services in ([exporterprovider.new(None)], []):
        async with session_pair(*services) as caller:
            assert await exporter.find_exporters(BG, caller, {}, []) == []
            await exporter.finalize_export(BG, caller, {})


async def test_errors_of_callbacks() -> None:
    async def choose(ctx: context.Context, metadata: dict[str, bytes], refs: list[str]) -> list[ExporterRequest]:
        raise BuildkitError("no choice")

    async def finalize(ctx: context.Context, response: dict[str, str]) -> None:
        raise BuildkitError("not final")

    service = exporterprovider.new(choose, exporterprovider.with_finalize_callback(finalize))
    async with session_pair(service) as caller:
        with pytest.raises(RpcError, match="no choice"):
            await exporter.find_exporters(BG, caller, {}, [])
        with pytest.raises(RpcError, match="not final"):
            await exporter.finalize_export(BG, caller, {})
