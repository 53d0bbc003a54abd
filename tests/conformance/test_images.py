"""Results of several platforms, annotations and attestations, as a build's outputs and its metadata have them."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

from tests.conformance.services import build, need
from tests.conformance.test_outputs import blobs_are_whole

PLATFORMS = ["linux/amd64", "linux/arm64"]
FILES: dict[str, str | bytes] = {
    "Dockerfile": "FROM scratch\nARG TARGETARCH\nCOPY Dockerfile /at-$TARGETARCH\nCOPY both /\n",
    "both": "of both",
}
INDEX = "application/vnd.oci.image.index.v1+json"
Json = dict[str, Any]


class Layout:
    """An OCI image layout with one image."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        blobs_are_whole(folder)
        self.index = self.load(folder / "index.json")
        (self.root,) = self.index["manifests"]

    @staticmethod
    def load(path: Path) -> Json:
        loaded: Json = json.loads(path.read_bytes())
        return loaded

    def blob(self, descriptor: Json) -> Json:
        algorithm, _, digits = descriptor["digest"].partition(":")
        return self.load(self.folder / "blobs" / algorithm / digits)


def annotated() -> str:
    """Annotations of each kind, one with a comma, for the image and for one platform alone."""
    fields = [
        "annotation.of.the/manifest=a value",
        '"annotation.with.comma=one,two"',
        "annotation[linux/arm64].only=arm",
        "annotation-index.of.the/index=i",
        "annotation-manifest-descriptor.of.the/descriptor=d",
        "annotation-index-descriptor.of.the/index-descriptor=e",
    ]
    return ",".join(fields)


def test_platforms_and_annotations(addr: str, tmp_path: Path) -> None:
    need(addr, "oci")
    output = ["--output", f"type=oci,dest=layout,tar=false,name=docker.io/library/made:1,{annotated()}"]
    flags = ["--opt", f"platform={','.join(PLATFORMS)}", "--metadata-file", "metadata.json"]
    build(*flags, addr=addr, cwd=tmp_path, files=FILES, output=output)
    layout = Layout(tmp_path / "layout")
    described = json.loads((tmp_path / "metadata.json").read_bytes())
    assert described["containerimage.digest"] == layout.root["digest"]
    assert described["image.name"] == "docker.io/library/made:1"
    assert layout.root["mediaType"] == INDEX
    names = layout.root["annotations"]
    assert names["of.the/index-descriptor"] == "e"
    assert names["io.containerd.image.name"] == "docker.io/library/made:1"
    index = layout.blob(layout.root)
    assert index["annotations"] == {"of.the/index": "i"}
    found = {f"{m['platform']['os']}/{m['platform']['architecture']}": m for m in index["manifests"]}
    assert sorted(found) == PLATFORMS
    for platform, descriptor in found.items():
        assert descriptor["annotations"] == {"of.the/descriptor": "d"}
        wanted = {"of.the/manifest": "a value", "with.comma": "one,two"}
        only = {"only": "arm"} if platform == "linux/arm64" else {}
        assert layout.blob(descriptor)["annotations"] == wanted | only


def test_trees_of_several_platforms(addr: str, tmp_path: Path) -> None:
    build("--opt", f"platform={','.join(PLATFORMS)}", addr=addr, cwd=tmp_path, files=FILES)
    found = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file()}
    folders = {"linux_amd64": "at-amd64", "linux_arm64": "at-arm64"}
    assert found == {f"{folder}/{name}" for folder, own in folders.items() for name in ("both", own)}


def test_provenance(addr: str, tmp_path: Path) -> None:
    """An attestation is a manifest of its own in an image, and a file in a tree and in a tar."""
    need(addr, "oci", "attestations")
    outputs = ["type=oci,dest=layout,tar=false", "type=local,dest=out", "type=tar,dest=made.tar"]
    flags = ["--opt", f"platform={','.join(PLATFORMS)}", "--opt", "attest:provenance=mode=max"]
    words = [word for output in outputs for word in ("--output", output)]
    build(*flags, addr=addr, cwd=tmp_path, files=FILES, output=words)
    layout = Layout(tmp_path / "layout")
    manifests = layout.blob(layout.root)["manifests"]
    kind = "vnd.docker.reference.type"
    proofs = [m for m in manifests if kind in m.get("annotations", {})]
    assert len(proofs) == len(PLATFORMS)
    for proof in proofs:
        (layer,) = layout.blob(proof)["layers"]
        assert layer["mediaType"] == "application/vnd.in-toto+json"
        assert layout.blob(layer)["predicateType"] == layer["annotations"]["in-toto.io/predicate-type"]
    with tarfile.open(tmp_path / "made.tar") as archive:
        names = archive.getnames()
    for folder in ("linux_amd64", "linux_arm64"):
        assert f"{folder}/provenance.json" in names
        statement = json.loads((tmp_path / "out" / folder / "provenance.json").read_bytes())
        assert statement["predicate"]["buildDefinition"]["internalParameters"]["buildConfig"]["llbDefinition"]
