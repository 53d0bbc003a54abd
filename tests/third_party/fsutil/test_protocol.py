"""Packets that should not come, at both ends, and peers that go away."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from pybuildkit.golang.context import CanceledError, background, with_cancel
from pybuildkit.golang.errors import BuildkitError, error_text
from pybuildkit.third_party import fsutil
from pybuildkit.third_party.fsutil import (
    MODE_DEVICE,
    MODE_DIR,
    MODE_SYMLINK,
    ProtocolError,
    ReceiveOpt,
    Receiver,
    RemoteError,
    Sender,
    SizeError,
    Stat,
    StaticFS,
    new_fs,
    receive,
    send,
)
from pybuildkit.third_party.fsutil._packet import (
    END_OF_LIST,
    FIN_PACKET,
    data_end,
    data_header,
    error_packet,
    request_packet,
    stat_packet,
)
from pybuildkit.third_party.fsutil._tasks import Payload
from tests.third_party.fsutil.changes import make
from tests.third_party.fsutil.streams import pair
from tests.third_party.fsutil.transfer import answers, names, open_descriptors

FILE = stat_packet(Stat(b"f", 0o644, size=3))
DIR = stat_packet(Stat(b"d", MODE_DIR | 0o755))
DATA = data_header(0, 3) + b"abc"
HUGE = stat_packet(Stat(b"huge", 0o644, size=1 << 62))

TO_RECEIVER: dict[str, tuple[list[bytes], type[BaseException], str]] = {
    "two ends": ([FILE, END_OF_LIST, END_OF_LIST], ProtocolError, "second end of the list"),
    "STAT after the end": ([FILE, END_OF_LIST, DIR], ProtocolError, "STAT after the end of the list"),
    "early FIN": ([FILE, END_OF_LIST, FIN_PACKET], ProtocolError, "unexpected FIN from the sender"),
    "FIN before the end": ([FIN_PACKET], ProtocolError, "unexpected FIN from the sender"),
    "REQ": ([request_packet(0)], ProtocolError, "unexpected packet of type 1 from the sender"),
    "unknown type": ([b"\x08\x09"], ProtocolError, "unexpected packet of type 9 from the sender"),
    "data of no file": ([data_end(7)], ProtocolError, "invalid file request 7"),
    "data of a directory": ([DIR, data_header(0, 1) + b"a"], ProtocolError, "invalid file request 0"),
    "data after its end": ([FILE, HUGE, DATA, data_end(0), DATA], ProtocolError, "invalid file request 0"),
    "short": ([FILE, END_OF_LIST, data_end(0)], SizeError, "f is shorter than its size of 3 bytes: 0 received"),
    "long": ([FILE, DATA, DATA], SizeError, "f is longer than its size of 3 bytes"),
    "negative size": ([stat_packet(Stat(b"f", 0, size=-1)), data_end(0)], SizeError, "f is shorter than its size"),
    "error": ([error_packet("oh\nno")], RemoteError, "error from sender: oh\nno"),
    "after the end": ([END_OF_LIST, FIN_PACKET, FIN_PACKET], ProtocolError, "packet after FIN"),
    "..": ([stat_packet(Stat(b"../x", 0o644))], OSError, "escape check ../x: invalid argument"),
    "absolute": ([stat_packet(Stat(b"/x", 0o644))], OSError, "absolute path /x: invalid argument"),
    "NUL": ([stat_packet(Stat(b"a\0b", 0o644))], OSError, "invalid path a\0b: invalid argument"),
    "unclean": ([stat_packet(Stat(b"a//b", 0o644))], OSError, "unclean path a//b: invalid argument"),
    "through a link": (
        [stat_packet(Stat(b"l", MODE_SYMLINK, linkname=b"/tmp")), stat_packet(Stat(b"l/x", 0o644))],
        BuildkitError,
        'changes out of order: "l/x" "l"',
    ),
    "link outside": (
        [stat_packet(Stat(b"l", 0o644, linkname=b"../../etc/passwd"))],
        BuildkitError,
        'invalid link l to unknown path: "../../etc/passwd"',
    ),
    "garbage": ([b"\xff\xff\xff"], BuildkitError, "unexpected EOF"),
}


ODD = [
    Stat(b"a", MODE_SYMLINK | 0o777, linkname=b"x\0y"),
    Stat(b"a", MODE_SYMLINK | 0o777),
    Stat(b"a", MODE_SYMLINK | 0o777, linkname=b"x" * 10_000),
    Stat(b"a" * 300, MODE_DIR | 0o755),
    Stat(b"a", MODE_DIR | 0o755, xattrs={"user.a\0": b"1", "": b"", "user." + "x" * 300: b"", "user.\udcff": b"2"}),
    Stat(b"a", MODE_DIR | 0o755, mod_time=2**63 - 1),
    Stat(b"a", MODE_DIR | 0o755, mod_time=-(2**63)),
    Stat(b"a", MODE_DIR | 0o755, uid=2**32 - 1, gid=2**32 - 1),
    Stat(b"a", MODE_DEVICE | 0o600, devmajor=1 << 62, devminor=-(1 << 62)),
    Stat(b"a", MODE_DEVICE | 0o600, devmajor=-1, devminor=2**32),
    Stat(b"a", 0o644, size=1 << 62),
    Stat(b"a", 0o644, size=-(1 << 62)),
    Stat(b"a", 2**32 - 1),
    Stat(b"a", 0o644, linkname=b"\0"),
]


@pytest.mark.parametrize("stat", ODD, ids=str)
def test_receiver_of_odd_values(tmp_path: Path, stat: Stat) -> None:
    """Whatever an entry holds: it is made, or refused with an error that is one of ours or the system's."""
    core = Receiver(str(tmp_path), ReceiveOpt(special_files=True))
    with contextlib.suppress(BuildkitError, OSError):
        core.feed([stat_packet(stat), END_OF_LIST])
    core.close()
    assert set(names(tmp_path)) <= {"a"}


@pytest.mark.parametrize("name", TO_RECEIVER)
def test_receiver_refuses(tmp_path: Path, name: str) -> None:
    packets, kind, text = TO_RECEIVER[name]
    before = open_descriptors()
    core = Receiver(str(tmp_path), ReceiveOpt())
    with pytest.raises(kind) as err:
        core.feed(packets)
    core.close()
    assert error_text(err.value).startswith(text)
    assert set(names(tmp_path)) <= {"d", "f", "l"}
    assert open_descriptors() <= before


def test_receiver_takes_contents_while_the_list_is_coming(tmp_path: Path) -> None:
    core = Receiver(str(tmp_path), ReceiveOpt())
    assert answers(core, [FILE]) == [request_packet(0)]
    assert answers(core, [DATA, data_end(0)]) == []
    assert answers(core, [stat_packet(Stat(b"g", 0o644)), END_OF_LIST]) == [request_packet(1)]
    assert answers(core, [data_end(1)]) == [FIN_PACKET]
    with pytest.raises(ProtocolError, match=r"^unexpected EOF$"):
        core.end()
    assert answers(core, [FIN_PACKET]) == []
    core.end()
    assert (tmp_path / "f").read_bytes() == b"abc"


def test_receiver_takes_numbers_that_are_longer_than_need_be(tmp_path: Path) -> None:
    """A varint may have zeros at its end; the file is the same."""
    core = Receiver(str(tmp_path), ReceiveOpt())
    core.feed([FILE, END_OF_LIST, b"\x08\x02\x18\x80\x00\x22\x01a", b"\x08\x02\x18\x80\x80\x00\x22\x01b"])
    assert answers(core, [data_header(0, 1) + b"c", data_end(0)]) == [FIN_PACKET]
    core.close()
    assert (tmp_path / "f").read_bytes() == b"abc"


def test_receiver_of_nothing(tmp_path: Path) -> None:
    core = Receiver(str(tmp_path), ReceiveOpt())
    assert answers(core, [END_OF_LIST]) == [FIN_PACKET]
    core.feed([FIN_PACKET])
    assert core.finished


TO_SENDER: dict[str, tuple[bytes, str]] = {
    "no such file": (request_packet(9), "invalid file id 9"),
    "directory": (request_packet(0), "invalid file id 0"),
    "STAT": (FILE, "unexpected packet of type 0 from the receiver"),
    "DATA": (DATA, "unexpected packet of type 2 from the receiver"),
    "error": (error_packet("full"), "error from receiver: full"),
}


def sender_of(root: Path) -> Sender:
    make(root, ["ADD d dir", "ADD d/f file abc", "ADD g file x"])
    return Sender(new_fs(str(root)))


@pytest.mark.parametrize("name", TO_SENDER)
def test_sender_refuses(tmp_path: Path, name: str) -> None:
    raw, text = TO_SENDER[name]
    core = sender_of(tmp_path / "d")
    core.list_more()
    with pytest.raises(BuildkitError) as err:
        core.receive(raw)
    assert error_text(err.value) == text
    core.close()


def test_sender_sends_a_file_once(tmp_path: Path) -> None:
    core = sender_of(tmp_path / "d")
    core.list_more()
    core.receive(request_packet(1))
    with pytest.raises(ProtocolError, match=r"^invalid file id 1$"):
        core.receive(request_packet(1))
    core.read_more()
    with pytest.raises(ProtocolError, match=r"^invalid file id 1$"):
        core.receive(request_packet(1))
    core.close()


def test_sender_refuses_an_early_fin(tmp_path: Path) -> None:
    core = sender_of(tmp_path / "d")
    with pytest.raises(ProtocolError, match=r"^FIN before the end of the list$"):
        core.receive(FIN_PACKET)
    core.list_more()
    core.receive(request_packet(1))
    with pytest.raises(ProtocolError, match=r"^FIN before the end of a file$"):
        core.receive(FIN_PACKET)
    core.read_more()
    core.receive(FIN_PACKET)
    with pytest.raises(ProtocolError, match=r"^packet after FIN$"):
        core.receive(FIN_PACKET)
    core.close()


async def test_streams_that_end_early(tmp_path: Path) -> None:
    """Neither end waits for a peer that has gone, and neither calls it success."""
    source, dest = make(tmp_path / "d", ["ADD f file abc"]), make(tmp_path / "dest", [])
    before = open_descriptors()
    for packets in ([], [FILE], [FILE, END_OF_LIST], [FILE, END_OF_LIST, DATA]):
        near, far = pair()
        await near.send_many(packets)
        await near.close_send()
        with pytest.raises(ProtocolError, match=r"^unexpected EOF$"):
            await receive(background(), far, str(dest), ReceiveOpt())
        assert names(dest) == []
        near, far = pair()
        await far.close_send()
        with pytest.raises(ProtocolError, match=r"^unexpected EOF$"):
            await send(background(), near, new_fs(str(source)))
    assert open_descriptors() <= before


class Broken:
    """A stream that fails after a number of calls."""

    def __init__(self, calls: int, incoming: Sequence[list[bytes]] = ()) -> None:
        self._calls = calls
        self._incoming = list(incoming)

    def _count(self) -> None:
        self._calls -= 1
        if self._calls < 0:
            raise ConnectionResetError(104, "Connection reset by peer")

    async def send_many(self, payloads: Sequence[Payload], /) -> None:
        self._count()

    async def recv_many(self) -> list[bytes]:
        self._count()
        if self._incoming:
            return self._incoming.pop(0)
        await asyncio.get_running_loop().create_future()
        raise AssertionError


@pytest.mark.parametrize("calls", range(4))
async def test_stream_errors_are_raised(tmp_path: Path, calls: int) -> None:
    source, dest = make(tmp_path / "d", ["ADD f file abc"]), make(tmp_path / "dest", [])
    before = open_descriptors()
    with pytest.raises((ConnectionResetError, ProtocolError)):
        await send(background(), Broken(calls, [[request_packet(0)]] * calls), new_fs(str(source)))
    incoming = [[FILE], [END_OF_LIST], [DATA]][:calls]
    with pytest.raises(ConnectionResetError):
        await receive(background(), Broken(calls, incoming), str(dest), ReceiveOpt())
    assert names(dest) == []
    assert open_descriptors() <= before


class Silent:
    """A stream on which something happens and then nothing more."""

    def __init__(self, incoming: list[bytes], reached: asyncio.Event) -> None:
        self._incoming = incoming
        self._reached = reached

    async def send_many(self, payloads: Sequence[Payload], /) -> None:
        return

    async def recv_many(self) -> list[bytes]:
        if self._incoming:
            packets, self._incoming = self._incoming, []
            return packets
        self._reached.set()
        await asyncio.get_running_loop().create_future()
        raise AssertionError


@pytest.mark.parametrize("by_context", [True, False])
@pytest.mark.parametrize("sending", [True, False])
async def test_cancellation_leaves_nothing(tmp_path: Path, by_context: bool, sending: bool) -> None:
    source, dest = make(tmp_path / "d", ["ADD f file abc"]), make(tmp_path / "dest", ["ADD old file old"])
    before, threads = open_descriptors(), len(asyncio.all_tasks())
    ctx, cancel = with_cancel(background())
    reached = asyncio.Event()
    if sending:
        coroutine = send(ctx, Silent([request_packet(0)][:0], reached), new_fs(str(source)))
    else:
        begun = [FILE, stat_packet(Stat(b"g", 0o644, size=1 << 20)), END_OF_LIST, DATA, data_end(0)]
        begun.append(data_header(1, 300_000) + bytes(300_000))
        coroutine = receive(ctx, Silent(begun, reached), str(dest), ReceiveOpt(merge=True))
    task = asyncio.ensure_future(coroutine)
    await reached.wait()
    if by_context:
        cancel()
        with pytest.raises(CanceledError):
            await task
    else:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert set(names(dest)) <= {"f", "old"}
    assert open_descriptors() <= before
    assert len(asyncio.all_tasks()) == threads


class Flood:
    """A sender that never stops."""

    def __init__(self) -> None:
        self.packets = 0

    async def send_many(self, payloads: Sequence[Payload], /) -> None:
        return

    async def recv_many(self) -> list[bytes]:
        self.packets += 1
        return [data_header(0, 1 << 20) + bytes(1 << 20)]


async def test_waiting_packets_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the disk stalls, the stream is not read any further."""
    release = threading.Event()
    stalled = threading.Event()

    def stall(self: Receiver, packets: list[bytes]) -> None:
        stalled.set()
        release.wait(30)

    monkeypatch.setattr(Receiver, "feed", stall)
    flood = Flood()
    task = asyncio.ensure_future(receive(background(), flood, str(tmp_path), ReceiveOpt()))
    while not stalled.is_set():
        await asyncio.sleep(0)
    for _ in range(1000):
        await asyncio.sleep(0)
    assert flood.packets <= 10
    release.set()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_memory_file_systems_are_sent(tmp_path: Path) -> None:
    fs = StaticFS()
    fs.add("Dockerfile", Stat(), b"FROM scratch\n")
    fs.add("empty", Stat(), b"")
    fs.add("large", Stat(), bytes(range(256)) * 4096)
    near, far = pair()
    await asyncio.gather(
        send(background(), near, fs),
        receive(background(), far, str(tmp_path), ReceiveOpt()),
    )
    assert (tmp_path / "Dockerfile").read_bytes() == b"FROM scratch\n"
    assert (tmp_path / "empty").read_bytes() == b""
    assert (tmp_path / "large").read_bytes() == bytes(range(256)) * 4096


async def test_progress_reports_what_moved(tmp_path: Path) -> None:
    source, dest = make(tmp_path / "d", ["ADD f file abc"]), make(tmp_path / "dest", [])
    sent: list[tuple[int, bool]] = []
    received: list[tuple[int, bool]] = []
    near, far = pair()
    await asyncio.gather(
        send(background(), near, new_fs(str(source)), lambda size, last: sent.append((size, last))),
        receive(background(), far, str(dest), ReceiveOpt(progress=lambda size, last: received.append((size, last)))),
    )
    assert sent[-1][1]
    assert sent[-1][0] > 3
    assert received[-1][1]
    assert received[-1][0] >= sent[-1][0]


def test_lazy_names_are_there() -> None:
    for name in fsutil.__all__:
        assert getattr(fsutil, name) is not None
