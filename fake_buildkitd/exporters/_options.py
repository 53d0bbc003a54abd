"""The attributes that all image exporters take.

Mirrors exporter/containerimage/opts.go and annotations.go, exptypes/annotations.go, v0.32.2.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from fake_buildkitd.exporters._source import ExportError, parse_epoch
from fake_buildkitd.image import Compression
from fake_buildkitd.image._layers import parse_compression
from pybuildkit.golang.errors import BuildkitError, wrap
from pybuildkit.golang.strconv import parse_bool
from pybuildkit.third_party import platforms
from pybuildkit.third_party.platforms import Platform

_ANNOTATION = re.compile(r"annotation(?:-([a-z-]+))?(?:\[([A-Za-z0-9_/-]+)\])?\.(\S+)")
_KINDS = ("index", "index-descriptor", "manifest", "manifest-descriptor")


@dataclass
class Annotations:
    """Annotations by where they go."""

    index: dict[str, str] = field(default_factory=dict)
    index_descriptor: dict[str, str] = field(default_factory=dict)
    manifest: dict[str, str] = field(default_factory=dict)
    manifest_descriptor: dict[str, str] = field(default_factory=dict)

    def of(self, kind: str) -> dict[str, str]:
        """Those of a kind, "index" and so on."""
        found: dict[str, str] = getattr(self, kind.replace("-", "_"))
        return found


class AnnotationsGroup(dict[str, Annotations]):
    """Annotations by platform, "" for those of all."""

    def platform(self, platform: Platform | None) -> Annotations:
        """What a platform's image gets."""
        result = Annotations()
        for each in self.values():
            result.index |= each.index
            result.index_descriptor |= each.index_descriptor
        for name in ["", *([platforms.format_all(platform)] if platform is not None else [])]:
            if name in self:
                result.manifest |= self[name].manifest
                result.manifest_descriptor |= self[name].manifest_descriptor
        return result

    def merge(self, other: AnnotationsGroup) -> None:
        """Add another group; its values win."""
        for name, theirs in other.items():
            mine = self.setdefault(name, Annotations())
            for kind in _KINDS:
                mine.of(kind).update(theirs.of(kind))


def parse_annotations(values: Mapping[str, str]) -> tuple[AnnotationsGroup, dict[str, str]]:
    """The annotations among attributes or metadata, and the rest.

    Raises:
        BuildkitError: an annotation of another kind, or for what is no platform.
    """
    group = AnnotationsGroup()
    rest: dict[str, str] = {}
    for key, value in values.items():
        match = _ANNOTATION.fullmatch(key)
        if match is None:
            rest[key] = value
            continue
        kind = match[1] or "manifest"
        if kind not in _KINDS:
            raise ExportError(f"unrecognized annotation type {kind}")
        name = platforms.format_all(platforms.parse(match[2])) if match[2] else ""
        group.setdefault(name, Annotations()).of(kind)[match[3]] = value
    return group, rest


def flag(attrs: dict[str, str], key: str, default: bool, empty: bool | None = None) -> bool:
    """An attribute that is true or false; it is taken out of `attrs`.

    Args:
        empty: what "" says; None where it is an error.

    Raises:
        BuildkitError: `non-bool value specified for KEY: …`.
    """
    value = attrs.pop(key, None)
    if value is None:
        return default
    if value == "" and empty is not None:
        return empty
    try:
        return parse_bool(value)
    except BuildkitError as err:
        raise wrap(err, f"non-bool value specified for {key}") from err


@dataclass
class CommitOptions:
    """How an image is made; `rest` has the attributes that are none of all image exporters."""

    image_name: str
    compression: Compression
    oci_types: bool
    oci_artifact: bool
    annotations: AnnotationsGroup
    has_epoch: bool
    epoch: int | None
    rewrite_timestamp: bool
    rest: dict[str, str]

    @classmethod
    def load(cls, given: Mapping[str, str]) -> CommitOptions:
        """The options of an exporter's attributes.

        Raises:
            BuildkitError: a value cannot be read, or does not go with another.
        """
        annotations, attrs = parse_annotations(given)
        has_epoch = "source-date-epoch" in attrs
        epoch = parse_epoch("source-date-epoch", attrs.pop("source-date-epoch", ""))
        compression = parse_compression(attrs)
        oci_types = flag(attrs, "oci-mediatypes", True)
        oci_artifact = flag(attrs, "oci-artifact", oci_types)
        flag(attrs, "attestation-inline", False)
        flag(attrs, "prefer-nondist-layers", False)
        rewrite = flag(attrs, "rewrite-timestamp", False)
        if oci_artifact and not oci_types:
            raise ExportError('exporter option "oci-artifact=true" conflicts with "oci-mediatypes=false"')
        name = attrs.pop("name", "")
        return cls(name, compression, oci_types, oci_artifact, annotations, has_epoch, epoch, rewrite, attrs)
