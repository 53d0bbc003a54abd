"""Caches of the daemon in this process: their format, what is imported, and bad ones."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from fake_buildkitd import Daemon
from fake_buildkitd.cache._config import CacheConfig, Record, marshal, read_chains
from fake_buildkitd.cache._export import resolve_exports
from fake_buildkitd.image import Descriptor, ImageError
from pybuildkit.api.services.control import control_pb2 as pb
from pybuildkit.client import Client, llb
from pybuildkit.client._graph import SolveStatus
from pybuildkit.client._solveopt import CacheOptionsEntry, ExportEntry, SolveOpt
from pybuildkit.frontend.gateway import client as gateway
from pybuildkit.golang import context
from pybuildkit.golang.chan import Chan
from pybuildkit.golang.context import Context
from pybuildkit.golang.errors import BuildkitError
from pybuildkit.third_party import fsutil
from tests.fake_buildkitd.helpers import Built, connected, solve, tree_on_disk, write_tree

Json = dict[str, Any]
DOCKERFILE = """FROM scratch AS other
COPY a /x/a
COPY b /x/b
FROM scratch
COPY a /made/a
COPY --from=other /x/b /made/b
"""
FILES = {"Dockerfile": DOCKERFILE, "a": "of a", "b": "of b"}
STEPS = {f"[{name}] COPY {words}" for name, words in (("stage-1 1/2", "a /made/a"), ("other 1/2", "a /x/a"))} | {
    "[other 2/2] COPY b /x/b",
    "[stage-1 2/2] COPY --from=other /x/b /made/b",
}


async def build(
    client: Client,
    folder: Path,
    dest: Path,
    *,
    exports: Sequence[CacheOptionsEntry] = (),
    imports: Sequence[CacheOptionsEntry] = (),
    opts: Mapping[str, str] | None = None,
) -> Built:
    """Build a folder's Dockerfile with caches."""
    fs = fsutil.new_fs(str(folder))
    opt = SolveOpt(
        frontend="dockerfile.v0",
        frontend_attrs=dict(opts or {}),
        local_mounts={"context": fs, "dockerfile": fs},
        exports=[ExportEntry(type="local", output_dir=str(dest))],
        cache_exports=exports,
        cache_imports=imports,
    )
    return await solve(client, opt)


def local(**attrs: str) -> list[CacheOptionsEntry]:
    return [CacheOptionsEntry(type="local", attrs=attrs)]


def load(folder: Path, digest: str) -> Json:
    loaded: Json = json.loads((folder / "blobs/sha256" / digest.partition(":")[2]).read_bytes())
    return loaded


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("image_manifest", ["true", "false"])
async def test_another_daemon_takes_every_step_from_the_cache(tmp_path: Path, mode: str, image_manifest: str) -> None:
    folder = write_tree(tmp_path / "src", FILES)
    cache = tmp_path / "cache"
    target = local(dest=str(cache), mode=mode, **{"image-manifest": image_manifest})
    async with Daemon() as daemon, connected(daemon) as client:
        built = await build(client, folder, tmp_path / "one", exports=target)
    assert built.error is None
    (root,) = json.loads((cache / "index.json").read_text())["manifests"]
    manifest = load(cache, root["digest"])
    if image_manifest == "true":
        described, layers = manifest["config"], manifest["layers"]
    else:
        *layers, described = manifest["manifests"]
    assert described["mediaType"] == "application/vnd.buildkit.cacheconfig.v0"
    config = load(cache, described["digest"])
    with_result = [record for record in config["records"] if "layers" in record]
    assert len(with_result) == {"min": 1, "max": 4}[mode]
    assert [layer["blob"] for layer in config["layers"]] == [layer["digest"] for layer in layers]
    async with Daemon() as daemon, connected(daemon) as client:
        second = await build(client, folder, tmp_path / "two", imports=local(src=str(cache)))
    assert second.error is None
    assert tree_on_disk(tmp_path / "two") == tree_on_disk(tmp_path / "one")
    steps = {name for name in second.names() if "COPY" in name}
    assert steps == STEPS
    # with "min" the other stage's content is needed for the last step's key, and is in no layer
    assert second.cached() >= (steps if mode == "max" else {"[stage-1 2/2] COPY --from=other /x/b /made/b"})


async def test_what_is_not_in_the_cache_is_built_on_what_is(tmp_path: Path) -> None:
    folder = write_tree(tmp_path / "src", FILES)
    async with Daemon() as daemon, connected(daemon) as client:
        target = local(dest=str(tmp_path / "cache"), mode="max")
        await build(client, folder, tmp_path / "one", exports=target)
    (folder / "b").write_text("another b")
    async with Daemon() as daemon, connected(daemon) as client:
        built = await build(client, folder, tmp_path / "two", imports=local(src=str(tmp_path / "cache")))
    assert built.error is None
    assert (tmp_path / "two/made/b").read_text() == "another b"
    assert {"[stage-1 1/2] COPY a /made/a", "[other 1/2] COPY a /x/a"} <= built.cached()
    assert "[other 2/2] COPY b /x/b" not in built.cached()


async def test_no_cache_runs_all_steps(tmp_path: Path) -> None:
    folder = write_tree(tmp_path / "src", FILES)
    async with Daemon() as daemon, connected(daemon) as client:
        target = local(dest=str(tmp_path / "cache"), mode="max")
        await build(client, folder, tmp_path / "one", exports=target)
    async with Daemon() as daemon, connected(daemon) as client:
        source = local(src=str(tmp_path / "cache"))
        built = await build(client, folder, tmp_path / "two", imports=source, opts={"no-cache": ""})
    assert built.error is None
    assert not built.cached()


async def test_a_layer_that_is_missing_or_broken_is_built_anew(tmp_path: Path) -> None:
    folder = write_tree(tmp_path / "src", FILES)
    cache = tmp_path / "cache"
    async with Daemon() as daemon, connected(daemon) as client:
        await build(client, folder, tmp_path / "one", exports=local(dest=str(cache), mode="max"))
    (root,) = json.loads((cache / "index.json").read_text())["manifests"]
    layers = load(cache, root["digest"])["layers"]
    for position, layer in enumerate(layers):
        blob = cache / "blobs/sha256" / layer["digest"].partition(":")[2]
        blob.chmod(0o644)
        if position % 2:
            blob.unlink()
        else:
            blob.write_bytes(b"not what it was")
    async with Daemon() as daemon, connected(daemon) as client:
        built = await build(client, folder, tmp_path / "two", imports=local(src=str(cache)))
    assert built.error is None
    assert tree_on_disk(tmp_path / "two") == tree_on_disk(tmp_path / "one")


@pytest.mark.parametrize(
    ("entry", "name", "error"),
    [
        (CacheOptionsEntry(type="nothing", attrs={"a": "b"}), "nothing:", "unknown cache importer: nothing"),
        (
            CacheOptionsEntry(type="registry", attrs={"ref": "127.0.0.1:1/c"}),
            "127.0.0.1:1/c",
            "failed to configure registry cache importer: failed to do request: Head ",
        ),
        (CacheOptionsEntry(type="s3", attrs={"a": "b"}), "s3:", 'cache import "s3" is not supported by this daemon'),
    ],
)
async def test_an_import_that_fails_is_shown(tmp_path: Path, entry: CacheOptionsEntry, name: str, error: str) -> None:
    folder = write_tree(tmp_path / "src", FILES)
    async with Daemon() as daemon, connected(daemon) as client:
        built = await build(client, folder, tmp_path / "one", imports=[entry])
    assert built.error is None
    ((step, shown),) = built.errors().items()
    assert step.startswith(f"importing cache manifest from {name}")
    assert error in shown


async def test_an_export_that_fails_and_one_whose_failure_does_not_matter(tmp_path: Path) -> None:
    folder = write_tree(tmp_path / "src", FILES)
    attrs = {"ref": "127.0.0.1:1/cache"}
    async with Daemon() as daemon, connected(daemon) as client:
        failed = await build(
            client, folder, tmp_path / "one", exports=[CacheOptionsEntry(type="registry", attrs=attrs)]
        )
        ignored = [CacheOptionsEntry(type="registry", attrs={**attrs, "ignore-error": "true"})]
        built = await build(client, folder, tmp_path / "two", exports=ignored)
    assert "error writing layer blob: failed to do request" in str(failed.error)
    assert built.error is None
    assert "exporting cache to registry" in built.errors()


@pytest.mark.parametrize(
    ("entries", "error"),
    [
        ([("nothing", {})], 'unknown cache exporter: "nothing"'),
        ([("gha", {})], 'cache export "gha" is not supported by this daemon'),
        ([("local", {})], "failed to configure local cache exporter: local cache exporter requires dest"),
        ([("registry", {})], "failed to configure registry cache exporter: missing ref"),
        ([("local", {"dest": "a"}), ("local", {"dest": "a"})], r"duplicate cache exports \[local\]"),
        ([("local", {"dest": "a", "oci-mediatypes": "x"})], "failed to parse oci-mediatypes"),
        ([("local", {"dest": "a", "compression": "x"})], "unsupported compression type x"),
        (
            [("local", {"dest": "a", "oci-mediatypes": "false", "image-manifest": "true"})],
            "OCI mediatypes are required for image-manifest cache format",
        ),
    ],
)
def test_refused_exports(entries: list[tuple[str, dict[str, str]]], error: str) -> None:
    with pytest.raises(BuildkitError, match=error):
        resolve_exports([pb.CacheOptionsEntry(Type=kind, Attrs=attrs) for kind, attrs in entries])


def test_equal_caches_are_equal_texts() -> None:
    one = CacheConfig([("sha256:b", -1), ("sha256:a", 0)], [Record("d2", [(1, 0)], [1]), Record("d1")])
    two = CacheConfig([("sha256:b", -1), ("sha256:a", 0)], [Record("d1"), Record("d2", [(1, 0)], [0])])
    assert marshal(one.sorted()) == marshal(two.sorted())
    assert json.loads(marshal(one.sorted())) == {
        "layers": [{"blob": "sha256:a", "parent": 1}, {"blob": "sha256:b", "parent": -1}],
        "records": [
            {"digest": "d1"},
            {"digest": "d2", "layers": [{"layer": 0, "createdAt": "1970-01-01T00:00:00Z"}], "inputs": [[{"link": 0}]]},
        ],
    }


BLOBS = {name: Descriptor("", name, 1) for name in ("a", "b")}


def test_results_of_records() -> None:
    value: Json = {
        "layers": [{"blob": "a", "parent": -1}, {"blob": "b"}, {"blob": "elsewhere", "parent": 0}],
        "records": [
            {"digest": "1", "layers": [{"layer": 1}]},
            {"digest": "2", "chains": [{"layers": [1, 0]}]},
            {"digest": "3", "layers": [{"layer": 2}]},
            {"digest": "4", "inputs": [[{"link": 0}]]},
        ],
    }
    found = {
        digest: [[each.digest for each in chain] for chain in chains]
        for digest, chains in read_chains(value, BLOBS).items()
    }
    assert found == {"1": [["a", "b"]], "2": [["b", "a"]], "3": [], "4": []}


@pytest.mark.parametrize(
    ("layers", "result"),
    [
        ([{"blob": "a", "parent": 0}], {"layers": [{"layer": 0}]}),
        ([{"blob": "a", "parent": 1}, {"blob": "b", "parent": 0}], {"layers": [{"layer": 0}]}),
        ([{"blob": "a", "parent": -1}], {"layers": [{"layer": 7}]}),
        ([{"blob": "a", "parent": -1}], {"layers": [{"layer": "0"}]}),
        ([{"blob": "a", "parent": "x"}], {"layers": [{"layer": 0}]}),
        ([{"blob": "a", "parent": -1}], {"chains": [{"layers": [3]}]}),
    ],
)
def test_caches_that_make_no_sense(layers: list[Json], result: Json) -> None:
    with pytest.raises(ImageError, match="invalid l"):
        read_chains({"layers": layers, "records": [{"digest": "1", **result}]}, BLOBS)


async def test_imports_named_to_the_frontend_alone(tmp_path: Path) -> None:
    folder = write_tree(tmp_path / "src", FILES)
    opts = {
        "cache-from": "127.0.0.1:1/a,127.0.0.1:1/b",
        "cache-imports": json.dumps([None, {"attrs": None}, {"type": "no", "attrs": {"x": "y", "z": None}}]),
    }
    async with Daemon() as daemon, connected(daemon) as client:
        built = await build(client, folder, tmp_path / "out", opts=opts)
        assert built.error is None
        again = await build(client, folder, tmp_path / "out", opts={"cache-imports": '[{"Attrs":{"a":1}}]'})
    imports = [text for name, text in built.errors().items() if name.startswith("importing cache manifest from ")]
    assert [name for name in built.names() if name.endswith(("127.0.0.1:1/a", "127.0.0.1:1/b"))]
    assert sorted(text[:43] for text in imports) == [
        "failed to configure registry cache importer",
        "failed to configure registry cache importer",
        "unknown cache importer: ",
        "unknown cache importer: no",
    ]
    assert str(again.error).endswith(
        "json: cannot unmarshal number into Go struct field CacheOptionsEntry.Attrs of type string"
    )


async def test_imports_of_a_solve_through_the_gateway() -> None:
    """The steps of one solve use what was named in it; two solves do not read a cache twice."""
    statuses: Chan[SolveStatus] = Chan(1000)

    async def frontend(ctx: Context, client: gateway.Client) -> gateway.Result:
        result = gateway.Result()
        for name in ("/a", "/b"):
            graph = (await llb.scratch().file(llb.mkfile(name, 0o644, "")).marshal(ctx)).to_pb()
            imports = [gateway.CacheOptionsEntry(type="no", attrs={})]
            request = gateway.SolveRequest(definition=graph, cache_imports=imports, evaluate=True)
            result = await client.solve(ctx, request)
        return result

    async with Daemon() as daemon, connected(daemon) as client:
        await client.build(context.background(), SolveOpt(), "", frontend, statuses)
    built = Built([status async for status in statuses])
    texts = [text for name, text in built.errors().items() if name.startswith("importing cache manifest from ")]
    assert texts == ["unknown cache importer: no"]
