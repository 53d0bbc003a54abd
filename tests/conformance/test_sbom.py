"""Bills of materials: the client names a scanner, the daemon runs it and attests what it has written.

The scanner is an image of this test: a shell that writes a statement with the arguments that it got.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from pybuildkit.client import ExportEntry
from pybuildkit.frontend.gateway import client as gateway
from pybuildkit.frontend.gateway.pb import gateway_pb2
from pybuildkit.golang.context import Context
from tests.conformance import registry
from tests.conformance.services import build, need
from tests.conformance.test_images import Layout
from tests.conformance.test_upstream_solve import Memory, made, run_build, solved

STATEMENT, SPDX = "https://in-toto.io/Statement/v1", "https://spdx.dev/Document"
SCAN = """/bin/busybox cat << END > "$BUILDKIT_SCAN_DESTINATION/spdx.json"
{
  "_type": "STATEMENT",
  "predicateType": "SPDX",
  "predicate": {"name": "scanned", "arguments": ["$BUILDKIT_SCAN_ARG1", "$BUILDKIT_SCAN_ARG2"]}
}
END
""".replace("STATEMENT", STATEMENT).replace("SPDX", SPDX)


@pytest.fixture
def scanner(addr: str, tmp_path: Path, busybox: Path) -> Iterator[str]:
    """The reference of the scanner's image."""
    need(addr, "run", "oci", "attestations")
    with registry.serve(tmp_path / "registry") as where:
        files = {"bin/busybox": busybox.read_bytes()}
        yield where.push("scanner", files, ["/bin/busybox", "sh", "-c", SCAN])


def test_of_a_dockerfile(addr: str, tmp_path: Path, scanner: str) -> None:
    """testSBOMScannerImage: in an image, in a tree and in the metadata's image"""
    output = ["--output", "type=oci,dest=layout,tar=false", "--output", "type=local,dest=out"]
    files = {"Dockerfile": "FROM scratch\nCOPY Dockerfile /\n"}
    generator = f"attest:sbom=generator={scanner},ARG1=one"
    build("--opt", generator, addr=addr, cwd=tmp_path, files=files, output=output)
    layout = Layout(tmp_path / "layout")
    image, proof = layout.blob(layout.root)["manifests"]
    assert proof["annotations"]["vnd.docker.reference.digest"] == image["digest"]
    (layer,) = layout.blob(proof)["layers"]
    assert layer["annotations"]["in-toto.io/predicate-type"] == SPDX
    predicate = {"name": "scanned", "arguments": ["one", ""]}
    assert (layout.blob(layer)["_type"], layout.blob(layer)["predicate"]) == (STATEMENT, predicate)
    assert json.loads((tmp_path / "out/spdx.json").read_bytes())["predicate"] == predicate


async def attested(addr: str, sbom: str, *, by_frontend: bool) -> list[dict[str, Any]]:
    """The statements of an image that a frontend here has made, with a bill of its own or without."""

    async def frontend(ctx: Context, client: gateway.Client) -> gateway.Result:
        result = gateway.Result()
        result.add_ref("linux/amd64", (await solved(ctx, client, made("/greeting"))).single_ref())
        platform = {"ID": "linux/amd64", "Platform": {"os": "linux", "architecture": "amd64"}}
        result.add_meta("refs.platforms", json.dumps({"Platforms": [platform]}).encode())
        if by_frontend:
            bill = (await solved(ctx, client, made("/result.spdx", b'{"name": "frontend"}'))).single_ref()
            kind = gateway_pb2.AttestationKind.InToto
            proof = gateway.Attestation(kind=kind, ref=bill, path="/result.spdx", in_toto_predicate_type=SPDX)
            result.add_attestation("linux/amd64", proof)
        return result

    archive = Memory()
    exports = [ExportEntry(type="oci", output=archive.open)]
    await run_build(addr, frontend, exports=exports, frontend_attrs={"attest:sbom": sbom})
    blobs = [archive.read(name) for name in archive.members() if name.startswith("blobs/sha256/")]
    return [json.loads(data) for data in blobs if b"predicateType" in data and b"_type" in data]


@pytest.mark.parametrize(
    ("attribute", "by_frontend", "predicate"),
    [
        ("generator={}", False, {"name": "scanned", "arguments": ["", ""]}),
        ("generator={}", True, {"name": "frontend"}),
        ("", True, {"name": "frontend"}),
        ("generator={},ARG1=foo,ARG2=bar", False, {"name": "scanned", "arguments": ["foo", "bar"]}),
        (
            '"generator={}","ARG1=foo","ARG2=hello,world"',
            False,
            {"name": "scanned", "arguments": ["foo", "hello,world"]},
        ),
    ],
)
async def test_sbom_scan(
    addr: str, scanner: str, attribute: str, by_frontend: bool, predicate: Mapping[str, object]
) -> None:
    """testSBOMScan: a frontend's own bill comes first, the named scanner stands in"""
    (statement,) = await attested(addr, attribute.format(scanner), by_frontend=by_frontend)
    assert (statement["_type"], statement["predicateType"]) == (STATEMENT, SPDX)
    assert statement["predicate"] == predicate


def test_scanner_that_fails(addr: str, tmp_path: Path, busybox: Path) -> None:
    """The build fails as its step does."""
    need(addr, "run", "oci", "attestations")
    with registry.serve(tmp_path / "registry") as where:
        name = where.push("broken", {"bin/busybox": busybox.read_bytes()}, ["/bin/busybox", "sh", "-c", "exit 3"])
        files = {"Dockerfile": "FROM scratch\nCOPY Dockerfile /\n"}
        output = ["--output", "type=oci,dest=made.tar"]
        result = build(
            "--opt", f"attest:sbom=generator={name}", addr=addr, cwd=tmp_path, files=files, output=output, ok=False
        )
    assert "exit code: 3" in result.stderr
    assert not (tmp_path / "made.tar").exists()
