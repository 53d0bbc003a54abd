"""What BuildKit's own tests of image exports and image sources ask of a client, and no other file here does.

Each test carries the upstream test's name in its docstring.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from pybuildkit import client as buildkit
from pybuildkit.client import CacheOptionsEntry, ExportEntry, SolveOpt, llb
from pybuildkit.frontend.gateway import client as gateway
from pybuildkit.frontend.gateway.pb import gateway_pb2
from pybuildkit.golang import context
from pybuildkit.golang.chan import Chan
from pybuildkit.golang.context import Context
from pybuildkit.golang.errors import BuildkitError
from pybuildkit.third_party.containerd.content import new_store
from pybuildkit.third_party.platforms import Platform
from tests.conformance import registry
from tests.conformance.services import need
from tests.conformance.test_images import Layout
from tests.conformance.test_upstream_solve import Memory, local, made, platform_frontend, run_build, solve, solved

BG = context.background()
INDEX = "application/vnd.oci.image.index.v1+json"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
Json = dict[str, Any]


def oci_archive(archive: Memory) -> tuple[Json, Json]:
    """The index of an archive, and its image's manifest."""
    index = json.loads(archive.read("index.json"))
    digest = index["manifests"][0]["digest"].removeprefix("sha256:")
    return index, json.loads(archive.read(f"blobs/sha256/{digest}"))


# Archives and layouts


@pytest.mark.parametrize(
    ("attrs", "layer"),
    [
        ({"compression": "zstd"}, "application/vnd.oci.image.layer.v1.tar+zstd"),
        (
            {"compression": "zstd", "oci-mediatypes": "false"},
            "application/vnd.docker.image.rootfs.diff.tar.zstd",
        ),
        ({"compression": "uncompressed"}, "application/vnd.oci.image.layer.v1.tar"),
    ],
)
async def test_build_export_compressions(addr: str, attrs: Mapping[str, str], layer: str) -> None:
    """testBuildExportZstd, testBuildExportWithUncompressed; an inline cache changes nothing"""
    need(addr, "oci")
    if attrs["compression"] == "zstd":
        need(addr, "zstd")
    archive = Memory()
    cache = [CacheOptionsEntry(type="inline")] if "oci-mediatypes" not in attrs else []
    exports = [ExportEntry(type="oci", output=archive.open, attrs=attrs)]
    await solve(addr, made("data", os.urandom(500)), exports=exports, cache_exports=cache)
    _, manifest = oci_archive(archive)
    assert manifest["layers"][-1]["mediaType"] == layer
    digest = manifest["layers"][-1]["digest"].removeprefix("sha256:")
    blob = archive.read(f"blobs/sha256/{digest}")
    assert (blob[:4] == ZSTD_MAGIC) == (attrs["compression"] == "zstd")
    assert hashlib.sha256(blob).hexdigest() == digest


async def test_oci_index_media_type(addr: str, tmp_path: Path) -> None:
    """testOCIIndexMediatype, testNoTarOCIIndexMediaType"""
    need(addr, "oci")
    archive = Memory()
    await solve(addr, made(), exports=[ExportEntry(type="oci", output=archive.open)])
    index, _ = oci_archive(archive)
    assert index["mediaType"] == INDEX
    exports = [ExportEntry(type="oci", output_dir=str(tmp_path), attrs={"tar": "false"})]
    await solve(addr, made(), exports=exports)
    assert json.loads((tmp_path / "index.json").read_text())["mediaType"] == INDEX


@pytest.mark.parametrize("winner", ["frontend", "caller"])
async def test_frontend_image_naming(addr: str, winner: str) -> None:
    """testFrontendImageNaming: the caller's name counts, "*" lets the frontend name the image"""
    need(addr, "oci", "image-names")

    async def build(ctx: Context, client: gateway.Client) -> gateway.Result:
        result = gateway.Result()
        result.add_meta("image.name", b"loser:latest" if winner == "caller" else b"named:latest")
        return result

    archive = Memory()
    attrs = {"name": "named:latest" if winner == "caller" else "*"}
    response = await run_build(addr, build, exports=[ExportEntry(type="docker", output=archive.open, attrs=attrs)])
    assert response.exporter_response["image.name"] == "docker.io/library/named:latest"
    index, _ = oci_archive(archive)
    assert (index["schemaVersion"], len(index["manifests"])) == (2, 1)
    assert "oci-layout" in archive.members()
    assert [image["RepoTags"] for image in json.loads(archive.read("manifest.json"))] == [["named:latest"]]


async def test_validate_invalid_config(addr: str) -> None:
    """testValidateInvalidConfig"""
    need(addr, "oci")

    async def build(ctx: Context, client: gateway.Client) -> gateway.Result:
        result = await solved(ctx, client, llb.scratch(), evaluate=True)
        config = {"architecture": "amd64", "os": "", "rootfs": {"type": "", "diff_ids": None}}
        result.add_meta("containerimage.config", json.dumps(config).encode())
        return result

    with pytest.raises(BuildkitError, match="invalid image config: os and architecture must be specified together"):
        await run_build(addr, build, exports=[ExportEntry(type="oci", output=Memory().open)])


# Sources from layouts and registries


async def test_oci_layout_platform_source(addr: str, tmp_path: Path) -> None:
    """testOCILayoutPlatformSource: of an index in a layout each platform gets its own image"""
    need(addr, "oci", "oci-layout")
    platforms = ("linux/amd64", "linux/arm64")
    layout = tmp_path / "layout"
    states = {name: made("platform", name.encode()) for name in platforms}
    exports = [ExportEntry(type="oci", output_dir=str(layout), attrs={"tar": "false"})]
    await run_build(addr, platform_frontend(states), exports=exports)
    digest = Layout(layout).root["digest"]
    again = {}
    for name in platforms:
        system, arch = name.split("/")
        where = llb.oci_store("", "my-content-store")
        wanted = llb.platform(Platform(os=system, architecture=arch))
        again[name] = llb.oci_layout(f"not/real@{digest}", where, wanted)
    stores = {"my-content-store": new_store(str(layout))}
    out = tmp_path / "out"
    await run_build(addr, platform_frontend(again), exports=local(out), oci_stores=stores)
    for name in platforms:
        assert (out / name.replace("/", "_") / "platform").read_text() == name


async def test_oci_layout_blob_source(addr: str, tmp_path: Path) -> None:
    """testOCILayoutBlobSource: one blob of a layout as a file, its owner chosen"""
    need(addr, "oci", "oci-layout", "blob-sources")
    layout = tmp_path / "layout"
    exports = [ExportEntry(type="oci", output_dir=str(layout), attrs={"tar": "false"})]
    await solve(addr, made("big", os.urandom(3000)), exports=exports)
    found = Layout(layout)
    (layer,) = found.blob(found.root)["layers"]
    store = llb.image_blob_oci_store("", "blobs")
    blob = llb.oci_layout_blob(f"not/real@{layer['digest']}", store, llb.filename("layer.tar.gz"), llb.chown(123, 456))
    archive = Memory()
    exports = [ExportEntry(type="tar", output=archive.open)]
    await solve(addr, blob, exports=exports, oci_stores={"blobs": new_store(str(layout))})
    check_blob(archive, layer)


async def test_image_blob_source(addr: str, tmp_path: Path) -> None:
    """testImageBlobSource: one blob of a registry's repository as a file"""
    need(addr, "blob-sources")
    with registry.serve(tmp_path / "registry") as where:
        where.push("img", {"file": os.urandom(3000)})
        manifest = json.loads(where.content("/v2/img/manifests/latest", Accept=registry.MANIFEST))
        (layer,) = manifest["layers"]
        ref = f"{where.host}/img@{layer['digest']}"
        archive = Memory()
        blob = llb.image_blob(ref, llb.filename("layer.tar.gz"), llb.chown(123, 456))
        await solve(addr, blob, exports=[ExportEntry(type="tar", output=archive.open)])
    check_blob(archive, layer)


def check_blob(archive: Memory, layer: Json) -> None:
    member = archive.members()["layer.tar.gz"]
    assert (member.uid, member.gid, member.size) == (123, 456, layer["size"])
    assert "sha256:" + hashlib.sha256(archive.read("layer.tar.gz")).hexdigest() == layer["digest"]


# Pushes


async def test_push_by_digest(addr: str, tmp_path: Path) -> None:
    """testPushByDigest: no tag is made; also testBuildPushAndValidate: what the registry holds is the build's"""
    need(addr, "image-store", "push-by-digest")
    content = os.urandom(100)
    with registry.serve(tmp_path / "registry") as where:
        name = f"{where.host}/foo/bar"
        exports = [ExportEntry(type="image", attrs={"name": name, "push": "true", "push-by-digest": "true"})]
        response = await solve(addr, made("foo", content), exports=exports)
        digest = response.exporter_response["containerimage.digest"]
        accept = "application/vnd.oci.image.manifest.v1+json"
        assert where.request("HEAD", "/v2/foo/bar/manifests/latest", Accept=accept)[0] == 404
        data = where.content(f"/v2/foo/bar/manifests/{digest}", Accept=accept)
        assert "sha256:" + hashlib.sha256(data).hexdigest() == digest
        (layer,) = json.loads(data)["layers"]
        blob = where.content(f"/v2/foo/bar/blobs/{layer['digest']}")
    assert "sha256:" + hashlib.sha256(blob).hexdigest() == layer["digest"]
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(blob))) as tar:
        member = tar.extractfile("foo")
        assert member is not None
        assert member.read() == content


async def test_push_progress_same_vertex(addr: str, tmp_path: Path) -> None:
    """testPushProgressSameVertex, testBuildPushProgress: pushing is told on the export's own vertex"""
    need(addr, "image-store")
    status: Chan[buildkit.SolveStatus] = Chan()
    vertexes: dict[str, str] = {}
    pushes: dict[str, str] = {}

    async def watch(prefix: str) -> None:
        async for message in status:
            vertexes.update({v.digest: v.name for v in message.vertexes})
            pushes.update({s.id: s.vertex for s in message.statuses if s.id.startswith((prefix, "pushing layers"))})

    with registry.serve(tmp_path / "registry") as where:
        name = f"{where.host}/foo/bar:latest"
        watching = asyncio.ensure_future(watch(f"pushing manifest for {name}@"))
        opt = SolveOpt(exports=[ExportEntry(type="image", attrs={"name": name, "push": "true"})])
        async with await buildkit.new(BG, addr) as client:
            await client.solve(BG, await made("foo", os.urandom(10)).marshal(BG), opt, status)
        await watching
    exporting = [digest for digest, text in vertexes.items() if text == "exporting to image"]
    assert len(exporting) == 1
    assert any(text.startswith("pushing manifest") for text in pushes)
    assert set(pushes.values()) == set(exporting)


# Attestations


STATEMENT = {"_type": "https://in-toto.io/Statement/v0.1", "predicateType": "https://example.com/attestations/v1.0"}


@pytest.mark.parametrize("bundle", [True, False])
async def test_attestations_of_a_pushed_image(addr: str, tmp_path: Path, bundle: bool) -> None:
    """testAttestationBundle, testAttestationDefaultSubject: the subject is the image that was pushed"""
    need(addr, "image-store", "attestations")
    kinds = gateway_pb2.AttestationKind
    predicate = {"foo": "1"}

    async def build(ctx: Context, client: gateway.Client) -> gateway.Result:
        ref = (await solved(ctx, client, made("/greeting"))).single_ref()
        if bundle:
            statement = json.dumps({**STATEMENT, "predicate": predicate}).encode()
            state = llb.scratch().file(llb.mkdir("/bundle", 0o700).mkfile("/bundle/attestation.json", 0o600, statement))
        else:
            state = made("/attestation.json", json.dumps(predicate).encode())
        proof = (await solved(ctx, client, state)).single_ref()
        result = gateway.Result()
        result.add_ref("linux/amd64", ref)
        platform = {"ID": "linux/amd64", "Platform": {"os": "linux", "architecture": "amd64"}}
        result.add_meta("refs.platforms", json.dumps({"Platforms": [platform]}).encode())
        attestation = gateway.Attestation(kind=kinds.Bundle, ref=proof, path="/bundle")
        if not bundle:
            attestation = gateway.Attestation(
                kind=kinds.InToto,
                ref=proof,
                path="/attestation.json",
                in_toto_predicate_type=STATEMENT["predicateType"],
            )
        result.add_attestation("linux/amd64", attestation)
        return result

    with registry.serve(tmp_path / "registry") as where:
        name = f"{where.host}/foo:latest"
        await run_build(addr, build, exports=[ExportEntry(type="image", attrs={"name": name, "push": "true"})])
        index = json.loads(where.content("/v2/foo/manifests/latest", Accept=INDEX))
        base, proof = index["manifests"]
        assert proof["platform"] == {"architecture": "unknown", "os": "unknown"}
        accept = proof["mediaType"]
        manifest = json.loads(where.content(f"/v2/foo/manifests/{proof['digest']}", Accept=accept))
        (layer,) = manifest["layers"]
        statement = json.loads(where.content(f"/v2/foo/blobs/{layer['digest']}"))
        host = quote(where.host, safe="")
    assert statement["predicateType"] == STATEMENT["predicateType"]
    assert statement["predicate"] == predicate
    digest = base["digest"].removeprefix("sha256:")
    purl = f"pkg:docker/{host}/foo@latest?platform=linux%2Famd64"
    assert statement["subject"] == [{"name": purl, "digest": {"sha256": digest}}]


async def test_oci_exporter_compatibility_version(addr: str) -> None:
    """testOCIExporterCompatibilityVersion: the version goes with the solve; one that the daemon has not is refused"""
    need(addr, "oci", "compatibility-version")
    digests = []
    for version in (0, 10, 10):
        archive = Memory()
        opt = {"exports": [ExportEntry(type="oci", output=archive.open)], "compatibility_version": version}
        response = await solve(addr, made("foo", b"data"), **opt)
        digests.append(response.exporter_response["containerimage.digest"])
    assert digests[1] == digests[2]
    with pytest.raises(BuildkitError, match="unsupported compatibility-version 9999"):
        await solve(addr, made(), compatibility_version=9999)
