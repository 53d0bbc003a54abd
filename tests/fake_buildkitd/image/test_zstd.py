"""Layers and archives compressed with Zstandard, with the package that reads them and without."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest
import zstandard

from fake_buildkitd import Daemon
from fake_buildkitd.errors import UnsupportedError
from fake_buildkitd.image import Compression, ImageError, export_layers
from fake_buildkitd.image._apply import apply_layer
from fake_buildkitd.image._layers import parse_compression
from fake_buildkitd.image._spec import OCI_LAYER_ZSTD, blob_key
from fake_buildkitd.image._zstd import MAGIC
from fake_buildkitd.store import MemoryStore
from tests.conformance.test_web_sources import tar
from tests.fake_buildkitd.helpers import build_dockerfile, connected, tree_of, write_tree
from tests.fake_buildkitd.image.test_layers import build
from tests.fake_buildkitd.registry.doubles import OCI, digest, layer, served

MISSING = "zstd needs the Python package zstandard, which is not installed"


@pytest.fixture
def without_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zstandard", None)


@pytest.mark.parametrize("level", [None, -7, 1, 19, 1000])
def test_a_layer_and_back(level: int | None) -> None:
    store = MemoryStore()
    root = build(store, {"d/a": ("f", 0o644, bytes(200_000)), "l": ("l", 0o777, b"d/a")})
    (made,) = export_layers(store, store.commit(root), Compression("zstd", level))
    assert made.descriptor.media_type == OCI_LAYER_ZSTD
    data = store.get_blob(blob_key(made.descriptor.digest))
    assert data[:4] == MAGIC
    assert len(data) < 2000
    again = apply_layer(store, None, io.BytesIO(data), made.diff_id)
    assert tree_of(store, again) == tree_of(store, root)


def test_levels_are_layers_of_their_own() -> None:
    store = MemoryStore()
    snapshot = store.commit(build(store, {"a": ("f", 0o644, bytes(range(256)) * 100)}))
    sizes = {export_layers(store, snapshot, Compression("zstd", level))[0].descriptor.size for level in (1, 22)}
    assert len(sizes) == 2
    assert parse_compression({"compression": "zstd", "compression-level": "22"}) == Compression("zstd", 22)


@pytest.mark.parametrize("harm", [lambda data: data[: len(data) // 2], lambda data: data[:9] + bytes(9) + data[18:]])
def test_broken_layers(harm) -> None:  # type: ignore[no-untyped-def]  # a function of the table
    whole = layer({"a": bytes(range(256)) * 1000})
    data = harm(zstandard.compress(whole))
    with pytest.raises(ImageError, match=r"failed to extract layer|mismatched layer diffID"):
        apply_layer(MemoryStore(), None, io.BytesIO(data), digest(whole))


async def test_an_image_with_such_a_layer(tmp_path: Path) -> None:
    whole = layer({"a": b"of the image"})
    with served() as registry:
        registry.image({"a": b"of the image"})
        value = json.loads(registry.content["/v2/img/manifests/latest"][1])
        value["layers"] = [registry.blob(zstandard.compress(whole), OCI + "layer.v1.tar+zstd")]
        registry.manifest(value, value["mediaType"], "latest")
        write_tree(tmp_path / "in", {"Dockerfile": f"FROM {registry.host}/img\n"})
        async with Daemon() as daemon, connected(daemon) as client:
            built = await build_dockerfile(client, tmp_path / "in", tmp_path / "out")
    assert built.error is None
    assert (tmp_path / "out/a").read_text() == "of the image"


async def test_add_unpacks(tmp_path: Path) -> None:
    packed = zstandard.compress(tar({"d/a": b"1", "d/b": bytes(300_000)}))
    for name, data in {"whole": packed, "cut": packed[:60], "other": zstandard.compress(b"text")}.items():
        write_tree(tmp_path / "in", {"Dockerfile": f"FROM scratch\nADD {name} /x/\n"})
        (tmp_path / "in" / name).write_bytes(data)
        async with Daemon() as daemon, connected(daemon) as client:
            built = await build_dockerfile(client, tmp_path / "in", tmp_path / "out" / name)
        assert built.error is None
    found = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert found == {"whole/x/d/a", "whole/x/d/b", "cut/x/cut", "other/x/other"}


def test_a_layer_without_the_package(without_package: None) -> None:
    with pytest.raises(UnsupportedError, match=MISSING):
        apply_layer(MemoryStore(), None, io.BytesIO(zstandard.compress(layer({"a": b"1"}))), "")


def test_an_export_without_the_package(without_package: None) -> None:
    with pytest.raises(UnsupportedError, match=MISSING):
        parse_compression({"compression": "zstd"})


async def test_add_without_the_package(tmp_path: Path, without_package: None) -> None:
    write_tree(tmp_path, {"Dockerfile": "FROM scratch\nADD a /x/\n"})
    (tmp_path / "a").write_bytes(MAGIC)
    async with Daemon() as daemon, connected(daemon) as client:
        built = await build_dockerfile(client, tmp_path, None)
    assert MISSING in str(built.error)
