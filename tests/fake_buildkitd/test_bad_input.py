"""Clients that send garbage, die in the middle or name files that lead outside: an error for them, for nobody else.

Every sweep runs beside a good build on the same daemon, whose state is in a folder; what lies around that folder must
be as it was.
"""

from __future__ import annotations

import asyncio
import random
import socket
import stat
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from fake_buildkitd import Daemon
from fake_buildkitd.faults import Direction, Fault, FaultKind
from pybuildkit.client import llb
from pybuildkit.client._solveopt import SolveOpt
from pybuildkit.golang import context
from pybuildkit.golang.errors import BuildkitError, error_text
from pybuildkit.third_party import fsutil
from tests.fake_buildkitd.helpers import build_dockerfile, connected, solve, tree_on_disk, write_tree

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
FILES = {"Dockerfile": "FROM scratch\nCOPY f* /\n", "f1": "one", "f2": "two"}
EVIL = Path("/tmp/evil-of-a-hostile-client")
WANT = {"f1": ("f644", "one"), "f2": ("f644", "two")}


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """An HTTP/2 frame."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


SETTINGS = frame(4, 0, 0, b"")
GARBAGE: list[bytes] = [
    b"",
    b"\0",
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(40),
    PREFACE[:10],
    PREFACE,
    PREFACE + b"\xff" * 4096,
    PREFACE + SETTINGS + b"\xff" * 9,
    PREFACE + SETTINGS + frame(0, 0, 1, b"data on no stream"),
    PREFACE + SETTINGS + frame(1, 4, 1, b"\xff\xff\xff\xff"),
    PREFACE + SETTINGS + frame(1, 4, 2, b"\x82"),
    PREFACE + SETTINGS + frame(9, 4, 1, b"\x82"),
    PREFACE + SETTINGS + frame(6, 0, 0, b"short"),
    PREFACE + SETTINGS + frame(8, 0, 0, bytes(4)),
    PREFACE + SETTINGS + frame(4, 0, 0, b"12345"),
    PREFACE + SETTINGS + (1 << 20).to_bytes(3, "big") + bytes(6) + bytes(2000),
    PREFACE + SETTINGS + frame(1, 0, 1, b"\x82" * 100) + frame(0, 0, 1, b""),
    PREFACE + SETTINGS + frame(7, 0, 0, bytes(8)) + frame(1, 5, 1, b"\x83\x86\x84\x41\x01x"),
    *(PREFACE * (seed % 2) + random.Random(seed).randbytes(3000) for seed in range(20)),
]


@asynccontextmanager
async def good_builds(daemon: Daemon, folder: Path) -> AsyncIterator[None]:
    """Builds that go on, one after the other, and must all be good; at least one runs after the end."""
    source = write_tree(folder / "good", FILES)
    over = asyncio.Event()

    async def build() -> None:
        count = 0
        while True:
            last = over.is_set()
            (source / "f1").write_text("one")
            async with connected(daemon) as client:
                built = await build_dockerfile(client, source, folder / f"out{count}", {"no-cache": ""})
            assert built.error is None, str(built.error)
            assert tree_on_disk(folder / f"out{count}") == WANT
            count += 1
            if last:
                return

    builds = asyncio.ensure_future(build())
    try:
        yield
    finally:
        over.set()
        await builds


def around(folder: Path) -> dict[str, str]:
    """What lies beside the state folder, and that nothing has got to where the hostile names lead."""
    assert not EVIL.exists()
    return {path.name: path.read_text() for path in folder.iterdir() if path.name != "state"}


async def throw(daemon: Daemon, data: bytes) -> None:
    """Send bytes to a daemon as a client that then waits for its end of the connection, and goes."""
    ours, theirs = socket.socketpair()
    serving = asyncio.ensure_future(daemon.serve_socket(theirs))
    reader, writer = await asyncio.open_connection(sock=ours)
    try:
        writer.write(data)
        writer.write_eof()
        await asyncio.wait_for(reader.read(), 20)
    except OSError:
        pass  # reset by the daemon
    writer.close()
    try:
        await asyncio.wait_for(serving, 20)
    except (BuildkitError, OSError):
        pass  # how the daemon saw it; never anything else


async def test_garbage_on_the_socket(tmp_path: Path) -> None:
    outside = write_tree(tmp_path / "place", {"keep": "me"})
    async with Daemon(state=str(outside / "state")) as daemon:
        async with good_builds(daemon, tmp_path):
            for data in GARBAGE:
                await throw(daemon, data)
        assert len(asyncio.all_tasks()) < 10
    assert around(outside) == {"keep": "me"}


@pytest.mark.parametrize("direction", list(Direction))
@pytest.mark.parametrize("kind", [FaultKind.RESET, FaultKind.EOF, FaultKind.TRUNCATE, FaultKind.GARBAGE])
async def test_client_that_dies_at_any_frame(tmp_path: Path, kind: FaultKind, direction: Direction) -> None:
    source = write_tree(tmp_path / "bad", {**FILES, "f3": "x" * 100_000})
    outside = write_tree(tmp_path / "place", {"keep": "me"})
    broken = 0
    async with Daemon(state=str(outside / "state")) as daemon:
        async with good_builds(daemon, tmp_path):
            first = 2 * list(FaultKind).index(kind) + list(Direction).index(direction)
            for number in range(first % 5, 80, 5):
                fault = Fault(kind, number, direction, seed=number)
                async with connected(daemon, fault) as client:
                    built = await asyncio.wait_for(build_dockerfile(client, source, None, {"no-cache": ""}), 30)
                broken += built.error is not None
        assert broken > 2
    assert around(outside) == {"keep": "me"}


def file(path: bytes, **fields: object) -> tuple[bytes, fsutil.Stat]:
    """An entry of a hostile client."""
    made = fsutil.Stat(path, fsutil.go_mode(stat.S_IFREG | 0o644), size=1, mod_time=1)
    for name, value in fields.items():
        setattr(made, name, value)
    return path, made


def folder(path: bytes) -> tuple[bytes, fsutil.Stat]:
    return file(path, mode=fsutil.go_mode(stat.S_IFDIR | 0o755), size=0)


def link(path: bytes, target: bytes) -> tuple[bytes, fsutil.Stat]:
    return file(path, mode=fsutil.go_mode(stat.S_IFLNK | 0o777), linkname=target, size=0)


# Hard links to nowhere and contents of another size: our sender mends them; see sources/test_receive.py.
HOSTILE: dict[str, list[tuple[bytes, fsutil.Stat]]] = {
    "dot dot": [file(b"../evil")],
    "only dot dot": [file(b"..")],
    "dot dot inside": [folder(b"a"), file(b"a/../../evil")],
    "absolute": [file(bytes(EVIL))],
    "dot": [file(b".")],
    "dot inside": [folder(b"a"), file(b"a/./evil")],
    "empty": [file(b"")],
    "two slashes": [folder(b"a"), file(b"a//evil")],
    "slash at the end": [folder(b"a/")],
    "nul": [file(b"ev\0il")],
    "below a link": [link(b"a", b"/tmp"), file(b"a/evil")],
    "below a file": [file(b"a"), file(b"a/evil")],
    "without its folder": [file(b"a/evil")],
    "twice": [file(b"a"), file(b"a")],
    "out of order": [file(b"b"), file(b"a")],
    "type of no kind": [file(b"a", mode=(1 << 31) | (1 << 27) | 0o644)],
    "negative size": [file(b"a", size=-1)],
    "less than it said": [file(b"a", size=1 << 40)],
}


class HostileFS:
    """A client's directory that is not one."""

    def __init__(self, entries: Sequence[tuple[bytes, fsutil.Stat]]) -> None:
        self._entries = entries

    def walk(self, target: bytes = b"") -> Iterator[fsutil.Entry]:
        """The entries as they are."""
        for path, made in self._entries:
            yield fsutil.Entry(path, made.is_dir(), made.clone())

    def open(self, path: bytes) -> fsutil.File:
        """One byte, whatever the entry said."""
        fs = fsutil.StaticFS()
        fs.add("x", fsutil.Stat(), b"x")
        return fs.open(b"x")


async def test_hostile_names(tmp_path: Path) -> None:
    outside = write_tree(tmp_path / "place", {"keep": "me"})
    definition = await llb.local("context").marshal(context.background())
    said: dict[str, str] = {}
    async with Daemon(state=str(outside / "state")) as daemon, good_builds(daemon, tmp_path):
        for name, entries in HOSTILE.items():
            opt = SolveOpt(local_mounts={"context": HostileFS(entries)}, shared_key=name)
            async with connected(daemon) as client:
                built = await asyncio.wait_for(solve(client, opt, definition), 30)
            said[name] = error_text(built.error) if built.error is not None else "accepted"
    assert [name for name, text in said.items() if text == "accepted"] == []
    assert around(outside) == {"keep": "me"}
