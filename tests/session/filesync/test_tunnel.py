"""Transfers through a whole session: a gRPC server on Control.Session's call, over a socket.

Health is asked the way a daemon does, while much flows and while a file system stalls. `PYBUILDKIT_TUNNEL_MIB` sets
how much flows in most tests (64; 1024 before a release).
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from pybuildkit.golang import context
from pybuildkit.golang.context import background
from pybuildkit.golang.errors import BuildkitError
from pybuildkit.rpc import Channel, Server, ServerStream
from pybuildkit.rpc._io import socket_stream
from pybuildkit.rpc._types import Endpoint
from pybuildkit.rpc.health import check
from pybuildkit.session import Caller, Manager, new_session
from pybuildkit.session.filesync import (
    FSSendRequestOpt,
    StaticDirSource,
    copy_file_writer,
    copy_to_caller,
    fs_sync,
    new_fs_sync_provider,
    new_fs_sync_target,
    with_fs_sync,
    with_fs_sync_dir,
)
from pybuildkit.session.grpchijack import dialer, hijack
from pybuildkit.session.grpchijack._grpchijack import SESSION
from pybuildkit.third_party.fsutil import FS, MODE_DIR, Entry, File, MemoryFile, ReceiveOpt, Stat, StaticFS
from tests.session.filesync.doubles import Endless, Piped, Stalling

SIZE = int(os.environ.get("PYBUILDKIT_TUNNEL_MIB", "64")) << 20
PATIENCE = 5.0
"""Seconds for one answer; a daemon's patience is 15 s, that of an old one 10 s."""


@asynccontextmanager
async def tunnel(*services: object) -> AsyncIterator[Caller]:
    """A session that serves the services, through a socket; the daemon's Caller."""
    manager = Manager()
    server = Server()

    async def accept(stream: ServerStream[bytes, object]) -> None:
        hijacked, headers = hijack(stream)
        await manager.handle_conn(stream.ctx, hijacked, headers)

    server.add_stream(SESSION, accept)
    near, far = socket.socketpair()
    ctx, cancel = context.with_cancel(background())
    daemon = asyncio.ensure_future(server.serve(socket_stream(far), ctx))
    channel = Channel(lambda timeout: Endpoint(sock=near))
    session = new_session("shared")
    for service in services:
        session.allow(service)  # type: ignore[arg-type]  # all are Attachables
    running = asyncio.ensure_future(session.run(ctx, dialer(channel)))
    try:
        yield await manager.get(ctx, session.id())
    finally:
        await session.close()
        await asyncio.gather(running, return_exceptions=True)
        await channel.close()
        cancel()
        await asyncio.gather(daemon, return_exceptions=True)


def provider(**sources: FS) -> object:
    return new_fs_sync_provider(StaticDirSource(sources))


async def pull(caller: Caller, name: str, dest: Path) -> None:
    os.mkdir(dest)
    opt = FSSendRequestOpt(name=name, dest_dir=str(dest), receive=ReceiveOpt())
    await fs_sync(background(), caller, opt)


async def answers_while(caller: Caller, task: asyncio.Future[Any], least: int = 3) -> float:
    """Ask for health until the task has ended, `least` times before that; the longest wait, in seconds."""
    loop = asyncio.get_running_loop()
    longest, count = 0.0, 0
    while not task.done():
        started = loop.time()
        async with asyncio.timeout(PATIENCE):
            await check(caller.conn(), background())
        longest = max(longest, loop.time() - started)
        count += not task.done()
        await asyncio.sleep(0.001)
    assert count >= least, "the transfer was over too early to tell"
    return longest


async def test_health_while_a_context_flows(tmp_path: Path) -> None:
    """A gibibyte of zeros: they travel, and take no room where they arrive."""
    size = 1 << 30
    source = Endless(big=size)
    source.block = bytes(1 << 20)
    async with tunnel(provider(context=source)) as caller:
        task = asyncio.ensure_future(pull(caller, "context", tmp_path / "got"))
        assert await answers_while(caller, task, least=100) < PATIENCE
        await task
    assert source.read == size
    assert (tmp_path / "got/big").stat().st_size == size


async def test_health_while_a_directory_export_flows(tmp_path: Path) -> None:
    async with tunnel(new_fs_sync_target(with_fs_sync_dir(0, str(tmp_path / "out")))) as caller:
        task = asyncio.ensure_future(copy_to_caller(background(), Endless(big=SIZE), 0, caller))
        assert await answers_while(caller, task) < PATIENCE
        await task
    assert (tmp_path / "out/big").stat().st_size == SIZE


async def test_health_while_much_flows_both_ways(tmp_path: Path) -> None:
    """A context, a directory and a file at once: all arrive, and health is answered meanwhile."""
    sink, size = Sink(), SIZE // 2
    targets = new_fs_sync_target(with_fs_sync(0, lambda metadata: sink), with_fs_sync_dir(1, str(tmp_path / "out")))
    async with tunnel(provider(context=Endless(big=size)), targets) as caller:
        flows = asyncio.gather(
            pull(caller, "context", tmp_path / "got"),
            copy_to_caller(background(), Endless(big=size), 1, caller),
            pour(caller, size, [0]),
        )
        assert await answers_while(caller, flows) < PATIENCE
        await flows
    assert (tmp_path / "got/big").stat().st_size == (tmp_path / "out/big").stat().st_size == size
    assert (sink.size, sink.closed) == (size, True)


class Sink:
    """A file export's writer that counts, and stalls where it is told to."""

    def __init__(self) -> None:
        self.size = 0
        self.closed = False
        self.stall = threading.Event()
        self.stall.set()
        self.stalled = threading.Event()

    def write_all(self, data: bytes | bytearray | memoryview) -> None:
        if not self.stall.is_set():
            self.stalled.set()
            self.stall.wait(30)
        self.size += len(data)

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.stall.set()


async def pour(caller: Caller, size: int, sent: list[int]) -> None:
    """Send a file export of `size` bytes; `sent` counts what was handed over."""
    writer = await copy_file_writer(background(), {}, 0, caller)
    block = bytes(1 << 20)
    for _ in range(size >> 20):
        await writer.write_all(block)
        sent[0] += len(block)
    await writer.close()


async def test_health_while_a_file_export_flows() -> None:
    sink = Sink()
    async with tunnel(new_fs_sync_target(with_fs_sync(0, lambda metadata: sink))) as caller:
        task = asyncio.ensure_future(pour(caller, SIZE, [0]))
        assert await answers_while(caller, task) < PATIENCE
        await task
    assert (sink.size, sink.closed) == (SIZE, True)


async def test_a_destination_that_stalls_stops_the_daemon_and_not_the_health() -> None:
    """What is on its way is bounded by the windows; the rest goes on once the destination does."""
    sink = Sink()
    sink.stall.clear()
    sent = [0]
    async with tunnel(new_fs_sync_target(with_fs_sync(0, lambda metadata: sink))) as caller:
        task = asyncio.ensure_future(pour(caller, 128 << 20, sent))
        before = -1
        while before != sent[0] or not sink.stalled.is_set():
            before = sent[0]
            for _ in range(5):
                await check(caller.conn(), background())
                await asyncio.sleep(0.01)
        assert sent[0] <= (16 << 20) + (8 << 20), "one window, and what the queues hold"
        sink.stall.set()
        await task
    assert sink.size == 128 << 20


@pytest.mark.parametrize(("where", "size"), [("walk", 4), ("open", 4), ("read", 4), ("read", 1 << 20)])
async def test_a_file_system_that_stalls_stops_neither_health_nor_other_transfers(
    tmp_path: Path, where: str, size: int
) -> None:
    """A FIFO or a network file system whose server is gone: one thread hangs, nothing else does."""
    stalling = Stalling(where, size)
    small = StaticFS()
    small.add("f", Stat(), b"content")
    async with tunnel(provider(context=stalling, other=small)) as caller:
        task = asyncio.ensure_future(pull(caller, "context", tmp_path / "got"))
        while not stalling.entered.is_set():
            await asyncio.sleep(0.001)
        for _ in range(20):
            async with asyncio.timeout(PATIENCE):
                await check(caller.conn(), background())
        async with asyncio.timeout(PATIENCE):
            await pull(caller, "other", tmp_path / "other")
        assert (tmp_path / "other/f").read_bytes() == b"content"
        assert not task.done()
        stalling.release.set()
        async with asyncio.timeout(PATIENCE):
            await task
    assert (tmp_path / "got/f").stat().st_size == size


async def test_an_open_that_hangs_in_the_system(tmp_path: Path) -> None:
    """A FIFO that nobody writes to: health is answered, an export flows beside it, and then the context comes."""
    os.mkfifo(tmp_path / "fifo")
    piped = Piped(str(tmp_path / "fifo"))
    async with tunnel(
        provider(context=piped), new_fs_sync_target(with_fs_sync_dir(0, str(tmp_path / "out")))
    ) as caller:
        task = asyncio.ensure_future(pull(caller, "context", tmp_path / "got"))
        while not piped.entered.is_set():
            await asyncio.sleep(0.001)
        flow = asyncio.ensure_future(copy_to_caller(background(), Endless(big=16 << 20), 0, caller))
        assert await answers_while(caller, flow) < PATIENCE
        await flow
        assert not task.done()
        await asyncio.to_thread((tmp_path / "fifo").write_bytes, b"data")
        async with asyncio.timeout(PATIENCE):
            await task
    assert (tmp_path / "got/f").read_bytes() == b"data"


async def test_a_session_ends_beside_a_file_system_that_hangs(tmp_path: Path) -> None:
    stalling = Stalling("open")
    async with tunnel(provider(context=stalling)) as caller:
        task = asyncio.ensure_future(pull(caller, "context", tmp_path / "got"))
        while not stalling.entered.is_set():
            await asyncio.sleep(0.001)
        ending = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - ending < 2 * PATIENCE
    with pytest.raises((BuildkitError, OSError)):
        await task
    stalling.release.set()


async def test_one_that_does_not_read_starves_no_other(tmp_path: Path) -> None:
    """Four transfers, one of whose receivers stops: the others end, and the stopped one's sender is held back."""
    sources = {f"s{n}": Endless(big=8 << 20) for n in range(3)}
    stopped = Endless(big=256 << 20)
    async with tunnel(provider(stopped=stopped, **sources)) as caller:
        from pybuildkit.session.filesync._filesync import DIFF_COPY

        call = await caller.conn().stream(background(), DIFF_COPY, metadata=[("dir-name", "stopped")])
        assert await call.recv_many()
        await call.send_many([b"\x08\x01"])
        async with asyncio.timeout(6 * PATIENCE):
            await asyncio.gather(*(pull(caller, name, tmp_path / name) for name in sources))
        await check(caller.conn(), background())
        assert stopped.read <= (16 << 20) + (8 << 20), "one window, and what the queues hold"
        call.cancel()
    for name in sources:
        assert (tmp_path / name / "big").stat().st_size == 8 << 20


async def test_many_transfers_share_the_tunnel(tmp_path: Path) -> None:
    """Equal transfers advance together: when the first has ended, no other is far behind."""
    size = 24 << 20
    sources = {f"s{n}": Endless(big=size) for n in range(6)}
    async with tunnel(provider(**sources)) as caller:
        tasks = [asyncio.ensure_future(pull(caller, name, tmp_path / name)) for name in sources]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        assert min(source.read for source in sources.values()) >= size // 8
        await asyncio.gather(*tasks)


def peak() -> int:
    """The process's peak memory since `forget_peak`, in KiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1])
    pytest.skip("this system does not tell the peak of memory")


def forget_peak() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError as err:
        pytest.skip(f"this system does not forget the peak of memory: {err}")


async def test_memory_is_bounded_by_the_windows(tmp_path: Path) -> None:
    """Both ends are in this process; what flows is far more than they may hold."""
    async with tunnel(
        provider(context=Endless(big=SIZE)), new_fs_sync_target(with_fs_sync_dir(0, str(tmp_path / "out")))
    ) as caller:
        forget_peak()
        before = peak()
        await pull(caller, "context", tmp_path / "got")
        await copy_to_caller(background(), Endless(big=SIZE), 0, caller)
        assert peak() - before < min(SIZE >> 10, 56 << 10) * 3 // 4


def test_doubles_are_file_systems() -> None:
    """The doubles keep the contract of what they stand for."""
    fs: FS = Endless(big=3 << 20)
    entries: Iterator[Entry] = fs.walk(b"")
    stats = [entry.stat() for entry in entries]
    assert [(stat.path, stat.size, stat.mode & MODE_DIR) for stat in stats] == [(b"big", 3 << 20, 0)]
    file: File = fs.open(b"big")
    assert sum(len(piece) for piece in iter(lambda: file.read(1 << 20), b"")) == 3 << 20
    assert MemoryFile(b"").read(1) == b""


async def test_export_is_written_although_the_daemon_has_ended_the_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A daemon confirms the end and drops the call at once; a slow disk has not written everything by then."""
    from pybuildkit.rpc import _server
    from pybuildkit.session.filesync._synctarget import FILE_SEND, SyncTarget
    from pybuildkit.third_party.fsutil import _receiver, send

    monkeypatch.setattr(_server, "_GRACE_SECONDS", 0.01)
    ended = threading.Event()
    feed = _receiver.Receiver.feed

    def slow(self: _receiver.Receiver, packets: list[bytes]) -> None:
        feed(self, packets)
        if self.finished:
            ended.wait(20)

    settle = SyncTarget._settle

    async def settling(self: SyncTarget, receiving: asyncio.Task[None]) -> None:
        ended.set()
        await settle(self, receiving)

    monkeypatch.setattr(_receiver.Receiver, "feed", slow)
    monkeypatch.setattr(SyncTarget, "_settle", settling)
    files = StaticFS()
    files.add(b"name", Stat(mode=0o644), b"content")
    target = new_fs_sync_target(with_fs_sync_dir(0, str(tmp_path)))
    async with tunnel(target) as caller:
        stream = await caller.conn().stream(caller.context(background()), FILE_SEND, metadata=[])
        await send(background(), stream, files)
        stream.cancel()
    assert ended.is_set()
    assert target.missing() == []
    assert target.incomplete() == []
    assert (tmp_path / "name").read_bytes() == b"content"


@pytest.mark.parametrize("whole", [True, False])
async def test_call_dropped_in_place_of_the_confirmation(tmp_path: Path, whole: bool) -> None:
    """A Go daemon that has our FIN may drop the call and its own FIN with it; before that the export is broken."""
    from pybuildkit.session.filesync._synctarget import FILE_SEND
    from pybuildkit.third_party.fsutil._packet import END_OF_LIST, FIN, decode_packet, stat_packet

    target = new_fs_sync_target(with_fs_sync_dir(0, str(tmp_path)))
    async with tunnel(target) as caller:
        stream = await caller.conn().stream(caller.context(background()), FILE_SEND, metadata=[])
        entry = Stat(path=b"name", mode=0o644 if not whole else 0o755 | MODE_DIR, size=0 if whole else 5)
        await stream.send_many([stat_packet(entry), END_OF_LIST])
        packets = [decode_packet(raw) for raw in await stream.recv_many()]
        assert [packet.type == FIN for packet in packets] == [whole]
        stream.cancel()
    assert bool(target.missing()) is not whole
    assert bool(target.incomplete()) is not whole
    assert (tmp_path / "name").is_dir() is whole
