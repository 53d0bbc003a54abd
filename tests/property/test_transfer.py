"""Random directories through random filters, over our sender and receiver, against a model."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import tarfile
import tempfile
import time
import uuid
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from pybuildkit import client
from pybuildkit.golang import context
from pybuildkit.rpc import Buffer
from pybuildkit.third_party.fsutil import (
    FS,
    FilterOpt,
    MapFunc,
    MapResult,
    ReceiveOpt,
    Stat,
    StaticFS,
    new_filter_fs,
    new_fs,
)
from tests.daemons import EMBEDDED
from tests.property import disk_trees as disk
from tests.property.disk_trees import Filters, Seen, Tree
from tests.property.test_daemon_model import abilities
from tests.third_party.fsutil.transfer import open_descriptors, transfer

SETTINGS = settings(deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))


def map_func(change: str) -> MapFunc | None:
    """The map function of that name."""
    if not change:
        return None

    def function(path: bytes, stat: Stat) -> MapResult:
        if change == "owner":
            stat.uid = stat.gid = 42
        if disk.dropped(change, path, stat.is_dir()):
            return MapResult.SKIP_DIR if stat.is_dir() else MapResult.EXCLUDE
        return MapResult.KEEP

    return function


def options(filters: Filters) -> FilterOpt:
    """A filter for our sender."""
    return FilterOpt(filters.include, filters.exclude, filters.follow, map_func(filters.change))


@settings(SETTINGS, max_examples=150)
@given(disk.trees(("fifo", "socket", "device") if disk.ROOT else ("fifo", "socket")), disk.filters)
def test_what_a_filter_leaves_arrives(tree: Tree, filters: Filters) -> None:
    with tempfile.TemporaryDirectory() as folder:
        source, dest = Path(folder, "src"), Path(folder, "dest")
        source.mkdir()
        dest.mkdir()
        disk.make(os.fsencode(source), tree)
        before = open_descriptors()
        fs = new_filter_fs(new_fs(str(source)), options(filters))
        asyncio.run(transfer(fs, dest, ReceiveOpt(merge=True, special_files=True)))
        names = disk.shown(tree, filters)
        assert disk.observe(os.fsencode(dest)) == disk.expected(tree, names, 42 if filters.change == "owner" else None)
        assert open_descriptors() <= before


@cache
def is_old(addr: str) -> bool:
    """Whether a daemon is of BuildKit's first years: no FIFOs in copies, no attributes, its umask counts."""
    return addr != EMBEDDED and not abilities(addr).symlink


class Archive:
    """Where a tar export goes."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write_all(self, data: Buffer) -> None:
        self.data += data

    def close(self) -> None:
        pass

    def abort(self) -> None:
        self.data.clear()

    def observe(self) -> dict[bytes, Seen]:
        """What is in the archive; times are whole seconds."""
        out: dict[bytes, Seen] = {}
        with tarfile.open(fileobj=io.BytesIO(self.data), errors="surrogateescape") as archive:
            for member in archive:
                path = os.fsencode(member.name.rstrip("/"))
                file = archive.extractfile(member) if member.isreg() else None
                kind = "dir" if member.isdir() else "link" if member.issym() else "fifo" if member.isfifo() else "file"
                seen = Seen(kind, member.mode, int(member.mtime), owner=member.uid)
                if member.islnk():
                    seen = out[os.fsencode(member.linkname)]
                elif kind == "file":
                    assert file is not None
                    seen = replace(seen, content=hashlib.sha256(file.read()).digest(), first=path)
                elif kind == "link":
                    seen = replace(seen, target=os.fsencode(member.linkname))
                out[path] = seen
        return out


def below(trees: Sequence[Tree]) -> dict[bytes, disk.Node]:
    """Several trees as one, each below a directory of its own."""
    out: dict[bytes, disk.Node] = {}
    for number, tree in enumerate(trees):
        name = b"t%d" % number
        out[name] = disk.Node("dir", 0o755, 10**18)
        out |= {name + b"/" + path: node for path, node in tree.items()}
    return out


def prefixed(patterns: Sequence[str], number: int) -> list[str]:
    """Patterns for one of several trees."""
    return ["!" * each.startswith("!") + f"t{number}/" + each.removeprefix("!") for each in patterns]


def dockerfile(exclude: Sequence[str]) -> StaticFS:
    """A Dockerfile that copies everything but what the patterns say; from memory."""
    files = StaticFS()
    for name, text in {"Dockerfile": "FROM scratch\nCOPY . /\n", "Dockerfile.dockerignore": "\n".join(exclude)}.items():
        files.add(name, Stat(mod_time=time.time_ns()), text.encode())
    return files


async def through(addr: str, source: Path, exclude: Sequence[str], dest: Path) -> Archive:
    """COPY a context into an image and export that as a directory and as an archive."""
    ctx, archive = context.background(), Archive()
    async with await client.new(ctx, addr) as connection:
        for export in (
            client.ExportEntry(type="local", output_dir=str(dest)),
            client.ExportEntry(type="tar", output=lambda metadata: archive),
        ):
            mounts: dict[str, FS] = {"context": new_fs(str(source)), "dockerfile": dockerfile(exclude)}
            opt = client.SolveOpt(frontend="dockerfile.v0", local_mounts=mounts, exports=[export], shared_key=f"{dest}")
            await connection.solve(ctx, None, opt)
    return archive


def simple(tree: dict[bytes, Seen], second: int) -> dict[bytes, Seen]:
    """What an archive tells; a second has so many units of the tree's times."""
    return {
        path: replace(seen, time=(seen.time + second // 2) // second, xattrs=(), sparse=False)
        for path, seen in tree.items()
    }


def without_times_of_directories(tree: dict[bytes, Seen]) -> dict[bytes, Seen]:
    """A tree as an old daemon leaves it."""
    return {path: replace(seen, time=0) if seen.kind == "dir" else seen for path, seen in tree.items()}


@settings(SETTINGS, max_examples=4, phases=[Phase.generate])
@given(data=st.data())
def test_a_context_comes_back(addr: str, data: st.DataObject) -> None:
    """COPY . /, then exports: what a filter leaves of a context, as a directory and as an archive."""
    kinds = () if is_old(addr) else ("fifo", "socket")
    trees = [data.draw(disk.trees(kinds)) for _ in range(5)]
    filters = [data.draw(disk.excludes) for _ in trees]
    exclude = [pattern for number, each in enumerate(filters) for pattern in prefixed(each.exclude, number)]
    tree = below(trees)
    with tempfile.TemporaryDirectory() as folder:
        source, dest = Path(folder, "src"), Path(folder, "dest")
        source.mkdir()
        disk.make(os.fsencode(source), tree)
        # Times are no part of a cache's key: without this an equal tree of an earlier run would come back.
        (source / "unique").write_text(uuid.uuid4().hex)
        archive = asyncio.run(through(addr, source, exclude, dest))
        left = disk.shown(tree, Filters(exclude=tuple(exclude)))
        wanted, got, packed = disk.expected(tree, left, 0), disk.observe(os.fsencode(dest)), archive.observe()
    assert got.pop(b"unique").content == packed.pop(b"unique").content
    if is_old(addr):
        wanted, got, packed = map(without_times_of_directories, (wanted, got, packed))
    assert got == wanted
    assert simple(packed, 1) == simple(wanted, 10**9)
