"""The daemon against a model: random trees and random graphs of file ops, merges and diffs make the same tree.

On the embedded daemon and, with fewer examples, on real ones; what a daemon cannot do, by its own capabilities, is
left out of the recipes.
"""

from __future__ import annotations

import asyncio
import io
import tarfile
from dataclasses import replace
from functools import cache

from hypothesis import HealthCheck, example, given, settings

from fake_buildkitd import Daemon
from pybuildkit import client
from pybuildkit.client._client import new
from pybuildkit.client._solveopt import ExportEntry, SolveOpt
from pybuildkit.frontend.gateway import client as gateway
from pybuildkit.golang import context
from pybuildkit.golang.context import Context
from pybuildkit.golang.errors import BuildkitError
from pybuildkit.rpc import Buffer
from pybuildkit.solver import pb
from pybuildkit.util.apicaps import CapSet
from tests.fake_buildkitd.helpers import connected, solve
from tests.property import tree_recipes as recipes
from tests.property.tree_model import Entry, Tree
from tests.property.tree_recipes import Abilities, Act, Followed, Recipe, Step

_SETTINGS = settings(deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))


class _Memory:
    """Where a tar export goes."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write_all(self, data: Buffer) -> None:
        self.data += data

    def close(self) -> None:
        pass

    def abort(self) -> None:
        self.data.clear()


def observed(data: bytes, expected: Tree) -> dict[str, Entry]:
    """An exported archive as the model has trees; times that the model does not know are those it expects."""
    found: dict[str, Entry] = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for member in archive:
            path = "/" + member.name.rstrip("/")
            kind = "d" if member.isdir() else "l" if member.issym() else "f"
            file = archive.extractfile(member) if member.isreg() else None
            content = member.linkname.encode() if kind == "l" else file.read() if file is not None else b""
            there = expected.get(path)
            time = int(member.mtime) if there is not None and recipes.known_time(there) else 0
            found[path] = Entry(kind, member.mode, member.uid, member.gid, content, time)
    return found


def seen(tree: Tree) -> dict[str, Entry]:
    """A tree of the model as it is compared."""
    return {
        path: Entry(entry.kind, entry.mode, entry.uid, entry.gid, entry.data, recipes.known_time(entry))
        for path, entry in tree.items()
    }


def masked(tree: dict[str, Entry], umask: int) -> dict[str, Entry]:
    """A tree whose directories have lost the permissions of a daemon's umask, which an old one applies."""
    return {
        path: replace(entry, mode=entry.mode & ~umask) if entry.kind == "d" else entry for path, entry in tree.items()
    }


async def check(connection: client.Client, recipe: Recipe, followed: Followed, umask: int = 0) -> None:
    """Solve a recipe, and what of it must fail."""
    ctx = context.background()
    files = recipes.context_files(recipe.context)
    out = _Memory()
    opt = SolveOpt(exports=[ExportEntry(type="tar", output=lambda md: out)], local_mounts={"context": files})
    built = await solve(connection, opt, await followed.graph.marshal(ctx))
    assert built.error is None, str(built.error)
    found = observed(bytes(out.data), followed.state.tree)
    assert masked(found, umask) == masked(seen(followed.state.tree), umask)
    if followed.refused is not None:
        opt = SolveOpt(local_mounts={"context": files})
        built = await solve(connection, opt, await followed.refused.marshal(ctx))
        assert built.error is not None


_MAKE = Act("mkdir", "/b/a", mode=0o755, flags=frozenset({"parents"}))


def on_some_files(*acts: Act) -> Recipe:
    """A recipe of some actions on a file, a directory with a file, and a link to that."""
    file = Entry("f", 0o4755, data=b"one", time=recipes.TIME)
    folder, link = Entry("d", 0o755, time=recipes.TIME), Entry("l", 0o777, data=b"d", time=recipes.TIME)
    return Recipe({"/a": file, "/d": folder, "/d/f": file, "/l": link}, (Step("file", (0,), acts),))


def difference(act: Act) -> Recipe:
    """A recipe of what an action makes otherwise than a plain copy: the difference of two unrelated trees."""
    copy = Act("copy", "/a", "/a", mode=-1)
    recipe = on_some_files(copy)
    steps = Step("file", (-1,), (copy,)), Step("file", (-1,), (act,)), Step("diff", (1, 2))
    return replace(recipe, steps=steps)


@given(recipe=recipes.recipes)
@example(recipe=on_some_files(Act("mkfile", "/a", data=b"two", owner=(5, 6))))
@example(recipe=on_some_files(Act("copy", "/a", "/b/c", mode=-1)))
@example(recipe=on_some_files(_MAKE, Act("copy", "/a", "/b/", mode=-1, flags=frozenset({"replace"}))))
@example(recipe=on_some_files(_MAKE, Act("copy", "/d", "/b", mode=-1, flags=frozenset({"contents"}))))
@example(recipe=on_some_files(Act("copy", "/l", "/x", mode=-1, flags=frozenset({"follow"}))))
@example(recipe=on_some_files(Act("copy", "/a", "/n/m", mode=0o700, flags=frozenset({"parents"}))))
@example(recipe=difference(Act("copy", "/a", "/a", mode=-1, owner=(5, 0))))
@example(recipe=difference(Act("copy", "/a", "/a", mode=0o640)))
@example(recipe=difference(Act("copy", "/a", "/a", mode=-1, flags=frozenset({"time"}))))
@settings(_SETTINGS, max_examples=300)
def test_embedded_daemon_makes_the_tree_of_the_model(recipe: Recipe) -> None:
    async def run() -> None:
        async with Daemon() as daemon, connected(daemon) as connection:
            await check(connection, recipe, recipes.follow(recipe))

    asyncio.run(run())


@given(recipe=recipes.recipes, change=recipes.changes)
@settings(_SETTINGS, max_examples=40)
def test_what_is_cached_fits_what_has_changed(recipe: Recipe, change: recipes.Change) -> None:
    changed = recipes.change_context(recipe, change)

    async def run() -> None:
        async with Daemon() as daemon, connected(daemon) as connection:
            for each in (recipe, changed, recipe):
                await check(connection, each, recipes.follow(each))

    asyncio.run(run())


@cache
def abilities(addr: str) -> Abilities:
    """What a daemon can do, by its own word."""

    async def ask() -> Abilities:
        caps: list[CapSet] = []

        async def look(ctx: Context, bridge: gateway.Client) -> gateway.Result:
            caps.append(bridge.build_opts().llb_caps)
            return gateway.Result()

        async with await new(context.background(), addr) as connection:
            await connection.build(context.background(), SolveOpt(), "", look)
        today = _has(caps[0], pb.CAP_FILE_SYMLINK_CREATE)
        return Abilities(
            layers=_has(caps[0], pb.CAP_MERGE_OP) and _has(caps[0], pb.CAP_DIFF_OP),
            symlink=today,
            patterns=_has(caps[0], pb.CAP_FILE_COPY_INCLUDE_EXCLUDE_PATTERNS),
            words=today,  # modes in words came later, but are in no daemon's list
            replace=_has(caps[0], pb.CAP_FILE_COPY_ALWAYS_REPLACE_EXISTING_DEST_PATHS),
            rm_links=_has(caps[0], pb.CAP_FILE_RM_NO_FOLLOW_SYMLINK),
            errors=today,
        )

    return asyncio.run(ask())


def _has(caps: CapSet, cap: str) -> bool:
    try:
        caps.supports(cap)
    except BuildkitError:
        return False
    return True


@given(recipe=recipes.recipes)
@settings(_SETTINGS, max_examples=25)
def test_real_daemon_makes_the_tree_of_the_model(real_addr: str, recipe: Recipe) -> None:
    able = abilities(real_addr)
    followed = recipes.follow(recipe, able)

    async def run() -> None:
        async with await new(context.background(), real_addr) as connection:
            await check(connection, recipe, followed, 0 if able.errors else 0o022)

    asyncio.run(run())
