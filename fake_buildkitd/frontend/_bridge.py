"""What a frontend works with: solving graphs, reading files of their results, warning, and its result.

Mirrors the parts of frontend/frontend.go and frontend/gateway/client that BuildKit's own frontend uses, v0.32.2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from fake_buildkitd.store import Snapshot
from pybuildkit.client._graph import VertexWarning
from pybuildkit.frontend.gateway.pb import gateway_pb2
from pybuildkit.golang.context import Context
from pybuildkit.solver.pb import ops_pb2 as pb
from pybuildkit.third_party.platforms import Platform


class Ref(Protocol):
    """The result of a graph; it is solved when somebody asks for it."""

    definition: pb.Definition

    async def result(self, ctx: Context) -> Snapshot | None:
        """The tree, None for an empty one.

        Raises:
            BuildkitError: with the failed vertex and its source lines.
        """


@dataclass
class FrontendResult:
    """What a build gives: one tree or one for each name (a platform), metadata for the exporters, attestations."""

    ref: Ref | None = None
    refs: dict[str, Ref | None] | None = None
    metadata: dict[str, bytes] = field(default_factory=dict)
    attestations: dict[str, list[tuple[gateway_pb2.Attestation, Ref]]] = field(default_factory=dict)

    def find(self, key: str) -> Ref | None:
        """The tree of a name, or the only one."""
        return self.refs.get(key) if self.refs is not None else self.ref

    def all(self) -> list[Ref]:
        """Every tree."""
        found = list(self.refs.values()) if self.refs is not None else [self.ref]
        return [ref for ref in found if ref is not None]


class Bridge(Protocol):
    """The daemon as a frontend sees it."""

    session_id: str

    def ref(self, definition: pb.Definition) -> Ref | None:
        """The result of a definition; None for an empty one."""

    def import_caches(self, entries: Sequence[gateway_pb2.CacheOptionsEntry]) -> None:
        """Let the graphs that follow look into caches from elsewhere, too."""

    async def read_file(self, ctx: Context, ref: Ref | None, name: str, length: int = -1) -> bytes:
        """The content of a file of a result.

        Args:
            length: reads no more bytes than that; a negative one: all.

        Raises:
            BuildkitError: `open NAME: REASON`, or the result cannot be made.
        """

    def warn(self, warning: VertexWarning) -> None:
        """Add a warning to the build's statuses."""

    async def resolve_image(
        self,
        ctx: Context,
        ref: str,
        platform: Platform | None,
        log_name: str,
        layout: tuple[str, str] | None = None,
    ) -> tuple[str, bytes]:
        """The digest and the configuration of an image, found in a step of its own.

        Args:
            platform: None for the daemon's own.
            log_name: of the step.
            layout: session and store of an OCI layout; None for an image of a registry.

        Raises:
            BuildkitError: "failed to resolve source metadata for REF: …".
        """

    async def describe_source(
        self, ctx: Context, request: gateway_pb2.ResolveSourceMetaRequest, *, judge: bool = False
    ) -> gateway_pb2.ResolveSourceMetaResponse:
        """What is known of a source, found in a step of its own.

        Args:
            judge: whether the build's policies have a say.

        Raises:
            BuildkitError: there is no such source.
        """


class Frontend(Protocol):
    """Makes a result from options."""

    async def __call__(
        self, ctx: Context, bridge: Bridge, opts: Mapping[str, str], inputs: Mapping[str, pb.Definition]
    ) -> FrontendResult: ...
