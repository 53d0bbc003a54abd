"""Statuses for readers that come early, late and slow."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from fake_buildkitd.progress import Progress, VertexWriter
from pybuildkit.client._graph import SolveStatus, Vertex, VertexLog
from pybuildkit.golang import context
from pybuildkit.golang.context import CanceledError
from tests import virtual_clock


def progress() -> Progress:
    """Progress on a clock that counts."""
    return Progress(itertools.count(1).__next__)


async def collect(items: Progress) -> list[SolveStatus]:
    """Everything that a reader gets."""
    got: list[SolveStatus] = []
    await items.read(context.background(), got.append)
    return got


def test_early_and_late_readers() -> None:
    async def scenario() -> None:
        items = progress()
        early = asyncio.ensure_future(collect(items))
        await asyncio.sleep(0)
        writer = VertexWriter(items, Vertex(digest="sha256:1", name="step"))
        writer.announce()
        await asyncio.sleep(0.1)
        done = writer.start()
        await asyncio.sleep(0.1)
        done(None)
        items.close()
        late = await collect(items)
        assert [len(status.vertexes) for status in await early] == [1, 1, 1]
        assert [[v.completed is not None for v in status.vertexes] for status in late] == [[False, True]]

    virtual_clock.run(scenario())


def test_a_slow_reader_gets_the_last_of_each_id() -> None:
    async def scenario() -> None:
        items = progress()
        writer = VertexWriter(items, Vertex(digest="sha256:1", name="step"))
        report = writer.transfer("copying")
        for current in range(1, 100):
            report(current, current == 99)
        items.write(items.new_id(), VertexLog(vertex="sha256:1", data=b"one"))
        items.write(items.new_id(), VertexLog(vertex="sha256:1", data=b"two"))
        items.close()
        (status,) = await collect(items)
        (transfer,) = status.statuses
        assert (transfer.current, transfer.completed is not None) == (99, True)
        assert [log.data for log in status.logs] == [b"one", b"two"]

    virtual_clock.run(scenario())


def test_inputs_of_a_started_vertex_are_cached() -> None:
    async def scenario() -> None:
        items = progress()
        low = VertexWriter(items, Vertex(digest="sha256:1", name="low"))
        mid = VertexWriter(items, Vertex(digest="sha256:2", name="mid", inputs=["sha256:1"]))
        top = VertexWriter(items, Vertex(digest="sha256:3", name="top", inputs=["sha256:2"]))
        for writer in (top, mid, low):
            writer.announce()
        top.start(cached=True)(None)
        items.close()
        (status,) = await collect(items)
        final = {vertex.name: vertex for vertex in status.vertexes}
        assert {name: vertex.cached for name, vertex in final.items()} == {"low": True, "mid": True, "top": True}
        assert final["low"].completed == final["low"].started

    virtual_clock.run(scenario())


@pytest.mark.parametrize("width", [1, 2])
def test_a_deep_graph_below_a_started_vertex(width: int) -> None:
    """Each of 3,000 is told as cached once, those below first; `width` is how often each is an input."""

    async def scenario() -> None:
        items = progress()
        names = [f"sha256:{number}" for number in range(3000)]
        writers = [
            VertexWriter(items, Vertex(digest=name, name=name, inputs=[below] * width))
            for name, below in zip(names, ["", *names], strict=False)
        ]
        for writer in writers:
            writer.announce()
        writers[-1].start(cached=True)(None)
        items.close()
        (status,) = await collect(items)
        assert [vertex.name for vertex in status.vertexes if vertex.cached] == names

    virtual_clock.run(scenario())


def test_unfinished_vertices_end_with_the_build() -> None:
    async def scenario() -> None:
        items = progress()
        VertexWriter(items, Vertex(digest="sha256:1", name="step")).start()
        items.close()
        last = (await collect(items))[-1].vertexes[-1]
        assert (last.error, last.completed is not None) == ("context canceled", True)

    virtual_clock.run(scenario())


def test_a_reader_ends_with_its_context() -> None:
    async def scenario() -> None:
        items = progress()
        ctx, cancel = context.with_cancel(context.background())
        reader = asyncio.ensure_future(items.read(ctx, lambda status: None))
        await asyncio.sleep(0)
        cancel()
        with pytest.raises(CanceledError):
            await reader

    virtual_clock.run(scenario())


def test_vertices_may_have_statuses_of_one_id() -> None:
    async def scenario() -> None:
        items = progress()
        for digest in ("sha256:1", "sha256:2"):
            writer = VertexWriter(items, Vertex(digest=digest, name=digest))
            writer.transfer("copying")(7, True)
            writer.one_off("extracting")()
        items.close()
        (status,) = await collect(items)
        assert [(each.vertex, each.id, each.completed is not None) for each in status.statuses] == [
            (digest, item, True) for digest in ("sha256:1", "sha256:2") for item in ("copying", "extracting")
        ]

    virtual_clock.run(scenario())
