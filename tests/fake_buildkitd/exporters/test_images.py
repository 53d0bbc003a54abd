"""Image exports of the daemon in this process: what is in them, what attributes change, what is refused."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from fake_buildkitd import Daemon
from pybuildkit.client import Client
from pybuildkit.client._solveopt import ExportEntry, SolveOpt
from pybuildkit.third_party import fsutil
from tests.fake_buildkitd.helpers import Built, connected, solve, write_tree

Json = dict[str, Any]
DOCKERFILE = "FROM scratch\nLABEL l=m\nCOPY a /d/a\nENV E=1\nCOPY b /d/b\n"
FILES = {"Dockerfile": DOCKERFILE, "a": "of a", "b": "of b"}


class Archive:
    """An image archive in memory; every blob is checked against its name."""

    def __init__(self) -> None:
        self.data = io.BytesIO()
        self.closed = False

    def write_all(self, data: bytes | bytearray | memoryview) -> None:
        self.data.write(data)

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.data = io.BytesIO()

    def files(self) -> dict[str, bytes]:
        assert self.closed
        found: dict[str, bytes] = {}
        with tarfile.open(fileobj=io.BytesIO(self.data.getvalue())) as archive:
            assert archive.getnames() == sorted(archive.getnames())
            for member in archive:
                reader = archive.extractfile(member)
                if reader is not None:
                    found[member.name] = reader.read()
        for name, content in found.items():
            if name.startswith("blobs/"):
                assert name == f"blobs/sha256/{hashlib.sha256(content).hexdigest()}"
        return found

    def load(self, descriptor: Json) -> Json:
        loaded: Json = json.loads(self.blob(descriptor))
        return loaded

    def blob(self, descriptor: Json) -> bytes:
        content = self.files()["blobs/" + descriptor["digest"].replace(":", "/")]
        assert descriptor["size"] == len(content)
        return content

    def index(self) -> list[Json]:
        manifests: list[Json] = json.loads(self.files()["index.json"])["manifests"]
        return manifests


async def export(
    client: Client,
    folder: Path,
    kind: str = "oci",
    attrs: Mapping[str, str] | None = None,
    opts: Mapping[str, str] | None = None,
) -> tuple[Built, Archive]:
    """Build the Dockerfile of a folder and export the image."""
    archive = Archive()
    fs = fsutil.new_fs(str(folder))
    output = (lambda metadata: archive) if kind in ("oci", "docker") else None
    opt = SolveOpt(
        frontend="dockerfile.v0",
        frontend_attrs=dict(opts or {}),
        local_mounts={"context": fs, "dockerfile": fs},
        exports=[ExportEntry(type=kind, attrs=dict(attrs or {}), output=output)],
        shared_key=str(folder),
    )
    return await solve(client, opt), archive


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "src", FILES)


async def test_an_image_has_a_layer_for_each_step(folder: Path) -> None:
    async with Daemon() as daemon, connected(daemon) as client:
        built, archive = await export(client, folder, attrs={"name": "made,other:1"})
    assert built.error is None
    assert built.response is not None
    names = [entry["annotations"]["io.containerd.image.name"] for entry in archive.index()]
    assert names == ["docker.io/library/made:latest", "docker.io/library/other:1"]
    root = archive.index()[0]
    response = built.response.exporter_response
    assert response["image.name"] == ",".join(names)
    assert response["containerimage.digest"] == root["digest"]
    assert root["platform"]["os"] == "linux"
    manifest = archive.load(root)
    assert response["containerimage.config.digest"] == manifest["config"]["digest"]
    config = archive.load(manifest["config"])
    assert config["config"]["Labels"] == {"l": "m"}
    empty = [entry.get("empty_layer", False) for entry in config["history"]]
    assert empty == [True, False, True, False]
    assert all(entry["created"] for entry in config["history"])
    contents = []
    for layer, diff_id in zip(manifest["layers"], config["rootfs"]["diff_ids"], strict=True):
        assert layer["mediaType"] == "application/vnd.oci.image.layer.v1.tar+gzip"
        assert "annotations" not in layer
        unpacked = gzip.decompress(archive.blob(layer))
        assert diff_id == f"sha256:{hashlib.sha256(unpacked).hexdigest()}"
        with tarfile.open(fileobj=io.BytesIO(unpacked)) as inner:
            contents.append(inner.getnames())
    assert contents == [["d", "d/a"], ["d", "d/b"]]


async def test_docker_loads_by_a_manifest_of_its_own(folder: Path) -> None:
    async with Daemon() as daemon, connected(daemon) as client:
        built, archive = await export(client, folder, "docker", {"name": "made"})
        assert built.error is None
        several, _ = await export(client, folder, "docker", opts={"platform": "linux/amd64,linux/arm64"})
    (entry,) = json.loads(archive.files()["manifest.json"])
    assert entry["RepoTags"] == ["made:latest"]
    assert {entry["Config"], *entry["Layers"]} <= set(archive.files())
    assert "docker exporter does not currently support exporting manifest lists" in str(several.error)


async def test_the_second_export_is_the_first_one(tmp_path: Path, folder: Path) -> None:
    async with Daemon(state=str(tmp_path / "state")) as daemon, connected(daemon) as client:
        first, _ = await export(client, folder)
    async with Daemon(state=str(tmp_path / "state")) as daemon, connected(daemon) as client:
        second, archive = await export(client, folder)
    assert first.response is not None
    assert second.response is not None
    key = "containerimage.digest"
    assert second.response.exporter_response[key] == first.response.exporter_response[key]
    assert len(archive.load(archive.index()[0])["layers"]) == 2
    assert {name for name in second.cached() if "COPY" in name} == {"[1/2] COPY a /d/a", "[2/2] COPY b /d/b"}


async def test_an_epoch_makes_images_reproducible(folder: Path) -> None:
    digests = set()
    for _ in range(2):
        async with Daemon() as daemon, connected(daemon) as client:
            attrs = {"rewrite-timestamp": "true"}
            built, archive = await export(client, folder, attrs=attrs, opts={"build-arg:SOURCE_DATE_EPOCH": "1000"})
        assert built.error is None
        digests.add(archive.index()[0]["digest"])
    assert len(digests) == 1
    config = archive.load(archive.load(archive.index()[0])["config"])
    assert {config["created"], *(entry["created"] for entry in config["history"])} == {"1970-01-01T00:16:40Z"}
    assert archive.index()[0]["annotations"]["org.opencontainers.image.created"] == "1970-01-01T00:16:40Z"


async def test_dockers_media_types_and_uncompressed_layers(folder: Path) -> None:
    async with Daemon() as daemon, connected(daemon) as client:
        built, archive = await export(client, folder, attrs={"oci-mediatypes": "false", "compression": "uncompressed"})
    assert built.error is None
    root = archive.index()[0]
    assert root["mediaType"] == "application/vnd.docker.distribution.manifest.v2+json"
    manifest = archive.load(root)
    assert manifest["config"]["mediaType"] == "application/vnd.docker.container.image.v1+json"
    assert {layer["mediaType"] for layer in manifest["layers"]} == {"application/vnd.docker.image.rootfs.diff.tar"}


async def test_an_image_without_layers(tmp_path: Path) -> None:
    folder = write_tree(tmp_path / "src", {"Dockerfile": "FROM scratch\nENV a=b\n"})
    async with Daemon() as daemon, connected(daemon) as client:
        built, archive = await export(client, folder)
    assert built.error is None
    manifest = archive.load(archive.index()[0])
    assert manifest["layers"] is None
    assert archive.load(manifest["config"])["rootfs"] == {"type": "layers", "diff_ids": None}


async def test_an_image_that_is_not_pushed_is_told_of(folder: Path) -> None:
    async with Daemon() as daemon, connected(daemon) as client:
        built, _ = await export(client, folder, "image", {"name": "made:1"})
    assert built.error is None
    assert built.response is not None
    response = built.response.exporter_response
    assert response["image.name"] == "made:1"
    assert response["containerimage.digest"].startswith("sha256:")


@pytest.mark.parametrize(
    ("kind", "attrs", "error"),
    [
        ("oci", {"tar": "x"}, "non-bool value specified for tar"),
        ("oci", {"oci-mediatypes": "x"}, "non-bool value specified for oci-mediatypes"),
        ("oci", {"source-date-epoch": "x"}, "invalid source-date-epoch: "),
        ("oci", {"name": "UPPER"}, "failed to parse UPPER: invalid reference format"),
        ("oci", {"annotation-index.a": "b"}, "index annotations not supported for single platform export"),
        ("oci", {"annotation-nothing.a": "b"}, "unrecognized annotation type nothing"),
        (
            "oci",
            {"oci-mediatypes": "false", "annotation-index.a": "b"},
            'cannot export annotations with "oci-mediatypes=false"',
        ),
        ("oci", {"oci-mediatypes": "false", "oci-artifact": "true"}, 'conflicts with "oci-mediatypes=false"'),
        ("oci", {"compression": "estargz"}, "compression estargz is not supported by this daemon"),
        ("image", {"push": "x"}, "non-bool value specified for push"),
        (
            "image",
            {"push": "true", "push-by-digest": "true", "name": "a:b"},
            "can't push tagged ref docker.io/library/a:b by digest",
        ),
        (
            "image",
            {"push": "true", "name": "127.0.0.1:1/x"},
            "failed to push 127.0.0.1:1/x: failed to do request: Head ",
        ),
        ("moby", {}, 'exporter "moby" could not be found'),
    ],
)
async def test_refused_exports(folder: Path, kind: str, attrs: dict[str, str], error: str) -> None:
    async with Daemon() as daemon, connected(daemon) as client:
        built, archive = await export(client, folder, kind, attrs)
    assert error in str(built.error)
    assert not archive.closed


async def test_a_platform_that_the_result_has_not(folder: Path) -> None:
    async with Daemon() as daemon, connected(daemon) as client:
        attrs = {"annotation[linux/s390x].a": "b"}
        built, _ = await export(client, folder, attrs=attrs, opts={"platform": "linux/amd64,linux/arm64"})
    assert "invalid annotation: no platform linux/s390x found in source" in str(built.error)
