"""A frontend in the test: solves, files of results, containers. Ports testClientGateway… of client/build_test.go."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pybuildkit import client as buildkit
from pybuildkit.client import SolveOpt, llb
from pybuildkit.frontend.gateway import client as gateway
from pybuildkit.frontend.gateway.pb import ExitError
from pybuildkit.golang import context
from pybuildkit.golang.context import Context
from pybuildkit.golang.errors import BuildkitError
from pybuildkit.solver.pb import ops_pb2
from pybuildkit.third_party import fsutil
from tests.conformance.services import kind, need

BG = context.background()
SHELL = "/bin/busybox"
Build = Callable[[Context, gateway.Client], Awaitable["gateway.Result | None"]]


@dataclass
class Output:
    """Takes what a process writes."""

    data: bytearray = field(default_factory=bytearray)

    async def write_all(self, data: bytes) -> None:
        self.data += data


@dataclass
class Input:
    """Gives a process its standard input."""

    pieces: list[bytes]

    async def read(self, n: int) -> bytes:
        return self.pieces.pop(0) if self.pieces else b""


@pytest.fixture
def rootfs(tmp_path: Path, busybox: Path) -> Path:
    """A folder with a shell, some files, and no access rights that a daemon would lose."""
    root = tmp_path / "rootfs"
    (root / "bin").mkdir(parents=True)
    shutil.copy(busybox, root / "bin/busybox")
    (root / "data").mkdir()
    (root / "data/one.txt").write_text("0123456789")
    (root / "data/two.bin").write_bytes(b"\x00\x01")
    (root / "data/link").symlink_to("one.txt")
    return root


async def run_build(addr: str, rootfs: Path, build: Build, **options: object) -> buildkit.SolveResponse:
    """Run the function as a frontend on the daemon, with `rootfs` as its local source."""
    opt = SolveOpt(
        local_mounts={"rootfs": fsutil.new_fs(str(rootfs))},
        allowed_entitlements=[] if kind(addr) == "embedded" else ["network.host"],
        **options,  # type: ignore[arg-type]  # checked at run time
    )
    async with await buildkit.new(BG, addr) as client:
        return await client.build(BG, opt, "the test", build)


async def solve(ctx: Context, client: gateway.Client, state: llb.State) -> gateway.Reference:
    """Solve a state now, and give its reference."""
    definition = await state.marshal(ctx)
    result = await client.solve(ctx, gateway.SolveRequest(definition=definition.to_pb(), evaluate=True))
    ref = result.single_ref()
    assert ref is not None
    return ref


def source() -> llb.State:
    return llb.scratch().file(llb.copy(llb.local("rootfs"), "/", "/"))


async def test_client_gateway_solve(addr: str, tmp_path: Path, rootfs: Path) -> None:
    content = os.urandom(20).hex()

    async def build(ctx: Context, client: gateway.Client) -> gateway.Result:
        assert client.build_opts().opts["given"] == "value"
        assert client.build_opts().product == "the test"
        assert client.build_opts().workers
        ref = await solve(ctx, client, llb.scratch().file(llb.mkfile("/made", 0o600, content.encode())))
        assert await ref.read_file(ctx, "made") == content.encode()
        result = gateway.Result()
        result.set_ref(ref)
        return result

    exports = [buildkit.ExportEntry(type="local", output_dir=str(tmp_path / "out"))]
    await run_build(addr, rootfs, build, exports=exports, frontend_attrs={"given": "value"})
    assert (tmp_path / "out/made").read_text() == content


async def test_client_gateway_reads_files(addr: str, rootfs: Path) -> None:
    async def build(ctx: Context, client: gateway.Client) -> gateway.Result:
        ref = await solve(ctx, client, source())
        assert await ref.read_file(ctx, "data/one.txt", gateway.FileRange(offset=2, length=3)) == b"234"
        names = [(e.path, e.size) for e in await ref.read_dir(ctx, "data")]
        # Docker 20.10 tells only the files' own sizes
        assert sorted(name for name, _ in names) == [b"link", b"one.txt", b"two.bin"]
        assert [e.path for e in await ref.read_dir(ctx, "data", "*.txt")] == [b"one.txt"]
        stat = await ref.stat_file(ctx, "data/two.bin")
        assert (stat.path, stat.size) == (b"two.bin", 2)
        with pytest.raises(BuildkitError, match="no such file or directory"):
            await ref.read_file(ctx, "data/missing")
        return gateway.Result()

    await run_build(addr, rootfs, build)


async def test_client_gateway_empty_solve(addr: str, rootfs: Path) -> None:
    async def build(ctx: Context, client: gateway.Client) -> gateway.Result:
        result = await client.solve(ctx, gateway.SolveRequest(evaluate=True))
        assert result.single_ref() is None
        assert result.refs is None
        return result

    await run_build(addr, rootfs, build)


async def test_client_gateway_nil_result(addr: str, rootfs: Path) -> None:
    async def build(ctx: Context, client: gateway.Client) -> None:
        return None

    await run_build(addr, rootfs, build)


async def test_client_gateway_failed_solve(addr: str, rootfs: Path) -> None:
    async def build(ctx: Context, client: gateway.Client) -> gateway.Result:
        raise BuildkitError("expected to fail")

    with pytest.raises(BuildkitError, match="expected to fail"):
        await run_build(addr, rootfs, build)


async def test_client_gateway_failed_step(addr: str, rootfs: Path) -> None:
    async def build(ctx: Context, client: gateway.Client) -> gateway.Result:
        await solve(ctx, client, source().file(llb.copy(llb.local("rootfs"), "/no-such-file", "/")))
        raise AssertionError("the solve has not failed")

    with pytest.raises(BuildkitError, match="no-such-file"):
        await run_build(addr, rootfs, build)


async def test_no_and_unknown_build_id(addr: str, rootfs: Path) -> None:
    """testNoBuildID and testUnknownBuildID: gateway calls belong to a build that runs."""
    from pybuildkit.client import buildid
    from pybuildkit.frontend.gateway.pb import _methods as methods
    from pybuildkit.frontend.gateway.pb import gateway_pb2 as pb

    async with await buildkit.new(BG, addr) as client:
        with pytest.raises(BuildkitError, match=r"no buildid found in context|no such build"):
            await client.unary(BG, methods.PING, pb.PingRequest())
        with pytest.raises(BuildkitError, match=r"no such (build|job)"):
            await client.unary(BG, methods.PING, pb.PingRequest(), buildid.outgoing("nobody"))


async def release(ctx: Context, container: gateway.Container) -> None:
    """Release a container; the daemon answers with what its first process ended with, which the test knows."""
    with contextlib.suppress(BuildkitError):
        await container.release(ctx)


async def containers(addr: str, rootfs: Path, use: Callable[[Context, gateway.Container], Awaitable[None]]) -> None:
    """Run a function with a container of `rootfs` at a daemon that lets frontends have one."""
    need(addr, "containers")

    async def build(ctx: Context, client: gateway.Client) -> gateway.Result:
        ref = await solve(ctx, client, source())
        mounts = [gateway.Mount(dest="/", ref=ref, mount_type=ops_pb2.MountType.BIND)]
        container = await client.new_container(ctx, gateway.NewContainerRequest(mounts=mounts, net_mode=ops_pb2.HOST))
        await use(ctx, container)
        return gateway.Result()

    await run_build(addr, rootfs, build)


def request(command: str, **more: object) -> gateway.StartRequest:
    return gateway.StartRequest(args=[SHELL, "sh", "-c", command], cwd="/", **more)  # type: ignore[arg-type]  # as above


async def test_client_gateway_container_exec_pipe(addr: str, rootfs: Path) -> None:
    """One process's output is another's input; 1 MiB comes back whole, standard error apart."""
    sent = [os.urandom(65536) for _ in range(16)]
    whole = b"".join(sent)

    async def use(ctx: Context, container: gateway.Container) -> None:
        first = await container.start(ctx, request(f"{SHELL} sleep 1000"))
        out, err = Output(), Output()
        start = request("echo $GREETING >&2; busybox cat", env=["PATH=/bin", "GREETING=hello"])
        process = await container.start(
            ctx, gateway.StartRequest(**{**vars(start), "stdin": Input(list(sent)), "stdout": out, "stderr": err})
        )
        await process.wait()
        assert bytes(err.data) == b"hello\n"
        assert bytes(out.data) == whole
        again = Output()
        pid = await container.start(
            ctx, request(f"{SHELL} wc -c", stdin=Input([bytes(out.data)]), stdout=again, stderr=Output())
        )
        await pid.wait()
        assert again.data.split()[0] == b"1048576"
        await release(ctx, container)
        with pytest.raises(BuildkitError):
            await first.wait()

    await containers(addr, rootfs, use)


@pytest.mark.parametrize("code", [0, 7, 99])
async def test_client_gateway_container_exit_codes(addr: str, rootfs: Path, code: int) -> None:
    """A process's own code; the release ends the first process."""

    async def use(ctx: Context, container: gateway.Container) -> None:
        first = await container.start(ctx, request(f"{SHELL} sleep 1000"))
        process = await container.start(ctx, request(f"exit {code}"))
        if code == 0:
            await process.wait()
        else:
            with pytest.raises(ExitError) as caught:
                await process.wait()
            assert caught.value.exit_code == code
        await release(ctx, container)
        with pytest.raises(BuildkitError):
            await first.wait()

    await containers(addr, rootfs, use)


class Ready(Output):
    """Tells when the process has said that it is ready, by a text."""

    def __init__(self, text: bytes = b"ready\n") -> None:
        super().__init__()
        self.text = text
        self.event = asyncio.Event()

    async def write_all(self, data: bytes) -> None:
        await super().write_all(data)
        if self.text in self.data:
            self.event.set()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 42), (signal.SIGKILL, 137)])
async def test_client_gateway_container_signal(addr: str, rootfs: Path, number: signal.Signals, code: int) -> None:
    """Ports ...Signal and ...ExecPipeSignalKill: a trap's exit code, and the one of being killed."""
    need(addr, "signals")

    async def use(ctx: Context, container: gateway.Container) -> None:
        out = Ready()
        command = f"trap 'exit 42' TERM; echo ready; while true; do {SHELL} sleep 0.05; done"
        process = await container.start(ctx, request(command, stdout=out, stderr=Output()))
        await out.event.wait()
        await process.signal(ctx, number)
        with pytest.raises(ExitError) as caught:
            await process.wait()
        assert caught.value.exit_code == code
        with pytest.raises(BuildkitError, match="has ended"):
            await process.signal(ctx, signal.SIGTERM)
        await release(ctx, container)

    await containers(addr, rootfs, use)


async def test_client_gateway_container_cancel_on_release(addr: str, rootfs: Path) -> None:
    async def use(ctx: Context, container: gateway.Container) -> None:
        process = await container.start(ctx, request(f"{SHELL} sleep 1000"))
        await release(ctx, container)
        with pytest.raises(BuildkitError):
            await process.wait()

    await containers(addr, rootfs, use)


async def test_client_gateway_container_tty(addr: str, rootfs: Path) -> None:
    """Ports ...ExecTty: a terminal, its size, and its one output."""

    async def use(ctx: Context, container: gateway.Container) -> None:
        out = Output()
        commands = Input([b"echo one two | busybox wc -w\n", b"exit 99\n"])
        process = await container.start(
            ctx,
            gateway.StartRequest(
                args=[SHELL, "sh"], cwd="/", env=["PATH=/bin"], tty=True, stdin=commands, stdout=out, stderr=Output()
            ),
        )
        await process.resize(ctx, gateway.WinSize(rows=20, cols=80))
        with pytest.raises(ExitError) as caught:
            await process.wait()
        assert caught.value.exit_code == 99
        assert b"\r\n2\r\n" in out.data

    await containers(addr, rootfs, use)
