"""Dockerfiles that begin with images: of a registry in this process, of a client's layout, of named contexts."""

from __future__ import annotations

import io
import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from fake_buildkitd import Daemon
from pybuildkit.client import Client
from pybuildkit.client._solveopt import ExportEntry, SolveOpt
from pybuildkit.third_party import fsutil
from pybuildkit.third_party.containerd.content import new_store
from tests.fake_buildkitd.exporters.test_images import Archive
from tests.fake_buildkitd.helpers import Built, connected, solve, write_tree
from tests.fake_buildkitd.registry.doubles import OCI, Registry, digest, served

Json = dict[str, Any]
CONFIG = {
    "Env": ["PATH=/only", "FROM_BASE=yes"],
    "WorkingDir": "/w",
    "Entrypoint": ["/e"],
    "Cmd": ["c"],
    "User": "7",
    "Labels": {"base": "b", "both": "base"},
    "ExposedPorts": {"80/tcp": {}},
    "Volumes": {"/v": {}},
    "StopSignal": "SIGQUIT",
    "Healthcheck": {"Test": ["CMD", "x"], "Interval": 5_000_000_000},
    "Shell": ["/s", "-c"],
}
amd64_only = pytest.mark.skipif(platform.machine() != "x86_64", reason="the double's images are for amd64")
pytestmark = amd64_only


async def build(
    client: Client,
    folder: Path,
    dockerfile: str,
    opts: Mapping[str, str] | None = None,
    dest: Path | None = None,
    stores: Mapping[str, Path] | None = None,
    mounts: Mapping[str, Path] | None = None,
) -> tuple[Built, Archive]:
    """Build a Dockerfile; the result as an image archive, or in a directory."""
    write_tree(folder, {"Dockerfile": dockerfile, "a": "of the context"})
    archive = Archive()
    fs = fsutil.new_fs(str(folder))
    exports = [ExportEntry(type="oci", output=lambda metadata: archive)]
    if dest is not None:
        exports = [ExportEntry(type="local", output_dir=str(dest))]
    opt = SolveOpt(
        frontend="dockerfile.v0",
        frontend_attrs=dict(opts or {}),
        local_mounts={
            "context": fs,
            "dockerfile": fs,
            **{name: fsutil.new_fs(str(path)) for name, path in (mounts or {}).items()},
        },
        oci_stores={name: new_store(str(path)) for name, path in (stores or {}).items()},
        exports=exports,
    )
    return await solve(client, opt), archive


def config_of(archive: Archive) -> Json:
    return archive.load(archive.load(archive.index()[0])["config"])


async def test_the_base_images_configuration_is_inherited(tmp_path: Path) -> None:
    with served() as registry:
        made = registry.image({"base-file": b"1"}, config=CONFIG)
        text = f"FROM {registry.host}/img\nCOPY a $FROM_BASE/a\nENV NEW=$FROM_BASE\nLABEL both=new\n"
        async with Daemon() as daemon, connected(daemon) as client:
            built, archive = await build(client, tmp_path / "src", text)
    assert built.error is None
    name = f"{registry.host}/img:latest@{made['digest']}"
    assert f"[internal] load metadata for {registry.host}/img:latest" in built.names()
    assert f"[1/2] FROM {name}" in built.names()
    assert "[2/2] COPY a yes/a" in built.names()
    config = config_of(archive)
    expected = {**CONFIG, "Labels": {"base": "b", "both": "new"}, "Env": [*CONFIG["Env"], "NEW=yes"]}
    assert config["config"] == expected
    assert [entry["created_by"] for entry in config["history"]][:2] == ["layer 0", "COPY a yes/a # buildkit"]
    manifest = archive.load(archive.index()[0])
    (base,) = json.loads(registry.content["/v2/img/manifests/latest"][1])["layers"]
    assert manifest["layers"][0] == base


async def test_the_next_build_fetches_no_layer(tmp_path: Path) -> None:
    with served() as registry:
        registry.image({"base-file": b"1"})
        text = f"FROM {registry.host}/img\nCOPY a /a\n"
        async with Daemon(state=str(tmp_path / "state")) as daemon, connected(daemon) as client:
            await build(client, tmp_path / "src", text)
        (layer,) = json.loads(registry.content["/v2/img/manifests/latest"][1])["layers"]
        asked = [request for request in registry.requests if layer["digest"] in request.path]
        async with Daemon(state=str(tmp_path / "state")) as daemon, connected(daemon) as client:
            built, _ = await build(client, tmp_path / "src", text, dest=tmp_path / "out")
        assert len(asked) == len([request for request in registry.requests if layer["digest"] in request.path])
    assert built.error is None
    assert "[2/2] COPY a /a" in built.cached()
    assert (tmp_path / "out/base-file").read_text() == "1"


async def test_triggers_of_an_image(tmp_path: Path) -> None:
    with served() as registry:
        registry.image({"x": b"1"}, config={"OnBuild": ["COPY a /triggered", "ENV T=1"], "Env": ["PATH=/"]})
        async with Daemon() as daemon, connected(daemon) as client:
            built, archive = await build(client, tmp_path / "src", f"FROM {registry.host}/img\nCOPY a /a\n")
    assert built.error is None
    assert {"[2/4] ONBUILD COPY a /triggered", "[3/4] COPY a /a"} <= set(built.names())
    assert config_of(archive)["config"] == {"Env": ["PATH=/", "T=1"]}


async def test_an_image_without_layers_is_nothing(tmp_path: Path) -> None:
    with served() as registry:
        registry.image(config={"Env": ["E=1"]})
        async with Daemon() as daemon, connected(daemon) as client:
            built, archive = await build(client, tmp_path / "src", f"FROM {registry.host}/img\nCOPY a /a\n")
    assert built.error is None
    assert len(archive.load(archive.index()[0])["layers"]) == 1
    assert "E=1" in config_of(archive)["config"]["Env"]


async def test_files_of_an_image(tmp_path: Path) -> None:
    with served() as registry:
        registry.image({"x": b"from the image"})
        text = f"FROM scratch\nCOPY --from={registry.host}/img x /y\n"
        async with Daemon() as daemon, connected(daemon) as client:
            built, _ = await build(client, tmp_path / "src", text, dest=tmp_path / "out")
    assert built.error is None
    assert (tmp_path / "out/y").read_text() == "from the image"


async def test_an_image_for_each_platform(tmp_path: Path) -> None:
    with served() as registry:
        entries = []
        for name in ("amd64", "arm64"):
            made = registry.image({"arch": name.encode()}, tag=name, platform=("linux", name))
            entries.append({**made, "platform": {"os": "linux", "architecture": name}})
        kind = OCI + "index.v1+json"
        registry.manifest({"schemaVersion": 2, "mediaType": kind, "manifests": entries}, kind, "latest")
        opts = {"platform": "linux/amd64,linux/arm64"}
        async with Daemon() as daemon, connected(daemon) as client:
            text = f"FROM {registry.host}/img\nCOPY a /a\n"
            built, _ = await build(client, tmp_path / "src", text, opts, dest=tmp_path / "out")
            missing, _ = await build(client, tmp_path / "src", text, {"platform": "linux/s390x"})
    assert built.error is None
    assert {path.parent.name: path.read_text() for path in (tmp_path / "out").glob("*/arch")} == {
        "linux_amd64": "amd64",
        "linux_arm64": "arm64",
    }
    assert f"[linux/arm64 internal] load metadata for {registry.host}/img:latest" in built.names()
    assert any(name.startswith("[linux/arm64 1/2] FROM ") for name in built.names())
    assert "no match for platform in manifest" in str(missing.error)


async def test_a_base_image_for_another_platform_is_a_warning(tmp_path: Path) -> None:
    with served() as registry:
        registry.image({"x": b"1"}, platform=("linux", "arm64"))
        async with Daemon() as daemon, connected(daemon) as client:
            built, _ = await build(client, tmp_path / "src", f"FROM {registry.host}/img\n")
    assert built.error is None
    (warning,) = built.warnings()
    assert warning.startswith("InvalidBaseImagePlatform: Base image ")
    assert 'was pulled with platform "linux/arm64", expected "linux/amd64" for current build' in warning


def layout(folder: Path, registry: Registry) -> str:
    """Write what a registry holds as a layout; the digest of its image."""
    blobs = folder / "blobs/sha256"
    blobs.mkdir(parents=True)
    for _, data in registry.content.values():
        (blobs / digest(data).partition(":")[2]).write_bytes(data)
    return digest(registry.content["/v2/img/manifests/latest"][1])


async def test_named_contexts(tmp_path: Path) -> None:
    registry = Registry()
    registry.image({"x": b"of the layout"}, config={"Env": ["E=layout"]})
    name = layout(tmp_path / "layout", registry)
    other = write_tree(tmp_path / "other", {"y": "of the other", ".dockerignore": "z\n", "z": "left out"})
    text = "FROM base\nCOPY --from=second / /second/\nCOPY --from=stage y /third\n"
    text = "FROM scratch AS stage\nCOPY nothing /\n" + text
    opts = {
        "context:base": f"oci-layout://store@{name}",
        "context:second": "local:other",
        "context:stage": "local:other",
    }
    async with Daemon() as daemon, connected(daemon) as client:
        built, _ = await build(
            client,
            tmp_path / "src",
            text,
            opts,
            dest=tmp_path / "out",
            stores={"store": tmp_path / "layout"},
            mounts={"other": other},
        )
    assert built.error is None
    found = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert found == {"x", "second/y", "second/.dockerignore", "third"}
    shown = f"docker.io/library/base@{name}"
    names = {f"[context base] load metadata for {shown}", "[context base] OCI load from client"}
    assert names | {"[context second] load from client"} <= set(built.names())


async def test_an_image_in_anothers_place(tmp_path: Path) -> None:
    with served() as registry:
        registry.image({"x": b"1"}, config={"Env": ["E=there"]})
        opts = {"context:alpine": f"docker-image://{registry.host}/img", "context:empty": "docker-image://scratch"}
        async with Daemon() as daemon, connected(daemon) as client:
            text = "FROM alpine:latest\nCOPY --from=empty / /\nCOPY a /a\n"
            built, archive = await build(client, tmp_path / "src", text, opts)
    assert built.error is None
    assert f"[context alpine] load metadata for {registry.host}/img" in built.names()
    assert "E=there" in config_of(archive)["config"]["Env"]


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ("nothing", "invalid context specifier nothing for base"),
        ("git:nothing", "invalid git context git:nothing"),
        ("http://127.0.0.1:1/x", 'Get "http://127.0.0.1:1/x": dial tcp 127.0.0.1:1: connect: connection refused'),
        ("weird:x", "unsupported context source weird for base"),
        ("oci-layout://store", 'oci-layout reference "store" has no digest'),
        ("oci-layout://store@x", 'could not parse oci-layout reference "store@x"'),
        (f"oci-layout://store@sha256:{64 * 'a'}", "unable to get info about digest: "),
        ("input:none", "invalid input none for base"),
        ("docker-image://127.0.0.1:1/x", "failed to do request: Head "),
    ],
)
async def test_contexts_that_cannot_be(tmp_path: Path, value: str, error: str) -> None:
    (tmp_path / "layout").mkdir()
    async with Daemon() as daemon, connected(daemon) as client:
        opts = {"context:base": value}
        stores = {"store": tmp_path / "layout"}
        built, _ = await build(client, tmp_path / "src", "FROM base\n", opts, stores=stores)
    assert error in str(built.error)


async def test_a_layout_with_a_broken_layer(tmp_path: Path) -> None:
    registry = Registry()
    registry.image({"x": b"1"})
    name = layout(tmp_path / "layout", registry)
    (described,) = json.loads(registry.content["/v2/img/manifests/latest"][1])["layers"]
    blob = tmp_path / "layout/blobs/sha256" / described["digest"].partition(":")[2]
    blob.write_bytes(bytes(described["size"]))
    async with Daemon() as daemon, connected(daemon) as client:
        opts = {"context:base": f"oci-layout://store@{name}"}
        built, archive = await build(
            client, tmp_path / "src", "FROM base\nCOPY a /a\n", opts, stores={"store": tmp_path / "layout"}
        )
    assert "unexpected commit digest" in str(built.error)
    assert archive.data.getvalue() == io.BytesIO().getvalue()
