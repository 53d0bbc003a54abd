"""The exporters `oci`, `docker` and `image`.

Mirrors exporter/oci/export.go and exporter/containerimage/export.go, v0.32.2.

`oci` and `docker` send an archive to the client's file, or with `tar=false` fill its content store. `image` pushes to
registries; as BuildKit's own worker this daemon has no image store, so an image that is not pushed is made and told
of, and nothing more.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from functools import partial
from typing import BinaryIO

from fake_buildkitd.exporters._options import CommitOptions, flag
from fake_buildkitd.exporters._source import ExportContext, ExportError
from fake_buildkitd.exporters._writer import Committed, ImageWriter, step
from fake_buildkitd.image import Descriptor
from fake_buildkitd.image._archive import Opener, archive
from fake_buildkitd.image._content import copy_chain
from fake_buildkitd.image._spec import INDEX_TYPES, MANIFEST_TYPES, blob_key
from fake_buildkitd.progress import VertexWriter
from fake_buildkitd.registry import RemoteImage
from fake_buildkitd.store import Store
from pybuildkit.golang import json, threads
from pybuildkit.golang import time as gotime
from pybuildkit.golang.context import Context
from pybuildkit.golang.errgroup import with_context
from pybuildkit.golang.errors import BuildkitError, wrap
from pybuildkit.rpc import Code, RpcError
from pybuildkit.session.content import new_caller_store
from pybuildkit.session.filesync import copy_file_writer
from pybuildkit.third_party.distribution import reference

_CREATED = "org.opencontainers.image.created"
_STORE_ID = "export"
_SECOND = 1_000_000_000
_BATCH = 1 << 20
_PARALLEL = 4


class _ImageExporter:
    """What the image exporters share."""

    def __init__(self, index: int, attrs: Mapping[str, str]) -> None:
        self.index = index
        self.options = CommitOptions.load(attrs)

    def source(self, source: ExportContext) -> ExportContext:
        """The result, with the attributes that are no options as metadata."""
        extra = {key: value.encode("utf-8", "surrogateescape") for key, value in self.options.rest.items()}
        return ExportContext(**{**vars(source), "metadata": {**source.metadata, **extra}})

    def image_name(self, source: ExportContext) -> str:
        """The names that the image is to have, joined by commas."""
        named = source.metadata.get("image.name")
        if self.options.image_name == "*" and named is not None:
            return named.decode("utf-8", "replace")
        return self.options.image_name


def _response(image: Committed) -> dict[str, str]:
    response = {"containerimage.digest": image.descriptor.digest}
    if image.config_digest:
        response["containerimage.config.digest"] = image.config_digest
    text = json.marshal(image.descriptor.to_json())
    response["containerimage.descriptor"] = base64.b64encode(text.encode()).decode()
    return response


def _opener(store: Store, image: Committed) -> Opener:
    def open_blob(digest: str) -> BinaryIO:
        text = image.texts.get(digest)
        return io.BytesIO(text) if text is not None else store.open_blob(blob_key(digest))

    return open_blob


class LayoutExporter(_ImageExporter):
    """Gives the client an image as a file or in a store.

    Args:
        kind: "oci" or "docker".
        index: the export's.
        attrs: its attributes.

    Raises:
        BuildkitError: an attribute cannot be read.
    """

    def __init__(self, kind: str, index: int, attrs: Mapping[str, str]) -> None:
        super().__init__(index, attrs)
        self._kind = kind
        self.name = f"exporting to {kind} image format"
        self._tar = flag(self.options.rest, "tar", True, empty=True)

    async def export(self, ctx: Context, source: ExportContext, writer: VertexWriter) -> dict[str, str]:
        if self._kind == "docker" and source.snapshots:
            raise ExportError("docker exporter does not currently support exporting manifest lists")
        source = self.source(source)
        image = await ImageWriter(source, self.options, writer, self.image_name(source)).commit(ctx)
        descriptor = image.descriptor
        if _CREATED not in descriptor.annotations:
            epoch = self.options.epoch
            created = gotime.rfc3339(epoch * _SECOND if epoch is not None else source.store.clock(), 0)
            annotations = {**descriptor.annotations, _CREATED: created}
            image.descriptor = Descriptor(
                descriptor.media_type, descriptor.digest, descriptor.size, annotations, descriptor.platform
            )
        response = _response(image)
        names = normalized_names(self.image_name(source))
        if names:
            response["image.name"] = ",".join(names)
        caller = await source.caller(ctx)
        if self._tar:
            await self._send(ctx, source, image, names, response, writer)
        else:
            store = new_caller_store(caller, _STORE_ID)
            await copy_chain(ctx, store, image.order, _opener(source.store, image))
        return response

    async def _send(
        self,
        ctx: Context,
        source: ExportContext,
        image: Committed,
        names: list[str],
        response: dict[str, str],
        writer: VertexWriter,
    ) -> None:
        file = await copy_file_writer(ctx, response, self.index, await source.caller(ctx))
        docker = self._kind == "docker"
        pieces = archive(image.descriptor, image.order, _opener(source.store, image), names, docker)

        def batch() -> bytes:
            out: list[bytes] = []
            size = 0
            for piece in pieces:
                out.append(piece)
                size += len(piece)
                if size >= _BATCH:
                    break
            return b"".join(out)

        with step(writer, "sending tarball"):
            try:
                while data := await threads.call(ctx, batch):
                    await file.write_all(data)
                await file.close()
            except RpcError as err:
                file.abort()
                if err.code != Code.ALREADY_EXISTS:
                    raise
            except BaseException:
                file.abort()
                raise


def normalized_names(name: str) -> list[str]:
    """The names of a list in full.

    Raises:
        BuildkitError: "failed to parse NAME: …".
    """
    found = []
    for each in name.split(",") if name else ():
        try:
            parsed = reference.parse_normalized_named(each)
        except BuildkitError as err:
            raise wrap(err, f"failed to parse {each}") from err
        found.append(str(reference.tag_name_only(parsed)))
    return found


class ImageExporter(_ImageExporter):
    """Makes an image, and pushes it to registries.

    Raises:
        BuildkitError: an attribute cannot be read.
    """

    name = "exporting to image"

    def __init__(self, index: int, attrs: Mapping[str, str]) -> None:
        super().__init__(index, attrs)
        rest = self.options.rest
        self._push = flag(rest, "push", False, empty=True)
        self._by_digest = flag(rest, "push-by-digest", False, empty=True)
        self._insecure = flag(rest, "registry.insecure", False, empty=True)
        for key in ("unpack", "store", "name-canonical", "dangling-name-empty-only"):
            flag(rest, key, False, empty=True)
        self._prefix = rest.pop("dangling-name-prefix", "")

    async def export(self, ctx: Context, source: ExportContext, writer: VertexWriter) -> dict[str, str]:
        source = self.source(source)
        image = await ImageWriter(source, self.options, writer, self.image_name(source)).commit(ctx)
        name = self.image_name(source)
        if self._prefix:
            name = ",".join(filter(None, [name, f"{self._prefix}@{image.descriptor.digest}"]))
        response = _response(image)
        if not name:
            return response
        response["image.name"] = name
        for target in name.split(",") if self._push else ():
            try:
                await self._push_to(ctx, source, image, target, writer)
            except BuildkitError as err:
                raise wrap(err, f"failed to push {target}") from err
        return response

    async def _push_to(
        self, ctx: Context, source: ExportContext, image: Committed, target: str, writer: VertexWriter
    ) -> None:
        parsed = reference.parse_normalized_named(target)
        if self._by_digest:
            if not parsed.is_name_only():
                raise ExportError(f"can't push tagged ref {parsed} by digest")
            ref, tag = parsed, image.descriptor.digest
        else:
            ref = reference.with_digest(reference.tag_name_only(parsed), image.descriptor.digest)
            tag = ref.tag or image.descriptor.digest
        assert source.authorizer is not None
        remote = RemoteImage(ref, source.authorizer(), insecure=self._insecure, push=True)
        manifests = [each for each in image.order if each.media_type in MANIFEST_TYPES | INDEX_TYPES]
        with step(writer, "pushing layers"):
            blobs = [each for each in image.order if each not in manifests]
            group, group_ctx = with_context(ctx)
            group.set_limit(_PARALLEL)
            open_blob = _opener(source.store, image)
            for blob in blobs:
                await group.go(partial(remote.push_blob, group_ctx, blob, open_blob))
            await group.wait()
        with step(writer, f"pushing manifest for {ref}"):
            for each in manifests:
                name = tag if each.digest == image.descriptor.digest else each.digest
                await remote.push_manifest(ctx, each.media_type, image.texts[each.digest], name)
