"""What BuildKit's own integration tests of client/client_test.go ask of a client, and no other file here does.

Each test carries the upstream test's name in its docstring. Where upstream makes files with RUN, file ops make them
here, so that every daemon can take part.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import tarfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

import pytest

from pybuildkit import client as buildkit
from pybuildkit.client import ExportEntry, SolveOpt, llb
from pybuildkit.frontend.gateway import client as gateway
from pybuildkit.frontend.gateway.pb import _methods as methods
from pybuildkit.frontend.gateway.pb import gateway_pb2
from pybuildkit.golang import context
from pybuildkit.golang.chan import Chan
from pybuildkit.golang.context import Context
from pybuildkit.golang.errors import BuildkitError
from pybuildkit.rpc import Buffer, Code, RpcError
from pybuildkit.session.exporter import exporterprovider
from pybuildkit.session.exporter.exporter_pb2 import ExporterRequest
from pybuildkit.session.filesync import new_fs_sync_target, with_fs_sync
from pybuildkit.solver.errdefs import sources
from pybuildkit.solver.pb import ops_pb2
from pybuildkit.third_party import fsutil
from tests.conformance.services import kind, need
from tests.daemons import write_tree

BG = context.background()
EPOCH = 1445412480
PLATFORMS = ("linux/amd64", "linux/arm64", "linux/arm/v7", "linux/s390x")
Build = Callable[[Context, gateway.Client], Awaitable["gateway.Result | None"]]


class Memory:
    """A file export kept in memory."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.metadata: Mapping[str, str] = {}
        self.closed = False

    def open(self, metadata: Mapping[str, str]) -> Memory:
        self.metadata = metadata
        return self

    def write_all(self, data: Buffer) -> None:
        self.data += data

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.data.clear()

    def members(self) -> dict[str, tarfile.TarInfo]:
        assert self.closed
        with tarfile.open(fileobj=io.BytesIO(self.data)) as archive:
            return {member.name.strip("/"): member for member in archive}

    def read(self, name: str) -> bytes:
        with tarfile.open(fileobj=io.BytesIO(self.data)) as archive:
            member = archive.extractfile(name)
            assert member is not None
            return member.read()


def made(name: str = "foo", content: bytes = b"hello", mode: int = 0o600) -> llb.State:
    """A state of one file."""
    return llb.scratch().file(llb.mkfile(name, mode, content))


async def solve(addr: str, state: llb.State, **options: object) -> buildkit.SolveResponse:
    opt = SolveOpt(**options)  # type: ignore[arg-type]  # checked at run time
    async with await buildkit.new(BG, addr) as client:
        return await client.solve(BG, await state.marshal(BG), opt)


async def run_build(addr: str, build: Build, **options: object) -> buildkit.SolveResponse:
    opt = SolveOpt(**options)  # type: ignore[arg-type]  # checked at run time
    async with await buildkit.new(BG, addr) as client:
        return await client.build(BG, opt, "", build)


async def solved(ctx: Context, client: gateway.Client, state: llb.State, *, evaluate: bool = False) -> gateway.Result:
    definition = await state.marshal(ctx)
    return await client.solve(ctx, gateway.SolveRequest(definition=definition.to_pb(), evaluate=evaluate))


def local(dest: Path, **attrs: str) -> Sequence[ExportEntry]:
    return [ExportEntry(type="local", output_dir=str(dest), attrs={k.replace("_", "-"): v for k, v in attrs.items()})]


def names(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


def platform_frontend(states: Mapping[str, llb.State]) -> Build:
    """A frontend whose result has one reference a platform."""

    async def build(ctx: Context, client: gateway.Client) -> gateway.Result:
        result = gateway.Result()
        listed = []
        for name, state in states.items():
            result.add_ref(name, (await solved(ctx, client, state)).single_ref())
            system, arch, *variant = name.split("/")
            listed.append({"ID": name, "Platform": {"os": system, "architecture": arch}})
            if variant:
                listed[-1]["Platform"]["variant"] = variant[0]  # type: ignore[index]  # a dict, two lines up
        result.add_meta("refs.platforms", json.dumps({"Platforms": listed}).encode())
        return result

    return build


# Local exporter


async def test_export_local_force_platform_split(addr: str, tmp_path: Path) -> None:
    """testExportLocalForcePlatformSplit"""
    need(addr, "platform-split")
    await solve(addr, made(), exports=local(tmp_path, platform_split="true"))
    folder, file = names(tmp_path)
    assert folder.startswith("linux_")
    assert file == f"{folder}/foo"
    assert (tmp_path / file).read_bytes() == b"hello"


async def test_export_local_no_platform_split(addr: str, tmp_path: Path) -> None:
    """testExportLocalNoPlatformSplit"""
    need(addr, "platform-split")
    states = {name: made("hello-" + name.replace("/", "-"), name.encode()) for name in PLATFORMS[:2]}
    await run_build(addr, platform_frontend(states), exports=local(tmp_path, platform_split="false"))
    assert names(tmp_path) == ["hello-linux-amd64", "hello-linux-arm64"]
    assert (tmp_path / "hello-linux-arm64").read_text() == "linux/arm64"


async def test_export_local_no_platform_split_overwrite(addr: str, tmp_path: Path) -> None:
    """testExportLocalNoPlatformSplitOverwrite"""
    need(addr, "platform-split")
    states = {name: made("hello-linux", name.encode()) for name in PLATFORMS[:2]}
    with pytest.raises(BuildkitError, match=r"cannot overwrite hello-linux from .* when split option is disabled"):
        await run_build(addr, platform_frontend(states), exports=local(tmp_path, platform_split="false"))


async def test_export_local_mode_copy_keeps_stale_destination_files(addr: str, tmp_path: Path) -> None:
    """testExportLocalModeCopyKeepsStaleDestinationFiles"""
    write_tree(tmp_path, {"stale.txt": "stale", "stale-dir/old.txt": "stale"})
    await solve(addr, made("fresh.txt"), exports=local(tmp_path))
    assert names(tmp_path) == ["fresh.txt", "stale-dir", "stale-dir/old.txt", "stale.txt"]


async def test_export_local_mode_delete_removes_stale_destination_files(addr: str, tmp_path: Path) -> None:
    """testExportLocalModeDeleteRemovesStaleDestinationFiles; an old daemon does not send all platforms in one go"""
    write_tree(tmp_path, {"stale.txt": "stale", "stale-dir/old.txt": "stale"})
    exports = local(tmp_path, mode="delete")
    if kind(addr) == "docker":
        with pytest.raises(BuildkitError, match="mode=delete requires a BuildKit daemon"):
            await solve(addr, made("fresh.txt"), exports=exports)
        assert names(tmp_path) == ["stale-dir", "stale-dir/old.txt", "stale.txt"]
        return
    await solve(addr, made("fresh.txt"), exports=exports)
    assert names(tmp_path) == ["fresh.txt"]


@pytest.mark.parametrize("mode", ["copy", "delete"])
async def test_export_local_mode_multi_platform_keeps_all_platforms(addr: str, tmp_path: Path, mode: str) -> None:
    """testExportLocalModeCopyMultiPlatformKeepsAllPlatforms, testExportLocalModeDeleteMultiPlatformKeepsAllPlatforms"""
    if kind(addr) == "docker" and mode == "delete":
        pytest.skip("the BuildKit in Docker 20.10 sends each platform by itself")
    states = {}
    for name in PLATFORMS:
        state = llb.scratch()
        for number in range(5):
            state = state.file(llb.mkfile(f"file-{number}.txt", 0o600, f"{name}-{number}".encode()))
        states[name] = state
    write_tree(tmp_path, {"stale.txt": "", **{f"{name.replace('/', '_')}/old": "old" for name in PLATFORMS}})
    await run_build(addr, platform_frontend(states), exports=local(tmp_path, mode=mode))
    for name in PLATFORMS:
        folder = tmp_path / name.replace("/", "_")
        assert {path.name for path in folder.iterdir()} - {"old"} == {f"file-{number}.txt" for number in range(5)}
        assert (folder / "file-3.txt").read_text() == f"{name}-3"
        assert (folder / "old").exists() == (mode == "copy")
    assert (tmp_path / "stale.txt").exists() == (mode == "copy")


async def test_source_date_epoch_local_and_tar_exporter(addr: str, tmp_path: Path) -> None:
    """testSourceDateEpochLocalExporter, testSourceDateEpochTarExporter"""
    if kind(addr) == "docker":
        pytest.skip("the BuildKit in Docker 20.10 knows no SOURCE_DATE_EPOCH")
    state = llb.scratch().file(llb.mkfile("foo", 0o600, b"first").mkfile("bar", 0o600, b"second"))
    tar = Memory()
    attrs = {"build-arg:SOURCE_DATE_EPOCH": str(EPOCH)}
    await solve(addr, state, frontend_attrs=attrs, exports=local(tmp_path))
    await solve(addr, state, frontend_attrs=attrs, exports=[ExportEntry(type="tar", output=tar.open)])
    assert {name: (tmp_path / name).stat().st_mtime for name in names(tmp_path)} == {"foo": EPOCH, "bar": EPOCH}
    assert {name: member.mtime for name, member in tar.members().items()} == {"foo": EPOCH, "bar": EPOCH}


# Tar and image exporters


async def test_tar_exporter_symlink(addr: str, tmp_path: Path) -> None:
    """testTarExporterSymlink"""
    write_tree(tmp_path, {"foo": "first"})
    (tmp_path / "bar").symlink_to("foo")
    tar = Memory()
    exports = [ExportEntry(type="tar", output=tar.open)]
    await solve(addr, llb.local("ctx"), local_mounts={"ctx": fsutil.new_fs(str(tmp_path))}, exports=exports)
    members = tar.members()
    assert (members["foo"].isreg(), members["foo"].size) == (True, 5)
    assert (members["bar"].issym(), members["bar"].linkname) == (True, "foo")


async def test_tar_exporter_with_socket(addr: str, tmp_path: Path) -> None:
    """testTarExporterWithSocket, testTarExporterWithSocketCopy: a socket in the context breaks nothing"""
    import socket

    write_tree(tmp_path, {"folder/foo": "first"})
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tmp_path / "folder/sock"))
        tar = Memory()
        state = llb.scratch().file(llb.copy(llb.local("ctx"), "/folder/foo", "/foo"))
        exports = [ExportEntry(type="tar", output=tar.open)]
        await solve(addr, state, local_mounts={"ctx": fsutil.new_fs(str(tmp_path))}, exports=exports)
        assert set(tar.members()) == {"foo"}
        tar = Memory()
        exports = [ExportEntry(type="tar", output=tar.open)]
        mounts = {"other": fsutil.new_fs(str(tmp_path))}
        await solve(addr, llb.local("other"), local_mounts=mounts, exports=exports)
        assert "folder/foo" in tar.members()


async def test_invalid_exporter(addr: str, tmp_path: Path) -> None:
    """testInvalidExporter: what a client refuses by itself"""
    tar = Memory()
    for entry, text in (
        (ExportEntry(type="tar"), "output file writer is required for tar exporter"),
        (ExportEntry(type="local"), "output directory is required for local exporter"),
        (ExportEntry(type="local", output=tar.open), "output file writer is not supported by local exporter"),
        (ExportEntry(type="tar", output_dir=str(tmp_path), output=tar.open), "output directory.*tar exporter"),
        (ExportEntry(type="local", output_dir=str(tmp_path), attrs={"mode": "x"}), "invalid local exporter mode"),
        (ExportEntry(type="oci"), "solve"),  # the daemon's word for an export that has no place to go
        (ExportEntry(type="docker"), "solve"),
    ):
        with pytest.raises(BuildkitError, match=text):
            await solve(addr, made(), exports=[entry])
    assert names(tmp_path) == []
    assert not tar.data


async def test_multiple_exporters(addr: str, tmp_path: Path) -> None:
    """testMultipleExporters: several of one type, each to its own place"""
    if kind(addr) == "docker":
        pytest.skip("the BuildKit in Docker 20.10 takes one exporter")
    tars = [Memory(), Memory()]
    exports = [
        *local(tmp_path / "one"),
        *local(tmp_path / "two"),
        *[ExportEntry(type="tar", output=tar.open) for tar in tars],
    ]
    await solve(addr, made("foo.txt", mode=0o755), exports=exports)
    assert names(tmp_path / "one") == names(tmp_path / "two") == ["foo.txt"]
    assert [set(tar.members()) for tar in tars] == [{"foo.txt"}, {"foo.txt"}]


async def test_exporter_target_exists(addr: str) -> None:
    """testExporterTargetExists: a writer that is not wanted is no failure"""
    need(addr, "oci")
    seen: list[Mapping[str, str]] = []
    response = await solve(addr, made(), exports=[ExportEntry(type="oci", output=seen.append)])
    digest = response.exporter_response["containerimage.digest"]
    assert digest.startswith("sha256:")
    assert [metadata["containerimage.digest"] for metadata in seen] == [digest]
    assert response.exporter_response["containerimage.config.digest"].startswith("sha256:")


async def test_validate_null_config(addr: str) -> None:
    """testValidateNullConfig"""
    need(addr, "oci")

    async def build(ctx: Context, client: gateway.Client) -> gateway.Result:
        result = await solved(ctx, client, llb.scratch(), evaluate=True)
        result.add_meta("containerimage.config", b"null")
        return result

    with pytest.raises(BuildkitError, match="invalid null image config for export"):
        await run_build(addr, build, exports=[ExportEntry(type="oci", output=Memory().open)])


async def test_frontend_metadata_return(addr: str) -> None:
    """testFrontendMetadataReturn"""
    need(addr, "oci")

    async def build(ctx: Context, client: gateway.Client) -> gateway.Result:
        result = gateway.Result()
        result.add_meta("frontend.returned", b"true")
        result.add_meta("not-frontend.not-returned", b"false")
        result.add_meta("frontendnot.returned.either", b"false")
        return result

    response = await run_build(addr, build, exports=[ExportEntry(type="oci", output=Memory().open)])
    assert response.exporter_response["frontend.returned"] == "true"
    assert "not-frontend.not-returned" not in response.exporter_response
    assert "frontendnot.returned.either" not in response.exporter_response


# Session exporter


async def test_session_exporter(addr: str) -> None:
    """testSessionExporter: the session chooses the exporter after it has looked at the result"""
    need(addr, "session-exporter", "oci")
    memory = Memory()
    target = new_fs_sync_target()
    looked: list[list[bytes]] = []
    async with await buildkit.new(BG, addr) as client:
        build_id = os.urandom(12).hex()

        async def choose(ctx: Context, metadata: dict[str, bytes], refs: list[str]) -> Sequence[ExporterRequest]:
            request = gateway_pb2.ReadDirRequest(Ref=refs[0], DirPath="/")
            answer = await client.gateway_client_for_build(build_id).unary(ctx, methods.READ_DIR, request)
            looked.append([entry.path for entry in answer.entries])
            target.add(with_fs_sync(0, memory.open))
            return [ExporterRequest(Type="oci", Attrs={"compression": "uncompressed"})]

        opt = SolveOpt(enable_session_exporter=True, session=[target, exporterprovider.new(choose)], ref=build_id)

        async def build(ctx: Context, gate: gateway.Client) -> gateway.Result:
            state = llb.scratch().file(llb.mkfile("foo", 0o600, b"first").mkfile("bar", 0o600, b"second"))
            return await solved(ctx, gate, state)

        await client.build(BG, opt, "", build)
    assert looked == [[b"bar", b"foo"]]
    assert {"index.json", "oci-layout"} <= set(memory.members())


@pytest.mark.parametrize(
    ("failure", "text"),
    [
        (None, ""),
        (RpcError(Code.UNAVAILABLE, "finalize callback unavailable"), ""),
        (BuildkitError("finalize callback failed"), "finalize callback failed"),
    ],
)
async def test_session_exporter_finalize_export(addr: str, failure: BuildkitError | None, text: str) -> None:
    """testSessionExporterFinalizeExport"""
    need(addr, "session-exporter", "image-store")
    answers: list[dict[str, str]] = []

    async def finalize(ctx: Context, response: dict[str, str]) -> None:
        answers.append(response)
        if failure is not None:
            raise failure

    async def build(ctx: Context, client: gateway.Client) -> gateway.Result:
        return await solved(ctx, client, made())

    provider = exporterprovider.new(None, exporterprovider.with_finalize_callback(finalize))
    exports = [ExportEntry(type="image", attrs={"name": "session-exporter-finalize"})]
    running = run_build(addr, build, enable_session_exporter=True, session=[provider], exports=exports)
    if text:
        with pytest.raises(BuildkitError, match=text):
            await running
    else:
        await running
    assert [bool(answer["containerimage.descriptor"]) for answer in answers] == [True]


# Local sources


@pytest.mark.parametrize("differ", [llb.DiffType.NONE, llb.DiffType.METADATA])
async def test_local_source_differ(addr: str, tmp_path: Path, differ: llb.DiffType) -> None:
    """testLocalSourceDiffer: a file that changes under the same size and time is seen only without a differ"""
    if kind(addr) == "docker":
        pytest.skip("the BuildKit in Docker 20.10 knows no differ")
    source = write_tree(tmp_path / "in", {"foo": "foo"})
    stamp = 1_700_000_000_123_456_789
    name = f"mylocal-{differ}-{os.urandom(6).hex()}"
    seen = []
    for content in ("foo", "bar"):
        (source / "foo").write_text(content)
        os.utime(source / "foo", ns=(stamp, stamp))
        dest = tmp_path / content
        mounts = {name: fsutil.new_fs(str(source))}
        await solve(addr, llb.local(name, llb.differ(differ, False)), local_mounts=mounts, exports=local(dest))
        seen.append((dest / "foo").read_text())
    assert seen == ["foo", "bar" if differ == llb.DiffType.NONE else "foo"]


async def test_local_source_with_hardlinks_filter(addr: str, tmp_path: Path) -> None:
    """testLocalSourceWithHardlinksFilter"""
    source = write_tree(tmp_path / "in", {"bar": "bar"})
    os.link(source / "bar", source / "foo1")
    os.link(source / "bar", source / "foo2")
    dest = tmp_path / "out"
    name = f"hardlinks-{os.urandom(6).hex()}"
    state = llb.local(name, llb.follow_paths(["foo*"]))
    await solve(addr, state, local_mounts={name: fsutil.new_fs(str(source))}, exports=local(dest))
    assert names(dest) == ["foo1", "foo2"]
    assert (dest / "foo1").read_text() == "bar"
    assert (dest / "foo1").samefile(dest / "foo2")


async def test_local_symlink_escape(addr: str, tmp_path: Path) -> None:
    """testLocalSymlinkEscape: links that lead outside are sent as links, what they point to is not"""
    source = write_tree(tmp_path / "in", {"bay": "", "baz": "", "sub/sub2/file": "", "test.sh": "x"})
    for link, goal in {"foo": "/etc/passwd", "sub/bar": "../../../etc/group", "bax": "bay"}.items():
        (source / link).symlink_to(goal)
    name = f"escape-{os.urandom(6).hex()}"
    state = llb.local(name, llb.follow_paths(["test.sh", "foo", "sub/bar", "bax", "sub/sub2/file"]))
    dest = tmp_path / "out"
    await solve(addr, state, local_mounts={name: fsutil.new_fs(str(source))}, exports=local(dest))
    assert names(dest) == ["bax", "bay", "foo", "sub", "sub/bar", "sub/sub2", "sub/sub2/file", "test.sh"]
    assert os.readlink(dest / "foo") == "/etc/passwd"
    assert os.readlink(dest / "sub/bar") == "../../../etc/group"


async def test_metadata_only_local(addr: str, tmp_path: Path) -> None:
    """testMetadataOnlyLocal: contents of the exceptions alone travel, and the list of all"""
    need(addr, "metadata-only")
    source = write_tree(
        tmp_path / "in",
        {
            "data": "contents",
            "dir/file1": "file1",
            "dir/file2": "file2",
            "dir/subdir/bar1": "bar1",
            "dir/subdir/bar2": "bar2",
            "dir/subdir2/bar3": "bar3",
            "foo": "foo",
        },
    )
    name = f"metadata-{os.urandom(6).hex()}"
    state = llb.local(name, llb.metadata_only_transfer(["dir/**/*1", "foo"]))
    first, second = tmp_path / "one", tmp_path / "two"
    await solve(addr, state, local_mounts={name: fsutil.new_fs(str(source))}, exports=local(first))
    wanted = [".fsutil-metadata", "dir", "dir/file1", "dir/subdir", "dir/subdir/bar1", "foo"]
    assert names(first) == wanted
    for path in ("data", "dir/file2", "dir/subdir2/bar3"):
        assert path.encode() in (first / ".fsutil-metadata").read_bytes()
    (source / "dir/file1").write_text("file1-updated")
    (source / "dir/subdir/bar1").unlink()
    await solve(addr, state, local_mounts={name: fsutil.new_fs(str(source))}, exports=local(second))
    assert (second / "dir/file1").read_text() == "file1-updated"
    assert not (second / "dir/subdir/bar1").exists()


# Warnings, source maps


async def test_warnings(addr: str) -> None:
    """testWarnings: a frontend's warning comes back as a status, with its source"""
    if kind(addr) == "docker":
        pytest.skip("the BuildKit in Docker 20.10 knows no warnings")
    warnings: list[buildkit.VertexWarning] = []
    vertexes: set[str] = set()
    status: Chan[buildkit.SolveStatus] = Chan()

    async def build(ctx: Context, client: gateway.Client) -> gateway.Result:
        definition = await made("/dummy", os.urandom(8)).marshal(ctx)
        result = await client.solve(ctx, gateway.SolveRequest(definition=definition.to_pb()))
        digest = definition.head()
        await client.warn(
            ctx,
            digest,
            "this is warning",
            gateway.WarnOpts(
                level=3,
                source_info=ops_pb2.SourceInfo(filename="mydockerfile", data=b"filedata"),
                range=[ops_pb2.Range(start=ops_pb2.Position(line=2), end=ops_pb2.Position(line=4))],
                detail=[b"this is detail", b"and more detail"],
                url="https://example.com",
            ),
        )
        return result

    async def watch() -> None:
        async for message in status:
            warnings.extend(message.warnings)
            vertexes.update(vertex.digest for vertex in message.vertexes)

    async with await buildkit.new(BG, addr) as client:
        watching = asyncio.ensure_future(watch())
        await client.build(BG, SolveOpt(), "", build, status)
        await watching
    [warning] = warnings
    assert (warning.short, warning.level, warning.url) == (b"this is warning", 3, "https://example.com")
    assert list(warning.detail) == [b"this is detail", b"and more detail"]
    assert warning.vertex in vertexes


async def test_source_map_from_ref(addr: str) -> None:
    """testSourceMap, testSourceMapFromRef: an error knows the place in a file that itself comes from a build"""
    if kind(addr) == "docker":
        pytest.skip("the BuildKit of Docker 20.10 sends no source ranges for this error")
    origin = made("foo", b"data")
    source_map = llb.new_source_map(origin, "bar", "mylang", b"bardata")
    place = ops_pb2.Range(start=ops_pb2.Position(line=3, character=1))

    async def build(ctx: Context, client: gateway.Client) -> gateway.Result:
        broken = llb.scratch().file(llb.mkdir("foo/bar", 0o600), source_map.location([place]))
        ref = (await solved(ctx, client, broken)).single_ref()
        assert ref is not None
        return await solved(ctx, client, llb.scratch().file(llb.copy(ref.to_state(), "foo", "foo2")))

    with pytest.raises(BuildkitError) as caught:
        await run_build(addr, build)
    [found] = sources(caught.value)
    assert (found.info.filename, found.info.language, found.info.data) == ("bar", "mylang", b"bardata")
    assert found.info.HasField("definition")
    assert [(r.start.line, r.start.character) for r in found.ranges] == [(3, 1)]


async def test_call_info(addr: str) -> None:
    """testCallInfo; a daemon without the call is told of by the call's name"""
    async with await buildkit.new(BG, addr) as client:
        if kind(addr) == "docker":
            with pytest.raises(BuildkitError, match=r"failed to call info: .*Info"):
                await client.info(BG)
            return
        assert (await client.info(BG)).buildkit_version.version
