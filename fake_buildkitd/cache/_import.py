"""Cache importers: what caches from elsewhere know, and their results.

Mirrors cache/remotecache/import.go and the loading of caches in solver/llbsolver/bridge.go, v0.32.2.

A cache that cannot be read is shown as a failed step, and the build goes on without it. Layers are fetched when a
step's result is needed; where that fails the step is run.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from fake_buildkitd.cache._config import read_chains, record_digest
from fake_buildkitd.cache._export import CacheContext, CacheEntry, CacheError, parse_ref
from fake_buildkitd.errors import UnsupportedError
from fake_buildkitd.image import Descriptor, ImageError
from fake_buildkitd.image._pull import Provider, apply_layers
from fake_buildkitd.image._spec import (
    CACHE_CONFIG,
    INDEX_TYPES,
    UNCOMPRESSED,
    Json,
    manifest_type,
    objects,
    read_descriptor,
    read_object,
)
from fake_buildkitd.progress import VertexWriter
from fake_buildkitd.store import Snapshot
from pybuildkit import identity
from pybuildkit.golang import context, json
from pybuildkit.golang.context import Context
from pybuildkit.golang.errors import BuildkitError, wrap
from pybuildkit.golang.strconv import quote

_ELSEWHERE = frozenset({"gha", "s3", "azblob"})
_INLINE_KEY = "moby.buildkit.cache.v0"


@dataclass
class _Cache:
    """A cache that was read: results by digest, and where their layers are."""

    provider: Provider
    chains: dict[str, list[list[Descriptor]]]


def cache_id(kind: str, attrs: Mapping[str, str]) -> str:
    """A cache's name as steps show it."""
    if kind == "registry" and attrs.get("ref"):
        return attrs["ref"]
    text = "\0".join([kind, *(f"{key}={value}" for key, value in sorted(attrs.items()))])
    return f"{kind}:{int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])}"


class Imports:
    """The imported caches of one build; the solver's CacheImports.

    Args:
        source: the build.
    """

    def __init__(self, source: CacheContext) -> None:
        self._source = source
        self._wanted: dict[str, tuple[str, dict[str, str]]] = {}
        self._known: set[str] = set()
        self._lock = asyncio.Lock()
        self._caches: list[_Cache] = []

    def add(self, entries: Sequence[CacheEntry]) -> None:
        """Add caches; one that is known already is not read again."""
        for entry in entries:
            attrs = dict(entry.Attrs)
            self._wanted.setdefault(cache_id(entry.Type, attrs), (entry.Type, attrs))

    async def load(self, ctx: Context) -> None:
        """Read what was added and is not read yet."""
        async with self._lock:
            wanted = {name: entry for name, entry in self._wanted.items() if name not in self._known}
            self._known.update(wanted)
            found = await asyncio.gather(*(self._load_one(ctx, name, *entry) for name, entry in wanted.items()))
            self._caches += [cache for each in found for cache in each]

    async def _load_one(self, ctx: Context, name: str, kind: str, attrs: dict[str, str]) -> list[_Cache]:
        writer = self._source.writer(f"importing cache manifest from {name}", identity.new_id())
        done = writer.start()
        try:
            found = await self._read(ctx, kind, attrs, writer)
        except (BuildkitError, OSError) as err:
            done(err)
            return []
        except BaseException:
            done(context.CanceledError())
            raise
        done(None)
        return found

    async def _read(self, ctx: Context, kind: str, attrs: dict[str, str], writer: VertexWriter) -> list[_Cache]:
        if kind in _ELSEWHERE:
            raise UnsupportedError(f"cache import {quote(kind)} is not supported by this daemon")
        if kind not in ("local", "registry"):
            raise CacheError(f"unknown cache importer: {kind}")
        try:
            provider, descriptor = await self._open(ctx, kind, attrs)
        except BuildkitError as err:
            raise wrap(err, f"failed to configure {kind} cache importer") from err
        text = await provider.blob(ctx, descriptor)
        media_type = manifest_type(text)
        writer.one_off(f"inferred cache manifest type: {media_type}")()
        manifest = read_object(text, "cache manifest")
        blobs = objects(manifest.get("manifests" if media_type in INDEX_TYPES else "layers"))
        described = [read_descriptor(each) for each in blobs]
        stated = [each for each in described if each.media_type == CACHE_CONFIG]
        if media_type not in INDEX_TYPES:
            stated = [read_descriptor(manifest.get("config"))]
        if not stated or stated[-1].media_type != CACHE_CONFIG:
            return await self._inline(ctx, provider, manifest, media_type)
        layers = {each.digest: each for each in described if each.media_type != CACHE_CONFIG}
        config = read_object(await provider.blob(ctx, stated[-1]), "cache config")
        return [_Cache(provider, read_chains(config, layers))]

    async def _open(self, ctx: Context, kind: str, attrs: Mapping[str, str]) -> tuple[Provider, Descriptor]:
        if kind == "local":
            return await self._open_local(ctx, attrs)
        from fake_buildkitd.registry import RemoteImage

        insecure = attrs.get("registry.insecure", "") in ("1", "t", "T", "true", "TRUE", "True")
        remote = RemoteImage(parse_ref(attrs.get("ref", "")), self._source.authorizer(), insecure=insecure)
        return remote, await remote.resolve(ctx)

    async def _open_local(self, ctx: Context, attrs: Mapping[str, str]) -> tuple[Provider, Descriptor]:
        from fake_buildkitd.sources._image import LayoutImage

        digest, src = attrs.get("digest", ""), attrs.get("src", "")
        if not digest:
            raise CacheError("local cache importer requires explicit digest")
        if not src:
            raise CacheError("local cache importer requires src")
        store = await self._source.content(ctx, f"local:{src}")
        info = await store.info(ctx, digest)
        return LayoutImage(store), Descriptor("", digest, info.size)

    async def _inline(self, ctx: Context, provider: Provider, manifest: Json, media_type: str) -> list[_Cache]:
        """The caches that images carry."""
        if media_type not in INDEX_TYPES:
            cache = await self._inline_one(ctx, provider, manifest)
            return [cache] if cache is not None else []
        found: list[_Cache] = []
        for entry in objects(manifest.get("manifests")):
            text = await provider.blob(ctx, read_descriptor(entry))
            found += await self._inline(ctx, provider, read_object(text, "manifest"), manifest_type(text))
        return found

    async def _inline_one(self, ctx: Context, provider: Provider, manifest: Json) -> _Cache | None:
        layers = [read_descriptor(each) for each in objects(manifest.get("layers"))]
        if not layers or manifest.get("config") is None:
            return None
        config = read_object(await provider.blob(ctx, read_descriptor(manifest.get("config"))), "image config")
        rootfs, carried = config.get("rootfs"), config.get(_INLINE_KEY)
        diff_ids = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
        if not isinstance(carried, str) or not isinstance(diff_ids, list) or len(diff_ids) != len(layers):
            return None
        try:
            records = json.unmarshal(base64.b64decode(carried))
        except ValueError as err:
            raise ImageError(f"failed to parse inline cache: {err}") from err
        blobs = {
            layer.digest: replace(layer, annotations={**layer.annotations, UNCOMPRESSED: str(diff_id)})
            for layer, diff_id in zip(layers, diff_ids, strict=True)
        }
        chain = [{"blob": layer.digest, "parent": index - 1} for index, layer in enumerate(layers)]
        return _Cache(provider, read_chains({"layers": chain, "records": records}, blobs))

    def has_result(self, key: str) -> bool:
        """Whether a cache has the result of a key."""
        digest = record_digest(key)
        return any(cache.chains.get(digest) for cache in self._caches)

    async def fetch(self, ctx: Context, key: str, writer: VertexWriter) -> Snapshot | None:
        """The result of a key, or None where no cache has it or can give it."""
        digest = record_digest(key)
        for cache in self._caches:
            for chain in cache.chains.get(digest, []):
                if not all(layer.annotations.get(UNCOMPRESSED) for layer in chain):
                    continue
                layers = [layer.with_layer_type(True) for layer in chain]
                try:
                    name = writer.vertex.name
                    return await apply_layers(ctx, cache.provider, layers, name, self._source.store, writer)
                except (BuildkitError, OSError):
                    if ctx.is_done():
                        raise
        return None
