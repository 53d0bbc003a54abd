"""What the daemon remembers of builds, and what clients can do with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from fake_buildkitd import Daemon, history
from fake_buildkitd.history import History
from fake_buildkitd.historyfilter import filter_events
from fake_buildkitd.script import EndStatus, Fail, Hang, Script, Send, Step
from pybuildkit.api.services.control import _methods as methods
from pybuildkit.api.services.control import control_pb2 as pb
from pybuildkit.client import Client
from pybuildkit.client._graph import SolveStatus, Vertex, VertexLog
from pybuildkit.client._solveopt import SolveOpt
from pybuildkit.golang import context
from pybuildkit.golang.errors import BuildkitError
from pybuildkit.rpc import Code, RpcError
from pybuildkit.third_party.containerd.content import _methods as content_methods
from pybuildkit.third_party.containerd.content import content_pb2
from tests.fake_buildkitd.helpers import connected, solve

STEP = Vertex(digest="sha256:" + "1" * 64, name="a step", started=10, completed=20)
CACHED = Vertex(digest="sha256:" + "2" * 64, name="another", started=10, completed=10, cached=True)
LOG = VertexLog(vertex=STEP.digest, stream=1, data=b"hello\n")
STATUSES = [Send(SolveStatus(vertexes=[STEP, CACHED])), Send(SolveStatus(logs=[LOG]))]
HOUR = 3600 * 1_000_000_000


@asynccontextmanager
async def daemon_with(state: Path | None, *steps: Step) -> AsyncIterator[Client]:
    """A client of a daemon whose builds follow the steps."""
    script = Script(steps)
    async with Daemon(state=str(state) if state else None, script=script) as daemon, connected(daemon) as client:
        yield client


async def build(client: Client, ref: str) -> BaseException | None:
    """One build of that name; its error."""
    return (await solve(client, SolveOpt(ref=ref, frontend="anything", frontend_attrs={"k": "v"}))).error


async def listed(client: Client, **request: object) -> list[pb.BuildHistoryEvent]:
    """The events that are there now."""
    stream = await client.channel.stream(context.background(), methods.LISTEN_BUILD_HISTORY)
    await stream.send(pb.BuildHistoryRequest(EarlyExit=True, **request))  # type: ignore[arg-type]  # its fields
    await stream.close_send()
    return [event async for event in stream]


async def update(client: Client, ref: str, *, pin: bool = False, delete: bool = False) -> None:
    """Change a record."""
    request = pb.UpdateBuildHistoryRequest(Ref=ref, Pinned=pin, Delete=delete)
    await client.channel.unary(context.background(), methods.UPDATE_BUILD_HISTORY, request)


async def delete_for_ever(client: Client, ref: str) -> None:
    """Delete a record again and again."""
    while True:
        await update(client, ref, delete=True)


async def logs(client: Client, ref: str) -> list[pb.StatusResponse]:
    """What a build told."""
    stream = await client.channel.stream(context.background(), methods.STATUS)
    await stream.send(pb.StatusRequest(Ref=ref))
    await stream.close_send()
    return [status async for status in stream]


async def blob(client: Client, digest: str) -> bytes:
    """A blob of the daemon."""
    stream = await client.channel.stream(context.background(), content_methods.READ)
    await stream.send(content_pb2.ReadContentRequest(digest=digest))
    await stream.close_send()
    return b"".join([response.data async for response in stream])


@pytest.fixture(params=["memory", "disk"])
def state(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    """Where the daemon keeps its state."""
    return tmp_path / "state" if request.param == "disk" else None


async def test_a_record_of_a_build(state: Path | None) -> None:
    async with daemon_with(state, *STATUSES) as client:
        assert await build(client, "one") is None
        (event,) = await listed(client)
        record = event.record
        assert event.type == pb.COMPLETE
        assert (record.Ref, record.Frontend, dict(record.FrontendAttrs)) == ("one", "anything", {"k": "v"})
        assert record.CreatedAt.ToNanoseconds() <= record.CompletedAt.ToNanoseconds()
        assert (record.numTotalSteps, record.numCachedSteps, record.numCompletedSteps) == (2, 1, 2)
        assert record.logs.media_type == "application/vnd.buildkit.status.v0"
        assert not record.HasField("error")
        told = await logs(client, "one")
        assert [[vertex.name for vertex in status.vertexes] for status in told] == [["a step", "another"], []]
        assert [log.msg for status in told for log in status.logs] == [b"hello\n"]
        data = await blob(client, record.logs.digest)
        assert data == b"".join(len(s).to_bytes(4, "little") + s for s in (x.SerializeToString() for x in told))
        assert len(data) == record.logs.size


async def test_a_record_of_a_failure(state: Path | None) -> None:
    error = RpcError(Code.INTERNAL, "it broke")
    async with daemon_with(state, STATUSES[0], Fail(error)) as client:
        assert "it broke" in str(await build(client, "one"))
        (event,) = await listed(client)
        assert (event.record.error.code, event.record.error.message) == (Code.INTERNAL, "it broke")
        assert b"it broke" in await blob(client, event.record.externalError.digest)


async def test_a_status_that_ends_with_an_error_hides_no_record() -> None:
    async with daemon_with(None, STATUSES[0], EndStatus(RpcError(Code.DATA_LOSS, "no more"))) as client:
        await build(client, "one")
        (event,) = await listed(client)
        assert event.record.numTotalSteps == 2


async def test_a_cancelled_build_is_remembered() -> None:
    async with daemon_with(None, STATUSES[0], Hang()) as client:
        running = asyncio.ensure_future(build(client, "one"))
        while not (events := await listed(client, ActiveOnly=True)):
            await asyncio.sleep(0)
        assert events[0].type == pb.STARTED
        assert await listed(client, Ref="other") == []
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        while not (events := await listed(client, Filter=["status==canceled"])):
            await asyncio.sleep(0.001)
        assert events[0].record.error.message == "context canceled"


async def test_pin_and_delete(state: Path | None) -> None:
    async with daemon_with(state, *STATUSES) as client:
        for ref in ("one", "two"):
            await build(client, ref)
        await update(client, "one", pin=True)
        await update(client, "two", delete=True)
        (event,) = await listed(client)
        assert (event.record.Ref, event.record.pinned, event.record.Generation) == ("one", True, 1)
        for ref, pin, text in [
            ("two", True, "failed to retrieve ref two: file does not exist"),
            ("two", False, 'lease "ref_two": not found'),
        ]:
            with pytest.raises(RpcError) as caught:
                await update(client, ref, pin=pin, delete=not pin)
            assert (caught.value.code, caught.value.message) == (Code.UNKNOWN, text)
        digest = event.record.logs.digest
        await update(client, "one", delete=True)
        with pytest.raises(RpcError) as caught:
            await blob(client, digest)
        assert caught.value.code == Code.NOT_FOUND
        assert caught.value.message.startswith("rpc error: code = NotFound desc = content digest sha256:")


async def test_listeners_hear_of_what_happens() -> None:
    async with daemon_with(None, *STATUSES) as client:
        stream = await client.channel.stream(context.background(), methods.LISTEN_BUILD_HISTORY)
        await stream.send(pb.BuildHistoryRequest())
        header = dict(await stream.header())
        assert "buildkit-current-timestamp" in header
        await build(client, "one")
        await update(client, "one", pin=True)
        await update(client, "one", delete=True)
        heard = [await stream.recv() for _ in range(4)]
        stream.cancel()
    got = [(event.type, event.record.Ref, event.record.Generation) for event in heard if event is not None]
    assert got == [(pb.STARTED, "one", 0), (pb.COMPLETE, "one", 0), (pb.COMPLETE, "one", 1), (pb.DELETED, "one", 0)]


async def test_a_record_stays_while_somebody_listens_to_it() -> None:
    async with daemon_with(None, *STATUSES) as client:
        await build(client, "one")
        stream = await client.channel.stream(context.background(), methods.LISTEN_BUILD_HISTORY)
        await stream.send(pb.BuildHistoryRequest(Ref="one"))
        assert await stream.recv() is not None
        await update(client, "one", delete=True)
        assert await listed(client) == []
        with pytest.raises(RpcError, match="ref one is deleted"):
            await listed(client, Ref="one")
        assert await logs(client, "one")
        stream.cancel()
        with pytest.raises(RpcError, match='lease "ref_one": not found'):
            await delete_for_ever(client, "one")


async def test_history_survives(tmp_path: Path) -> None:
    async with daemon_with(tmp_path, *STATUSES) as client:
        await build(client, "../one")
        await build(client, "two")
    names = sorted((tmp_path / "history/records").iterdir())
    assert len(names) == 2
    async with daemon_with(tmp_path) as client:
        assert {event.record.Ref for event in await listed(client)} == {"../one", "two"}
        assert await logs(client, "../one")


async def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    def script(request: pb.SolveRequest) -> Script:
        return Script([Send(SolveStatus(vertexes=[Vertex(digest=STEP.digest, name=request.Ref)]))])

    async with Daemon(state=str(tmp_path), script=script) as daemon, connected(daemon) as client:
        for ref in ("one", "two", "three"):
            await build(client, ref)
        digests = {event.record.Ref: event.record.logs.digest for event in await listed(client)}
    records, blobs = tmp_path / "history/records", tmp_path / "history/blobs/sha256"
    (blobs / "0.tmp").write_text("half")
    (blobs / ("0" * 64)).write_text("of no record")
    (records / history._file_name("two")).write_bytes(b"\xff")
    (records / "x.tmp").write_bytes(b"half")
    (blobs / digests["three"].partition(":")[2]).unlink()
    async with daemon_with(tmp_path) as client:
        assert {event.record.Ref for event in await listed(client)} == {"one"}
        assert await logs(client, "one")
    assert [path.name for path in blobs.iterdir()] == [digests["one"].partition(":")[2]]
    assert [path.name for path in records.iterdir()] == [history._file_name("one")]


@pytest.mark.parametrize(("on_disk", "age", "left"), [(True, 1, 55), (True, 49, 51), (False, 1, 51)])
async def test_old_records_go(tmp_path: Path, on_disk: bool, age: int, left: int) -> None:
    now = 0
    records = History(str(tmp_path) if on_disk else None, lambda: now)
    for number in range(55):
        now = 1000 * HOUR + (number if number < 54 else age * HOUR)
        record = pb.BuildHistoryRecord(Ref=f"{number:02}", pinned=number == 0)
        record.CompletedAt.FromNanoseconds(now)
        records.started(record)
        await records.completed(record, [], None)
    events: list[pb.BuildHistoryEvent] = []

    async def emit(event: pb.BuildHistoryEvent) -> None:
        events.append(event)

    await records.listen(context.background(), pb.BuildHistoryRequest(EarlyExit=True), emit)
    refs = [event.record.Ref for event in events]
    assert len(refs) == left
    assert refs[0] == "00"
    assert refs[-1] == "54"


def event(ref: str, created: int, length: int | None, error: str = "", **attrs: str) -> pb.BuildHistoryEvent:
    """A record of a build that began and took so many seconds."""
    record = pb.BuildHistoryRecord(Ref=ref, FrontendAttrs=attrs)
    record.CreatedAt.FromSeconds(created)
    if length is not None:
        record.CompletedAt.FromSeconds(created + length)
    if error:
        record.error.message = error
    return pb.BuildHistoryEvent(record=record)


EVENTS = [
    event("a", 1000, 5, context="https://host/repo.git#main"),
    event("b", 2000, 50, "it broke", **{"vcs:source": "there"}),
    event("c", 3000, 5, "x: context canceled", context="not a repository"),
    event("d", 4000, None),
]


@pytest.mark.parametrize(
    ("filters", "limit", "found"),
    [
        ([], 0, "abcd"),
        ([], 2, "dc"),
        (["ref==a"], 0, "a"),
        (["status==completed"], 0, "a"),
        (["status==error"], 0, "b"),
        (["status==canceled"], 0, "c"),
        (["status==running"], 0, "d"),
        (["status==error", "ref==d"], 0, "bd"),
        (["status!=running,duration<10s"], 0, "ac"),
        (["duration>=50s"], 0, "b"),
        (["startedAt>=50m"], 0, "bcd"),
        (["completedAt<=1970-01-01T00:34:10Z"], 0, "abd"),
        (["repository==https://host/repo.git"], 0, "a"),
        (["repository==there"], 0, "b"),
        (["repository"], 0, "ab"),
        (["nothing"], 0, ""),
    ],
)
def test_filters(filters: list[str], limit: int, found: str) -> None:
    now = 5000 * 1_000_000_000
    passed = filter_events(EVENTS, filters, limit, now)
    assert "".join(each.record.Ref for each in passed) == found


@pytest.mark.parametrize(
    ("filters", "limit", "text"),
    [
        (["startedAt>soon"], 0, "invalid time soon"),
        (["duration<x"], 0, "invalid duration x"),
        ([], -1, "invalid limit -1"),
        (
            ["((("],
            0,
            "failed to parse history filters (((: "
            "filters: parse error: [ >|(|< ((]: expected field or quoted: invalid argument",
        ),
        (['"'], 0, 'parse error on line 1, column 2: extraneous or missing " in quoted-field'),
    ],
)
def test_bad_filters(filters: list[str], limit: int, text: str) -> None:
    with pytest.raises(BuildkitError) as caught:
        filter_events(EVENTS, filters, limit, 0)
    assert str(caught.value) == text


async def test_nobody_changes_the_content() -> None:
    async with daemon_with(None, *STATUSES) as client:
        await build(client, "one")
        digest = (await listed(client))[0].record.logs.digest
        ctx, channel = context.background(), client.channel
        info = await channel.unary(ctx, content_methods.INFO, content_pb2.InfoRequest(digest=digest))
        assert info.info.digest == digest
        stream = await channel.stream(ctx, content_methods.LIST)
        await stream.send(content_pb2.ListContentRequest(filters=[f"digest=={digest}"]))
        await stream.close_send()
        assert [info.digest for response in [r async for r in stream] for info in response.info] == [digest]
        refused = "rpc error: code = Unknown desc = read-only content store"
        with pytest.raises(RpcError) as caught:
            await channel.unary(ctx, content_methods.DELETE, content_pb2.DeleteContentRequest(digest=digest))
        assert caught.value.message == refused
        with pytest.raises(RpcError) as caught:
            await channel.unary(ctx, content_methods.ABORT, content_pb2.AbortRequest(ref="x"))
        assert caught.value.message == refused
        writing = await channel.stream(ctx, content_methods.WRITE)
        await writing.send(content_pb2.WriteContentRequest(ref="x", action=content_pb2.WRITE, data=b"1"))
        with pytest.raises(RpcError) as caught:
            await writing.recv()
        assert caught.value.message == refused
