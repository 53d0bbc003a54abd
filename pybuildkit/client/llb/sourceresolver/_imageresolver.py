"""Image configurations, asked from whoever answers questions about sources.

Mirrors client/llb/sourceresolver/imageresolver.go, v0.32.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from pybuildkit.golang.errors import BuildkitError, wrap
from pybuildkit.golang.strconv import quote
from pybuildkit.solver import pb
from pybuildkit.solver.pb import ops_pb2
from pybuildkit.third_party.distribution import reference

if TYPE_CHECKING:
    from pybuildkit.client.llb.sourceresolver._types import MetaResolver, Opt
    from pybuildkit.golang.context import Context


class ImageMetaResolver(Protocol):
    """Who knows the configurations of images."""

    async def resolve_image_config(self, ctx: Context, ref: str, opt: Opt) -> tuple[str, str, bytes]:
        """The reference to use, its digest ("" where it is not known), and the configuration as JSON."""
        ...


class ResolveToNonImageError(BuildkitError):
    """A policy has put something else in an image's place."""

    def __init__(self, ref: str, updated: str) -> None:
        super().__init__(f"ref mutated by policy to non-image: docker-image://{ref} -> {updated}")
        self.ref = ref
        self.updated = updated


class _Resolver:
    def __init__(self, resolver: MetaResolver) -> None:
        self._resolver = resolver

    async def resolve_image_config(self, ctx: Context, ref: str, opt: Opt) -> tuple[str, str, bytes]:
        try:
            ref = str(reference.parse_normalized_named(ref))
        except BuildkitError as err:
            raise wrap(err, f"could not parse reference {quote(ref)}") from err
        op = ops_pb2.SourceOp(identifier=f"docker-image://{ref}")
        if opt.oci_layout_opt is not None:
            op.identifier = f"oci-layout://{ref}"
            store = opt.oci_layout_opt.store
            if store.session_id:
                op.attrs[pb.ATTR_OCI_LAYOUT_SESSION_ID] = store.session_id
            if store.store_id:
                op.attrs[pb.ATTR_OCI_LAYOUT_STORE_ID] = store.store_id
        try:
            answer = await self._resolver.resolve_source_metadata(ctx, op, opt)
        except BuildkitError as err:
            raise wrap(err, f"failed to resolve source metadata for {ref}") from err
        if answer.image is None:
            raise ResolveToNonImageError(ref, answer.op.identifier)
        resolved = answer.op.identifier.removeprefix("docker-image://").removeprefix("oci-layout://")
        return resolved, answer.image.digest, answer.image.config


def new_image_meta_resolver(resolver: MetaResolver) -> ImageMetaResolver:
    """A resolver of image configurations that asks `resolver`."""
    return _Resolver(resolver)
