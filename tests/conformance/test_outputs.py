"""What a build leaves besides a tree: image archives and layouts, metadata, reference, trace; further inputs."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.conformance import registry
from tests.conformance.services import build, docker_engine, last_line, need

DOCKERFILE = "FROM scratch\nCOPY a /made/a\n"


def files() -> dict[str, str | bytes]:
    return {"Dockerfile": DOCKERFILE, "a": os.urandom(3000)}


def blob(folder: Path, digest: str) -> dict[str, Any]:
    """A JSON blob of a layout."""
    loaded: dict[str, Any] = json.loads((folder / "blobs" / digest.replace(":", "/", 1)).read_bytes())
    return loaded


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


def test_docker_loads_the_archive(addr: str, tmp_path: Path) -> None:
    """Debian's engine takes what `type=docker` gives: the layers, and the configuration."""
    need(addr, "oci")
    engine = docker_engine()
    name = f"loaded-{os.urandom(6).hex()}:1"
    context = {**files(), "Dockerfile": DOCKERFILE + "ENV E=1\n"}
    output = ["--output", f"type=docker,dest=image.tar,name={name}"]
    build(addr=addr, cwd=tmp_path, files=context, output=output)
    try:
        assert f"Loaded image: {name}" in engine("load", "-i", str(tmp_path / "image.tar"))
        (loaded,) = json.loads(engine("image", "inspect", name))
        assert "E=1" in loaded["Config"]["Env"]
        assert loaded["Size"] == 3000
    finally:
        engine("rmi", "-f", name)


def test_an_epoch_makes_equal_images(addr: str, tmp_path: Path) -> None:
    need(addr, "oci")
    context = files()
    digests = set()
    for number in range(2):
        output = ["--output", f"type=oci,dest={number}.tar,rewrite-timestamp=true", "--metadata-file", "meta"]
        flags = ["--opt", "build-arg:SOURCE_DATE_EPOCH=1000", "--no-cache"]
        build(*flags, addr=addr, cwd=tmp_path, files=context, output=output)
        digests.add(json.loads((tmp_path / "meta").read_text())["containerimage.digest"])
    assert len(digests) == 1


def test_a_base_image_keeps_its_layers(addr: str, tmp_path: Path) -> None:
    need(addr, "oci")
    with registry.serve(tmp_path / "registry") as where:
        ref = where.push("img", {"from-the-image": os.urandom(2000)})
        dockerfile = f"FROM {ref}\nCOPY Dockerfile /copied\n"
        output = ["--output", "type=oci,dest=layout,tar=false"]
        build(addr=addr, cwd=tmp_path, files={"Dockerfile": dockerfile}, output=output)
        assert blobs_are_whole(tmp_path / "layout") == 4
        index = json.loads((tmp_path / "layout/index.json").read_text())
        manifest = blob(tmp_path / "layout", index["manifests"][0]["digest"])
        assert len(manifest["layers"]) == 2
        status, _ = where.request("HEAD", f"/v2/img/blobs/{manifest['layers'][0]['digest']}")
        assert status == 200
        config = blob(tmp_path / "layout", manifest["config"]["digest"])
        assert config["config"]["Env"] == ["PATH=/bin"]
        assert [entry["created_by"] for entry in config["history"]] == [
            "the test",
            "COPY Dockerfile /copied # buildkit",
        ]


def test_a_pushed_image_is_a_base_again(addr: str, tmp_path: Path) -> None:
    need(addr, "image-store")
    context = files()
    with registry.htpasswd_registry(tmp_path / "registry", "user", "planted") as where:
        env = registry.docker_config(tmp_path / "login", {where.host: ("user", "planted")})
        output = ["--output", f"type=image,name={where.host}/img:1,push=true", "--metadata-file", "meta"]
        build(addr=addr, cwd=tmp_path, files=context, output=output, env=env)
        pinned = json.loads((tmp_path / "meta").read_text())["containerimage.digest"]
        dockerfile = f"FROM {where.host}/img:1@{pinned}\nCOPY Dockerfile /again\n"
        build(addr=addr, cwd=tmp_path, files={"Dockerfile": dockerfile}, env=env)
        refused = build(addr=addr, cwd=tmp_path, files=context, output=output, ok=False)
    assert (tmp_path / "out/made/a").read_bytes() == context["a"]
    assert f"failed to push {where.host}/img:1: " in last_line(refused)
    assert "401 Unauthorized" in last_line(refused)


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
