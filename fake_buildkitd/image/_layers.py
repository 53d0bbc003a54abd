"""A tree's layers: how they were put on top of each other, and each as a blob.

Mirrors cache/blobs.go and cache/remote.go, and the differ of github.com/containerd/containerd, v0.32.2.

Each step of a snapshot is a layer; its blob is made when it is first asked for.

Differs from BuildKit: a layer that was made for another export in another compression does not stand for the wanted
one, so `force-compression` matters for the layers of pulled images only.
"""

from __future__ import annotations

import hashlib
import stat as st
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from fake_buildkitd.errors import UnsupportedError
from fake_buildkitd.image import _zstd
from fake_buildkitd.image._spec import (
    CREATED_AT,
    OCI_LAYER,
    OCI_LAYER_GZIP,
    OCI_LAYER_ZSTD,
    UNCOMPRESSED,
    Descriptor,
    blob_key,
    read_descriptor,
)
from fake_buildkitd.solver._mergediff import diff
from fake_buildkitd.store import Node, Snapshot, Step, Store, empty_root, steps_of
from fake_buildkitd.store._fs import TreeFS
from pybuildkit.golang import json
from pybuildkit.golang.errors import BuildkitError, wrap
from pybuildkit.golang.strconv import parse_bool, parse_int
from pybuildkit.golang.time import rfc3339_nano
from pybuildkit.third_party import fsutil
from pybuildkit.third_party.fsutil._tarwriter import tar_stream

_SECOND = 1_000_000_000
_MEDIA_TYPES = {"uncompressed": OCI_LAYER, "gzip": OCI_LAYER_GZIP, "zstd": OCI_LAYER_ZSTD}
_KNOWN = ("uncompressed", "gzip", "zstd", "estargz", "nydus")


@dataclass(frozen=True)
class Compression:
    """How layers are compressed: "gzip", "zstd" or "uncompressed", a level or None, whether pulled ones change too."""

    kind: str = "gzip"
    level: int | None = None
    force: bool = False


def parse_compression(attrs: dict[str, str]) -> Compression:
    """The compression that an exporter's attributes ask for; they are taken out of `attrs`.

    Raises:
        BuildkitError: a value cannot be read. UnsupportedError: a compression that this daemon does not have.
    """
    kind = attrs.pop("compression", "gzip")
    if kind not in _KNOWN:
        raise BuildkitError(f"unsupported compression type {kind}")
    if kind not in _MEDIA_TYPES:
        raise UnsupportedError(f"compression {kind} is not supported by this daemon, use gzip, zstd or uncompressed")
    if kind == "zstd":
        _zstd.check()
    force, level = attrs.pop("force-compression", None), attrs.pop("compression-level", None)
    forced = force == ""
    if force:
        try:
            forced = parse_bool(force)
        except BuildkitError as err:
            raise wrap(err, f"non-bool value {force} specified for force-compression") from err
    number = None
    if level is not None:
        try:
            number = parse_int(level, 10, 64)
        except BuildkitError as err:
            raise wrap(err, f"non-integer value {level} specified for compression-level") from err
    return Compression(kind, number, forced)


@dataclass(frozen=True)
class Layer:
    """A layer: its blob, with the uncompressed digest among the annotations; what made it, and when."""

    descriptor: Descriptor
    description: str
    created_at: int

    @property
    def diff_id(self) -> str:
        """The digest of the uncompressed layer."""
        return self.descriptor.annotations.get(UNCOMPRESSED, "")


def note_blob(store: Store, step: Step, form: str, descriptor: Descriptor) -> None:
    """Note the blob of a layer, which the store has."""
    snapshot = store.get(step[1])
    if snapshot is not None:
        text = json.marshal(descriptor.to_json())
        store.set_note(_blob_note(step, form), text, snapshot, [blob_key(descriptor.digest)])


def _blob_note(step: Step, form: str) -> str:
    return f"blob:{step[0]}:{step[1]}:{form}"


PULLED = "pulled"
"""The form of a layer as its image has it."""


def export_layers(
    store: Store, snapshot: Snapshot | None, compression: Compression, epoch: int | None = None
) -> list[Layer]:
    """The layers of a snapshot as blobs in the store, the lowest first; blocks.

    Args:
        epoch: seconds; later times in layers that are not of a pulled image are set to it.

    Raises:
        OSError, BuildkitError: a content cannot be read.
    """
    return [_layer(store, step, compression, epoch) for step in steps_of(store, snapshot)]


def _layer(store: Store, step: Step, compression: Compression, epoch: int | None) -> Layer:
    upper = store.get(step[1])
    if upper is None:
        raise BuildkitError(f"snapshot {step[1]}: not found")
    form = compression.kind + ("" if compression.level is None else f"-{compression.level}")
    if epoch is not None:
        form += f"@{epoch}"
    known = None if compression.force else store.note(_blob_note(step, PULLED))
    known = known or store.note(_blob_note(step, form))
    if known is not None:
        descriptor = read_descriptor(json.unmarshal(known))
    else:
        lower = store.get(step[0]) if step[0] else None
        descriptor = _make(store, lower, upper, compression, epoch)
        note_blob(store, step, form, descriptor)
    return Layer(descriptor, upper.description, upper.created_at)


def _make(
    store: Store, lower: Snapshot | None, upper: Snapshot, compression: Compression, epoch: int | None
) -> Descriptor:
    limit = None if epoch is None else epoch * _SECOND
    fs = LayerFS(store, layer_tree(lower.root if lower is not None else empty_root(), upper.root), limit)
    plain = hashlib.sha256()
    size = 0
    packer = _packer(compression)
    writer = store.blob_writer()
    blocks = tar_stream(fs)
    try:
        for block in blocks:
            plain.update(block)
            writer.write(packer.compress(block) if packer is not None else block)
        if packer is not None:
            writer.write(packer.flush())
        digest, size = writer.finish()
    except BaseException:
        writer.abort()
        raise
    finally:
        blocks.close()
    annotations = {
        UNCOMPRESSED: f"sha256:{plain.hexdigest()}",
        CREATED_AT: rfc3339_nano(upper.created_at, 0),
    }
    return Descriptor(_MEDIA_TYPES[compression.kind], f"sha256:{digest.hex()}", size, annotations)


def _packer(compression: Compression) -> _zstd.Packer | None:
    if compression.kind == "zstd":
        return _zstd.packer(compression.level)
    level = -1 if compression.level is None else max(0, min(compression.level, 9))
    return zlib.compressobj(level, zlib.DEFLATED, 31) if compression.kind == "gzip" else None


def layer_tree(lower: Node, upper: Node) -> Node:
    """What a tree adds to another, with an empty file `.wh.NAME` for each name that it takes away."""
    if lower.children is not None and not lower.children:
        return upper
    layer = diff(lower, upper)
    for path in layer.deleted:
        *folders, name = path.split(b"/")[1:]
        place: Node | None = layer.root
        for folder in folders:
            place = (place.children or {}).get(folder) if place is not None else None
        if place is not None and place.children is not None and name not in place.children:
            place.children[b".wh." + name] = Node(st.S_IFREG)
    return layer.root


class LayerFS(TreeFS):
    """A layer's tree as an archive has it: no sockets, times in whole seconds.

    Args:
        limit: later times (nanoseconds) are set to this one.
    """

    def __init__(self, store: Store, root: Node, limit: int | None = None) -> None:
        def change(stat: fsutil.Stat) -> None:
            if limit is not None and stat.mod_time > limit:
                stat.mod_time = limit
            stat.mod_time -= stat.mod_time % _SECOND

        super().__init__(store, root, change)

    def walk(self, target: bytes = b"") -> Iterator[fsutil.Entry]:
        """The entries in fsutil's order."""
        for entry in super().walk(target):
            if entry.stat().mode & fsutil.MODE_SOCKET:
                continue
            yield entry
