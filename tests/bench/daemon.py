"""Figures of the embedded daemon, client and daemon together.

demo        the demo's build as a command, on fresh state and again: CPU seconds of the whole process
script      a build in process that follows a script: CPU milliseconds
files       a context of many small files, copied by a Dockerfile: wall seconds, beside a real daemon if one is named
resync      the same context again: unchanged, all files touched, one file changed: bytes of the upload, cached or not
steady      many builds on one daemon in one process: descriptors, tasks and memory at the start and at the end
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import tempfile
import time
import uuid
from collections.abc import Mapping
from pathlib import Path

from fake_buildkitd import Daemon
from fake_buildkitd.script import Script, Send
from pybuildkit.client._graph import SolveStatus, Vertex
from pybuildkit.client._solveopt import SolveOpt
from pybuildkit.third_party import fsutil
from tests.bench.measure import Sample, measure
from tests.bench.transfer import OURS, environment, make_files
from tests.fake_buildkitd.helpers import Built, connected, solve

ROOT = Path(__file__).resolve().parents[2]
GOALS = {
    "demo cpu s": 1.0,
    "demo again cpu s": 1.0,
    "script cpu ms": 10.0,
    "files ratio": 3.0,
    "steady descriptors": 0.0,
    "steady tasks": 0.0,
    "steady MiB for 100 builds": 1.0,
}
"""The most that a figure may be."""

Figures = dict[str, float]
_DOCKERFILE = "FROM scratch\nCOPY . /\n"


def _build(addr: str, context: Path, env: Mapping[str, str], *more: str) -> Sample:
    words = [*OURS, "--addr", addr, "build", "--progress=plain", "--frontend=dockerfile.v0"]
    return measure([*words, "--local", f"context={context}", "--local", f"dockerfile={context}", *more], env=env)


def demo(work: Path, runs: int) -> Figures:
    """The demo's build: the median on fresh state, and of the second build on each state."""
    context, env = ROOT / "examples/demo", environment()
    fresh, again = [], []
    for turn in range(runs + 1):
        addr = f"embedded://{work}/state{turn}"
        first = _build(addr, context, env, "--output", f"type=local,dest={work}/out{turn}")
        second = _build(addr, context, env, "--output", f"type=local,dest={work}/out{turn}")
        if turn:
            fresh.append(first.cpu)
            again.append(second.cpu)
    middle = runs // 2
    return {"demo cpu s": sorted(fresh)[middle], "demo again cpu s": sorted(again)[middle]}


async def script(builds: int) -> Figures:
    """A scripted build, each on a connection and a daemon of its own as a property test has it."""
    steps = [Send(SolveStatus(vertexes=[Vertex(digest="sha256:" + "1" * 64, name="a step")]))]

    async def once() -> None:
        async with Daemon(script=Script(steps)) as daemon, connected(daemon) as client:
            await solve(client, SolveOpt(frontend="anything"))

    for _ in range(20):
        await once()
    begin = time.process_time()
    for _ in range(builds):
        await once()
    return {"script cpu ms": (time.process_time() - begin) / builds * 1000}


def files(work: Path, count: int, peer: str) -> Figures:
    """A context of small files, at each daemon once under a key that it does not know."""
    context = make_files(work / "files", count, 1024)
    env = environment()
    found: Figures = {}
    for name, addr in (("files", f"embedded://{work}/files-state"), ("files of the peer", peer)):
        if addr:
            (context / "Dockerfile").write_text(f"# {uuid.uuid4().hex}\n{_DOCKERFILE}")
            found[f"{name} wall s"] = _build(addr, context, env, "--opt", f"build-arg:X={uuid.uuid4().hex}").wall
    if peer:
        found["files ratio"] = found["files wall s"] / found["files of the peer wall s"]
    return found


async def resync(work: Path) -> Figures:
    """What travels, and what is cached, when a context comes again."""
    context = make_files(work / "resync", 1000, 1024)
    (context / "Dockerfile").write_text(_DOCKERFILE)
    path = next(p for p in sorted(context.rglob("f*")) if p.is_file())
    fs = fsutil.new_fs(str(context))
    opt = SolveOpt(frontend="dockerfile.v0", local_mounts={"context": fs, "dockerfile": fs}, shared_key="resync")
    found: Figures = {}
    async with Daemon() as daemon, connected(daemon) as client:
        for what in ("first", "unchanged", "touched", "changed"):
            if what == "touched":
                os.utime(path)
            if what == "changed":
                path.write_bytes(os.urandom(1024))
            built = await solve(client, opt)
            found[f"resync {what} KiB"] = _uploaded(built) / 1024
            found[f"resync {what} cached"] = float(any(name.startswith("[1/1] COPY") for name in built.cached()))
    return found


def _uploaded(built: Built) -> int:
    """The bytes that a build's context took."""
    sizes = [s.current for status in built.statuses for s in status.statuses if s.id.startswith("transferring context")]
    return max(sizes, default=0)


async def steady(builds: int) -> Figures:
    """Builds with changing contents on one daemon over connections of their own."""
    fs = fsutil.StaticFS()
    fs.add("Dockerfile", fsutil.Stat(mod_time=1), _DOCKERFILE.encode())
    async with Daemon() as daemon:

        async def once() -> None:
            async with connected(daemon) as client:
                opt = SolveOpt(frontend="dockerfile.v0", local_mounts={"context": fs, "dockerfile": fs})
                await solve(client, opt)

        for _ in range(200):
            await once()
        await _settle()
        before = _usage()
        for _ in range(builds):
            await once()
        await _settle()
        after = _usage()
    return {
        "steady descriptors": after[0] - before[0],
        "steady tasks": after[1] - before[1],
        "steady MiB for 100 builds": (after[2] - before[2]) / builds * 100,
    }


async def _settle() -> None:
    """Let what has ended go."""
    for _ in range(100):
        await asyncio.sleep(0)
    gc.collect()


def _usage() -> tuple[float, float, float]:
    """Descriptors, tasks, and MiB of memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return (
        len(os.listdir("/proc/self/fd")),
        len(asyncio.all_tasks(asyncio.get_running_loop())),
        pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20),
    )


def main(peer: str, count: int, runs: int, as_json: bool, parent: Path | None) -> int:
    """Print the figures; 1 where one of them is over its goal."""
    found: Figures = {}
    with tempfile.TemporaryDirectory(prefix="bench-", dir=parent) as folder:
        work = Path(folder)
        found |= demo(work, runs)
        found |= asyncio.run(script(200))
        found |= asyncio.run(resync(work))
        found |= asyncio.run(steady(1000))
        found |= files(work, count, peer)
    if as_json:
        print(json.dumps(found, indent=1))
    else:
        for name, value in found.items():
            goal = f"   at most {GOALS[name]:g}" if name in GOALS else ""
            print(f"{name:28} {value:10.3f}{goal}")
    over = [name for name, value in found.items() if value > GOALS.get(name, value)]
    if over:
        print(f"bench: over its goal: {', '.join(over)}", file=sys.stderr)
    return int(bool(over))
