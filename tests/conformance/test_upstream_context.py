"""What BuildKit's tests of its Dockerfile frontend ask of a client: contexts, uploads, warnings.

Each test carries the upstream test's name in its docstring.
"""

from __future__ import annotations

import asyncio
import io
import os
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from pybuildkit import client as buildkit
from pybuildkit.client import SolveOpt
from pybuildkit.golang import context
from pybuildkit.golang.chan import Chan
from pybuildkit.golang.errors import BuildkitError
from pybuildkit.session import Session
from pybuildkit.session.filesync import StaticDirSource, new_fs_sync_provider
from pybuildkit.session.upload import uploadprovider
from pybuildkit.solver.errdefs import sources
from pybuildkit.third_party import fsutil
from tests.conformance.services import need
from tests.conformance.test_upstream_solve import local, names
from tests.daemons import write_tree

BG = context.background()
Files = Mapping[str, str | bytes]


async def build(addr: str, out: Path | None = None, **options: object) -> list[buildkit.SolveStatus]:
    """Build with the daemon's Dockerfile frontend; the statuses."""
    exports = local(out) if out is not None else []
    opt = SolveOpt(frontend="dockerfile.v0", exports=exports, **options)  # type: ignore[arg-type]  # checked at run time
    status: Chan[buildkit.SolveStatus] = Chan()
    async with await buildkit.new(BG, addr) as client:
        solving = asyncio.ensure_future(client.solve(BG, None, opt, status))
        seen = [message async for message in status]
        await solving
    return seen


def mounts(folder: Path, **more: Path) -> dict[str, fsutil.FS]:
    """The local sources of a build: a context with a Dockerfile, and further ones."""
    folders = {"context": folder, "dockerfile": folder, **more}
    return {name: fsutil.new_fs(str(path)) for name, path in folders.items()}


async def test_context_change_dir_to_file(addr: str, tmp_path: Path) -> None:
    """testContextChangeDirToFile: a directory of an earlier transfer becomes a file"""
    dockerfile = f"FROM scratch\nCOPY foo /\n# {os.urandom(6).hex()}\n"
    first = write_tree(tmp_path / "1", {"Dockerfile": dockerfile, "foo/bar": "contents"})
    second = write_tree(tmp_path / "2", {"Dockerfile": dockerfile, "foo": "contents2"})
    await build(addr, local_mounts=mounts(first))
    await build(addr, tmp_path / "out", local_mounts=mounts(second))
    assert (tmp_path / "out/foo").read_text() == "contents2"


async def test_copy_follow_all_symlinks(addr: str, tmp_path: Path) -> None:
    """testCopyFollowAllSymlinks: what a link in a copied folder points to is sent too"""
    folder = write_tree(
        tmp_path / "in",
        {"Dockerfile": "FROM scratch\nCOPY foo /\nCOPY foo/sub bar\n", "bar": "bar-contents", "foo/": ""},
    )
    (folder / "foo/sub").symlink_to("../bar")
    await build(addr, tmp_path / "out", local_mounts=mounts(folder))
    assert (tmp_path / "out/bar").read_text() == "bar-contents"


async def test_copy_through_symlink_context(addr: str, tmp_path: Path) -> None:
    """testCopyThroughSymlinkContext"""
    folder = write_tree(tmp_path / "in", {"Dockerfile": "FROM scratch\nCOPY link/foo .\n", "sub/foo": "contents"})
    (folder / "link").symlink_to("sub")
    await build(addr, tmp_path / "out", local_mounts=mounts(folder))
    assert names(tmp_path / "out") == ["foo"]
    assert (tmp_path / "out/foo").read_text() == "contents"


async def test_symlinked_dockerfile(addr: str, tmp_path: Path) -> None:
    """testSymlinkedDockerfile"""
    folder = write_tree(tmp_path / "in", {"Dockerfile.web": "FROM scratch\nCOPY Dockerfile.web /\n"})
    (folder / "Dockerfile").symlink_to("Dockerfile.web")
    await build(addr, tmp_path / "out", local_mounts=mounts(folder))
    assert names(tmp_path / "out") == ["Dockerfile.web"]


async def test_local_custom_session_id(addr: str, tmp_path: Path) -> None:
    """testLocalCustomSessionID: sources come from a session beside the build's own"""
    need(addr, "named-contexts")
    dockerfile = "FROM scratch AS base\nFROM scratch\nCOPY out /out1\nCOPY --from=base /another /out2\n"
    trees: dict[str, Files] = {
        "dockerfile": {"Dockerfile": dockerfile},
        "context": {"out": "contents1"},
        "basedir": {"another": "contents2"},
    }
    folders = {name: write_tree(tmp_path / name, files) for name, files in trees.items()}
    session = Session("hint")
    session.allow(new_fs_sync_provider(StaticDirSource({n: fsutil.new_fs(str(p)) for n, p in folders.items()})))
    attrs = {"context:base": "local:basedir", **{f"local-sessionid:{name}": session.id() for name in folders}}
    async with await buildkit.new(BG, addr) as client:
        running = asyncio.ensure_future(session.run(BG, client.session_dialer()))
        await build(addr, tmp_path / "out", frontend_attrs=attrs)
        await session.close()
        await running
    assert (tmp_path / "out/out1").read_text() == "contents1"
    assert (tmp_path / "out/out2").read_text() == "contents2"


async def test_named_local_context(addr: str, tmp_path: Path) -> None:
    """testNamedLocalContext: a folder takes a stage's place, less what its own .dockerignore names"""
    need(addr, "named-contexts")
    folder = write_tree(tmp_path / "in", {"Dockerfile": "FROM nothing AS base\nFROM scratch\nCOPY --from=base /o* /\n"})
    other = write_tree(tmp_path / "base", {"out": "dummy", "out2": "dummy", ".dockerignore": "out2\n"})
    attrs = {"context:base": "local:basedir"}
    await build(addr, tmp_path / "out", frontend_attrs=attrs, local_mounts=mounts(folder, basedir=other))
    assert names(tmp_path / "out") == ["out"]


def transferred(statuses: Sequence[buildkit.SolveStatus], name: str) -> int:
    """How many bytes the vertex of a name has received."""
    digests = {vertex.digest for status in statuses for vertex in status.vertexes if vertex.name == name}
    counts = [
        s.current for status in statuses for s in status.statuses if s.vertex in digests and s.name == "transferring"
    ]
    return max(counts, default=0)


@pytest.mark.parametrize(
    ("target", "least", "most"),
    [("part", 1, 1024), ("whole", 1 << 20, 1 << 30), ("through", 1, 1024), ("both", 1 << 20, 1 << 30)],
)
async def test_named_filtered_context(addr: str, tmp_path: Path, target: str, least: int, most: int) -> None:
    """testNamedFilteredContext: of a named folder only what the target uses travels"""
    need(addr, "named-contexts")
    text = "FROM scratch AS part\nCOPY --from=foo /foo /\nFROM foo AS whole\nCOPY Dockerfile /d\n"
    text += "FROM foo AS lower\nFROM lower AS upper\nFROM scratch AS through\nCOPY --from=upper /foo /\n"
    text += "FROM scratch AS both\nCOPY --from=upper /foo /\nCOPY --from=lower / /\n"
    folder = write_tree(tmp_path / "in", {"Dockerfile": text})
    other = write_tree(tmp_path / "foo", {"foo": os.urandom(30), "bar": bytes(1 << 20)})
    attrs = {"context:foo": "local:foo", "target": target}
    statuses = await build(addr, tmp_path / "out", frontend_attrs=attrs, local_mounts=mounts(folder, foo=other))
    assert least <= transferred(statuses, "[context foo] load from client") <= most


# Uploads


def archive(files: Mapping[str, bytes]) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return data.getvalue()


async def test_tar_context(addr: str, tmp_path: Path) -> None:
    """testTarContext: an archive that is uploaded is the context"""
    need(addr, "http")
    large = os.urandom(5 << 20)
    uploads = uploadprovider.new()
    data = archive({"Dockerfile": b"FROM scratch\nCOPY foo /\n", "foo": large})
    url = uploads.add(io.BytesIO(data))
    await build(addr, tmp_path / "out", frontend_attrs={"context": url}, session=[uploads])
    assert (tmp_path / "out/foo").read_bytes() == large


async def test_tar_context_external_dockerfile(addr: str, tmp_path: Path) -> None:
    """testTarContextExternalDockerfile: a folder of the archive, the Dockerfile from elsewhere"""
    need(addr, "http")
    folder = write_tree(tmp_path / "in", {"Dockerfile": "FROM scratch\nCOPY foo bar\n"})
    uploads = uploadprovider.new()
    url = uploads.add(io.BytesIO(archive({"sub/dir/foo": b"contents"})))
    attrs = {"context": url, "dockerfilekey": "dockerfile", "contextsubdir": "sub/dir"}
    sent = {"dockerfile": fsutil.new_fs(str(folder))}
    await build(addr, tmp_path / "out", frontend_attrs=attrs, session=[uploads], local_mounts=sent)
    assert (tmp_path / "out/bar").read_text() == "contents"


async def test_dockerfile_from_a_pipe(addr: str, tmp_path: Path) -> None:
    """A Dockerfile that comes slowly through a pipe, as standard input does, is a build's whole context."""
    need(addr, "http")
    reading, writing = os.pipe()
    uploads = uploadprovider.new()
    url = uploads.add(os.fdopen(reading, "rb", buffering=0))
    out = tmp_path / "out"
    building = asyncio.ensure_future(build(addr, out, frontend_attrs={"context": url}, session=[uploads]))
    text = f"# {os.urandom(8).hex()}\nFROM scratch\nCOPY context /\n"
    for line in text.splitlines(keepends=True):
        os.write(writing, line.encode())
        await asyncio.sleep(0)
    os.close(writing)
    await building
    assert (out / "context").read_text() == text


async def test_upload_that_was_not_offered(addr: str) -> None:
    """A reader is given once, and nothing else is."""
    need(addr, "http")
    uploads = uploadprovider.new()
    uploads.add(io.BytesIO(b"FROM scratch\n"))
    with pytest.raises(BuildkitError, match="no http response from session for unknown"):
        await build(addr, frontend_attrs={"context": "http://buildkit-session/unknown"}, session=[uploads])


# Warnings of the frontend


async def linted(addr: str, folder: Path, error: str = "") -> tuple[list[tuple[str, str, int]], list[int]]:
    """The warnings of a build (rule and text, address, line), and the lines that its error names."""
    warnings: list[tuple[str, str, int]] = []
    status: Chan[buildkit.SolveStatus] = Chan()

    async def watch() -> None:
        async for message in status:
            warnings.extend((w.short.decode(), w.url, w.range[0].start.line) for w in message.warnings)

    opt = SolveOpt(frontend="dockerfile.v0", local_mounts=mounts(folder))
    lines: list[int] = []
    async with await buildkit.new(BG, addr) as client:
        watching = asyncio.ensure_future(watch())
        if error:
            with pytest.raises(BuildkitError, match=error) as caught:
                await client.solve(BG, None, opt, status)
            lines = [span.start.line for source in sources(caught.value) for span in source.ranges]
        else:
            await client.solve(BG, None, opt, status)
        await watching
    return sorted(warnings, key=lambda warning: warning[2]), lines


RULES = "https://docs.docker.com/go/dockerfile/rule/"


async def test_warnings_before_error(addr: str, tmp_path: Path) -> None:
    """testWarningsBeforeError: warnings arrive although the Dockerfile is broken behind them"""
    need(addr, "lint")
    folder = write_tree(tmp_path, {"Dockerfile": "\nFROM scratch AS BadStageName\nMAINTAINER me@example.org\nBADCMD\n"})
    warnings, lines = await linted(addr, folder, "dockerfile parse error on line 4: unknown instruction: BADCMD")
    assert [(url.removeprefix(RULES), line) for _, url, line in warnings] == [
        ("stage-name-casing/", 2),
        ("maintainer-deprecated/", 3),
    ]
    assert warnings[0][0] == "StageNameCasing: Stage name 'BadStageName' should be lowercase (line 2)"
    assert lines == [4]


IGNORED = "CopyIgnoredFile: Attempting to {} file {} that is excluded by .dockerignore (line {})"


@pytest.mark.parametrize(
    ("dockerfile", "ignore", "warned", "error"),
    [
        ("\nFROM scratch\nCOPY Dockerfile .\nADD Dockerfile /windy\n", "Dockerfile\n", [3, 4], "not found"),
        ("# check=skip=CopyIgnoredFile\nFROM scratch\nCOPY Dockerfile .\n", "Dockerfile\n", [], "not found"),
        ("\nFROM scratch\nCOPY ./Dockerfile .\n", "**\n!Dockerfile\n", [], ""),
        ("\nFROM scratch\nCOPY . .\n", "**\n!Dockerfile\n", [], ""),
        ("\nFROM scratch\nCOPY . .\n", ".*\n", [], ""),
        ("\nFROM scratch\nCOPY . .\n", "*\n", [3], ""),
    ],
)
async def test_copy_ignored_files(
    addr: str, tmp_path: Path, dockerfile: str, ignore: str, warned: list[int], error: str
) -> None:
    """testCopyIgnoredFiles, testCopyIgnoredFileContextRoot"""
    need(addr, "lint")
    folder = write_tree(tmp_path, {"Dockerfile": dockerfile, ".dockerignore": ignore})
    warnings, lines = await linted(addr, folder, error)
    assert [line for _, _, line in warnings] == warned
    for text, url, line in warnings:
        verb, what = ("Add" if line == 4 else "Copy"), '"."' if not error else '"Dockerfile"'
        assert (text, url) == (IGNORED.format(verb, what, line), f"{RULES}copy-ignored-file/")
    # Of two steps that fail for the same reason either may be the first.
    assert [line in (warned or [3]) for line in lines] == ([True] if error else [])
