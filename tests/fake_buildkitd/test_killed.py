"""A daemon that is killed at any step of its work on its state, and the next one on the same state.

    the lock is free · what is built is right, whether or not from the cache · nothing of the dead one stays for ever

A step is a file of the state that is opened for writing, renamed or removed, or a statement of its database.
"""

from __future__ import annotations

import asyncio
import io
import os
import random
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from fake_buildkitd import Daemon
from pybuildkit.api.services.control import _methods as control
from pybuildkit.api.services.control import control_pb2
from pybuildkit.client._client import new
from pybuildkit.golang import context
from pybuildkit.golang.errors import BuildkitError
from tests.daemons import environment
from tests.fake_buildkitd.helpers import Built, build_dockerfile, connected, tree_on_disk, write_tree

_DOCKERFILE = "FROM scratch AS one\nCOPY d /d/\nFROM scratch\nCOPY --from=one /d/large /\nCOPY d /again/\n"
_CHILD = """
import os, runpy, signal, sys

module, state, last, told = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
steps = 0

def step(*_):
    global steps
    steps += 1
    if steps == last:
        os.kill(os.getpid(), signal.SIGKILL)

def audit(event, args):
    if event in ("os.rename", "os.remove", "os.mkdir") or (event == "open" and args[1] not in ("r", "rb")):
        if isinstance(args[0], str) and args[0].startswith(state):
            step()

from fake_buildkitd.store import _store
connect = _store._connect

def connecting(path):
    db = connect(path)
    db.set_trace_callback(step)
    return db

_store._connect = connecting
sys.addaudithook(audit)
sys.argv = [module, *sys.argv[5:]]
try:
    runpy.run_module(module, run_name="__main__", alter_sys=True)
finally:
    with open(told, "w") as file:
        file.write(str(steps))
"""
KILLS = 24 if os.environ.get("PYBUILDKIT_ALL_FRAMES") else 5


class Place:
    """A state, and the contexts that are built on it; each has contents of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = str(folder / "state")
        self.source = folder / "src"
        self.told = folder / "told"
        self._number = 0
        self._files: dict[str, str] = {}

    def new_context(self) -> None:
        """Make a context that was not there before."""
        self._number += 1
        large = "".join(random.Random(self._number).choices("abc", k=80_000))
        self._files = {"small": f"{self._number}\n", "large": large, "empty": ""}
        write_tree(
            self.source, {"Dockerfile": _DOCKERFILE, **{f"d/{name}": data for name, data in self._files.items()}}
        )

    def wanted(self) -> dict[str, str]:
        """The files of the result."""
        return {"large": self._files["large"], **{f"again/{name}": data for name, data in self._files.items()}}

    def steps(self) -> int:
        """The steps of a process that was not killed."""
        return int(self.told.read_text())

    def start(self, module: str, last: int, *argv: str) -> subprocess.Popen[str]:
        """Start a program that is killed at the step with that number (0 for never)."""
        command = [sys.executable, "-c", _CHILD, module, self.state, str(last), str(self.told), *argv]
        return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment())


def standing(place: Place, last: int) -> int:
    """A build on `fake-buildkitd`; the daemon's exit code."""
    sock = place.folder / "s.sock"
    with place.start("fake_buildkitd", last, "--addr", f"unix://{sock}", "--root", place.state) as process:
        assert process.stderr is not None
        if "listens on" in process.stderr.readline():
            error = asyncio.run(_build_at(f"unix://{sock}", place.source, place.folder / "out"))
            assert error is None or "Traceback" not in str(error)
            if process.poll() is None and error is None:
                process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
        return process.returncode


async def _build_at(addr: str, source: Path, dest: Path) -> BaseException | None:
    try:
        async with await new(context.background(), addr) as client:
            return (await build_dockerfile(client, source, dest)).error
    except BuildkitError as err:
        return err


def embedded(place: Place, last: int) -> int:
    """A build by the command with the daemon inside; the command's exit code."""
    archive = place.folder / "out.tar"
    archive.unlink(missing_ok=True)
    argv = ["build", "--frontend=dockerfile.v0", "--local", f"context={place.source}", "--output"]
    argv += [f"type=tar,dest={archive}", "--local", f"dockerfile={place.source}"]
    with place.start("pybuildkit.cmd.buildctl", last, "--addr", f"embedded://{place.state}", *argv) as process:
        process.communicate(timeout=60)
    if archive.exists():
        with tarfile.open(fileobj=io.BytesIO(archive.read_bytes())) as tar:
            files = {member.name: tar.extractfile(member) for member in tar if member.isfile()}
            assert {name: file.read().decode() for name, file in files.items() if file} == place.wanted()
    return process.returncode


async def _look_after(place: Place, number: int) -> None:
    """What the next daemon makes of the state."""
    dest = place.folder / f"out{number}"
    async with Daemon(state=place.state) as daemon, connected(daemon) as client:
        first: Built = await build_dockerfile(client, place.source, dest)
        second = await build_dockerfile(client, place.source, None)
    assert first.error is None
    assert {name: text for name, (mode, text) in tree_on_disk(dest).items() if mode[0] == "f"} == place.wanted()
    assert second.error is None
    assert len(second.cached()) == 3


async def _empty(place: Place) -> None:
    """After everything was removed nothing of the dead daemons is there."""
    async with Daemon(state=place.state) as daemon, connected(daemon) as client:
        stream = await client.stream(context.background(), control.PRUNE)
        await stream.send(control_pb2.PruneRequest(all=True))
        await stream.close_send()
        assert [record async for record in stream]
    assert os.listdir(os.path.join(place.state, "blobs")) == []


@pytest.mark.parametrize("build", [standing, embedded], ids=lambda build: build.__name__)
def test_killed_at_any_step(tmp_path: Path, build: Callable[[Place, int], int]) -> None:
    place = Place(tmp_path)
    place.new_context()
    assert build(place, 0) == 0
    steps = place.steps()
    assert steps > 50
    for number in range(KILLS):
        place.new_context()
        code = build(place, 1 + steps * number // (KILLS + 1))
        assert code == -signal.SIGKILL
        asyncio.run(_look_after(place, number))
    asyncio.run(_empty(place))
