"""Trees as plain values, and builds on a daemon in the test's own process."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from fake_buildkitd import Daemon
from fake_buildkitd.faults import Fault
from fake_buildkitd.store import Node, Store, walk
from pybuildkit.client import Client
from pybuildkit.client._client import new, with_context_dialer
from pybuildkit.client._graph import SolveStatus
from pybuildkit.client._solveopt import ExportEntry, SolveOpt, SolveResponse
from pybuildkit.golang import context
from pybuildkit.golang.chan import Chan
from pybuildkit.golang.errgroup import Group
from pybuildkit.solver.pb import ops_pb2 as pb
from pybuildkit.third_party import fsutil

Entry = tuple[str, str]
"""Type and mode ("d755", "f644", "l"), and what is in it: a file's text, a link's target."""

_LETTERS = {stat.S_IFDIR: "d", stat.S_IFREG: "f", stat.S_IFLNK: "l", stat.S_IFIFO: "p", stat.S_IFCHR: "c"}


def letters(mode: int) -> str:
    """A mode as in Entry; a link has none."""
    letter = _LETTERS.get(stat.S_IFMT(mode), "?")
    return letter if letter == "l" else f"{letter}{stat.S_IMODE(mode):o}"


def tree_of(store: Store, root: Node | None) -> dict[str, Entry]:
    """A stored tree as a plain value."""
    found: dict[str, Entry] = {}
    for path, node in walk(root) if root is not None else ():
        text = node.link.decode() if node.is_symlink() else ""
        if node.is_regular():
            text = store.get_blob(node.blob).decode()
        found[path.decode()] = (letters(node.mode), text)
    return found


def owners_of(root: Node) -> dict[str, tuple[int, int]]:
    """The owners in a stored tree."""
    return {path.decode(): (node.uid, node.gid) for path, node in walk(root)}


def tree_on_disk(root: Path) -> dict[str, Entry]:
    """A directory as a plain value."""
    found: dict[str, Entry] = {}
    for folder, names, files in os.walk(root):
        for name in [*names, *files]:
            path = Path(folder, name)
            info = path.lstat()
            text = os.readlink(path) if stat.S_ISLNK(info.st_mode) else ""
            if stat.S_ISREG(info.st_mode):
                text = path.read_text()
            found[str(path.relative_to(root))] = (letters(info.st_mode), text)
    return found


def write_tree(root: Path, files: Mapping[str, str | Entry]) -> Path:
    """Make a directory with files: texts (mode 0644), or entries as in Entry."""
    root.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        kind, text = content if isinstance(content, tuple) else ("f644", content)
        if kind == "l":
            path.symlink_to(text)
        elif kind[0] == "d":
            path.mkdir(exist_ok=True)
            path.chmod(int(kind[1:], 8))
        else:
            path.write_text(text)
            path.chmod(int(kind[1:], 8))
    return root


@dataclass
class Built:
    """What a build told and gave."""

    statuses: list[SolveStatus] = field(default_factory=list)
    response: SolveResponse | None = None
    error: BaseException | None = None

    def names(self) -> list[str]:
        """The steps in the order in which they were first told."""
        return list(dict.fromkeys(vertex.name for status in self.statuses for vertex in status.vertexes))

    def cached(self) -> set[str]:
        """The steps that were shown as cached."""
        return {vertex.name for status in self.statuses for vertex in status.vertexes if vertex.cached}

    def errors(self) -> dict[str, str]:
        """The errors of steps."""
        return {vertex.name: vertex.error for status in self.statuses for vertex in status.vertexes if vertex.error}

    def warnings(self) -> list[str]:
        """The warnings' short texts."""
        return [warning.short.decode() for status in self.statuses for warning in status.warnings]


@asynccontextmanager
async def connected(daemon: Daemon, fault: Fault | None = None) -> AsyncIterator[Client]:
    """A client of a daemon in this process."""
    client = await new(context.background(), "unix:///none", with_context_dialer(daemon.dialer(fault)))
    async with client:
        yield client


async def solve(client: Client, opt: SolveOpt, definition: object = None) -> Built:
    """Solve, and gather what the daemon tells; an error is part of the result."""
    built = Built()
    statuses: Chan[SolveStatus] = Chan(8)
    group = Group()

    async def run() -> None:
        try:
            built.response = await client.solve(context.background(), definition, opt, statuses)  # type: ignore[arg-type]  # a Definition
        except Exception as err:
            built.error = err

    async def gather() -> None:
        async for status in statuses:
            built.statuses.append(status)

    await group.go(run)
    await group.go(gather)
    await group.wait()
    return built


async def build_dockerfile(
    client: Client, folder: Path, dest: Path | None, attrs: Mapping[str, str] | None = None
) -> Built:
    """Build the Dockerfile of a folder, with that folder as context, into `dest`."""
    fs = fsutil.new_fs(str(folder))
    exports = [ExportEntry(type="local", output_dir=str(dest))] if dest is not None else []
    opt = SolveOpt(
        frontend="dockerfile.v0",
        frontend_attrs=dict(attrs or {}),
        local_mounts={"context": fs, "dockerfile": fs},
        exports=exports,
        shared_key=str(folder),
    )
    return await solve(client, opt)


async def settled(tasks: int) -> int:
    """The number of tasks once it is no more than `tasks`, or has had time to get there."""
    for _ in range(50):
        await asyncio.sleep(0.002)
        if len(asyncio.all_tasks()) <= tasks:
            break
    return len(asyncio.all_tasks())


def file_op(*actions: pb.FileAction) -> pb.FileOp:
    """A file operation."""
    return pb.FileOp(actions=actions)
