"""Cache imports and exports of a solve: what the daemon is told, and the content stores it is offered.

Mirrors parseCacheOptions and resetCacheStore of client/solve.go, v0.32.2.

As in Go, the digest that a local import is found to have is added to the caller's attributes, where a gateway
request made from the same options finds it.

Differs on purpose: the store of a local import is offered read-only.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pybuildkit.api.services.control import control_pb2 as pb
from pybuildkit.golang import errors
from pybuildkit.golang.errors import BuildkitError
from pybuildkit.golang.filepath import mkdir_all
from pybuildkit.golang.json import marshal
from pybuildkit.golang.strconv import parse_bool

if TYPE_CHECKING:
    from pybuildkit.client._solveopt import CacheOptionsEntry, SolveOpt
    from pybuildkit.third_party.containerd.content import Store

Warn = Callable[[str], None]


@dataclass(kw_only=True)
class CacheOptions:
    """What the cache options of a solve come to.

    Attributes:
        exports, imports: the entries for the daemon.
        content_stores: stores to offer, by the name the daemon asks for ("local:PATH").
        stores_to_update: path of each exported store to the tag that its index gets.
        stores_to_reset: paths of stores that lose what their index does not reach, with the stores.
        frontend_attrs: attributes that tell the frontend of the imports.
    """

    exports: list[pb.CacheOptionsEntry] = field(default_factory=list)
    imports: list[pb.CacheOptionsEntry] = field(default_factory=list)
    content_stores: dict[str, Store] = field(default_factory=dict)
    stores_to_update: dict[str, str] = field(default_factory=dict)
    stores_to_reset: list[tuple[str, Store]] = field(default_factory=list)
    frontend_attrs: dict[str, str] = field(default_factory=dict)


def parse_cache_options(opt: SolveOpt, is_gateway: bool, warn: Warn) -> CacheOptions:
    """Read the cache options.

    Args:
        opt: the solve's options.
        is_gateway: whether the frontend is a function of this process.
        warn: called with the text of each import that is skipped.

    Raises:
        BuildkitError: when an entry lacks what its type needs.
    """
    result = CacheOptions()
    for entry in opt.cache_exports:
        _parse_export(entry, result)
    for entry in opt.cache_imports:
        parsed = _parse_import(entry, result, warn)
        if parsed is not None:
            result.imports.append(pb.CacheOptionsEntry(Type=entry.type, Attrs=parsed))
    if (opt.frontend or is_gateway) and result.imports:
        entries = [
            {"Type": e.Type, **({"Attrs": dict(sorted(e.Attrs.items()))} if e.Attrs else {})} for e in result.imports
        ]
        result.frontend_attrs["cache-imports"] = marshal(entries)
    return result


def _parse_export(entry: CacheOptionsEntry, result: CacheOptions) -> None:
    if entry.type == "local":
        from pybuildkit.third_party.containerd.content import new_store

        folder = entry.attrs.get("dest", "")
        if not folder:
            raise BuildkitError("local cache exporter requires dest")
        mkdir_all(folder, 0o755)
        store = new_store(folder)
        result.content_stores[f"local:{folder}"] = store
        result.stores_to_update[folder] = entry.attrs.get("tag", "latest")
        if "reset" in entry.attrs:
            try:
                reset = parse_bool(entry.attrs["reset"])
            except BuildkitError as err:
                raise errors.wrap(err, "failed to parse reset attribute") from err
            if reset:
                result.stores_to_reset.append((folder, store))
    if entry.type == "registry" and not entry.attrs.get("ref"):
        raise BuildkitError("registry cache exporter requires ref")
    result.exports.append(pb.CacheOptionsEntry(Type=entry.type, Attrs=entry.attrs))


def _parse_import(entry: CacheOptionsEntry, result: CacheOptions, warn: Warn) -> dict[str, str] | None:
    """The attributes for the daemon, or None for an import that is skipped."""
    attrs = entry.attrs if isinstance(entry.attrs, dict) else dict(entry.attrs)
    if entry.type == "local" and not _find_local_import(attrs, result, warn):
        return None
    if entry.type == "registry" and not attrs.get("ref"):
        raise BuildkitError("registry cache importer requires ref")
    return attrs


def _find_local_import(attrs: dict[str, str], result: CacheOptions, warn: Warn) -> bool:
    from pybuildkit.client import ociindex
    from pybuildkit.third_party.containerd.content import new_store

    folder = attrs.get("src", "")
    if not folder:
        raise BuildkitError("local cache importer requires src")
    try:
        store = new_store(folder, read_only=True)
    except (BuildkitError, OSError) as err:
        warn(f"local cache import at {folder} not found due to err: {errors.error_text(err)}")
        return False
    if not attrs.get("digest"):
        tag = attrs.get("tag", "latest")
        if not tag:
            raise BuildkitError(
                'local cache importer requires either explicit digest, "latest" tag or custom tag on index.json'
            )
        try:
            descriptor = ociindex.new_store_index(folder).get(tag)
        except (BuildkitError, OSError) as err:
            warn(f"local cache import at {folder} skipped due to err: {errors.error_text(err)}")
            return False
        if descriptor is None:
            warn(f"local cache import at {folder} skipped: no digest found for tag {tag}")
            return False
        attrs["digest"] = str(descriptor["digest"])
    try:
        store.info(attrs["digest"])
    except (BuildkitError, OSError) as err:
        text = errors.error_text(err)
        warn(f"local cache import at {folder} skipped: digest {attrs['digest']} unavailable: {text}")
        return False
    result.content_stores[f"local:{folder}"] = store
    return True


def reset_cache_store(store: Store, folder: str) -> None:
    """Delete every blob of a store that no manifest of its index reaches.

    Raises:
        BuildkitError: "reset: …" when the index or a manifest cannot be read; nothing has been deleted then.
    """
    from pybuildkit.client import ociindex

    try:
        index = ociindex.new_store_index(folder).read()
    except (BuildkitError, OSError) as err:
        raise errors.wrap(err, "reset: failed to read index.json") from err
    referenced: set[str] = set()
    try:
        pending = [str(d["digest"]) for d in _descriptors(index, "manifests")]
        while pending:
            digest = pending.pop()
            if digest not in referenced:
                referenced.add(digest)
                pending += _children(store, digest)
    except (BuildkitError, OSError) as err:
        raise errors.wrap(err, "reset: failed to collect referenced blobs") from err
    for info in store.walk():
        if info.digest not in referenced:
            store.delete(info.digest)


_MANIFEST_KEYS = ("config", "layers", "manifests", "blobs")
_MAX_MANIFEST = 4 << 20


def _children(store: Store, digest: str) -> list[str]:
    """The digests that a blob refers to, where it is a manifest or an index; [] for any other blob."""
    info = store.info(digest)
    if info.size > _MAX_MANIFEST:
        return []
    data = store.read_blob(digest)
    if not data.startswith(b"{"):
        return []
    try:
        document = json.loads(data)
    except ValueError:
        return []
    if not isinstance(document, dict) or "schemaVersion" not in document:
        return []
    found: list[str] = []
    for key in _MANIFEST_KEYS:
        found += [str(d["digest"]) for d in _descriptors(document, key) if "digest" in d]
    return found


def _descriptors(document: object, key: str) -> list[dict[str, object]]:
    value = document.get(key) if isinstance(document, dict) else getattr(document, key, None)
    items = value if isinstance(value, list) else [value]
    return [item for item in items if isinstance(item, dict)]
