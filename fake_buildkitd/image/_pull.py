"""Taking images: the manifest for a platform, its configuration, its tree.

Mirrors util/imageutil/config.go, util/pull and source/containerimage of BuildKit v0.32.2, and the choice of a platform
of github.com/containerd/platforms.

Every blob is checked against its digest, every layer against the configuration's digest of it uncompressed. Layers
that are known, by what they and those below them hold, are not fetched again.

Differs from BuildKit: layers are fetched when the image's tree is asked for, one after the other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from fake_buildkitd.image._apply import apply_layer
from fake_buildkitd.image._layers import PULLED, note_blob
from fake_buildkitd.image._spec import (
    CREATED_AT,
    INDEX_TYPES,
    UNCOMPRESSED,
    Descriptor,
    ImageError,
    Json,
    blob_key,
    manifest_type,
    objects,
    read_descriptor,
    read_object,
)
from fake_buildkitd.progress import VertexWriter
from fake_buildkitd.store import Snapshot, Step, Store, set_steps
from pybuildkit.client._graph import VertexStatus
from pybuildkit.golang import threads
from pybuildkit.golang.context import Context
from pybuildkit.third_party import platforms
from pybuildkit.third_party.platforms import Platform

_MAX_NESTED = 4


class NoPlatformError(ImageError):
    """An index without an image for the platform."""


class Provider(Protocol):
    """Where blobs come from: a registry's repository, or a client's store."""

    async def blob(self, ctx: Context, descriptor: Descriptor) -> bytes:
        """The content of a small blob, checked."""

    async def fetch(
        self, ctx: Context, descriptor: Descriptor, store: Store, report: Callable[[int, bool], None]
    ) -> None:
        """Put a blob into the daemon's store, checked."""


def matches(wanted: Platform, offered: Platform) -> int | None:
    """How well an image's platform serves a wanted one: 0 for exactly, more for less; None for not at all."""
    want, have = platforms.normalize(wanted), platforms.normalize(offered)
    if want.os != have.os:
        return None
    if want.architecture == "arm64" and have.architecture == "arm":
        return 20 - _level(have.variant)
    if want.architecture != have.architecture:
        return None
    if want.variant == have.variant:
        return 0
    lower = _level(want.variant) - _level(have.variant)
    return lower if lower >= 0 else None


def _level(variant: str) -> int:
    digits = variant.removeprefix("v").partition(".")[0]
    return int(digits) if digits.isdigit() else 1


async def select_manifest(
    ctx: Context, provider: Provider, descriptor: Descriptor, platform: Platform
) -> tuple[Descriptor, Json]:
    """The manifest of an image for a platform.

    Raises:
        NoPlatformError: there is none. BuildkitError: it cannot be read.
    """
    for _ in range(_MAX_NESTED):
        data = await provider.blob(ctx, descriptor)
        kind = manifest_type(data)
        value = read_object(data, "manifest")
        if kind not in INDEX_TYPES:
            return replace(descriptor, media_type=kind), value
        ranked: list[tuple[int, int, Descriptor]] = []
        for position, entry in enumerate(objects(value.get("manifests"))):
            candidate = read_descriptor(entry)
            rank = 0 if candidate.platform is None else matches(platform, candidate.platform)
            if rank is not None:
                ranked.append((rank, position, candidate))
        if not ranked:
            raise NoPlatformError(f"no match for platform in manifest {descriptor.digest}: not found")
        descriptor = min(ranked, key=lambda each: each[:2])[2]
    raise ImageError(f"indexes in {descriptor.digest} are nested too deep")


async def image_config(ctx: Context, provider: Provider, descriptor: Descriptor, platform: Platform) -> bytes:
    """The configuration of an image for a platform.

    Raises:
        BuildkitError: as `select_manifest`.
    """
    _, manifest = await select_manifest(ctx, provider, descriptor, platform)
    return await provider.blob(ctx, read_descriptor(manifest.get("config")))


def chain_ids(diff_ids: Sequence[str]) -> list[str]:
    """A name for each layer together with those below it."""
    chain: list[str] = []
    for diff_id in diff_ids:
        text = f"{chain[-1]} {diff_id}" if chain else ""
        chain.append(f"sha256:{hashlib.sha256(text.encode()).hexdigest()}" if text else diff_id)
    return chain


async def pull(
    ctx: Context,
    provider: Provider,
    manifest: Json,
    name: str,
    store: Store,
    writer: VertexWriter,
    limit: int | None = None,
) -> Snapshot | None:
    """The tree of a manifest; None for an image without layers.

    Args:
        name: of the image, for the descriptions of its layers.
        limit: takes only so many layers.

    Raises:
        BuildkitError: a blob cannot be fetched, or is not what it should be.
    """
    layers = [read_descriptor(each) for each in objects(manifest.get("layers"))]
    config = read_object(await provider.blob(ctx, read_descriptor(manifest.get("config"))), "image config")
    rootfs = config.get("rootfs")
    found = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    diff_ids = [str(each) for each in found] if isinstance(found, list) else []
    if len(diff_ids) != len(layers):
        raise ImageError("mismatched image rootfs and manifest layers")
    if limit is not None:
        if limit > len(layers):
            raise ImageError(f"layer limit {limit} is greater than the number of layers in the image {len(layers)}")
        layers, diff_ids = layers[:limit], diff_ids[:limit]
    blobs = [
        replace(layer, annotations={**layer.annotations, UNCOMPRESSED: diff_id}).with_layer_type(True)
        for layer, diff_id in zip(layers, diff_ids, strict=True)
    ]
    return await apply_layers(ctx, provider, blobs, f"pulled from {name}", store, writer)


async def apply_layers(
    ctx: Context,
    provider: Provider,
    layers: Sequence[Descriptor],
    description: str,
    store: Store,
    writer: VertexWriter,
) -> Snapshot | None:
    """The tree of layers, each with its uncompressed digest among its annotations; None for none.

    Raises:
        BuildkitError: a layer cannot be fetched, or is not what it should be.
    """
    snapshot: Snapshot | None = None
    steps: list[Step] = []
    chain = chain_ids([layer.annotations[UNCOMPRESSED] for layer in layers])
    for layer, chain_id in zip(layers, chain, strict=True):
        parent, key = snapshot, f"image-layer:{chain_id}"
        snapshot = store.cached(key)
        if snapshot is None:
            await _fetch(ctx, provider, layer, store, writer)
            snapshot = await _extract(ctx, parent, layer, description, store, writer)
            store.cache(key, snapshot)
        step = (parent.id if parent is not None else "", snapshot.id)
        steps.append(step)
        set_steps(store, snapshot, steps)
        note_blob(store, step, PULLED, replace(layer, annotations=_noted(layer)))
    return snapshot


def _noted(layer: Descriptor) -> dict[str, str]:
    kept = (UNCOMPRESSED, CREATED_AT)
    return {key: layer.annotations[key] for key in kept if key in layer.annotations}


async def _fetch(ctx: Context, provider: Provider, layer: Descriptor, store: Store, writer: VertexWriter) -> None:
    progress, vertex = writer.progress, writer.vertex.digest
    status = VertexStatus(id=layer.digest, vertex=vertex, total=layer.size, started=progress.clock())
    progress.write(f"{vertex}:{layer.digest}", status)

    def report(current: int, last: bool) -> None:
        done = replace(status, current=current, completed=progress.clock() if last else None)
        progress.write(f"{vertex}:{layer.digest}", done)

    await provider.fetch(ctx, layer, store, report)


async def _extract(
    ctx: Context, parent: Snapshot | None, layer: Descriptor, description: str, store: Store, writer: VertexWriter
) -> Snapshot:
    done = writer.one_off(f"extracting {layer.digest}")

    def work() -> Snapshot:
        with store.open_blob(blob_key(layer.digest)) as blob:
            root = apply_layer(
                store, parent.root if parent is not None else None, blob, layer.annotations[UNCOMPRESSED]
            )
        return store.commit(root, description)

    try:
        return await threads.call(ctx, work)
    finally:
        done()
