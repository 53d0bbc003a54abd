"""BuildKit's format of build caches: which layers are the result of which key.

Mirrors cache/remotecache/v1 (types, parse.go, utils.go), v0.32.2.

    layers      blobs, each with the index of the layer below it (-1 for none)
    records     a key's digest; the topmost layer of its result, or its layers one by one; the records of its inputs

Differs from BuildKit: a key is what this daemon's solver makes of an operation and its inputs, and stands for itself,
so a record is found by its digest alone; what the records of inputs say is not needed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from fake_buildkitd.image import Descriptor, ImageError, Layer
from fake_buildkitd.image._spec import Json, objects
from pybuildkit.golang import json
from pybuildkit.golang import time as gotime


def record_digest(key: str) -> str:
    """The digest under which a key's record is found."""
    return f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"


@dataclass
class Record:
    """A key: its digest, the topmost layer of its result with the time of its making, the records of its inputs."""

    digest: str
    results: list[tuple[int, int]] = field(default_factory=list)
    inputs: list[int] = field(default_factory=list)


@dataclass
class CacheConfig:
    """A build cache: layers as pairs of a blob's digest and the index of the layer below, and records."""

    layers: list[tuple[str, int]] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)

    def add_chain(self, chain: Sequence[Layer]) -> int:
        """The index of the topmost layer of a chain; -1 for an empty one."""
        top = -1
        for layer in chain:
            entry = (layer.descriptor.digest, top)
            if entry not in self.layers:
                self.layers.append(entry)
            top = self.layers.index(entry)
        return top

    def sorted(self) -> CacheConfig:
        """The same cache in the order that equal ones share."""
        order = sorted(range(len(self.layers)), key=lambda index: self.layers[index])
        place = {old: new for new, old in enumerate(order)}
        place[-1] = -1
        layers = [(self.layers[old][0], place[self.layers[old][1]]) for old in order]
        ranked = sorted(range(len(self.records)), key=lambda index: self.records[index].digest)
        moved = {old: new for new, old in enumerate(ranked)}
        records = []
        for old in ranked:
            record = self.records[old]
            results = [(place[top], created) for top, created in record.results]
            records.append(Record(record.digest, results, [moved[index] for index in record.inputs]))
        return CacheConfig(layers, records)

    def records_json(self) -> list[Json]:
        """The records as JSON objects."""
        return [_record_json(record) for record in self.records]

    def to_json(self) -> Json:
        """The cache as a JSON object."""
        out: Json = {}
        if self.layers:
            out["layers"] = [_layer_json(blob, parent) for blob, parent in self.layers]
        if self.records:
            out["records"] = self.records_json()
        return out


def _layer_json(blob: str, parent: int) -> Json:
    out: Json = {"blob": blob}
    if parent:
        out["parent"] = parent
    return out


def _record_json(record: Record) -> Json:
    out: Json = {}
    if record.results:
        made = [{"layer": top, "createdAt": gotime.rfc3339_nano(created, 0)} for top, created in record.results]
        out["layers"] = made
    out["digest"] = record.digest
    if record.inputs:
        out["inputs"] = [[{"link": index}] for index in record.inputs]
    return out


def read_chains(value: Json, blobs: dict[str, Descriptor]) -> dict[str, list[list[Descriptor]]]:
    """The results of each record by its digest: chains of layers, the lowest first.

    A result with a layer that is not among `blobs` is left out.

    Raises:
        ImageError: the cache makes no sense.
    """
    layers = [(str(each.get("blob")), each.get("parent", 0)) for each in objects(value.get("layers"))]
    found: dict[str, list[list[Descriptor]]] = {}
    for record in objects(value.get("records")):
        chains = found.setdefault(str(record.get("digest")), [])
        digests = [_chain(layers, each.get("layer")) for each in objects(record.get("layers"))]
        for each in objects(record.get("chains")):
            indexes = each.get("layers")
            listed = indexes if isinstance(indexes, list) else []
            digests.append([layers[_index(layers, index)][0] for index in listed])
        chains += [[blobs[digest] for digest in chain] for chain in digests if all(d in blobs for d in chain)]
    return found


def _index(layers: Sequence[tuple[str, object]], index: object) -> int:
    if not isinstance(index, int) or not 0 <= index < len(layers):
        raise ImageError(f"invalid layer index {index}")
    return index


def _chain(layers: Sequence[tuple[str, object]], top: object) -> list[str]:
    chain: list[str] = []
    while top != -1:
        blob, below = layers[_index(layers, top)]
        if len(chain) > len(layers):
            raise ImageError("invalid looping layer")
        chain.append(blob)
        top = below
    return chain[::-1]


def marshal(config: CacheConfig) -> bytes:
    """The cache's JSON text."""
    return json.marshal(config.to_json()).encode()
