"""Cache exporters: `local`, `registry` and `inline`.

Mirrors cache/remotecache (export.go, local, registry, inline), v0.32.2.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from fake_buildkitd.cache._collect import Collector, Output
from fake_buildkitd.cache._config import marshal
from fake_buildkitd.errors import UnsupportedError
from fake_buildkitd.exporters._writer import step
from fake_buildkitd.image import Compression, Layer
from fake_buildkitd.image._content import write_blob
from fake_buildkitd.image._layers import parse_compression
from fake_buildkitd.image._spec import (
    CACHE_CONFIG,
    DOCKER_LIST,
    OCI_INDEX,
    OCI_MANIFEST,
    Descriptor,
    Json,
    blob_key,
    digest_of,
)
from fake_buildkitd.progress import VertexWriter
from fake_buildkitd.registry import Authorizer, RemoteImage
from fake_buildkitd.store import Store
from pybuildkit.golang import context, json
from pybuildkit.golang.context import Context
from pybuildkit.golang.errors import BuildkitError, wrap
from pybuildkit.golang.strconv import parse_bool, quote
from pybuildkit.session import Manager
from pybuildkit.session.content import CallerStore, new_caller_store
from pybuildkit.third_party.distribution import reference
from pybuildkit.third_party.distribution.reference import Reference

_ELSEWHERE = frozenset({"gha", "s3", "azblob"})
_NAMES = {"local": "exporting cache to client directory", "registry": "exporting cache to registry"}
_WAIT_SECONDS = 5.0


class CacheError(BuildkitError):
    """A cache option that makes no sense."""


@dataclass
class CacheContext:
    """What caches need of the build.

    Args:
        writer: gives the statuses of a step by its name and identity.
    """

    store: Store
    manager: Manager
    session_id: str
    authorizer: Callable[[], Authorizer]
    writer: Callable[[str, str], VertexWriter]

    async def content(self, ctx: Context, store_id: str) -> CallerStore:
        """A content store of the client's."""
        if not self.session_id:
            raise CacheError("local cache exporter/importer requires session")
        timed, stop = context.with_timeout(ctx, _WAIT_SECONDS)
        try:
            return new_caller_store(await self.manager.get(timed, self.session_id), store_id)
        finally:
            stop()


@dataclass
class CacheExporter:
    """One cache that is exported."""

    kind: str
    dest: str
    ref: Reference | None
    insecure: bool
    oci: bool
    image_manifest: bool
    everything: bool
    ignore_error: bool
    compression: Compression

    @property
    def name(self) -> str:
        """The step's name."""
        return _NAMES[self.kind]


class CacheEntry(Protocol):
    """A cache option of a request."""

    @property
    def Type(self) -> str: ...  # the message's name

    @property
    def Attrs(self) -> Mapping[str, str]: ...  # the message's name


def resolve_exports(entries: Sequence[CacheEntry]) -> tuple[list[CacheExporter], bool]:
    """The caches that a request wants exported, and whether its images are to carry their own.

    Raises:
        BuildkitError: an option that makes no sense. UnsupportedError: a cache that this daemon does not have.
    """
    seen: set[tuple[str, tuple[tuple[str, str], ...]]] = set()
    exporters: list[CacheExporter] = []
    inline = False
    duplicates = []
    for entry in entries:
        mark = (entry.Type, tuple(sorted(entry.Attrs.items())))
        if mark in seen:
            duplicates.append(entry.Type)
        seen.add(mark)
    if duplicates:
        raise CacheError(f"duplicate cache exports [{' '.join(duplicates)}]")
    for entry in entries:
        if entry.Type == "inline":
            inline = True
        elif entry.Type in _NAMES:
            try:
                exporters.append(_resolve(entry.Type, dict(entry.Attrs)))
            except BuildkitError as err:
                raise wrap(err, f"failed to configure {entry.Type} cache exporter") from err
        elif entry.Type in _ELSEWHERE:
            raise UnsupportedError(f"cache export {quote(entry.Type)} is not supported by this daemon")
        else:
            raise CacheError(f"unknown cache exporter: {quote(entry.Type)}")
    return exporters, inline


def _resolve(kind: str, attrs: dict[str, str]) -> CacheExporter:
    dest = attrs.get("dest", "")
    if kind == "local" and not dest:
        raise CacheError("local cache exporter requires dest")
    compression = parse_compression(attrs)
    oci = _bool(attrs, "oci-mediatypes", True)
    ref = parse_ref(attrs.get("ref", "")) if kind == "registry" else None
    image_manifest = _bool(attrs, "image-manifest", oci)
    if image_manifest and not oci:
        text = "OCI mediatypes are required for image-manifest cache format"
        raise CacheError(f"invalid configuration for remote cache, {text}")
    return CacheExporter(
        kind,
        dest,
        ref,
        _bool(attrs, "registry.insecure", False),
        oci,
        image_manifest,
        attrs.get("mode", "") == "max",
        attrs.get("ignore-error", "") in ("1", "t", "T", "true", "TRUE", "True"),
        compression,
    )


def _bool(attrs: Mapping[str, str], key: str, default: bool) -> bool:
    if key not in attrs:
        return default
    try:
        return parse_bool(attrs[key])
    except BuildkitError as err:
        raise wrap(err, f"failed to parse {key}") from err


def parse_ref(text: str) -> Reference:
    """The name of a cache in a registry.

    Raises:
        BuildkitError: "missing ref", or no name.
    """
    if not text:
        raise CacheError("missing ref")
    return reference.tag_name_only(reference.parse_normalized_named(text))


async def export_cache(
    ctx: Context, source: CacheContext, exporter: CacheExporter, outputs: Sequence[Output], writer: VertexWriter
) -> dict[str, str]:
    """Export a cache of a build's results, and give what the client is told of it.

    Raises:
        BuildkitError, OSError: it cannot be made or sent.
    """
    collector = Collector(source.store, exporter.compression, exporter.everything)
    with step(writer, "preparing build cache for export"):
        for output in outputs:
            await collector.add(ctx, output)
    config = collector.config.sorted()
    with step(writer, "sending cache export"):
        if not config.layers:
            with step(writer, "skipping cache export for empty result"):
                return {}
        target = await _target(ctx, source, exporter)
        blobs = [
            collector.blobs[digest].with_layer_type(exporter.oci)
            for digest in dict.fromkeys(digest for digest, _ in config.layers)
        ]
        for blob in blobs:
            with step(writer, f"writing layer {blob.digest}"):
                await _placed("error writing layer blob", target.write(ctx, blob, source.store))
        text = marshal(config)
        described = Descriptor(CACHE_CONFIG, digest_of(text), len(text))
        with step(writer, f"writing config {described.digest}"):
            await _placed("error writing config blob", target.write_text(ctx, described, text))
        layers = [collector.blobs[digest].with_layer_type(exporter.oci) for digest, _ in config.layers]
        manifest = json.marshal(_manifest(exporter, layers, described)).encode()
        kind = OCI_MANIFEST if exporter.image_manifest else OCI_INDEX if exporter.oci else DOCKER_LIST
        result = Descriptor(kind, digest_of(manifest), len(manifest))
        label = "writing cache image manifest" if exporter.image_manifest else "writing cache manifest"
        with step(writer, f"{label} {result.digest}"):
            await _placed("error writing manifest blob", target.write_manifest(ctx, result, manifest))
    return {"cache.manifest": json.marshal(result.to_json())}


async def _placed(what: str, work) -> None:  # type: ignore[no-untyped-def]  # a coroutine
    try:
        await work
    except BuildkitError as err:
        raise wrap(err, what) from err


def _manifest(exporter: CacheExporter, layers: Sequence[Descriptor], config: Descriptor) -> Json:
    described = [layer.to_json() for layer in layers]
    if exporter.image_manifest:
        return {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": config.to_json(),
            "layers": described,
        }
    kind = OCI_INDEX if exporter.oci else DOCKER_LIST
    return {"schemaVersion": 2, "mediaType": kind, "manifests": [*described, config.to_json()]}


class _Target(Protocol):
    async def write(self, ctx: Context, blob: Descriptor, store: Store) -> None: ...

    async def write_text(self, ctx: Context, blob: Descriptor, text: bytes) -> None: ...

    async def write_manifest(self, ctx: Context, blob: Descriptor, text: bytes) -> None: ...


async def _target(ctx: Context, source: CacheContext, exporter: CacheExporter) -> _Target:
    if exporter.kind == "local":
        return _LocalTarget(await source.content(ctx, f"local:{exporter.dest}"))
    assert exporter.ref is not None
    remote = RemoteImage(exporter.ref, source.authorizer(), insecure=exporter.insecure, push=True)
    return _RegistryTarget(remote, exporter.ref)


def _opener(store: Store) -> Callable[[str], BinaryIO]:
    return lambda digest: store.open_blob(blob_key(digest))


class _LocalTarget:
    """A content store of the client's."""

    def __init__(self, store: CallerStore) -> None:
        self._store = store

    async def write(self, ctx: Context, blob: Descriptor, store: Store) -> None:
        await write_blob(ctx, self._store, blob, _opener(store))

    async def write_text(self, ctx: Context, blob: Descriptor, text: bytes) -> None:
        await write_blob(ctx, self._store, blob, lambda digest: io.BytesIO(text))

    write_manifest = write_text


class _RegistryTarget:
    """A repository."""

    def __init__(self, remote: RemoteImage, ref: Reference) -> None:
        self._remote = remote
        self._ref = ref

    async def write(self, ctx: Context, blob: Descriptor, store: Store) -> None:
        await self._remote.push_blob(ctx, blob, _opener(store))

    async def write_text(self, ctx: Context, blob: Descriptor, text: bytes) -> None:
        await self._remote.push_blob(ctx, blob, lambda digest: io.BytesIO(text))

    async def write_manifest(self, ctx: Context, blob: Descriptor, text: bytes) -> None:
        await self._remote.push_manifest(ctx, blob.media_type, text, self._ref.tag or blob.digest)


async def inline_records(
    ctx: Context, store: Store, compression: Compression, output: Output, layers: Sequence[Layer]
) -> bytes | None:
    """The records that an image of these layers carries; None where its layers are not those of the result.

    Raises:
        BuildkitError, OSError: a layer cannot be made.
    """
    collector = Collector(store, compression, False)
    await collector.add(ctx, output)
    config = collector.config.sorted()
    tops = {layer.descriptor.digest: index for index, layer in enumerate(layers)}
    chain = [layer.descriptor.digest for layer in layers]
    found = False
    for record in config.records:
        kept = []
        for top, created in record.results:
            blobs = _blobs(config.layers, top)
            if blobs == chain[: len(blobs)]:
                kept.append((tops[blobs[-1]], created))
                found = True
        record.results = kept
    if not found:
        return None
    return json.marshal(config.records_json()).encode()


def _blobs(layers: Sequence[tuple[str, int]], top: int) -> list[str]:
    found: list[str] = []
    while top != -1:
        blob, top = layers[top]
        found.append(blob)
    return found[::-1]
