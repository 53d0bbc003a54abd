"""Containers of a frontend in the test: what they mount, what failed steps leave in them, cancelling."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from pybuildkit.client import ExportEntry, llb
from pybuildkit.frontend.gateway import client as gateway
from pybuildkit.frontend.gateway.pb import ExitError
from pybuildkit.golang import context
from pybuildkit.golang.context import Context
from pybuildkit.golang.errors import BuildkitError, find
from pybuildkit.session.secrets import secretsprovider
from pybuildkit.session.sshforward import sshprovider
from pybuildkit.solver.errdefs import SolveError
from pybuildkit.solver.pb import ops_pb2
from tests.conformance import registry
from tests.conformance.services import kind, need, ssh_agent
from tests.conformance.test_gateway import Input, Output, Ready, release, request, rootfs, run_build, solve, source

__all__ = ["rootfs"]  # the fixture

SHELL = "/bin/busybox"
HOST = llb.network(ops_pb2.HOST)


def step(base: llb.State, text: str, *options: llb.RunOption) -> llb.ExecState:
    """A step of a shell that no daemon has cached."""
    words = [SHELL, "sh", "-c", f": {os.urandom(6).hex()}; {text}"]
    return HOST(base).run(llb.args(words), *options)


def bind(dest: str, ref: gateway.Reference | None = None, result_id: str = "") -> gateway.Mount:
    return gateway.Mount(dest=dest, ref=ref, result_id=result_id, mount_type=ops_pb2.MountType.BIND)


async def output_of(ctx: Context, container: gateway.Container, command: str, **more: object) -> str:
    """What a process that ends well writes."""
    out = Output()
    process = await container.start(ctx, request(command, stdout=out, stderr=Output(), **more))
    await process.wait()
    return out.data.decode()


async def new_container(
    ctx: Context, client: gateway.Client, mounts: Sequence[gateway.Mount], **more: object
) -> gateway.Container:
    """A container whose first process sleeps until it is released."""
    wanted = gateway.NewContainerRequest(mounts=mounts, net_mode=ops_pb2.HOST, **more)  # type: ignore[arg-type]  # checked at run time
    container = await client.new_container(ctx, wanted)
    await container.start(ctx, request(f"{SHELL} sleep 1000"))
    return container


async def test_client_gateway_container_mounts(addr: str, rootfs: Path, tmp_path: Path) -> None:
    """Results, a cache, a tmpfs, a secret and an agent; files are read in each mount."""
    need(addr, "containers")
    cache = f"cache-{os.urandom(6).hex()}"
    with ssh_agent(tmp_path) as agent:
        ssh = sshprovider.new_ssh_agent_provider([sshprovider.AgentConfig(id="agent", paths=[agent.socket])])
        secret = secretsprovider.from_map({"secret": b"foo-secret"})

        async def build(ctx: Context, client: gateway.Client) -> gateway.Result:
            mount = llb.add_mount("/cached", llb.scratch(), llb.as_persistent_cache_dir(cache, llb.CACHE_MOUNT_SHARED))
            root = step(source(), f"{SHELL} touch /root-file /cached/cache-file", mount).root()
            foo = step(source(), f"{SHELL} touch /made/foo-file", llb.add_mount("/made", llb.scratch()))
            sharing = ops_pb2.CacheSharingOpt.SHARED
            mounts = [
                bind("/", await solve(ctx, client, root)),
                bind("/foo", await solve(ctx, client, foo.get_mount("/made"))),
                bind("/local", await solve(ctx, client, llb.local("rootfs"))),
                gateway.Mount(
                    dest="/cached",
                    mount_type=ops_pb2.MountType.CACHE,
                    cache_opt=ops_pb2.CacheOpt(ID=cache, sharing=sharing),
                ),
                gateway.Mount(dest="/tmpfs", mount_type=ops_pb2.MountType.TMPFS),
                gateway.Mount(
                    dest="/run/mine",
                    mount_type=ops_pb2.MountType.SECRET,
                    secret_opt=ops_pb2.SecretOpt(ID="secret", mode=0o400),
                ),
                gateway.Mount(
                    dest="/agent", mount_type=ops_pb2.MountType.SSH, ssh_opt=ops_pb2.SSHOpt(ID="agent", mode=0o600)
                ),
            ]
            container = await new_container(ctx, client, mounts)
            seen = await output_of(
                ctx,
                container,
                "for f in /root-file /foo/foo-file /local/data/one.txt /cached/cache-file; do "
                "busybox test -f $f || exit 9; "
                "done; busybox touch /tmpfs/x && busybox test -S /agent && busybox cat /run/mine",
                env=["PATH=/bin"],
            )
            assert seen == "foo-secret"
            if kind(addr) != "docker":  # it knows no reading in mounts
                for index, path, content in (
                    (0, "/root-file", b""),
                    (1, "/foo-file", b""),
                    (2, "/data/one.txt", b"0123456789"),
                ):
                    assert (await container.stat_file(ctx, path, index)).size == len(content)
                    assert await container.read_file(ctx, path, mount_index=index) == content
                entries = await container.read_dir(ctx, "/data", mount_index=2)
                assert [entry.path for entry in entries] == [b"link", b"one.txt", b"two.bin"]
            await release(ctx, container)
            return gateway.Result()

        await run_build(addr, rootfs, build, session=[ssh, secret])


async def test_client_gateway_container_secret_env_and_hosts(addr: str, rootfs: Path) -> None:
    """testClientGatewayContainerSecretEnv and ...ExtraHosts"""
    need(addr, "containers", "secret-env")
    secret = secretsprovider.from_map({"sekrit": b"foo-secret"})

    async def build(ctx: Context, client: gateway.Client) -> gateway.Result:
        mounts = [bind("/", await solve(ctx, client, source()))]
        hosts = [ops_pb2.HostIP(Host="some.host", IP="169.254.11.22")]
        container = await new_container(ctx, client, mounts, extra_hosts=hosts)
        given = [ops_pb2.SecretEnv(ID="sekrit", name="SOME_SECRET")]
        assert await output_of(ctx, container, "echo -n $SOME_SECRET", secret_env=given) == "foo-secret"
        assert "169.254.11.22\tsome.host\n" in await output_of(ctx, container, f"{SHELL} cat /etc/hosts")
        await release(ctx, container)
        return gateway.Result()

    await run_build(addr, rootfs, build, session=[secret])


EXEC_ERRORS: list[tuple[str, Callable[[], list[llb.RunOption]], int, list[str]]] = [
    ("echo ID > /made && fail", list, 1, ["/made"]),
    (
        "echo ID > /made && echo ID > /rw/data && fail",
        lambda: [llb.add_mount("/rw", llb.scratch())],
        2,
        ["/made", "/rw/data"],
    ),
    (
        "echo ID > /made && echo ID > /rw/data && fail",
        lambda: [llb.add_mount("/rw", llb.scratch().file(llb.mkfile("foo", 0o700, b"kept")))],
        2,
        ["/made", "/rw/data"],
    ),
    (
        "echo ID > /made && echo ID > /readonly/foo",
        lambda: [llb.add_mount("/readonly", llb.scratch(), llb.readonly)],
        2,
        ["/made"],
    ),
    (
        "echo ID > /made && echo ID > /rw/data && fail",
        lambda: [llb.add_mount("/rw", llb.scratch().file(llb.mkdir("x", 0o700)), llb.force_no_output)],
        2,
        ["/made", "/rw/data"],
    ),
]


async def failed(ctx: Context, client: gateway.Client, state: llb.State) -> SolveError:
    """The error of a state that cannot be solved."""
    with pytest.raises(BuildkitError) as caught:
        await solve(ctx, client, state)
    error = find(caught.value, SolveError)
    assert error is not None
    return error


async def test_client_gateway_exec_error(addr: str, rootfs: Path) -> None:
    """What a failed step had written is in the results that its error names."""
    need(addr, "containers", "solve-error")

    async def build(ctx: Context, client: gateway.Client) -> gateway.Result:
        for text, options, count, paths in EXEC_ERRORS:
            name = os.urandom(6).hex()
            state = step(source(), text.replace("ID", name), *options()).root()
            detail = (await failed(ctx, client, state)).detail
            assert (len(detail.inputIDs), len(detail.mountIDs)) == (count, count), text
            run = detail.op.exec
            mounts = [
                gateway.Mount(
                    dest=mount.dest,
                    selector=mount.selector,
                    result_id=result,
                    readonly=mount.readonly,
                    mount_type=mount.mountType,
                )
                for mount, result in zip(run.mounts, detail.mountIDs, strict=True)
            ]
            container = await new_container(ctx, client, mounts, platform=detail.op.platform)
            for path in paths:
                got = await output_of(ctx, container, f"{SHELL} cat {path} || echo missing", env=run.meta.env)
                assert got == name + "\n", f"{path} of: {text}"
            await release(ctx, container)
        return gateway.Result()

    await run_build(addr, rootfs, build)


async def test_client_gateway_exec_file_action_error(addr: str, rootfs: Path) -> None:
    """A failed file op: what its first actions made, and what the failed one would have copied."""
    need(addr, "containers", "solve-error")
    name = os.urandom(6).hex()
    made = llb.mkdir("/foo", 0o700).mkfile("/foo/bar", 0o700, name.encode())
    cases = [
        (
            llb.scratch().file(
                llb.mkdir("/found", 0o700)
                .mkfile("/found/foo", 0o600, name.encode())
                .mkfile("/notfound/foo", 0o600, name.encode())
            ),
            (0, 3),
            "/input/found/foo",
        ),
        (source().file(llb.copy(llb.scratch().file(made), "/foo/bar", "/notfound/baz")), (2, 1), "/secondary/foo/bar"),
        (
            source().file(llb.copy(made.with_state(llb.scratch()), "/foo/bar", "/notfound/baz")),
            (1, 3),
            "/secondary/foo/bar",
        ),
    ]

    async def build(ctx: Context, client: gateway.Client) -> gateway.Result:
        shell = await solve(ctx, client, source())
        for state, counts, path in cases:
            detail = (await failed(ctx, client, state)).detail
            assert (len(detail.inputIDs), len(detail.mountIDs)) == counts
            action = detail.op.file.actions[detail.file.index]
            mounts = [bind("/", shell), bind("/input", result_id=detail.mountIDs[detail.file.index])]
            if action.secondaryInput != -1:
                results = [*detail.inputIDs, *detail.mountIDs]
                mounts.append(bind("/secondary", result_id=results[action.secondaryInput]))
            container = await new_container(ctx, client, mounts)
            assert await output_of(ctx, container, f"{SHELL} cat {path}") == name
            await release(ctx, container)
        return gateway.Result()

    await run_build(addr, rootfs, build)


async def with_container(addr: str, rootfs: Path, use: Callable[[Context, gateway.Container], Awaitable[None]]) -> None:
    need(addr, "containers")

    async def build(ctx: Context, client: gateway.Client) -> gateway.Result:
        container = await new_container(ctx, client, [bind("/", await solve(ctx, client, source()))])
        await use(ctx, container)
        await release(ctx, container)
        return gateway.Result()

    await run_build(addr, rootfs, build)


async def test_client_gateway_container_cancel_exec_tty(addr: str, rootfs: Path) -> None:
    """The end of a process's context ends the wait for it; other processes go on."""

    async def use(ctx: Context, container: gateway.Container) -> None:
        own, cancel = context.with_cancel(ctx)
        out = Ready(b"said\r\n")
        typed = Input([b"echo sa''id; sleep 1000\n"])
        process = await container.start(
            own, gateway.StartRequest(args=[SHELL, "sh"], cwd="/", tty=True, stdin=typed, stdout=out, stderr=Output())
        )
        await out.event.wait()
        cancel()
        with pytest.raises(context.CanceledError):
            await process.wait()
        assert await output_of(ctx, container, "echo still here") == "still here\n"

    await with_container(addr, rootfs, use)


async def test_client_gateway_container_exec_pipe_release(addr: str, rootfs: Path) -> None:
    """A release while data flows ends the processes; a start behind it is refused at once."""

    async def use(ctx: Context, container: gateway.Container) -> None:
        out = Ready()
        process = await container.start(ctx, request(f"echo ready; {SHELL} sleep 1000", stdout=out, stderr=Output()))
        await out.event.wait()
        await release(ctx, container)
        with pytest.raises(BuildkitError):
            await process.wait()
        with pytest.raises(BuildkitError, match="previously released or not created"):
            await asyncio.wait_for(container.start(ctx, request("true")), 10)

    await with_container(addr, rootfs, use)


async def test_container_of_results_that_are_none(addr: str, rootfs: Path) -> None:
    need(addr, "containers")

    async def build(ctx: Context, client: gateway.Client) -> gateway.Result:
        with pytest.raises(BuildkitError):
            await client.new_container(ctx, gateway.NewContainerRequest(mounts=[bind("/", result_id="no such result")]))
        return gateway.Result()

    await run_build(addr, rootfs, build)


async def test_client_gateway_canceled_credentials_callback_returns(addr: str, rootfs: Path) -> None:
    """A question that is given up ends although the session's answer to the daemon never comes."""
    from pybuildkit.client.llb.sourceresolver import Opt
    from pybuildkit.rpc import Server
    from pybuildkit.session.auth import _methods as methods
    from pybuildkit.session.auth import auth_pb2 as pb
    from tests.session.auth.tokenserver import token_server

    asked = asyncio.Event()
    told: list[bool] = []

    class Silent:
        def register(self, server: Server) -> None:
            server.add_unary(methods.CREDENTIALS, self.credentials)

        async def credentials(self, ctx: Context, request: pb.CredentialsRequest) -> pb.CredentialsResponse:
            asked.set()
            await ctx.done()
            told.append(True)
            return pb.CredentialsResponse()

    challenge = {"WWW-Authenticate": 'Basic realm="the test"'}
    with token_server(lambda _: (401, challenge, {})) as server:
        host = server.url.removeprefix("http://").partition("/")[0]

        async def build(ctx: Context, client: gateway.Client) -> gateway.Result:
            own, cancel = context.with_cancel(ctx)
            asking = asyncio.ensure_future(client.resolve_image_config(own, f"{host}/img:latest", Opt()))
            await asyncio.wait_for(asked.wait(), 10)
            cancel()
            with pytest.raises((BuildkitError, context.CanceledError)):
                await asyncio.wait_for(asking, 10)
            return gateway.Result()

        await asyncio.wait_for(run_build(addr, rootfs, build, session=[Silent()]), 20)
    assert told


class Terminal:
    """A shell's terminal: what is typed, what it shows, and lines that are waited for."""

    def __init__(self) -> None:
        self.shown = b""
        self._typed: asyncio.Queue[bytes] = asyncio.Queue()
        self._news = asyncio.Event()

    async def read(self, n: int) -> bytes:
        return await self._typed.get()

    async def write_all(self, data: bytes) -> None:
        self.shown += data
        self._news.set()

    def type(self, line: str) -> None:
        self._typed.put_nowait(line.encode() + b"\n")

    async def expect(self, line: str, *answer: str) -> None:
        """Type a line, and wait until its answer stands in a line of its own."""
        seen = len(self.shown)
        self.type(line)
        wanted = "".join(f"\r\n{text}" for text in answer).encode() + b"\r\n"
        while wanted not in self.shown[seen:]:
            self._news.clear()
            await asyncio.wait_for(self._news.wait(), 20)

    def request(self) -> gateway.StartRequest:
        return gateway.StartRequest(
            args=[SHELL, "sh"], cwd="/", env=["PATH=/bin"], tty=True, stdin=self, stdout=self, stderr=Output()
        )


async def with_terminal(
    addr: str, rootfs: Path, first: bool, use: Callable[[Context, Terminal, gateway.ContainerProcess], Awaitable[None]]
) -> None:
    """Give the function a shell on a terminal: the container's first process, or one beside it."""
    need(addr, "containers")

    async def build(ctx: Context, client: gateway.Client) -> gateway.Result:
        mounts = [bind("/", await solve(ctx, client, source()))]
        if first:
            wanted = gateway.NewContainerRequest(mounts=mounts, net_mode=ops_pb2.HOST)
            container = await client.new_container(ctx, wanted)
        else:
            container = await new_container(ctx, client, mounts)
        own, cancel = context.with_cancel(ctx)
        terminal = Terminal()
        try:
            process = await container.start(own, terminal.request())
            await use(context.with_value(own, "cancel", cancel), terminal, process)
        finally:
            await release(ctx, container)
        return gateway.Result()

    await run_build(addr, rootfs, build)


SIZE = "until [ \"$(busybox stty size)\" = '{}' ]; do :; done; busybox stty size"


@pytest.mark.parametrize("first", [True, False])
async def test_client_gateway_container_terminals(addr: str, rootfs: Path, first: bool) -> None:
    """testClientGatewayContainerPID1Tty, ...ExecTty: sizes, a session of a shell, and its exit code."""

    async def use(ctx: Context, terminal: Terminal, process: gateway.ContainerProcess) -> None:
        await process.resize(ctx, gateway.WinSize(rows=40, cols=80))
        await terminal.expect(SIZE.format("40 80"), "40 80")
        await terminal.expect("cd /data; pwd", "/data")
        await terminal.expect("echo foobar > newfile; busybox cat /data/newfile", "foobar")
        await process.resize(ctx, gateway.WinSize(rows=60, cols=100))
        await terminal.expect(SIZE.format("60 100"), "60 100")
        terminal.type("exit 99")
        with pytest.raises(ExitError) as caught:
            await process.wait()
        assert caught.value.exit_code == 99

    await with_terminal(addr, rootfs, first, use)


async def test_client_gateway_container_cancel_pid1_tty(addr: str, rootfs: Path) -> None:
    """testClientGatewayContainerCancelPID1Tty"""

    async def use(ctx: Context, terminal: Terminal, process: gateway.ContainerProcess) -> None:
        await terminal.expect("echo hi", "hi")
        ctx.value("cancel")()
        with pytest.raises(context.CanceledError):
            await process.wait()

    await with_terminal(addr, rootfs, True, use)


UNIX_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
WINDOWS_PATH = "c:\\Windows\\System32;c:\\Windows;C:\\Windows\\System32\\WindowsPowerShell\\v1.0"


@pytest.mark.parametrize(
    ("platform", "path"),
    [
        (None, UNIX_PATH),
        (ops_pb2.Platform(OS="linux"), UNIX_PATH),
        (ops_pb2.Platform(OS="windows"), WINDOWS_PATH),
    ],
)
async def test_client_gateway_container_platform_path(
    addr: str, rootfs: Path, platform: ops_pb2.Platform | None, path: str
) -> None:
    """testClientGatewayContainerPlatformPATH"""
    need(addr, "containers")
    if kind(addr) == "docker":
        path = path.partition(";C:")[0]  # what Windows itself has was added later

    async def build(ctx: Context, client: gateway.Client) -> gateway.Result:
        mounts = [bind("/", await solve(ctx, client, source()))]
        wanted = gateway.NewContainerRequest(mounts=mounts, net_mode=ops_pb2.HOST, platform=platform)
        container = await client.new_container(ctx, wanted)
        assert await output_of(ctx, container, "echo -n $PATH") == path
        await container.release(ctx)
        return gateway.Result()

    await run_build(addr, rootfs, build)


def slow_cache(name: str) -> llb.State:
    """A step whose read-only mount is of a folder that is not there: its cache key cannot be computed."""
    data = llb.scratch().file(llb.mkdir("/found", 0o700).mkfile("/found/data", 0o600, name.encode()))
    return step(source(), "echo hello", llb.add_mount("/src", data, llb.source_path("/notfound"), llb.readonly)).root()


async def test_client_gateway_slow_cache_exec_error(addr: str, rootfs: Path) -> None:
    """testClientGatewaySlowCacheExecError: the error names the input, which a container then shows."""
    need(addr, "containers", "solve-error")
    name = os.urandom(6).hex()

    async def build(ctx: Context, client: gateway.Client) -> gateway.Result:
        detail = (await failed(ctx, client, slow_cache(name))).detail
        assert detail.op.WhichOneof("op") == "exec"
        assert detail.WhichOneof("subject") == "cache"
        assert (len(detail.inputIDs), len(detail.mountIDs)) == (1, 0)
        mounts = [
            bind("/", await solve(ctx, client, source())),
            bind("/problem", result_id=detail.inputIDs[0]),
        ]
        container = await new_container(ctx, client, mounts)
        assert await output_of(ctx, container, f"{SHELL} cat /problem/found/data") == name
        await release(ctx, container)
        return gateway.Result()

    await run_build(addr, rootfs, build)


async def test_client_slow_cache_rootfs_ref(addr: str, rootfs: Path) -> None:
    """testClientSlowCacheRootfsRef: a lazy result fails when it is looked at; its root file system stays."""
    need(addr, "containers")

    async def lazily(ctx: Context, client: gateway.Client, state: llb.State) -> gateway.Reference:
        definition = await state.marshal(ctx)
        ref = (await client.solve(ctx, gateway.SolveRequest(definition=definition.to_pb()))).single_ref()
        assert ref is not None
        return ref

    async def build(ctx: Context, client: gateway.Client) -> gateway.Result:
        broken = await lazily(ctx, client, slow_cache(os.urandom(6).hex()))
        with pytest.raises(BuildkitError, match="notfound"):
            await broken.stat_file(ctx, ".")
        whole = await lazily(ctx, client, source())
        assert (await whole.stat_file(ctx, "bin/busybox")).size > 0
        return gateway.Result()

    await run_build(addr, rootfs, build)


async def test_client_gateway_empty_image_exec(addr: str, rootfs: Path, tmp_path: Path) -> None:
    """testClientGatewayEmptyImageExec: a program in an image of no layers is an error, not a crash."""
    need(addr, "containers", "image-store")

    async def nothing(ctx: Context, client: gateway.Client) -> gateway.Result:
        return gateway.Result()

    with registry.serve(tmp_path / "registry") as where:
        name = f"{where.host}/empty:latest"

        async def build(ctx: Context, client: gateway.Client) -> gateway.Result:
            state = HOST(llb.image(name)).run(llb.args(["echo", "hello"])).root()
            with pytest.raises(BuildkitError, match='process "echo hello" did not complete successfully'):
                await solve(ctx, client, state)
            return gateway.Result()

        exports = [ExportEntry(type="image", attrs={"name": name, "push": "true"})]
        await run_build(addr, rootfs, nothing, exports=exports)
        await run_build(addr, rootfs, build)
