"""Images as sources: from registries, and from OCI layouts that a client offers.

Mirrors source/containerimage, v0.32.2.
"""

from __future__ import annotations

from collections.abc import Callable

from fake_buildkitd.image._content import fetch_blob, read_blob
from fake_buildkitd.image._pull import Provider, image_config, pull, select_manifest
from fake_buildkitd.image._spec import Descriptor, ImageError, Json
from fake_buildkitd.progress import VertexWriter
from fake_buildkitd.registry import Authorizer, RemoteImage
from fake_buildkitd.solver import CacheKeyError, Vertex
from fake_buildkitd.store import Snapshot, Store
from pybuildkit.golang import context
from pybuildkit.golang.context import Context
from pybuildkit.golang.errors import BuildkitError, error_text, wrap
from pybuildkit.golang.strconv import parse_int, quote
from pybuildkit.session import Manager
from pybuildkit.session.content import CallerStore, new_caller_store
from pybuildkit.solver import pb
from pybuildkit.solver.pb import ops_pb2
from pybuildkit.third_party import platforms
from pybuildkit.third_party.distribution import reference
from pybuildkit.third_party.distribution.reference import Reference
from pybuildkit.third_party.platforms import Platform

_WAIT_SECONDS = 5.0


class LayoutImage:
    """An image of a client's OCI layout; the Provider of its blobs."""

    def __init__(self, store: CallerStore) -> None:
        self._store = store

    async def blob(self, ctx: Context, descriptor: Descriptor) -> bytes:
        """The content of a small blob, checked."""
        return await read_blob(ctx, self._store, descriptor)

    async def fetch(
        self, ctx: Context, descriptor: Descriptor, store: Store, report: Callable[[int, bool], None]
    ) -> None:
        """Put a blob into the daemon's store, checked."""
        await fetch_blob(ctx, self._store, descriptor, store)
        report(descriptor.size, True)


class ImageSource:
    """The images of one build.

    Args:
        store: keeps layers.
        manager: knows the sessions.
        session_id: the build's session.
        authorizer: logs in at registries.
    """

    def __init__(self, store: Store, manager: Manager, session_id: str, authorizer: Authorizer) -> None:
        self._store = store
        self._manager = manager
        self._session_id = session_id
        self._authorizer = authorizer

    async def config(
        self, ctx: Context, name: str, platform: Platform | None, layout: tuple[str, str] | None = None
    ) -> tuple[str, bytes]:
        """The digest and the configuration of an image.

        Args:
            platform: None for the daemon's own.
            layout: session (empty for the build's) and store of an OCI layout; None for an image of a registry.

        Raises:
            BuildkitError: there is no such image.
        """
        provider, descriptor = await self._resolve(ctx, _parse(name), layout)
        wanted = platform or platforms.default_spec()
        return descriptor.digest, await image_config(ctx, provider, descriptor, wanted)

    async def _resolve(
        self, ctx: Context, ref: Reference, layout: tuple[str, str] | None
    ) -> tuple[Provider, Descriptor]:
        if layout is None:
            remote = RemoteImage(ref, self._authorizer)
            return remote, await remote.resolve(ctx)
        if not ref.digest:
            raise ImageError(f"reference {ref} must have a digest")
        session_id, store_id = layout
        timed, stop = context.with_timeout(ctx, _WAIT_SECONDS)
        try:
            caller = await self._manager.get(timed, session_id or self._session_id)
        finally:
            stop()
        store = new_caller_store(caller, f"oci:{store_id or ref.name()}")
        try:
            info = await store.info(ctx, ref.digest)
        except BuildkitError as err:
            raise ImageError(f"unable to get info about digest: {error_text(err)}") from None
        return LayoutImage(store), Descriptor("", ref.digest, info.size)

    async def __call__(self, ctx: Context, vertex: Vertex, writer: VertexWriter) -> Snapshot | None:
        """The tree of an image; None for one without layers.

        Raises:
            CacheKeyError: there is no such image. BuildkitError: it is broken.
        """
        try:
            ref, provider, manifest = await self._find(ctx, vertex, writer)
        except (BuildkitError, OSError) as err:
            raise CacheKeyError(err) from err
        return await pull(ctx, provider, manifest, str(ref), self._store, writer, _layer_limit(vertex.op.source))

    async def _find(self, ctx: Context, vertex: Vertex, writer: VertexWriter) -> tuple[Reference, Provider, Json]:
        """The image of an operation, and its manifest."""
        op = vertex.op.source
        scheme, _, name = op.identifier.partition("://")
        ref = _parse(name)
        layout = None
        if scheme == "oci-layout":
            attrs = op.attrs
            layout = (attrs.get(pb.ATTR_OCI_LAYOUT_SESSION_ID, ""), attrs.get(pb.ATTR_OCI_LAYOUT_STORE_ID, ""))
        done = writer.one_off(f"resolve {ref}")
        try:
            provider, descriptor = await self._resolve(ctx, ref, layout)
            checksum = op.attrs.get(pb.ATTR_IMAGE_CHECKSUM, "")
            if checksum and checksum != descriptor.digest:
                text = f"image digest {descriptor.digest} for {ref} does not match expected checksum {checksum}"
                raise ImageError(text)
            _, manifest = await select_manifest(ctx, provider, descriptor, _platform(vertex))
        finally:
            done()
        return ref, provider, manifest


def _parse(name: str) -> Reference:
    try:
        return reference.tag_name_only(reference.parse_normalized_named(name))
    except BuildkitError as err:
        raise wrap(err, f"failed to parse image reference {quote(name)}") from err


def _platform(vertex: Vertex) -> Platform:
    if not vertex.op.HasField("platform"):
        return platforms.default_spec()
    wanted = vertex.op.platform
    return Platform(
        os=wanted.OS,
        architecture=wanted.Architecture,
        variant=wanted.Variant,
        os_version=wanted.OSVersion,
        os_features=tuple(wanted.OSFeatures),
    )


def _layer_limit(op: ops_pb2.SourceOp) -> int | None:
    for key in (pb.ATTR_IMAGE_LAYER_LIMIT, pb.ATTR_OCI_LAYOUT_LAYER_LIMIT):
        if key in op.attrs:
            try:
                return parse_int(op.attrs[key], 10, 64)
            except BuildkitError as err:
                raise wrap(err, f"invalid layer limit {op.attrs[key]}") from err
    return None
