"""The OCI and Docker names and values that images are made of.

Mirrors github.com/opencontainers/image-spec/specs-go/v1, the media types of containerd's core/images, and
ConvertAllLayerMediaTypes of util/compression, v0.32.2.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from pybuildkit.golang import json
from pybuildkit.golang.errors import BuildkitError
from pybuildkit.third_party.platforms import Platform

Json = dict[str, object]

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_GZIP = OCI_LAYER + "+gzip"
OCI_LAYER_ZSTD = OCI_LAYER + "+zstd"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_LAYER_GZIP = DOCKER_LAYER + ".gzip"
DOCKER_LAYER_ZSTD = DOCKER_LAYER + ".zstd"
CACHE_CONFIG = "application/vnd.buildkit.cacheconfig.v0"

MANIFEST_TYPES = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
INDEX_TYPES = frozenset({OCI_INDEX, DOCKER_LIST})

UNCOMPRESSED = "containerd.io/uncompressed"
CREATED_AT = "buildkit/createdat"

MAX_SMALL = 8 << 20
"""The most bytes of a manifest or a configuration."""

_TO_OCI = {DOCKER_LAYER: OCI_LAYER, DOCKER_LAYER_GZIP: OCI_LAYER_GZIP, DOCKER_LAYER_ZSTD: OCI_LAYER_ZSTD}
_TO_DOCKER = {oci: docker for docker, oci in _TO_OCI.items()}


class ImageError(BuildkitError):
    """An image that is not as it should be, or cannot be made as asked."""


@dataclass(frozen=True)
class Descriptor:
    """What a blob is and how it is called."""

    media_type: str
    digest: str
    size: int
    annotations: Mapping[str, str] = field(default_factory=dict)
    platform: Platform | None = None

    def to_json(self) -> Json:
        """The JSON object, members in the specification's order."""
        out: Json = {}
        if self.media_type:
            out["mediaType"] = self.media_type
        out["digest"] = self.digest
        out["size"] = self.size
        if self.annotations:
            out["annotations"] = dict(sorted(self.annotations.items()))
        if self.platform is not None:
            out["platform"] = platform_json(self.platform)
        return out

    def without_internals(self, oci: bool) -> Descriptor:
        """The descriptor as manifests have it: without what only daemons note about layers."""
        internal = (UNCOMPRESSED, CREATED_AT)
        kept = {
            key: value
            for key, value in self.annotations.items()
            if oci and key not in internal and not key.startswith("containerd.io/distribution.source.")
        }
        return replace(self, annotations=kept)

    def with_layer_type(self, oci: bool) -> Descriptor:
        """The descriptor with the media type of the one or the other specification."""
        return replace(self, media_type=(_TO_OCI if oci else _TO_DOCKER).get(self.media_type, self.media_type))


def read_descriptor(value: object) -> Descriptor:
    """The descriptor of a JSON object.

    Raises:
        ImageError: it is none.
    """
    if not isinstance(value, dict):
        raise ImageError("invalid descriptor")
    digest, size = value.get("digest"), value.get("size", 0)
    if not isinstance(digest, str) or not isinstance(size, int):
        raise ImageError("invalid descriptor")
    annotations = value.get("annotations")
    platform = value.get("platform")
    return Descriptor(
        str(value.get("mediaType") or ""),
        digest,
        size,
        {str(k): str(v) for k, v in annotations.items()} if isinstance(annotations, dict) else {},
        read_platform(platform) if isinstance(platform, dict) else None,
    )


def read_object(data: bytes, what: str) -> Json:
    """A JSON object.

    Raises:
        ImageError: "failed to parse WHAT: …".
    """
    try:
        value = json.unmarshal(data)
    except (BuildkitError, ValueError, RecursionError) as err:
        raise ImageError(f"failed to parse {what}: {err}") from err
    if not isinstance(value, dict):
        raise ImageError(f"failed to parse {what}: no JSON object")
    return value


def objects(value: object) -> list[Json]:
    """The objects of a JSON array; [] for anything else."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def platform_json(platform: Platform) -> Json:
    """The JSON object of a platform."""
    out: Json = {"architecture": platform.architecture, "os": platform.os}
    if platform.os_version:
        out["os.version"] = platform.os_version
    if platform.os_features:
        out["os.features"] = list(platform.os_features)
    if platform.variant:
        out["variant"] = platform.variant
    return out


def read_platform(value: Mapping[str, object]) -> Platform:
    """The platform of a JSON object: of a descriptor, or of an image's configuration."""
    features = value.get("os.features")
    return Platform(
        os=str(value.get("os") or ""),
        architecture=str(value.get("architecture") or ""),
        variant=str(value.get("variant") or ""),
        os_version=str(value.get("os.version") or ""),
        os_features=tuple(str(each) for each in features) if isinstance(features, list) else (),
    )


def digest_of(data: bytes) -> str:
    """The digest of bytes, `sha256:HEX`."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def blob_key(digest: str) -> bytes:
    """A digest as the store's key.

    Raises:
        ImageError: it is no SHA-256 digest.
    """
    algorithm, _, digits = digest.partition(":")
    try:
        key = bytes.fromhex(digits)
    except ValueError:
        key = b""
    if algorithm != "sha256" or len(key) != 32 or digits != digits.lower():
        raise ImageError(f"unsupported digest {digest}")
    return key


def check_small(descriptor: Descriptor) -> None:
    """Refuse a blob that is too large to be held in memory.

    Raises:
        ImageError: says so.
    """
    if descriptor.size > MAX_SMALL:
        raise ImageError(f"blob {descriptor.digest} is too large ({descriptor.size} > {MAX_SMALL})")


def manifest_type(data: bytes) -> str:
    """Which kind of manifest a text is, by its own word or by what it has.

    Raises:
        ImageError: "failed to detect …" for what is none.
    """
    value = read_object(data, "manifest")
    stated = value.get("mediaType")
    if isinstance(stated, str) and stated in MANIFEST_TYPES | INDEX_TYPES:
        return stated
    if "manifests" in value:
        return OCI_INDEX
    if "config" in value or "layers" in value:
        return OCI_MANIFEST
    raise ImageError("manifest does not have mediaType, can not be inferred")
