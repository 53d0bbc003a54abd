"""Merges and differences are put together, and tell so, when they are first read."""

from __future__ import annotations

from pathlib import Path

import pytest

from fake_buildkitd import Daemon
from pybuildkit.client import Client, llb
from pybuildkit.client._solveopt import ExportEntry, SolveOpt
from pybuildkit.golang import context
from tests.fake_buildkitd.helpers import Built, build_dockerfile, connected, solve, write_tree

_A = llb.scratch().file(llb.mkfile("/a", 0o644, "1"), llb.with_custom_name("a"))
_B = llb.scratch().file(llb.mkfile("/b", 0o644, "2"), llb.with_custom_name("b"))
_MERGE = llb.merge([_A, _B], llb.with_custom_name("merge"))
_ON_IT = _MERGE.file(llb.mkfile("/c", 0o644, "3"), llb.with_custom_name("on it"))
_COPY = llb.scratch().file(llb.copy(_MERGE, "/a", "/z"), llb.with_custom_name("copy"))
_ON_A = _A.file(llb.mkfile("/d", 0o644, "4"), llb.with_custom_name("on a"))


def _told(built: Built) -> list[tuple[str, str]]:
    """The steps that were put together, and what that was called."""
    assert built.error is None
    names = {vertex.digest: vertex.name for status in built.statuses for vertex in status.vertexes}
    return sorted(
        {
            (names[status.vertex], status.id)
            for each in built.statuses
            for status in each.statuses
            if status.name in ("merging", "diffing") and status.completed is not None
        }
    )


async def _build(client: Client, state: llb.State, dest: Path | None) -> list[tuple[str, str]]:
    exports = [ExportEntry(type="local", output_dir=str(dest))] if dest is not None else []
    graph = await state.marshal(context.background(), llb.linux_amd64)
    return _told(await solve(client, SolveOpt(exports=exports), graph))


@pytest.mark.parametrize(
    ("state", "at_once", "exported"),
    [
        (_MERGE, [], [("merge", "merging")]),
        (_ON_IT, [("merge", "merging")], []),
        (_COPY, [("merge", "merging")], []),
        (llb.merge([_MERGE, _COPY], llb.with_custom_name("both")), [("merge", "merging")], [("both", "merging")]),
        (llb.diff(_A, _ON_A, llb.with_custom_name("diff")), [], [("diff", "diffing")]),
        (llb.diff(_A, _B, llb.with_custom_name("diff")), [], [("diff", "diffing")]),
        (llb.diff(_A, _ON_IT, llb.with_custom_name("diff")), [("merge", "merging")], [("diff", "merging")]),
        (llb.diff(llb.scratch(), _ON_A), [], []),
        (llb.diff(_A, _A), [], []),
    ],
)
async def test_told_once(
    tmp_path: Path, state: llb.State, at_once: list[tuple[str, str]], exported: list[tuple[str, str]]
) -> None:
    async with Daemon(state=str(tmp_path / "state")) as daemon, connected(daemon) as client:
        assert await _build(client, state, None) == at_once
        assert await _build(client, state, tmp_path / "one") == exported
        assert await _build(client, state, tmp_path / "two") == []


async def test_dockerfile(tmp_path: Path) -> None:
    """A linked copy on a stage is a merge; its step ends after the merging and has no inputs any more."""
    text = "FROM scratch AS a\nCOPY a /x\nFROM a\nCOPY --link a /y\n"
    files = write_tree(tmp_path / "src", {"a": "1", "Dockerfile": text})
    name = "[stage-1 1/1] LINK COPY --link a /y"
    async with Daemon() as daemon, connected(daemon) as client:
        built = await build_dockerfile(client, files, tmp_path / "out")
    assert _told(built) == [(name, "merging")]
    last = [vertex for status in built.statuses for vertex in status.vertexes if vertex.name == name][-1]
    assert last.completed is not None
    assert last.inputs == []
