"""What exporters export, and how they read its metadata.

Mirrors exporter/containerimage/exptypes and exporter/util/epoch, v0.32.2.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from fake_buildkitd.image._spec import read_platform
from fake_buildkitd.progress import VertexWriter
from fake_buildkitd.store import Node, Snapshot, Store, empty_root
from pybuildkit.golang import context
from pybuildkit.golang.context import Context
from pybuildkit.golang.errors import BuildkitError, wrap
from pybuildkit.golang.strconv import parse_int, quote
from pybuildkit.session import Caller, Manager
from pybuildkit.third_party import platforms
from pybuildkit.third_party.platforms import Platform

if TYPE_CHECKING:
    from fake_buildkitd.attestations import Attestation
    from fake_buildkitd.image import Layer
    from fake_buildkitd.registry import Authorizer

KEY_PLATFORMS = "refs.platforms"
KEY_EPOCH = "source.date.epoch"
KEY_CONFIG = "containerimage.config"
KEY_BASE_CONFIG = "containerimage.base.config"
_WAIT_SECONDS = 5.0

InlineCache = Callable[[str, Sequence["Layer"]], Awaitable[bytes | None]]
"""Gives the build cache that the image of a platform is to carry, or None."""


class ExportError(BuildkitError):
    """A result that cannot be exported, or attributes that an exporter does not take."""


@dataclass(frozen=True)
class ExportPlatform:
    """A platform of a result and the name of its tree."""

    id: str
    platform: Platform


@dataclass
class ExportContext:
    """What is exported, and to whom."""

    store: Store
    manager: Manager
    session_id: str
    snapshot: Snapshot | None
    snapshots: dict[str, Snapshot | None] | None
    metadata: Mapping[str, bytes]
    authorizer: Callable[[], Authorizer] | None = None
    inline_cache: InlineCache | None = None
    attestations: Mapping[str, Sequence[Attestation]] = field(default_factory=dict)
    read: Callable[[Snapshot], None] = lambda snapshot: None

    async def caller(self, ctx: Context) -> Caller:
        """The client's session, waited for for 5 s at most."""
        timed, stop = context.with_timeout(ctx, _WAIT_SECONDS)
        try:
            return await self.manager.get(timed, self.session_id)
        finally:
            stop()

    def platforms(self) -> list[str]:
        """The names of the result's platforms; none where it has no list of them."""
        text = self.metadata.get(KEY_PLATFORMS)
        if text is None:
            if self.snapshots is not None:
                raise ExportError("unable to export multiple refs, missing platforms mapping")
            return []
        names = [each.id for each in _parse_platforms(text)]
        if self.snapshots is None and len(names) > 1:
            raise ExportError("unable to export multiple platforms without map")
        return names

    def image_platforms(self) -> list[ExportPlatform]:
        """As `platforms_of`."""
        return platforms_of(self.metadata, self.snapshots is not None)

    def find(self, name: str) -> tuple[Snapshot | None, bool]:
        """The tree of a platform, None for an empty one; and whether there is such a platform."""
        if self.snapshots is None:
            return self.snapshot, True
        return self.snapshots.get(name), name in self.snapshots

    def root(self, name: str) -> Node:
        """The tree of a platform."""
        snapshot, known = self.find(name)
        if not known:
            raise ExportError(f"failed to find ref for ID {name}")
        return snapshot.root if snapshot is not None else empty_root()

    def value(self, key: str, name: str) -> bytes | None:
        """A platform's metadata, else those of the whole result."""
        return self.metadata.get(f"{key}/{name}", self.metadata.get(key))

    def epoch(self, name: str) -> int | None:
        """The time in seconds that the frontend wants for a platform's files."""
        for key in (f"{KEY_EPOCH}/{name}", KEY_EPOCH):
            if key in self.metadata:
                text = self.metadata[key].decode("utf-8", "replace")
                try:
                    return parse_epoch("", text)
                except BuildkitError as err:
                    raise wrap(err, f"invalid SOURCE_DATE_EPOCH from frontend: {quote(text)}") from err
        return None


def platforms_of(metadata: Mapping[str, bytes], several: bool) -> list[ExportPlatform]:
    """The platforms of the result as an image: where it lists none, that of its configuration or this machine's.

    Raises:
        ExportError: a list that cannot be read.
    """
    text = metadata.get(KEY_PLATFORMS)
    if text is not None:
        found = _parse_platforms(text)
        if not found:
            raise ExportError("invalid empty platforms index for exporter")
        return found
    if several:
        raise ExportError("unable to export multiple refs, missing platforms mapping")
    platform = platforms.default_spec()
    config = metadata.get(KEY_CONFIG)
    if config is not None:
        try:
            stated = read_platform(json.loads(config) or {})
        except (ValueError, AttributeError) as err:
            raise ExportError("failed to parse platforms passed to exporter") from err
        if bool(stated.os) != bool(stated.architecture):
            raise ExportError("invalid image config: os and architecture must be specified together")
        platform = stated if stated.os else platform
    platform = platforms.normalize(platform)
    return [ExportPlatform(platforms.format_all(platform), platform)]


def _parse_platforms(text: bytes) -> list[ExportPlatform]:
    try:
        entries = json.loads(text)["Platforms"]
        found = [ExportPlatform(entry["ID"], read_platform(entry.get("Platform") or {})) for entry in entries or []]
    except (ValueError, KeyError, TypeError, AttributeError) as err:
        raise ExportError("failed to parse platforms passed to exporter") from err
    if not all(isinstance(each.id, str) for each in found):
        raise ExportError("failed to parse platforms passed to exporter")
    if not all(each.id for each in found):
        raise ExportError("invalid empty platform key for exporter")
    for each in found:
        if not each.platform.os or not each.platform.architecture:
            shown = f"{{{each.platform.architecture} {each.platform.os}  [] {each.platform.variant}}}"
            raise ExportError(f"invalid platform value {shown} for exporter")
    return found


def parse_epoch(key: str, text: str) -> int | None:
    """A time in seconds; None for "".

    Raises:
        BuildkitError: `invalid KEY: …`.
    """
    if not text:
        return None
    try:
        return parse_int(text, 10, 64)
    except BuildkitError as err:
        wrapped = wrap(err, f"invalid {key}: {err}")
        raise wrapped from err


class Exporter(Protocol):
    """Exports a result."""

    name: str

    async def export(self, ctx: Context, source: ExportContext, writer: VertexWriter) -> dict[str, str]:
        """Export, and give what the client is told of it."""
