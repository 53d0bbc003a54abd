"""Attestations: what the options ask for, statements, provenance."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fake_buildkitd import Daemon
from fake_buildkitd import attestations as attest
from pybuildkit.client import llb
from pybuildkit.client._solveopt import ExportEntry, SolveOpt
from pybuildkit.frontend.gateway.pb import gateway_pb2
from pybuildkit.golang import context
from pybuildkit.golang.errors import BuildkitError
from pybuildkit.solver.pb import ops_pb2
from pybuildkit.third_party import platforms
from tests.fake_buildkitd.helpers import connected, solve

Json = dict[str, Any]
CTX = context.background()
DIGEST = "sha256:" + 64 * "a"


@pytest.mark.parametrize(
    ("attrs", "error"),
    [
        ({"attest:nothing": ""}, 'unknown attestation type "nothing"'),
        ({"attest:sbom": ""}, "attestation sbom is not supported by this daemon"),
        ({"build-arg:BUILDKIT_ATTEST_SBOM": "1"}, "attestation sbom is not supported by this daemon"),
        ({"attest:provenance": "mode=most"}, 'invalid mode "most"'),
        ({"attest:provenance": "version=v0.2"}, "provenance in version v0.2 is not supported by this daemon"),
        ({"attest:provenance": "reproducible=x"}, 'failed to parse reproducible flag "x"'),
        ({"attest:provenance": "complete-materials=x"}, 'failed to parse complete-materials flag "x"'),
        ({"attest:provenance": '"'}, "failed to parse provenance"),
    ],
)
def test_refused_options(attrs: dict[str, str], error: str) -> None:
    with pytest.raises(BuildkitError, match=error):
        attest.check_provenance(attest.parse(attrs)["provenance"])


def test_options() -> None:
    attrs = {"attest:provenance": "mode=min,builder-id=me", "target": "x"}
    assert attest.parse(attrs) == {"provenance": {"mode": "min", "builder-id": "me"}}


def test_statements() -> None:
    subjects = (
        attest.Subject(),
        attest.Subject(name="also"),
        attest.Subject(False, "raw", {"sha256": "1"}),
    )
    attestation = attest.Attestation("kind", "a.json", b'{"x": 1}', subjects)
    own: Json = {"name": "it", "digest": {"sha256": "2"}}
    assert attestation.statement([own]) == {
        "_type": "https://in-toto.io/Statement/v1",
        "predicateType": "kind",
        "subject": [own, own, {**own, "name": "also"}, {"name": "raw", "digest": {"sha256": "1"}}],
        "predicate": {"x": 1},
    }
    with pytest.raises(attest.AttestationError, match=r"a\.json is no JSON"):
        attest.Attestation("kind", "a.json", b"{", ()).statement([])


async def test_bundles_are_unbundled() -> None:
    statement = {"predicateType": "k", "predicate": {"x": 1}, "subject": [{"name": "n", "digest": {"sha256": "1"}}]}
    files = {"all/a.json": json.dumps(statement).encode(), "all/b.json": b"no JSON"}

    async def read_file(path: str) -> bytes:
        return files[path]

    async def read_dir(path: str) -> list[str]:
        return [name.partition("/")[2] for name in files]

    bundle = gateway_pb2.Attestation(kind=gateway_pb2.Bundle, path="all")
    with pytest.raises(attest.AttestationError, match=r"cannot decode in-toto statement all/b\.json"):
        await attest.read(bundle, read_file, read_dir)
    del files["all/b.json"]
    (found,) = await attest.read(bundle, read_file, read_dir)
    assert found.statement([]) == {"_type": attest.STATEMENT, **statement}


async def test_provenance_names_what_was_used() -> None:
    used = llb.image(f"127.0.0.1:5000/base:1@{DIGEST}", llb.platform(platforms.parse("linux/arm64")))
    state = used.file(llb.copy(llb.local("src"), "/a", "/b"))
    definition = (await state.marshal(CTX)).to_pb()
    info = attest.BuildInfo("id", "f", {"build-arg:a": "b", "attest:provenance": "x"}, 0, 1_000_000_000)
    for mode in ("min", "max"):
        made = attest.provenance(info, definition, {"mode": mode, "builder-id": "me", "reproducible": "true"})
        predicate: Json = json.loads(made.content)
        parts = predicate["buildDefinition"]
        uri = f"pkg:docker/127.0.0.1:5000/base@1?digest={DIGEST}&platform=linux%2Farm64"
        assert [each["uri"].replace("%3A", ":") for each in parts["resolvedDependencies"]] == [uri]
        assert parts["resolvedDependencies"][0]["digest"] == {"sha256": 64 * "a"}
        request = parts["externalParameters"]["request"]
        assert request["locals"] == [{"name": "src"}]
        assert request.get("args") == ({"build-arg:a": "b"} if mode == "max" else None)
        assert ("buildConfig" in parts["internalParameters"]) == (mode == "max")
        assert predicate["runDetails"]["builder"] == {"id": "me"}
        assert predicate["runDetails"]["metadata"]["finishedOn"] == "1970-01-01T00:00:01Z"
    config = parts["internalParameters"]["buildConfig"]
    ops: list[ops_pb2.Op] = [ops_pb2.Op.FromString(data) for data in getattr(definition, "def")]
    assert len(config["llbDefinition"]) == len(ops)
    assert set(config["digestMapping"].values()) == {f"step{index}" for index in range(len(ops))}


@pytest.mark.parametrize(("name", "url"), [("foo", "pkg:docker/foo@latest"), ("a.b/c/d:1", "pkg:docker/a.b/c/d@1")])
def test_package_urls(name: str, url: str) -> None:
    assert attest.package_url(name, None) == url
    arm = platforms.parse("linux/arm/v7")
    assert attest.package_url(name, arm) == f"{url}?platform=linux%2Farm%2Fv7"


async def test_a_tree_with_provenance(tmp_path: Path) -> None:
    state = llb.scratch().file(llb.mkfile("/a", 0o644, b"x"))
    opt = SolveOpt(
        frontend_attrs={"attest:provenance": ""},
        exports=[ExportEntry(type="local", attrs={"attestation-prefix": "my-"}, output_dir=str(tmp_path / "out"))],
    )
    async with Daemon() as daemon, connected(daemon) as client:
        built = await solve(client, opt, await state.marshal(CTX))
    assert built.error is None
    statement = json.loads((tmp_path / "out/my-provenance.json").read_text())
    assert [subject["name"] for subject in statement["subject"]] == ["a"]
