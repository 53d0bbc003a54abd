"""Questions about sources, and the answers.

Mirrors client/llb/sourceresolver/types.go, v0.32.2.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pybuildkit.golang.context import Context
    from pybuildkit.solver.pb import ops_pb2
    from pybuildkit.sourcepolicy.pb import policy_pb2
    from pybuildkit.third_party.platforms import Platform


class ResolverType(enum.IntEnum):
    """Where images are looked for."""

    REGISTRY = 0
    OCI_LAYOUT = 1


class ResolveHTTPChecksumAlgo(enum.IntEnum):
    """The algorithm of a checksum."""

    SHA256 = 0
    SHA384 = 1
    SHA512 = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class ResolveImageConfigOptStore:
    """The session and the store that hold an OCI layout."""

    session_id: str = ""
    store_id: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class ResolveImageOpt:
    """What is asked about an image.

    Attributes:
        platform: which of the image's platforms; None for the daemon's own.
        resolve_mode: "default", "pull" or "local".
        no_config: whether only the digest is wanted.
        attestation_chain: whether the manifests of its attestations are wanted too.
        resolve_attestations: the kinds of attestations that are wanted with their contents.
    """

    platform: Platform | None = None
    resolve_mode: str = ""
    no_config: bool = False
    attestation_chain: bool = False
    resolve_attestations: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class ResolveOCILayoutOpt:
    """What is asked about an image of an OCI layout."""

    platform: Platform | None = None
    store: ResolveImageConfigOptStore = field(default_factory=ResolveImageConfigOptStore)


@dataclass(frozen=True, kw_only=True, slots=True)
class ResolveGitOpt:
    """What is asked about a repository: whether the commit itself is wanted."""

    return_object: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class ResolveHTTPChecksumRequest:
    """A further checksum of a file, over its contents and a suffix."""

    algo: ResolveHTTPChecksumAlgo = ResolveHTTPChecksumAlgo.SHA256
    suffix: bytes = b""


@dataclass(frozen=True, kw_only=True, slots=True)
class ResolveHTTPOpt:
    """What is asked about a file."""

    checksum_req: ResolveHTTPChecksumRequest | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Opt:
    """A question about a source; the part that fits the source counts."""

    log_name: str = ""
    source_policies: Sequence[policy_pb2.Policy] = ()
    image_opt: ResolveImageOpt | None = None
    oci_layout_opt: ResolveOCILayoutOpt | None = None
    git_opt: ResolveGitOpt | None = None
    http_opt: ResolveHTTPOpt | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Descriptor:
    """What an OCI manifest says of a blob."""

    media_type: str = ""
    digest: str = ""
    size: int = 0
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Blob:
    """A blob with its contents."""

    descriptor: Descriptor = field(default_factory=Descriptor)
    data: bytes = b""


@dataclass(frozen=True, kw_only=True, slots=True)
class AttestationChain:
    """The digests that lead from an image to its attestations."""

    root: str = ""
    image_manifest: str = ""
    attestation_manifest: str = ""
    signature_manifests: Sequence[str] = ()
    blobs: Mapping[str, Blob] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class ResolveImageResponse:
    """An image's digest, and its configuration as JSON."""

    digest: str = ""
    config: bytes = b""
    attestation_chain: AttestationChain | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ResolveGitResponse:
    """A repository's reference and what it is now."""

    checksum: str = ""
    ref: str = ""
    commit_checksum: str = ""
    commit_object: bytes = b""
    tag_object: bytes = b""


@dataclass(frozen=True, kw_only=True, slots=True)
class ResolveHTTPChecksumResponse:
    """The further checksum that was asked for."""

    digest: str = ""
    suffix: bytes = b""


@dataclass(frozen=True, kw_only=True, slots=True)
class ResolveHTTPResponse:
    """A file's digest and name; the time of its last change in nanoseconds since 1970, where the server tells."""

    digest: str = ""
    filename: str = ""
    last_modified: int | None = None
    checksum_response: ResolveHTTPChecksumResponse | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class MetaResponse:
    """The answer: the source as policies left it, and what is known of it."""

    op: ops_pb2.SourceOp
    image: ResolveImageResponse | None = None
    git: ResolveGitResponse | None = None
    http: ResolveHTTPResponse | None = None


class MetaResolver(Protocol):
    """Who answers questions about sources: a gateway client."""

    async def resolve_source_metadata(self, ctx: Context, op: ops_pb2.SourceOp, opt: Opt) -> MetaResponse:
        """What is known of a source."""
        ...
