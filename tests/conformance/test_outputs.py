"""What a build leaves besides a tree: image archives and layouts, metadata, reference, trace; further inputs."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from pathlib import Path

import pytest

from tests.conformance.services import build, last_line, need

DOCKERFILE = "FROM scratch\nCOPY a /made/a\n"


def files() -> dict[str, str | bytes]:
    return {"Dockerfile": DOCKERFILE, "a": os.urandom(3000)}


def blobs_are_whole(folder: Path) -> int:
    """Check every blob of a layout against its name; how many there are."""
    found = list((folder / "blobs/sha256").iterdir())
    for path in found:
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name
    return len(found)


@pytest.mark.parametrize("kind", ["oci", "docker"])
def test_image_archive(addr: str, tmp_path: Path, kind: str) -> None:
    need(addr, "oci")
    build(addr=addr, cwd=tmp_path, files=files(), output=["--output", f"type={kind},dest=image.tar,name=x/y:z"])
    with tarfile.open(tmp_path / "image.tar") as archive:
        archive.extractall(tmp_path / "layout", filter="data")
    assert blobs_are_whole(tmp_path / "layout") >= 3
    assert (tmp_path / "layout/manifest.json").exists() == (kind == "docker")


def test_image_layout_is_a_source_again(addr: str, tmp_path: Path) -> None:
    """`tar=false` fills a store over the session; `--oci-layout` offers it to the next build, which only reads it."""
    need(addr, "oci", "oci-layout")
    context = files()
    output = ["--output", "type=oci,dest=layout,tar=false,name=docker.io/library/made:1", "--metadata-file", "meta"]
    build(addr=addr, cwd=tmp_path, files=context, output=output)
    assert blobs_are_whole(tmp_path / "layout") >= 3
    index = json.loads((tmp_path / "layout/index.json").read_text())
    digest = index["manifests"][0]["digest"]
    assert json.loads((tmp_path / "meta").read_text())["containerimage.digest"] == digest
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "layout").rglob("*")}
    source = ["--oci-layout", "store=layout", "--opt", f"context:base=oci-layout://store@{digest}"]
    build(*source, addr=addr, cwd=tmp_path, files={"Dockerfile": "FROM base\nCOPY Dockerfile /second\n"})
    assert (tmp_path / "out/made/a").read_bytes() == context["a"]
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "layout").rglob("*")} == before


def test_several_outputs(addr: str, tmp_path: Path) -> None:
    need(addr, "oci")
    output = [*("--output", "type=local,dest=one"), *("--output", "type=tar,dest=two.tar"), "-o", "type=oci,dest=3.tar"]
    context = files()
    build(addr=addr, cwd=tmp_path, files=context, output=output)
    assert (tmp_path / "one/made/a").read_bytes() == context["a"]
    assert tarfile.is_tarfile(tmp_path / "two.tar")
    assert tarfile.is_tarfile(tmp_path / "3.tar")


def test_trace_reference_and_rawjson(addr: str, tmp_path: Path) -> None:
    records = ["--trace", "trace", "--ref-file", "ref", "--progress=rawjson"]
    result = build(*records, addr=addr, cwd=tmp_path, files=files())
    shown = [json.loads(line) for line in result.stderr.splitlines() if line.startswith("{")]
    names = {vertex["name"] for status in shown for vertex in status.get("vertexes", [])}
    assert any("COPY a /made/a" in name for name in names)
    traced = [json.loads(line) for line in (tmp_path / "trace").read_text().splitlines()]
    assert {vertex["name"] for status in traced for vertex in status.get("vertexes", [])} == names
    assert len((tmp_path / "ref").read_text()) == 25


def test_subrequest(addr: str, tmp_path: Path) -> None:
    flags = ["--opt", "requestid=frontend.subrequests.describe"]
    result = build(*flags, addr=addr, cwd=tmp_path, files=files(), output=[])
    assert b"subrequests.describe" in result.stdout


def test_source_policy(addr: str, tmp_path: Path) -> None:
    need(addr, "source-policy")
    policy = {"rules": [{"action": "DENY", "selector": {"identifier": "docker-image://docker.io/library/nothing*"}}]}
    (tmp_path / "policy.json").write_text(json.dumps(policy))
    flags = ["--source-policy-file", "policy.json"]
    denied = build(*flags, addr=addr, cwd=tmp_path, files={"Dockerfile": "FROM nothing\n"}, ok=False)
    assert "denied by policy" in last_line(denied)
    build(*flags, addr=addr, cwd=tmp_path, files=files())


def test_malformed_source_policy(addr: str, tmp_path: Path) -> None:
    (tmp_path / "policy.json").write_text("{")
    result = build("--source-policy-file", "policy.json", addr=addr, cwd=tmp_path, files=files(), ok=False)
    assert "policy" in last_line(result)
