"""Images of registries and OCI layouts, and single blobs of them.

Mirrors Image, ImageBlob, OCILayout, OCILayoutBlob and their options in client/llb/source.go, and
client/llb/resolver.go, v0.32.2.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, ParamSpec, Protocol

from pybuildkit.client.llb._constraints import Constraints, add_cap
from pybuildkit.client.llb._errors import LLBError
from pybuildkit.client.llb._http import file_attrs
from pybuildkit.client.llb._option import Option, apply_options, maker
from pybuildkit.client.llb._source import FileInfo, SourceOp
from pybuildkit.client.llb._state import State, new_state, scratch
from pybuildkit.golang.context import Context
from pybuildkit.golang.errors import BuildkitError
from pybuildkit.solver import pb
from pybuildkit.third_party.distribution import reference

if TYPE_CHECKING:
    from pybuildkit.client.llb.sourceresolver import ImageMetaResolver

_P = ParamSpec("_P")


class ResolveMode(enum.IntEnum):
    """Where the daemon looks for an image; itself an option of `image`."""

    DEFAULT = 0
    FORCE_PULL = 1
    PREFER_LOCAL = 2

    def __str__(self) -> str:
        return ("default", "pull", "local")[self]

    def set_image_option(self, info: ImageInfo) -> None:
        """Change the options of one `image`."""
        info.resolve_mode = self


RESOLVE_MODE_DEFAULT: Final = ResolveMode.DEFAULT
RESOLVE_MODE_FORCE_PULL: Final = ResolveMode.FORCE_PULL
RESOLVE_MODE_PREFER_LOCAL: Final = ResolveMode.PREFER_LOCAL


class ImageInfo:
    """What the options of one `image` have said."""

    __slots__ = (
        "checksum",
        "constraints",
        "layer_limit",
        "meta_resolver",
        "record_type",
        "resolve_digest",
        "resolve_mode",
    )

    def __init__(self) -> None:
        self.constraints = Constraints()
        self.meta_resolver: ImageMetaResolver | None = None
        self.resolve_digest = False
        self.resolve_mode = ResolveMode.DEFAULT
        self.layer_limit: int | None = None
        self.checksum = ""
        self.record_type = ""


class ImageBlobInfo:
    """What the options of one `image_blob` or `oci_layout_blob` have said."""

    __slots__ = ("constraints", "file", "session_id", "store_id")

    def __init__(self) -> None:
        self.constraints = Constraints()
        self.file = FileInfo()
        self.session_id = ""
        self.store_id = ""


class OCILayoutInfo:
    """What the options of one `oci_layout` have said."""

    __slots__ = ("checksum", "constraints", "layer_limit", "session_id", "store_id")

    def __init__(self) -> None:
        self.constraints = Constraints()
        self.session_id = ""
        self.store_id = ""
        self.layer_limit: int | None = None
        self.checksum = ""


class ImageOption(Protocol):
    """What `image` takes."""

    def set_image_option(self, info: ImageInfo) -> None:
        """Change the options of one `image`."""


class ImageBlobOption(Protocol):
    """What `image_blob` and `oci_layout_blob` take."""

    def set_image_blob_option(self, info: ImageBlobInfo) -> None:
        """Change the options of one `image_blob`."""


class OCILayoutOption(Protocol):
    """What `oci_layout` takes."""

    def set_oci_layout_option(self, info: OCILayoutInfo) -> None:
        """Change the options of one `oci_layout`."""


class _ImageOption(Option[ImageInfo]):
    __slots__ = ()

    def set_image_option(self, info: ImageInfo) -> None:
        """Change the options of one `image`."""
        self._apply(info)


class _ImageBlobOption(Option[ImageBlobInfo]):
    __slots__ = ()

    def set_image_blob_option(self, info: ImageBlobInfo) -> None:
        """Change the options of one `image_blob`."""
        self._apply(info)


class _OCILayoutOption(Option[OCILayoutInfo]):
    __slots__ = ()

    def set_oci_layout_option(self, info: OCILayoutInfo) -> None:
        """Change the options of one `oci_layout`."""
        self._apply(info)


def _image(make: Callable[_P, Callable[[ImageInfo], None]]) -> Callable[_P, _ImageOption]:
    return maker(_ImageOption, make)


def _blob(make: Callable[_P, Callable[[ImageBlobInfo], None]]) -> Callable[_P, _ImageBlobOption]:
    return maker(_ImageBlobOption, make)


def _layout(make: Callable[_P, Callable[[OCILayoutInfo], None]]) -> Callable[_P, _OCILayoutOption]:
    return maker(_OCILayoutOption, make)


def image(ref: str, *options: ImageOption) -> State:
    """An image's tree; the environment and directory of the image only with `with_meta_resolver`.

    Args:
        ref: "alpine", "alpine:3.20", "registry.example/app@sha256:…". One that is no reference fails when the graph
            is marshalled.
    """
    info = ImageInfo()
    error: Exception | None = None
    digested = False
    try:
        parsed = reference.tag_name_only(reference.parse_normalized_named(ref))
        ref, digested = str(parsed), bool(parsed.digest)
    except BuildkitError as err:
        error = err
    apply_options(options, "set_image_option", info, "image")
    add_cap(info.constraints, pb.CAP_SOURCE_IMAGE)
    attrs = _image_attrs(info)
    source = SourceOp(f"docker-image://{ref}", attrs, info.constraints, error=error)
    if error is not None or info.meta_resolver is None:
        return new_state(source.output())
    if digested or not info.resolve_digest:
        return _with_config(new_state(source.output()), ref, info, info.meta_resolver)
    return _with_digest(ref, attrs, info, info.meta_resolver)


def _image_attrs(info: ImageInfo) -> dict[str, str]:
    attrs: dict[str, str] = {}
    if info.resolve_mode:
        attrs[pb.ATTR_IMAGE_RESOLVE_MODE] = str(info.resolve_mode)
        if info.resolve_mode is ResolveMode.FORCE_PULL:
            add_cap(info.constraints, pb.CAP_SOURCE_IMAGE_RESOLVE_MODE)
    if info.record_type:
        attrs[pb.ATTR_IMAGE_RECORD_TYPE] = info.record_type
    if info.layer_limit is not None:
        attrs[pb.ATTR_IMAGE_LAYER_LIMIT] = str(info.layer_limit)
        add_cap(info.constraints, pb.CAP_SOURCE_IMAGE_LAYER_LIMIT)
    if info.checksum:
        attrs[pb.ATTR_IMAGE_CHECKSUM] = info.checksum
        add_cap(info.constraints, pb.CAP_SOURCE_IMAGE_CHECKSUM)
    return attrs


async def _resolve(
    ctx: Context, resolver: ImageMetaResolver, ref: str, info: ImageInfo, constraints: Constraints
) -> tuple[str, str, bytes]:
    from pybuildkit.client.llb.sourceresolver import Opt, ResolveImageOpt

    platform = info.constraints.platform or constraints.platform
    opt = Opt(image_opt=ResolveImageOpt(platform=platform, resolve_mode=str(info.resolve_mode)))
    return await resolver.resolve_image_config(ctx, ref, opt)


def _with_config(source: State, ref: str, info: ImageInfo, resolver: ImageMetaResolver) -> State:
    """The image with its configuration, by the reference that was given."""

    async def make(ctx: Context, state: State, constraints: Constraints) -> State:
        _, _, config = await _resolve(ctx, resolver, ref, info, constraints)
        return state.with_image_config(config)

    return source.async_(make)


def _with_digest(ref: str, attrs: dict[str, str], info: ImageInfo, resolver: ImageMetaResolver) -> State:
    """The image with its configuration, by the digest that the reference has now."""

    async def make(ctx: Context, state: State, constraints: Constraints) -> State:
        resolved, digest, config = await _resolve(ctx, resolver, ref, info, constraints)
        named = reference.parse_normalized_named(resolved)
        if digest:
            named = reference.with_digest(named, digest)
        source = SourceOp(f"docker-image://{named}", attrs, info.constraints)
        return new_state(source.output()).with_image_config(config)

    return scratch().async_(make)


def _mark_internal(info: ImageInfo) -> None:
    info.record_type = "internal"


mark_image_internal: Final = _ImageOption(_mark_internal).as_constant("mark_image_internal")
"""Keep the image out of what the daemon shows as the build's own use."""


@_image
def with_meta_resolver(resolver: ImageMetaResolver) -> Callable[[ImageInfo], None]:
    """Ask for the image's configuration when the graph is marshalled; its environment and directory hold then."""

    def change(info: ImageInfo) -> None:
        info.meta_resolver = resolver

    return change


@_image
def resolve_digest(enabled: bool) -> Callable[[ImageInfo], None]:
    """Whether the resolver's digest goes into the graph, so that the image stays the same from then on."""

    def change(info: ImageInfo) -> None:
        info.resolve_digest = enabled

    return change


@_image
def with_layer_limit(limit: int) -> Callable[[ImageInfo], None]:
    """Take only the first layers of the image."""

    def change(info: ImageInfo) -> None:
        info.layer_limit = limit

    return change


@_image
def with_image_checksum(digest: str) -> Callable[[ImageInfo], None]:
    """The digest that the image must have."""

    def change(info: ImageInfo) -> None:
        info.checksum = digest

    return change


def image_blob(ref: str, *options: ImageBlobOption) -> State:
    """A tree with a single file: a blob of a registry.

    Args:
        ref: the repository and the blob's digest, "registry.example/app@sha256:…", without a tag. Another one fails
            when the graph is marshalled.
    """
    return _blob_state("docker-image+blob://", ref, options, "image_blob", stored=False)


def oci_layout_blob(ref: str, *options: ImageBlobOption) -> State:
    """A tree with a single file: a blob of an OCI layout that the client offers."""
    return _blob_state("oci-layout+blob://", ref, options, "oci_layout_blob", stored=True)


def _blob_state(scheme: str, ref: str, options: tuple[ImageBlobOption, ...], taker: str, *, stored: bool) -> State:
    info = ImageBlobInfo()
    apply_options(options, "set_image_blob_option", info, taker)
    attrs: dict[str, str] = {}
    file_attrs(info.file, attrs)
    if stored and info.session_id:
        attrs[pb.ATTR_OCI_LAYOUT_SESSION_ID] = info.session_id
    if stored and info.store_id:
        attrs[pb.ATTR_OCI_LAYOUT_STORE_ID] = info.store_id
    add_cap(info.constraints, pb.CAP_SOURCE_IMAGE_BLOB)
    error: Exception | None = None
    name = "invalid"
    try:
        name = _blob_name(ref)
    except BuildkitError as err:
        error = err
    return new_state(SourceOp(scheme + name, attrs, info.constraints, error=error).output())


def _blob_name(ref: str) -> str:
    named = reference.parse_normalized_named(ref)
    if named.tag:
        raise LLBError("tagged image reference not allowed for blob reference")
    if not named.digest:
        raise LLBError("checksum required in blob reference")
    return str(named)


@_blob
def image_blob_oci_store(session_id: str, store_id: str) -> Callable[[ImageBlobInfo], None]:
    """The session and the store that hold the layout."""

    def change(info: ImageBlobInfo) -> None:
        info.session_id, info.store_id = session_id, store_id

    return change


def oci_layout(ref: str, *options: OCILayoutOption) -> State:
    """An image's tree from an OCI layout that the client offers (`--oci-layout NAME=PATH` of the command)."""
    info = OCILayoutInfo()
    apply_options(options, "set_oci_layout_option", info, "oci_layout")
    attrs: dict[str, str] = {}
    if info.session_id:
        attrs[pb.ATTR_OCI_LAYOUT_SESSION_ID] = info.session_id
    if info.store_id:
        attrs[pb.ATTR_OCI_LAYOUT_STORE_ID] = info.store_id
    if info.layer_limit is not None:
        attrs[pb.ATTR_OCI_LAYOUT_LAYER_LIMIT] = str(info.layer_limit)
    add_cap(info.constraints, pb.CAP_SOURCE_OCI_LAYOUT)
    return new_state(SourceOp(f"oci-layout://{ref}", attrs, info.constraints).output())


@_layout
def oci_store(session_id: str, store_id: str) -> Callable[[OCILayoutInfo], None]:
    """The session and the store that hold the layout."""

    def change(info: OCILayoutInfo) -> None:
        info.session_id, info.store_id = session_id, store_id

    return change


@_layout
def oci_layer_limit(limit: int) -> Callable[[OCILayoutInfo], None]:
    """Take only the first layers of the image."""

    def change(info: OCILayoutInfo) -> None:
        info.layer_limit = limit

    return change


@_layout
def oci_checksum(digest: str) -> Callable[[OCILayoutInfo], None]:
    """The digest that the image must have (noted, but as in BuildKit not part of the graph)."""

    def change(info: OCILayoutInfo) -> None:
        info.checksum = digest

    return change
