"""The client library against daemons: several solves at once, typed errors, contexts in memory."""

from __future__ import annotations

import asyncio
import shutil
import time
import uuid
from pathlib import Path

import pytest

from pybuildkit import client
from pybuildkit.frontend.gateway.pb import ExitError
from pybuildkit.golang import context, errors
from pybuildkit.golang.chan import Chan
from pybuildkit.golang.errors import BuildkitError
from pybuildkit.solver.errdefs import SourceError, VertexError, print_source, sources
from pybuildkit.third_party import fsutil
from tests.conformance.services import need


def dockerfile(text: str) -> fsutil.StaticFS:
    """A context in memory that holds nothing but a Dockerfile.

    Its time is new: a daemon takes a file of the same size and time for unchanged.
    """
    files = fsutil.StaticFS()
    files.add(b"Dockerfile", fsutil.Stat(mode=0o644, mod_time=time.time_ns()), text.encode())
    return files


def options(text: str, dest: Path) -> client.SolveOpt:
    """A build of a Dockerfile in memory."""
    files = dockerfile(text)
    return client.SolveOpt(
        frontend="dockerfile.v0",
        local_mounts={"context": files, "dockerfile": files},
        exports=[client.ExportEntry(type="local", output_dir=str(dest))],
    )


async def test_several_solves_at_once_on_one_client(addr: str, tmp_path: Path) -> None:
    ctx = context.background()
    async with await client.new(ctx, addr) as connection:

        async def one(number: int) -> list[client.SolveStatus]:
            status: Chan[client.SolveStatus] = Chan()
            text = f"# {uuid.uuid4()}\nFROM scratch\nCOPY Dockerfile /copy-{number}\n"
            solving = asyncio.ensure_future(connection.solve(ctx, None, options(text, tmp_path / str(number)), status))
            seen = [message async for message in status]
            await solving
            return seen

        statuses = await asyncio.gather(*(one(number) for number in range(6)))
    for number in range(6):
        assert [path.name for path in (tmp_path / str(number)).iterdir()] == [f"copy-{number}"]
    assert all(any(vertex.completed for message in seen for vertex in message.vertexes) for seen in statuses)


@pytest.mark.parametrize("how", ["cancelled", "deadline"])
async def test_a_reader_that_has_gone_holds_no_cancelled_solve_up(addr: str, tmp_path: Path, how: str) -> None:
    """Nobody takes the statuses: the end of the context is the end of the solve."""
    async with await client.new(context.background(), addr) as connection:
        ctx, cancel = context.with_cancel(context.background())
        if how == "deadline":
            ctx, cancel = context.with_timeout(context.background(), 0.3)
        status: Chan[client.SolveStatus] = Chan()
        opt = options(f"# {uuid.uuid4()}\nFROM scratch\nCOPY Dockerfile /x\n", tmp_path / "out")
        solving = asyncio.ensure_future(connection.solve(ctx, None, opt, status))
        if how == "cancelled":
            assert (await status.recv())[1]
            cancel()
        async with asyncio.timeout(10):
            await asyncio.gather(solving, return_exceptions=True)
        assert status.closed
        cancel()


async def test_one_failing_solve_leaves_the_others_alone(addr: str, tmp_path: Path) -> None:
    ctx = context.background()
    async with await client.new(ctx, addr) as connection:
        good = options(f"# {uuid.uuid4()}\nFROM scratch\nCOPY Dockerfile /x\n", tmp_path / "good")
        bad = options("FROM scratch\nCOPY missing /x\n", tmp_path / "bad")
        results = await asyncio.gather(
            connection.solve(ctx, None, good), connection.solve(ctx, None, bad), return_exceptions=True
        )
        assert isinstance(results[0], client.SolveResponse)
        assert isinstance(results[1], BuildkitError)
        assert "missing" in str(results[1])
        assert await connection.list_workers(ctx)
    assert (tmp_path / "good/x").is_file()


async def test_errors_name_the_source_line(addr: str, tmp_path: Path) -> None:
    if addr.startswith("docker:"):
        pytest.skip("the BuildKit of Docker 20.10 sends no source ranges for this error")
    ctx = context.background()
    async with await client.new(ctx, addr) as connection:
        with pytest.raises(BuildkitError) as caught:
            await connection.solve(ctx, None, options("FROM scratch\nNOSUCH thing\n", tmp_path / "out"))
    assert errors.find(caught.value, SourceError) is not None
    shown = "".join(print_source(source) for source in sources(caught.value))
    assert ">>> NOSUCH thing" in shown


async def test_failed_step_is_told_by_its_parts(addr: str, tmp_path: Path, busybox: Path) -> None:
    """A caller finds the exit code, the step and its place in the Dockerfile without reading any text."""
    need(addr, "run", "solve-error")
    shutil.copy(busybox, tmp_path / "busybox")
    text = 'FROM scratch\nCOPY busybox /\nRUN ["/busybox", "sh", "-c", "exit 7"]\n'
    (tmp_path / "Dockerfile").write_text(text)
    files = fsutil.new_fs(str(tmp_path))
    opt = client.SolveOpt(
        frontend="dockerfile.v0",
        frontend_attrs={"force-network-mode": "host"},
        local_mounts={"context": files, "dockerfile": files},
        allowed_entitlements=["network.host"],
    )
    ctx = context.background()
    async with await client.new(ctx, addr) as connection:
        with pytest.raises(BuildkitError, match="exit code: 7") as caught:
            await connection.solve(ctx, None, opt)
    ended = errors.find(caught.value, ExitError)
    assert ended is not None
    assert ended.exit_code == 7
    vertex = errors.find(caught.value, VertexError)
    assert vertex is not None
    assert vertex.detail.digest.startswith("sha256:")
    (source,) = sources(caught.value)
    assert [span.start.line for span in source.ranges] == [3]


async def test_credentials_go_with_every_call(addr: str) -> None:
    ctx = context.background()
    asked = 0

    def creds() -> list[tuple[str, str | bytes]]:
        nonlocal asked
        asked += 1
        return [("authorization", f"Bearer {asked}")]

    async with await client.new(ctx, addr, client.with_rpc_creds(creds)) as connection:
        await connection.list_workers(ctx)
        await connection.list_workers(ctx)
    assert asked == 2


async def test_wait_returns_once_the_daemon_answers(addr: str) -> None:
    ctx, cancel = context.with_timeout(context.background(), 20)
    async with await client.new(ctx, addr) as connection:
        await connection.wait(ctx)
    cancel()


async def test_wait_gives_up_with_the_context(tmp_path: Path) -> None:
    ctx, cancel = context.with_timeout(context.background(), 0.05)
    async with await client.new(ctx, f"unix://{tmp_path}/none.sock") as connection:
        with pytest.raises(context.DeadlineExceededError):
            await connection.wait(ctx)
    cancel()
