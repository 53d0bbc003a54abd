"""Section G of the list of faults, lists of files that are long or never end; and section D, many files under a small
limit of descriptors: memory and descriptors stay few, whichever way the files go."""

from __future__ import annotations

import asyncio
import itertools
import resource
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from pybuildkit.golang.context import background
from pybuildkit.golang.errors import BuildkitError
from pybuildkit.session.filesync import copy_to_caller
from pybuildkit.session.filesync._filesync import DIFF_COPY
from pybuildkit.third_party.fsutil import MODE_DIR, Stat, StaticFS
from pybuildkit.third_party.fsutil._packet import (
    END_OF_LIST,
    FIN_PACKET,
    request_packet,
    split_data,
    stat_packet,
)
from tests.bench.measure import launch
from tests.cmd.buildctl.streams import run_in_process
from tests.conformance.faulty import BUILD, LOCAL, Build, Script, serve
from tests.daemons import COMMAND, environment

CONTEXT = ["--local", "context=test"]
STATS = 200_000
FILES = 20_000
FOLDERS = 200
DESCRIPTORS = 64
MOST_MEMORY = 64 << 10
"""KiB that a flood may cost beside what a build takes anyway."""


class Flood(Script):
    """Sends a list of files at once, and nothing of what is in them.

    Args:
        count: how many; None for ever more.
        deaf: whether it leaves the client's requests unread.
    """

    def __init__(self, count: int | None, deaf: bool) -> None:
        self.count = count
        self.deaf = deaf
        self.asked = 0

    async def export(self, build: Build) -> Mapping[str, str]:
        stream = await build.export()

        async def listen() -> None:
            while messages := await stream.recv_many():
                self.asked += sum(message.startswith(b"\x08\x01") for message in messages)

        listening = asyncio.ensure_future(asyncio.Event().wait() if self.deaf else listen())
        numbers = itertools.count() if self.count is None else range(self.count)
        packets = (stat_packet(Stat(b"one-of-many-files-%09d" % n, 0o644, size=1000, mod_time=n)) for n in numbers)
        try:
            while batch := list(itertools.islice(packets, 5000)):
                await stream.send_many(batch)
            await stream.send_many([END_OF_LIST])
            while not self.deaf and self.asked < (self.count or 0) and not listening.done():
                await asyncio.sleep(0.01)
            await stream.close_send()
            # The client's answer to that is waited for: a call that is dropped here would be the daemon's failure.
            while self.deaf and await stream.recv_many():
                pass
            if not self.deaf:
                await listening
        except BuildkitError:
            pass  # the client has had enough
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
            stream.cancel()
        return {}


def peak_of_export(script: Script, tmp_path: Path, work: Path) -> tuple[int, str]:
    """The peak memory of an export that fails, in KiB, and its last words."""
    with serve(script, tmp_path) as daemon:
        words = [*COMMAND, "--addr", daemon.addr, *BUILD, *LOCAL]
        code, sample, output = launch(words, cwd=work, env=environment())
    assert code == 1
    assert "Traceback" not in output
    return sample.memory, output.splitlines()[-1]


@pytest.mark.parametrize("deaf", [False, True])
def test_two_hundred_thousand_files_listed_at_once(tmp_path: Path, work: Path, deaf: bool) -> None:
    idle, _ = peak_of_export(Flood(1, deaf=False), tmp_path, work)
    flood = Flood(STATS, deaf)
    peak, text = peak_of_export(flood, tmp_path, work)
    assert "local export to out is incomplete: " in text
    assert "EOF" in text
    assert deaf or flood.asked == STATS
    assert peak - idle < MOST_MEMORY
    assert list((work / "out").iterdir()) == []


def test_a_list_of_files_without_end(tmp_path: Path, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process, for the limit of the list is lowered: reaching it takes minutes."""
    monkeypatch.setattr("pybuildkit.third_party.fsutil._pending.MOST_HELD", 4 << 20)
    monkeypatch.chdir(work)
    with serve(Flood(None, deaf=False), tmp_path) as daemon:
        code, _, stderr = run_in_process("--addr", daemon.addr, *BUILD, *LOCAL)
    assert code == 1
    last = stderr.splitlines()[-1]
    assert last.startswith("error: ")
    assert "local export to out is incomplete: the sender's list is too long: it needs more than 4 MiB" in last
    assert "Traceback" not in stderr


@pytest.fixture
def fast(tmp_path: Path) -> Iterator[Path]:
    """A folder for many small files: in memory, where the machine has such a place."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else tmp_path) as folder:
        yield Path(folder)


def limited(*argv: str, addr: str, cwd: Path) -> None:
    """Run the command with few descriptors; it must succeed."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))

    done = subprocess.run(
        [*COMMAND, "--addr", addr, *argv],
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        preexec_fn=limit,
    )
    assert done.returncode == 0, done.stderr


def folders() -> Iterator[tuple[str, list[str]]]:
    """The names of twenty thousand files, by their folders."""
    for folder in range(FOLDERS):
        yield f"d{folder:03d}", [f"f{name:03d}" for name in range(FILES // FOLDERS)]


class TakeAll(Script):
    """Asks for every file of the context as soon as all are listed, and counts what comes."""

    def __init__(self) -> None:
        self.bytes = 0
        self.ends = 0

    async def frontend(self, build: Build) -> None:
        caller = await build.caller()
        stream = await caller.conn().stream(caller.context(background()), DIFF_COPY, metadata=[("dir-name", "context")])
        count = 0
        try:
            wanted: list[bytes] = []
            while packets := await stream.recv_many():
                for packet in packets:
                    content = split_data(packet)
                    if content is not None:
                        self.bytes += len(content[1])
                        self.ends += not content[1]
                    elif packet == END_OF_LIST:
                        await stream.send_many(wanted)
                    elif packet == FIN_PACKET:
                        return
                    else:
                        # In this tree a folder comes before its files, and every entry after the first is a file's.
                        if count % (1 + FILES // FOLDERS):
                            wanted.append(request_packet(count))
                        count += 1
                if self.ends == FILES:
                    self.ends = 0
                    await stream.send_many([FIN_PACKET])
        finally:
            stream.cancel()


def test_a_context_of_many_files_with_few_descriptors(tmp_path: Path, work: Path, fast: Path) -> None:
    (work / "test").symlink_to(fast)
    for folder, names in folders():
        (fast / folder).mkdir()
        for name in names:
            (fast / folder / name).write_bytes(b"content")
    script = TakeAll()
    with serve(script, tmp_path) as daemon:
        limited(*BUILD, *CONTEXT, addr=daemon.addr, cwd=work)
    assert script.bytes == FILES * len(b"content")


class SendAll(Script):
    """Exports twenty thousand files from memory."""

    async def export(self, build: Build) -> Mapping[str, str]:
        files = StaticFS()
        for folder, names in folders():
            files.add(folder, Stat(mode=MODE_DIR | 0o755), b"")
            for name in names:
                files.add(f"{folder}/{name}", Stat(), b"content")
        await copy_to_caller(background(), files, 0, await build.caller())
        return {}


def test_an_export_of_many_files_with_few_descriptors(tmp_path: Path, work: Path, fast: Path) -> None:
    with serve(SendAll(), tmp_path) as daemon:
        limited(*BUILD, "--output", f"type=local,dest={fast}/out", addr=daemon.addr, cwd=work)
    assert {path.name: {file.name for file in path.iterdir()} for path in (fast / "out").iterdir()} == {
        folder: set(names) for folder, names in folders()
    }
    assert all(file.read_bytes() == b"content" for file in (fast / "out").glob("*/f0*0"))
