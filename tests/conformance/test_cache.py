"""Caches: inline and in a registry, in local stores; the second build takes its steps from the imported cache.

Each test's steps have names of their own, by which its records are pruned from the daemon's cache between the builds:
what is cached then comes from the import.
"""

from __future__ import annotations

import json
import os
import shutil
import tarfile
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.conformance import registry
from tests.conformance.services import build, docker_push, kind, last_line, need
from tests.conformance.test_interrupted import Dockerd
from tests.daemons import ours_alone, run, tree, write_tree


def files(salt: str = "") -> dict[str, str | bytes]:
    """A context that no daemon knows, with the salt in the names of its steps."""
    dockerfile = f"FROM scratch\nCOPY a /made/{salt}a\nCOPY b /made/{salt}b\n"
    return {"Dockerfile": dockerfile, "a": os.urandom(3000), "b": os.urandom(3000)}


@pytest.fixture
def salt() -> str:
    """A name that no other test uses."""
    return f"s{os.urandom(8).hex()}-"


def forget(addr: str, salt: str) -> None:
    """Prune from the daemon's cache the steps of the test's Dockerfile."""
    result = run("prune", "--all", "--filter", f"description~={salt}", addr=addr)
    assert result.code == 0, result.stderr
    # one record a step, then the total
    assert len(result.stdout.splitlines()) >= 3, result.stdout


def imported(stderr: str) -> bool:
    """Whether the display shows a cache import that has ended well."""
    steps = [line.split()[0] for line in stderr.splitlines() if "importing cache manifest from" in line]
    return bool(steps) and not any(f"{step} ERROR" in stderr for step in steps)


@pytest.mark.parametrize("mode", ["min", "max"])
def test_local_cache(addr: str, tmp_path: Path, salt: str, mode: str) -> None:
    need(addr, "local-cache")
    first = build("--export-cache", f"type=local,dest=cache,mode={mode}", addr=addr, cwd=tmp_path, files=files(salt))
    assert "CACHED" not in first.stderr
    index = json.loads((tmp_path / "cache/index.json").read_text())
    names = [m["annotations"]["org.opencontainers.image.ref.name"] for m in index["manifests"]]
    assert names == ["latest"]
    assert not list((tmp_path / "cache").glob("ingest/*"))
    sent = tree(tmp_path / "cache")
    forget(addr, salt)
    second = build("--import-cache", "type=local,src=cache", addr=addr, cwd=tmp_path, files={})
    assert imported(second.stderr)
    assert "CACHED" in second.stderr
    # an input is only read
    assert tree(tmp_path / "cache") == sent


def test_local_cache_with_a_tag_and_reset(addr: str, tmp_path: Path) -> None:
    need(addr, "local-cache")
    target = "type=local,dest=cache,tag=mine"
    build("--export-cache", target, addr=addr, cwd=tmp_path, files=files())
    blobs = set(tree(tmp_path / "cache/blobs"))
    build("--export-cache", f"{target},reset=true", addr=addr, cwd=tmp_path, files=files())
    after = set(tree(tmp_path / "cache/blobs"))
    assert len(after) == len(blobs)
    assert after != blobs
    other = build("--import-cache", "type=local,src=cache", addr=addr, cwd=tmp_path, files=files())
    assert "skipped: no digest found for tag latest" in other.stderr
    found = build("--import-cache", "type=local,src=cache,tag=mine", addr=addr, cwd=tmp_path, files={})
    assert imported(found.stderr)


@pytest.mark.parametrize(
    ("compression", "layer"),
    [
        ("uncompressed", "application/vnd.oci.image.layer.v1.tar"),
        ("zstd", "application/vnd.oci.image.layer.v1.tar+zstd"),
    ],
)
def test_local_cache_compressions(addr: str, tmp_path: Path, salt: str, compression: str, layer: str) -> None:
    """testUncompressedLocalCacheImportExport, testZstdLocalCacheExport, testZstdLocalCacheImportExport"""
    need(addr, "local-cache")
    if compression == "zstd":
        need(addr, "zstd")
    target = f"type=local,dest=cache,mode=max,compression={compression},force-compression=true"
    build("--export-cache", target, addr=addr, cwd=tmp_path, files=files(salt))
    assert layer in layers(tmp_path / "cache")
    forget(addr, salt)
    second = build("--import-cache", "type=local,src=cache", addr=addr, cwd=tmp_path, files={})
    assert imported(second.stderr)
    assert "CACHED" in second.stderr


def layers(folder: Path) -> set[str]:
    """The media types of all that the cache's manifest or index names."""
    index = json.loads((folder / "index.json").read_text())
    (top,) = index["manifests"]
    manifest = json.loads((folder / "blobs" / top["digest"].replace(":", "/")).read_bytes())
    return {entry["mediaType"] for entry in manifest.get("layers") or manifest["manifests"]}


@pytest.mark.parametrize("source", ["type=local,src=two", "type=registry"])
def test_multiple_cache_exports(addr: str, tmp_path: Path, salt: str, source: str) -> None:
    """testMultipleCacheExports: two folders, a registry and an inline cache from one build; each serves the next"""
    need(addr, "local-cache", "registry-export", "image-store")
    with registry.serve(tmp_path / "registry") as where:
        image, ref = f"{where.host}/image:1", f"{where.host}/cache:1"
        targets = ["type=local,dest=one", "type=local,dest=two", f"type=registry,ref={ref}", "type=inline"]
        flags = [word for target in targets for word in ("--export-cache", target)]
        output = ["--output", f"type=image,name={image},push=true"]
        build(*flags, addr=addr, cwd=tmp_path, files=files(salt), output=output)
        forget(addr, salt)
        named = f"{source},ref={ref}" if source == "type=registry" else source
        again = build("--import-cache", named, addr=addr, cwd=tmp_path, files={})
    assert imported(again.stderr)
    assert "CACHED" in again.stderr
    assert (tmp_path / f"out/made/{salt}b").read_bytes() == (tmp_path / "test/b").read_bytes()


@pytest.mark.parametrize("ignore", [True, False])
def test_cache_export_ignore_error(addr: str, tmp_path: Path, ignore: bool) -> None:
    """testCacheExportIgnoreError: a cache that cannot be exported fails the build, unless that is to be ignored"""
    need(addr, "registry-export", "ignore-error")
    target = f"type=registry,ref=127.0.0.1:1/cache:1,ignore-error={str(ignore).lower()}"
    result = build("--export-cache", target, addr=addr, cwd=tmp_path, files=files(), ok=ignore)
    if not ignore:
        assert "failed to solve" in result.stderr
        assert "127.0.0.1:1" in last_line(result)


def members(blob: Path) -> list[str]:
    """The names in a compressed layer; nothing for another blob."""
    try:
        with tarfile.open(blob, "r:gz") as archive:
            return archive.getnames()
    except tarfile.TarError:
        return []


def test_cache_export_cache_deleted_content(addr: str, tmp_path: Path, salt: str) -> None:
    """testCacheExportCacheDeletedContent: a cache that lost a blob still serves what it has, and is exported again"""
    need(addr, "local-cache", "lost-blobs")
    text = f"FROM scratch AS mid\nCOPY a /{salt}mid/a\nFROM scratch\nCOPY --from=mid /{salt}mid/a /made/{salt}a\n"
    flags = ["--export-cache", "type=local,dest=one,mode=max"]
    build(*flags, addr=addr, cwd=tmp_path, files={**files(salt), "Dockerfile": text})
    lost = [path for path in (tmp_path / "one/blobs/sha256").iterdir() if f"{salt}mid/a" in members(path)]
    assert len(lost) == 1
    lost[0].unlink()
    forget(addr, salt)
    flags = ["--import-cache", "type=local,src=one", "--export-cache", "type=local,dest=two,mode=max"]
    result = build(*flags, addr=addr, cwd=tmp_path, files={})
    assert "CACHED" in result.stderr
    assert imported(result.stderr)
    assert (tmp_path / f"out/made/{salt}a").read_bytes() == (tmp_path / "test/a").read_bytes()
    assert (tmp_path / "two/index.json").is_file()


def test_import_from_nowhere_is_a_warning(addr: str, tmp_path: Path) -> None:
    result = build("--import-cache", "type=local,src=nowhere", addr=addr, cwd=tmp_path, files=files())
    assert "level=warning" in result.stderr
    assert "nowhere" in result.stderr


def test_inline_cache_from_a_registry(addr: str, tmp_path: Path, salt: str) -> None:
    """An image is built and pushed with its cache; a Docker engine needs a second one, where nothing is cached."""
    need(addr, "inline-cache")
    with ExitStack() as stack:
        where = stack.enter_context(registry.serve(tmp_path / "registry"))
        name = f"{where.host}/cached:latest"
        inline = ["--export-cache", "type=inline"]
        if kind(addr) == "docker":
            # a short path, since it has sockets below it
            folder = stack.enter_context(TemporaryDirectory(ignore_cleanup_errors=True))
            engine = Dockerd(Path(folder))
            stack.callback(engine.stop)
            build(
                *inline,
                addr=engine.addr,
                cwd=tmp_path,
                files=files(salt),
                output=["--output", f"type=moby,name={name}"],
            )
            docker_push(engine.addr, name)
        else:
            output = ["--output", f"type=image,name={name},push=true"]
            build(*inline, addr=addr, cwd=tmp_path, files=files(salt), output=output)
            forget(addr, salt)
        second = build("--import-cache", f"type=registry,ref={name}", addr=addr, cwd=tmp_path, files={})
    assert imported(second.stderr)
    assert "CACHED" in second.stderr
    assert (tmp_path / f"out/made/{salt}a").read_bytes() == (tmp_path / "test/a").read_bytes()


@pytest.mark.parametrize("mode", ["min", "max"])
def test_registry_cache_with_credentials(addr: str, tmp_path: Path, salt: str, mode: str) -> None:
    need(addr, "registry-export")
    with registry.htpasswd_registry(tmp_path / "registry", "user", "planted") as where:
        env = registry.docker_config(tmp_path / "login", {where.host: ("user", "planted")})
        target = f"type=registry,ref={where.host}/cache:{mode},mode={mode}"
        build("--export-cache", target, addr=addr, cwd=tmp_path, files=files(salt), env=env)
        forget(addr, salt)
        source = f"type=registry,ref={where.host}/cache:{mode}"
        second = build("--import-cache", source, addr=addr, cwd=tmp_path, files={}, env=env)
    assert imported(second.stderr)
    assert "CACHED" in second.stderr


def test_cache_metrics(addr: str, tmp_path: Path) -> None:
    metrics = ["--debug-json-cache-metrics", "metrics.json"]
    build(addr=addr, cwd=tmp_path, files=files())
    shutil.rmtree(tmp_path / "out")
    build(*metrics, addr=addr, cwd=tmp_path, files={})
    assert json.loads((tmp_path / "metrics.json").read_text())


@ours_alone
def test_cache_metrics_on_standard_error(addr: str, tmp_path: Path) -> None:
    """What follows them there, the build's error, is still printed."""
    write_tree(tmp_path / "test", {"other": b""})
    where = ["--local", "context=test", "--local", "dockerfile=test", "--debug-json-cache-metrics", "stderr"]
    failed = run("build", "--frontend=dockerfile.v0", *where, "--progress=plain", addr=addr, cwd=tmp_path)
    metrics, error = failed.stderr.splitlines()[-2:]
    assert json.loads(metrics)["client_duration_ms"] >= 0
    assert (failed.code, error.partition(":")[0]) == (1, "error")
