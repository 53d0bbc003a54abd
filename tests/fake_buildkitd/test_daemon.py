"""Builds on the daemon through our own client: caching, changes, errors, the gateway, the other calls."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from fake_buildkitd import Daemon
from pybuildkit.api.services.control import _methods as control
from pybuildkit.api.services.control import control_pb2 as pb
from pybuildkit.client import Client, llb
from pybuildkit.client._solveopt import ExportEntry, SolveOpt
from pybuildkit.frontend.gateway import client as gateway
from pybuildkit.frontend.gateway.pb import _methods as bridge
from pybuildkit.frontend.gateway.pb import gateway_pb2
from pybuildkit.golang import context
from pybuildkit.golang.context import Context
from pybuildkit.golang.errors import BuildkitError, find
from pybuildkit.solver.errdefs import SolveError, VertexError, sources
from tests.fake_buildkitd.helpers import build_dockerfile, connected, settled, solve, tree_on_disk, write_tree

DOCKERFILE = """\
FROM scratch AS one
COPY a /
FROM scratch
COPY --from=one /a /x/
COPY d /d/
"""
FILES = {"a": "1", "d/b": "2", "d/c": "3", "unused": "4", "Dockerfile": DOCKERFILE}
COPIES = {"[one 1/1] COPY a /", "[stage-1 1/2] COPY --from=one /a /x/", "[stage-1 2/2] COPY d /d/"}


async def test_second_build_is_cached(tmp_path: Path) -> None:
    files = write_tree(tmp_path / "src", FILES)
    async with Daemon() as daemon, connected(daemon) as client:
        first = await build_dockerfile(client, files, tmp_path / "one")
        assert first.error is None
        assert first.cached() == set()
        os.utime(files / "a")
        second = await build_dockerfile(client, files, tmp_path / "two")
        assert second.cached() == COPIES
        want = {"d": ("d755", ""), "d/b": ("f644", "2"), "d/c": ("f644", "3"), "x": ("d755", ""), "x/a": ("f644", "1")}
        assert tree_on_disk(tmp_path / "one") == tree_on_disk(tmp_path / "two") == want


@pytest.mark.parametrize(
    ("change", "cached"),
    [
        ("unused", COPIES),
        ("a", set()),
        ("d/b", COPIES - {"[stage-1 2/2] COPY d /d/"}),
    ],
)
async def test_only_what_changed_runs_again(tmp_path: Path, change: str, cached: set[str]) -> None:
    files = write_tree(tmp_path / "src", FILES)
    async with Daemon() as daemon, connected(daemon) as client:
        await build_dockerfile(client, files, None)
        (files / change).write_text("something else")
        assert (await build_dockerfile(client, files, None)).cached() == cached


async def test_nothing_runs_before_all_keys_are_known(tmp_path: Path) -> None:
    files = write_tree(tmp_path / "src", {"a": "1", "Dockerfile": "FROM scratch\nCOPY a /x\nCOPY none /\n"})
    async with Daemon() as daemon, connected(daemon) as client:
        built = await build_dockerfile(client, files, None)
        assert str(built.error).endswith('"/none": not found')
        assert built.cached() == {"[1/2] COPY a /x"}  # what did not run below a step that was begun is shown so


async def test_what_only_made_a_cached_step_is_not_needed(tmp_path: Path) -> None:
    files = write_tree(tmp_path / "src", {"a": "1", "Dockerfile": "FROM scratch\nCOPY a /x\nCOPY a /y\n"})
    async with Daemon() as daemon, connected(daemon) as client:
        await build_dockerfile(client, files, None)
        store = daemon.store()
        store.remove([each.id for each in store.snapshots() if each.description == "[1/2] COPY a /x"])
        built = await build_dockerfile(client, files, tmp_path / "out")
        assert built.cached() == {"[1/2] COPY a /x", "[2/2] COPY a /y"}
        assert set(tree_on_disk(tmp_path / "out")) == {"x", "y"}


async def test_directories_of_roots_have_a_time(tmp_path: Path) -> None:
    text = "FROM scratch AS none\nFROM scratch\nCOPY . /all/\nCOPY --from=none / /nothing/\n"
    files = write_tree(tmp_path / "src", {"a": "1", "Dockerfile": text})
    async with Daemon(clock=lambda: 1_700_000_000_000_000_000) as daemon, connected(daemon) as client:
        assert (await build_dockerfile(client, files, tmp_path / "out")).error is None
    assert {name: (tmp_path / "out" / name).stat().st_mtime for name in ("all", "nothing")} == {
        "all": 1_700_000_000,
        "nothing": 1_700_000_000,
    }


async def test_no_cache(tmp_path: Path) -> None:
    files = write_tree(tmp_path / "src", FILES)
    async with Daemon() as daemon, connected(daemon) as client:
        await build_dockerfile(client, files, None)
        assert (await build_dockerfile(client, files, None, {"no-cache": ""})).cached() == set()
        again = await build_dockerfile(client, files, None, {"no-cache": "one"})
        assert "[one 1/1] COPY a /" not in again.cached()


async def test_state_survives_the_daemon(tmp_path: Path) -> None:
    files = write_tree(tmp_path / "src", FILES)
    for cached in (set(), COPIES):
        async with Daemon(state=str(tmp_path / "state")) as daemon, connected(daemon) as client:
            assert (await build_dockerfile(client, files, tmp_path / "out")).cached() == cached


async def test_run_is_refused_and_images_are_asked_for(tmp_path: Path) -> None:
    run = write_tree(tmp_path / "run", {"Dockerfile": "FROM scratch\nRUN echo hi\n"})
    image = write_tree(tmp_path / "image", {"Dockerfile": "FROM 127.0.0.1:1/none\n"})
    async with Daemon() as daemon, connected(daemon) as client:
        built = await build_dockerfile(client, run, None)
        assert str(built.error) == "failed to solve: Unimplemented: RUN: this daemon cannot run processes"
        assert list(built.errors()) == ["[1/1] RUN echo hi"]
        assert [r.start.line for source in sources(built.error) for r in source.ranges] == [2]
        built = await build_dockerfile(client, image, None)
        refused = (
            'failed to do request: Head "http://127.0.0.1:1/v2/none/manifests/latest": '
            "dial tcp 127.0.0.1:1: connect: connection refused"
        )
        name = "127.0.0.1:1/none:latest"
        assert built.errors() == {f"[internal] load metadata for {name}": refused}
        failed = f"127.0.0.1:1/none: failed to resolve source metadata for {name}: {refused}"
        assert str(built.error) == f"failed to solve: {failed}"


async def test_several_builds_at_once(tmp_path: Path) -> None:
    files = write_tree(tmp_path / "src", FILES)
    async with Daemon() as daemon, connected(daemon) as client:
        builds = [build_dockerfile(client, files, tmp_path / str(number)) for number in range(6)]
        for built in await asyncio.gather(*builds):
            assert built.error is None
    assert len({str(tree_on_disk(tmp_path / str(number))) for number in range(6)}) == 1


async def test_merge_and_diff(tmp_path: Path) -> None:
    lower = llb.scratch().file(llb.mkfile("/a", 0o644, "1").mkfile("/b", 0o644, "2"))
    upper = lower.file(llb.rm("/a").mkfile("/c", 0o644, "3"))
    other = llb.scratch().file(llb.mkfile("/a", 0o600, "x").mkdir("/d", 0o755))
    state = llb.merge([other, llb.diff(lower, upper)])
    definition = await state.marshal(context.background(), llb.linux_amd64)
    opt = SolveOpt(exports=[ExportEntry(type="local", output_dir=str(tmp_path))])
    async with Daemon() as daemon, connected(daemon) as client:
        built = await solve(client, opt, definition)
    assert built.error is None
    assert tree_on_disk(tmp_path) == {"c": ("f644", "3"), "d": ("d755", "")}


async def in_gateway(client: Client, function: object) -> BaseException | None:
    """The error of a build whose frontend is a function."""
    from pybuildkit.golang.chan import Chan

    try:
        await client.build(context.background(), SolveOpt(), "", function, Chan(1000))  # type: ignore[arg-type]  # a BuildFunc
    except BuildkitError as err:
        return err
    return None


async def test_gateway_files() -> None:
    seen: list[object] = []

    async def frontend(ctx: Context, client: gateway.Client) -> gateway.Result:
        state = llb.scratch().file(llb.mkdir("/d", 0o750).mkfile("/d/f", 0o640, "content").symlink("f", "/d/l"))
        definition = await state.marshal(ctx, llb.linux_amd64)
        result = await client.solve(ctx, gateway.SolveRequest(definition=definition.to_pb()))
        ref = result.single_ref()
        assert ref is not None
        seen.append(await ref.read_file(ctx, "/d/l"))
        seen.append(await ref.read_file(ctx, "d/f", gateway.FileRange(offset=2, length=3)))
        entries = await ref.read_dir(ctx, "/d", "f")
        seen.append([entry.path for entry in entries])
        seen.append((await ref.stat_file(ctx, "/d/f")).size)
        for name in ("/none", "/d"):
            try:
                await ref.read_file(ctx, name)
            except BuildkitError as err:
                seen.append(str(err))
        return result

    async with Daemon() as daemon, connected(daemon) as client:
        assert await in_gateway(client, frontend) is None
    assert seen == [
        b"content",
        b"nte",
        [b"f"],
        7,
        "open /none: no such file or directory",
        "/d is not a regular file",
    ]


async def test_gateway_errors_carry_the_op() -> None:
    found: list[SolveError | None] = []

    async def frontend(ctx: Context, client: gateway.Client) -> gateway.Result:
        state = llb.scratch().file(llb.mkdir("/d", 0o750).mkdir("/x/y", 0o750), llb.with_custom_name("my step"))
        definition = await state.marshal(ctx, llb.linux_amd64)
        try:
            return await client.solve(ctx, gateway.SolveRequest(definition=definition.to_pb(), evaluate=True))
        except BuildkitError as err:
            found.append(find(err, SolveError))
            raise

    async with Daemon() as daemon, connected(daemon) as client:
        err = await in_gateway(client, frontend)
    assert str(err) == "failed to solve: mkdir /x/y: no such file or directory"
    assert find(err, VertexError) is not None
    (solve_error,) = found
    assert solve_error is not None
    assert solve_error.detail.file.index == 1
    assert solve_error.detail.description["llb.customname"] == "my step"
    assert len(solve_error.detail.op.file.actions) == 2


async def test_unknown_builds() -> None:
    async with Daemon() as daemon, connected(daemon) as client:
        ctx = context.background()
        with pytest.raises(BuildkitError, match="forwarding Ping: no buildid found in context"):
            await client.unary(ctx, bridge.PING, gateway_pb2.PingRequest())
        metadata = [("buildkit-controlapi-buildid", "nobody")]
        with pytest.raises(BuildkitError, match="forwarding Ping: no such job nobody"):
            await client.unary(ctx, bridge.PING, gateway_pb2.PingRequest(), metadata)


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (pb.SolveRequest(Frontend="nope"), "invalid frontend: nope"),
        (pb.SolveRequest(Exporters=[pb.Exporter(Type="nope")]), 'exporter "nope" could not be found'),
        (pb.SolveRequest(Exporters=[pb.Exporter(Type="moby")]), 'exporter "moby" could not be found'),
        (pb.SolveRequest(Entitlements=["network.host"]), "granting entitlement network.host is not allowed"),
        (
            pb.SolveRequest(Exporters=[pb.Exporter(Type="local", Attrs={"mode": "x"})]),
            'invalid local exporter mode "x"',
        ),
        (
            pb.SolveRequest(Exporters=[pb.Exporter(Type="local", Attrs={"platform-split": "x"})]),
            "non-bool value for platform-split: x",
        ),
        (
            pb.SolveRequest(Cache=pb.CacheOptions(Exports=[pb.CacheOptionsEntry(Type="x")])),
            'unknown cache exporter: "x"',
        ),
    ],
)
async def test_refused_requests(request_: pb.SolveRequest, reason: str) -> None:
    request_.Ref = "r"
    async with Daemon() as daemon, connected(daemon) as client:
        with pytest.raises(BuildkitError) as caught:
            await client.unary(context.background(), control.SOLVE, request_)
    assert reason in str(caught.value)


async def test_history_and_status_of_a_finished_build(tmp_path: Path) -> None:
    files = write_tree(tmp_path / "src", {"Dockerfile": "FROM scratch\nCOPY Dockerfile /\n"})
    async with Daemon() as daemon, connected(daemon) as client:
        built = await build_dockerfile(client, files, None)
        ctx = context.background()
        events = await client.stream(ctx, control.LISTEN_BUILD_HISTORY)
        await events.send(pb.BuildHistoryRequest(EarlyExit=True))
        await events.close_send()
        (event,) = [event async for event in events]
        assert (event.type, event.record.numCompletedSteps) == (pb.COMPLETE, len(built.names()))
        again = await client.stream(ctx, control.STATUS)
        await again.send(pb.StatusRequest(Ref=event.record.Ref))
        await again.close_send()
        names = {vertex.name async for response in again for vertex in response.vertexes}
        assert names == set(built.names())


async def test_disk_usage_and_prune(tmp_path: Path) -> None:
    files = write_tree(tmp_path / "src", FILES)
    async with Daemon() as daemon, connected(daemon) as client:
        await build_dockerfile(client, files, None)
        ctx = context.background()
        usage = await client.unary(ctx, control.DISK_USAGE, pb.DiskUsageRequest())
        assert {record.RecordType for record in usage.record} == {"regular", "source.local"}
        stream = await client.stream(ctx, control.PRUNE)
        await stream.send(pb.PruneRequest(all=True))
        await stream.close_send()
        assert len([record async for record in stream]) == len(usage.record)
        assert not (await client.unary(ctx, control.DISK_USAGE, pb.DiskUsageRequest())).record
        assert (await build_dockerfile(client, files, None)).cached() == set()


async def test_cancelled_build_leaves_nothing(tmp_path: Path) -> None:
    files = write_tree(tmp_path / "src", FILES)
    async with Daemon() as daemon, connected(daemon) as client:
        await build_dockerfile(client, files, None)
        await settled(0)
        before = len(asyncio.all_tasks())
        for moment in range(12):
            build = asyncio.ensure_future(build_dockerfile(client, files, None, {"no-cache": ""}))
            await asyncio.sleep(moment / 1000)
            build.cancel()
            await asyncio.gather(build, return_exceptions=True)
        assert (await build_dockerfile(client, files, None)).error is None
        assert await settled(before) <= before
