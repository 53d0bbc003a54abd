"""The header that ties a gateway call to a build. Mirrors client/buildid/metadata.go, v0.32.2."""

from __future__ import annotations

METADATA_KEY = "buildkit-controlapi-buildid"


def outgoing(build_id: str) -> list[tuple[str, str | bytes]]:
    """The request metadata for a build's gateway calls; [] for an empty id."""
    return [(METADATA_KEY, build_id)] if build_id else []
