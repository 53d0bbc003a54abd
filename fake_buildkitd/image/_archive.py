"""An image as an archive: an OCI layout, which Docker loads where it has a manifest.json too.

Mirrors core/images/archive/exporter.go of github.com/containerd/containerd: members in order of their names, all of
the time 0.
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import BinaryIO

from fake_buildkitd.image._spec import OCI_INDEX, Descriptor, Json, objects, read_object
from pybuildkit.golang import json
from pybuildkit.third_party.distribution import reference

_CHUNK = 1 << 18
_BLOCK = 512
_IMAGE_NAME = "io.containerd.image.name"
_REF_NAME = "org.opencontainers.image.ref.name"

Opener = Callable[[str], BinaryIO]
"""Opens a blob by its digest."""


def archive(
    root: Descriptor,
    blobs: Sequence[Descriptor],
    open_blob: Opener,
    names: Sequence[str],
    docker: bool,
) -> Iterator[bytes]:
    """The pieces of an archive; the iterator blocks.

    Args:
        root: the image's manifest or index.
        blobs: everything in the image, the root too.
        names: of the image, in full.
        docker: whether a manifest.json is written.
    """
    files: dict[str, bytes] = {
        "oci-layout": b'{"imageLayoutVersion":"1.0.0"}',
        "index.json": _index(root, names),
    }
    if docker:
        files["manifest.json"] = _docker_manifest(_only_manifest(root.digest, open_blob), names)
    yield from _member("blobs/", 0o755, tarfile.DIRTYPE, 0)
    folder = ""
    for blob in sorted(blobs, key=lambda blob: blob.digest):
        algorithm, _, digits = blob.digest.partition(":")
        if algorithm != folder:
            folder = algorithm
            yield from _member(f"blobs/{folder}/", 0o755, tarfile.DIRTYPE, 0)
        yield from _member(f"blobs/{folder}/{digits}", 0o444, tarfile.REGTYPE, blob.size)
        with open_blob(blob.digest) as file:
            yield from _content(file, blob.size)
    for name, data in sorted(files.items()):
        yield from _member(name, 0o644, tarfile.REGTYPE, len(data))
        yield data + bytes(-len(data) % _BLOCK)
    yield bytes(2 * _BLOCK)


def _member(name: str, mode: int, kind: bytes, size: int) -> Iterator[bytes]:
    info = tarfile.TarInfo(name)
    info.mode, info.type, info.size = mode, kind, size
    yield info.tobuf(tarfile.PAX_FORMAT)


def _content(file: BinaryIO, size: int) -> Iterator[bytes]:
    left = size
    while left and (data := file.read(min(_CHUNK, left))):
        left -= len(data)
        yield data
    if left:
        raise EOFError("a blob is shorter than its descriptor says")
    yield bytes(-size % _BLOCK)


def _index(root: Descriptor, names: Sequence[str]) -> bytes:
    entries = []
    for name in names or [""]:
        annotations: Mapping[str, str] = root.annotations
        if name:
            annotations = {**annotations, _IMAGE_NAME: name, _REF_NAME: _tag(name)}
        entry = Descriptor(root.media_type, root.digest, root.size, annotations, root.platform)
        entries.append(entry.to_json())
    return json.marshal({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}).encode()


def _tag(name: str) -> str:
    parsed = reference.parse_normalized_named(name)
    return parsed.tag or parsed.digest


def _only_manifest(digest: str, open_blob: Opener) -> Json:
    """The manifest of an image, or of the first one in an index."""
    with open_blob(digest) as file:
        value = read_object(file.read(), "manifest")
    listed = objects(value.get("manifests"))
    return _only_manifest(str(listed[0].get("digest")), open_blob) if listed else value


def _docker_manifest(manifest: Json, names: Sequence[str]) -> bytes:
    config = manifest.get("config")
    layers = [_path(str(layer.get("digest"))) for layer in objects(manifest.get("layers"))]
    tags = [str(reference.parse_normalized_named(name).familiar()) for name in names]
    value = {
        "Config": _path(str(config.get("digest")) if isinstance(config, dict) else ""),
        "RepoTags": tags or None,
        "Layers": layers or None,
    }
    return json.marshal([value]).encode()


def _path(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/", 1)
