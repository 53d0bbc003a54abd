"""A SOURCE_DATE_EPOCH that names where the time comes from."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from pybuildkit import client as buildkit
from pybuildkit.client import ExportEntry, SolveOpt
from pybuildkit.golang.chan import Chan
from pybuildkit.golang.errors import BuildkitError
from pybuildkit.third_party import fsutil
from tests.conformance.services import need
from tests.conformance.test_upstream_solve import Memory
from tests.conformance.test_web_sources import BG, DATA, DATE, OTHER, Web, web
from tests.daemons import write_tree
from tests.gitserver import TIME, git_server

SIMPLE = "FROM scratch\nARG SOURCE_DATE_EPOCH\nWORKDIR /x\nLABEL l=$SOURCE_DATE_EPOCH\n"
STAGE = f"ARG SOURCE_DATE_EPOCH\nFROM scratch AS src\nLINE\n{SIMPLE}"
CONTEXT = "[internal] resolve main build context metadata"
NAMED = "[internal] resolve SOURCE_DATE_EPOCH named context nc"
SOURCE = "[internal] resolve SOURCE_DATE_EPOCH source stage src"
MODIFIED = "1445412480"


def archive() -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for name, time, content in (("Dockerfile", 1000, SIMPLE), ("f", 1234567890, "1"), ("d", 1600000000, None)):
            member = tarfile.TarInfo(name)
            member.mtime = time
            member.type = tarfile.DIRTYPE if content is None else tarfile.REGTYPE
            member.size = len(content or "")
            tar.addfile(member, io.BytesIO((content or "").encode()))
    return data.getvalue()


@pytest.fixture
def server() -> Iterator[Web]:
    with web(dated=(200, {"Last-Modified": DATE}, DATA), plain=DATA, tar=gzip.compress(archive())) as server:
        yield server


async def build(addr: str, folder: Path | None, attrs: Mapping[str, str]) -> tuple[str, set[str]]:
    """What the build made of the variable, and the names of the steps."""
    out, steps = Memory(), set[str]()
    fs = fsutil.new_fs(str(folder)) if folder is not None else None
    opt = SolveOpt(
        frontend="dockerfile.v0",
        frontend_attrs=dict(attrs),
        local_mounts={"context": fs, "dockerfile": fs} if fs is not None else {},
        exports=[ExportEntry(type="oci", output=out.open)],
    )
    status: Chan[buildkit.SolveStatus] = Chan(1000)
    async with await buildkit.new(BG, addr) as client:
        await client.solve(BG, None, opt, status)
    async for message in status:
        steps.update(vertex.name for vertex in message.vertexes)
    index = json.loads(out.read("index.json"))
    manifest = json.loads(out.read("blobs/" + index["manifests"][0]["digest"].replace(":", "/")))
    config = json.loads(out.read("blobs/" + manifest["config"]["digest"].replace(":", "/")))
    return config["config"]["Labels"]["l"], steps


@pytest.mark.parametrize(
    ("attrs", "line", "value", "step"),
    [
        ({"build-arg:SOURCE_DATE_EPOCH": "context"}, "", "", CONTEXT),
        ({"build-arg:SOURCE_DATE_EPOCH": "context", "context": "URL/tar"}, None, "1234567890", CONTEXT),
        ({"build-arg:SOURCE_DATE_EPOCH": "context", "context": "GIT"}, None, str(TIME), CONTEXT),
        ({"build-arg:SOURCE_DATE_EPOCH": "nc", "context:nc": "URL/dated"}, "", MODIFIED, NAMED),
        ({"build-arg:SOURCE_DATE_EPOCH": "nc", "context:nc": "URL/tar"}, "", "1234567890", NAMED),
        ({"build-arg:SOURCE_DATE_EPOCH": "nc", "context:nc": "URL/plain"}, "", "", NAMED),
        ({"build-arg:SOURCE_DATE_EPOCH": "nc", "context:nc": "GIT#t"}, "", str(TIME), NAMED),
        ({"build-arg:SOURCE_DATE_EPOCH": "nc", "context:nc": "local:context"}, "", "", NAMED),
        ({"build-arg:SOURCE_DATE_EPOCH": "src"}, "ADD URL/dated /", MODIFIED, SOURCE),
        ({"build-arg:SOURCE_DATE_EPOCH": "src"}, "ADD GIT /", str(TIME), SOURCE),
        ({"build-arg:SOURCE_DATE_EPOCH": "src"}, "ADD URL/plain /", "", SOURCE),
        ({"build-arg:SOURCE_DATE_EPOCH": "src", "build-arg:U": "URL/dated"}, "ARG U=x\nADD $U /", MODIFIED, SOURCE),
        ({"build-arg:SOURCE_DATE_EPOCH": "src"}, "ARG U=dated\nADD URL/$U /", MODIFIED, SOURCE),
        ({"build-arg:SOURCE_DATE_EPOCH": "-5"}, "", "-5", ""),
        ({"build-arg:SOURCE_DATE_EPOCH": ""}, "", "", ""),
    ],
)
async def test_where_the_time_comes_from(
    addr: str, server: Web, tmp_path: Path, attrs: Mapping[str, str], line: str | None, value: str, step: str
) -> None:
    need(addr, "modern-git", "oci")
    with git_server(tmp_path / "git") as repositories:
        repositories.commit({"Dockerfile": SIMPLE})
        repositories.tag("t", annotated=True)

        def filled(text: str) -> str:
            return text.replace("URL/", server.url("")).replace("GIT", repositories.url())

        folder = None
        if line is not None:
            text = STAGE.replace("LINE", filled(line)) if line else SIMPLE
            folder = write_tree(tmp_path / "in", {"Dockerfile": text})
        found, steps = await build(addr, folder, {key: filled(text) for key, text in attrs.items()})
    assert found == value
    assert not step or step in steps


@pytest.mark.parametrize(
    ("value", "line", "error"),
    [
        ("nothing", "", "invalid SOURCE_DATE_EPOCH: nothing"),
        ("Upper", "", "invalid context name Upper: "),
        ("src", "", "SOURCE_DATE_EPOCH stage must contain exactly one remote ADD"),
        ("src", "ADD URL/dated /\nADD URL/dated /", "SOURCE_DATE_EPOCH stage must contain exactly one remote ADD"),
        ("src", "ADD URL/dated URL/dated /", "SOURCE_DATE_EPOCH stage must contain exactly one remote ADD source"),
        ("src", "ADD <<E /x\nhi\nE", "SOURCE_DATE_EPOCH stage must contain exactly one remote ADD source"),
        ("src", "ADD Dockerfile /", "SOURCE_DATE_EPOCH stage source must be a single HTTP(S) or Git ADD"),
        (
            "src",
            "ENV A=b",
            "SOURCE_DATE_EPOCH stage does not meet source-only requirements: unsupported ENV instruction",
        ),
        ("src", "ADD URL/none /", "invalid response status 404"),
        ("src", "ADD --checksum=x URL/dated /", "invalid checksum digest format"),
        ("src", f"ADD --checksum={OTHER} URL/dated /", "digest mismatch sha256:"),
    ],
)
async def test_where_it_cannot_come_from(
    addr: str, server: Web, tmp_path: Path, value: str, line: str, error: str
) -> None:
    need(addr, "modern-git", "oci")
    text = STAGE.replace("LINE", line.replace("URL/", server.url("")))
    folder = write_tree(tmp_path / "in", {"Dockerfile": text})
    with pytest.raises(BuildkitError) as caught:
        await build(addr, folder, {"build-arg:SOURCE_DATE_EPOCH": value})
    assert str(caught.value).startswith(f"failed to solve: {error}")


async def test_a_stage_name_that_could_be_no_contexts(addr: str, tmp_path: Path) -> None:
    need(addr, "named-contexts")
    folder = write_tree(tmp_path, {"Dockerfile": "FROM scratch AS a-\nCOPY Dockerfile /\n"})
    with pytest.raises(BuildkitError, match="invalid context name a-: invalid reference format"):
        await build(addr, folder, {})
