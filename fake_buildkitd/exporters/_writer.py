"""Making an image of a result: layers, configuration, manifest and, for several platforms, index.

Mirrors exporter/containerimage/writer.go, v0.32.2. Everything but the layers is kept in memory, the layers are in the
store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from fake_buildkitd.exporters._config import default_config, history_of, normalize_history, patch_config
from fake_buildkitd.exporters._options import Annotations, AnnotationsGroup, CommitOptions, parse_annotations
from fake_buildkitd.exporters._source import KEY_BASE_CONFIG, KEY_CONFIG, ExportContext, ExportError, ExportPlatform
from fake_buildkitd.image import Descriptor, Layer, export_layers
from fake_buildkitd.image._spec import (
    DOCKER_CONFIG,
    DOCKER_LIST,
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_MANIFEST,
    Json,
    digest_of,
    objects,
    read_object,
)
from fake_buildkitd.progress import VertexWriter
from fake_buildkitd.store import Snapshot
from pybuildkit.golang import json, threads
from pybuildkit.golang.context import Context
from pybuildkit.third_party.platforms import Platform

IN_TOTO = "application/vnd.in-toto+json"
EMPTY = "application/vnd.oci.empty.v1+json"
ATTESTATION_MANIFEST = "application/vnd.docker.attestation.manifest.v1+json"
UNKNOWN = Platform(os="unknown", architecture="unknown")


@dataclass
class Committed:
    """An image that was made.

    Args:
        descriptor: its manifest or index.
        config_digest: of the only configuration; "" where there are several.
        texts: manifests, index and configurations by digest.
        order: every blob's descriptor, each after those that it names.
    """

    descriptor: Descriptor
    config_digest: str = ""
    texts: dict[str, bytes] = field(default_factory=dict)
    order: list[Descriptor] = field(default_factory=list)

    def add(self, descriptor: Descriptor, text: bytes | None = None) -> None:
        """Add a blob, unless it is there."""
        if text is not None:
            self.texts[descriptor.digest] = text
        if all(known.digest != descriptor.digest for known in self.order):
            self.order.append(descriptor)


@contextmanager
def step(writer: VertexWriter, name: str) -> Iterator[None]:
    """Show a piece of an export's work while the block runs, and its end whether it succeeds or not."""
    done: Callable[[], None] = writer.one_off(name)
    try:
        yield
    finally:
        done()


class ImageWriter:
    """Makes the image of one export.

    Args:
        source: what is exported.
        options: how.
        writer: takes the statuses.
        image_name: the image's names, joined by commas.
    """

    def __init__(
        self, source: ExportContext, options: CommitOptions, writer: VertexWriter, image_name: str = ""
    ) -> None:
        self._image_name = image_name
        self._source = source
        self._options = options
        self._writer = writer
        self._result = Committed(Descriptor("", "", 0))
        self._annotations = AnnotationsGroup()

    async def commit(self, ctx: Context) -> Committed:
        """Make the image.

        Raises:
            BuildkitError: the result makes no image with these options.
        """
        texts = {key: value.decode("utf-8", "replace") for key, value in self._source.metadata.items()}
        self._annotations.merge(self._options.annotations)
        self._annotations.merge(parse_annotations(texts)[0])
        names = self._source.image_platforms()
        self._check_annotations()
        attested = any(self._source.attestations.get(each.id) for each in names)
        if self._source.snapshots is None and not attested:
            if len(names) > 1:
                raise ExportError("cannot export multiple platforms without multi-platform enabled")
            await self._commit_one(ctx, names[0])
        else:
            await self._commit_index(ctx, names)
        return self._result

    def _check_annotations(self) -> None:
        for name, each in self._annotations.items():
            if name and not self._source.find(name)[1]:
                raise ExportError(f"invalid annotation: no platform {name} found in source")
            if not self._options.oci_types and (each.index or each.index_descriptor or each.manifest_descriptor):
                raise ExportError('cannot export annotations with "oci-mediatypes=false"')

    def _epoch(self, name: str) -> int | None:
        return self._options.epoch if self._options.has_epoch else self._source.epoch(name)

    async def _commit_one(self, ctx: Context, platform: ExportPlatform) -> None:
        with step(self._writer, "exporting layers"):
            layers = await self._layers(ctx, self._source.snapshot, platform.id)
        annotations = self._annotations.platform(None)
        if annotations.index or annotations.index_descriptor:
            raise ExportError("index annotations not supported for single platform export")
        manifest, config = await self._manifest(platform.id, layers, annotations)
        self._result.descriptor = replace(manifest, platform=platform.platform)
        self._result.config_digest = config.digest

    async def _commit_index(self, ctx: Context, names: Sequence[ExportPlatform]) -> None:
        oci = self._options.oci_types
        by_name: list[tuple[ExportPlatform, list[Layer]]] = []
        with step(self._writer, "exporting layers"):
            for each in names:
                snapshot, known = self._source.find(each.id)
                if not known:
                    raise ExportError(f"failed to find ref for ID {each.id}")
                by_name.append((each, await self._layers(ctx, snapshot, each.id)))
        if not oci and self._source.attestations:
            raise ExportError('cannot export attestations with "oci-mediatypes=false"')
        manifests: list[Json] = []
        attached: list[Json] = []
        for each, layers in by_name:
            annotations = self._annotations.platform(each.platform)
            manifest, _ = await self._manifest(each.id, layers, annotations)
            manifests.append(replace(manifest, platform=each.platform).to_json())
            if self._source.attestations.get(each.id):
                attached.append(self._attestation_manifest(each, manifest))
        manifests += attached
        common = self._annotations.platform(None)
        index: Json = {
            "schemaVersion": 2,
            "mediaType": OCI_INDEX if oci else DOCKER_LIST,
            "manifests": manifests or None,
        }
        if common.index:
            index["annotations"] = json.sorted_map(common.index)
        data = json.marshal_indent(index, "", "  ").encode()
        kind = OCI_INDEX if oci else DOCKER_LIST
        descriptor = Descriptor(kind, digest_of(data), len(data), common.index_descriptor)
        with step(self._writer, f"exporting manifest list {descriptor.digest}"):
            self._result.add(descriptor, data)
        self._result.descriptor = descriptor

    async def _layers(self, ctx: Context, snapshot: Snapshot | None, name: str) -> list[Layer]:
        store, options = self._source.store, self._options
        epoch = self._epoch(name) if options.rewrite_timestamp else None
        return await threads.call(ctx, lambda: export_layers(store, snapshot, options.compression, epoch))

    async def _manifest(
        self, name: str, layers: Sequence[Layer], annotations: Annotations
    ) -> tuple[Descriptor, Descriptor]:
        """The manifest and the configuration of one platform."""
        oci = self._options.oci_types
        inline = None
        if self._source.inline_cache is not None:
            with step(self._writer, "preparing layers for inline cache"):
                inline = await self._source.inline_cache(name, layers)
        text = self._source.value(KEY_CONFIG, name) or default_config()
        base = self._source.value(KEY_BASE_CONFIG, name)
        history = normalize_history(history_of(text), layers)
        base_history = objects(read_object(base, "base image config").get("history")) if base else []
        config = patch_config(text, layers, history, base_history, self._epoch(name), inline)
        config_descriptor = Descriptor(OCI_CONFIG if oci else DOCKER_CONFIG, digest_of(config), len(config))
        blobs = [layer.descriptor.with_layer_type(oci).without_internals(oci) for layer in layers]
        value: Json = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST if oci else DOCKER_MANIFEST,
            "config": config_descriptor.to_json(),
            "layers": [blob.to_json() for blob in blobs] or None,
        }
        if annotations.manifest:
            value["annotations"] = json.sorted_map(annotations.manifest)
        data = json.marshal_indent(value, "", "  ").encode()
        descriptor = Descriptor(
            OCI_MANIFEST if oci else DOCKER_MANIFEST, digest_of(data), len(data), annotations.manifest_descriptor
        )
        for blob in blobs:
            self._result.add(blob)
        with step(self._writer, f"exporting manifest {descriptor.digest}"):
            pass
        with step(self._writer, f"exporting config {config_descriptor.digest}"):
            self._result.add(config_descriptor, config)
        self._result.add(descriptor, data)
        return descriptor, config_descriptor

    def _attestation_manifest(self, platform: ExportPlatform, target: Descriptor) -> Json:
        """The manifest of what is attested of a platform's image, as an index has it."""
        from fake_buildkitd.attestations import digest_map, package_url

        names = [name for name in self._image_name.split(",") if name]
        defaults: list[Json] = [
            {"name": package_url(name, platform.platform), "digest": digest_map([target.digest])} for name in names
        ]
        layers: list[Json] = []
        diff_ids: list[str] = []
        for each in self._source.attestations[platform.id]:
            text = json.marshal(each.statement(defaults)).encode()
            note = {"in-toto.io/predicate-type": each.predicate_type}
            layer = Descriptor(IN_TOTO, digest_of(text), len(text), note)
            self._result.add(layer, text)
            layers.append(layer.to_json())
            diff_ids.append(layer.digest)
        value: Json = {"schemaVersion": 2, "mediaType": OCI_MANIFEST}
        if self._options.oci_artifact:
            config = b"{}"
            described = Descriptor(EMPTY, digest_of(config), len(config))
            value["artifactType"] = ATTESTATION_MANIFEST
            value["config"] = {**described.to_json(), "data": config}
        else:
            rootfs = {"type": "layers", "diff_ids": diff_ids or None}
            parts = {"architecture": "unknown", "os": "unknown", "config": {}, "rootfs": rootfs}
            config = json.marshal(parts).encode()
            described = Descriptor(OCI_CONFIG, digest_of(config), len(config))
            value["config"] = described.to_json()
        value["layers"] = layers
        if self._options.oci_artifact:
            subject = Descriptor(target.media_type, target.digest, target.size)
            value["subject"] = subject.to_json()
        data = json.marshal_indent(value, "", "  ").encode()
        notes = {"vnd.docker.reference.digest": target.digest, "vnd.docker.reference.type": "attestation-manifest"}
        manifest = Descriptor(OCI_MANIFEST, digest_of(data), len(data), notes, UNKNOWN)
        with step(self._writer, f"exporting attestation manifest {manifest.digest}"):
            self._result.add(described, config)
            self._result.add(manifest, data)
        return manifest.to_json()
