"""Single blobs as sources: of a registry's repository, or of an OCI layout that a client offers.

Mirrors source/containerblob, v0.32.2.

Differs on purpose: a blob must have the content that its digest says, and SHA-256 is the only algorithm.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fake_buildkitd.image._content import fetch_blob
from fake_buildkitd.image._spec import Descriptor, blob_key, digest_of
from fake_buildkitd.progress import VertexWriter
from fake_buildkitd.registry import Authorizer, RemoteImage
from fake_buildkitd.solver import CacheKeyError, Kept, Vertex
from fake_buildkitd.sources._file import FileOptions, cache_key, safe_file_name
from fake_buildkitd.store import Snapshot, Store
from pybuildkit.golang.context import Context
from pybuildkit.golang.errors import BuildkitError, wrap
from pybuildkit.golang.url import parse
from pybuildkit.session import Caller, Manager
from pybuildkit.session._group import any_session, new_group
from pybuildkit.session.content import new_caller_store
from pybuildkit.solver import pb
from pybuildkit.third_party.distribution import reference
from pybuildkit.third_party.opencontainers import digest as digests

_LAYOUT = "oci-layout+blob"
_RECORD_TYPES = ("", "regular", "internal", "frontend")


class BlobError(BuildkitError):
    """A source that names no blob."""


@dataclass(frozen=True, kw_only=True)
class _Identifier:
    name: str
    digest: str
    file: FileOptions
    layout: bool
    session_id: str
    store_id: str


def _identifier(text: str, attrs: Mapping[str, str]) -> _Identifier:
    scheme, _, rest = text.partition("://")
    locator, digest = _reference(rest)
    layout = scheme == _LAYOUT
    record = attrs.get(pb.ATTR_IMAGE_RECORD_TYPE, "")
    if record not in _RECORD_TYPES:
        raise BlobError(f"invalid record type {record}")
    found = _Identifier(
        name=locator,
        digest=digest,
        file=FileOptions.read(attrs),
        layout=layout,
        session_id=attrs.get(pb.ATTR_OCI_LAYOUT_SESSION_ID, "") if layout else "",
        store_id=attrs.get(pb.ATTR_OCI_LAYOUT_STORE_ID, "") if layout else "",
    )
    if layout and not found.store_id:
        raise BlobError("oci-layout blob source requires store id")
    try:
        digests.parse(digest)
    except digests.DigestError as err:
        raise wrap(err, "invalid reference digest") from err
    blob_key(digest)
    return found


def _reference(text: str) -> tuple[str, str]:
    """The repository, and the digest behind the `@`."""
    if "://" in text:
        raise BlobError("invalid reference")
    url = parse(f"dummy://{text}")
    if not url.host:
        raise BlobError("hostname required")
    ends = [place for place in map(url.path.find, ":@") if place >= 0]
    if not ends:
        raise BlobError("object required")
    where = min(ends)
    return (url.host + url.path[:where]).rstrip("/"), url.path[where:].partition("@")[2]


class BlobSource:
    """The single blobs of one build.

    Args:
        store: keeps them.
        manager: knows the sessions.
        session_id: the build's session.
        authorizer: logs in at registries.
    """

    def __init__(self, store: Store, manager: Manager, session_id: str, authorizer: Authorizer) -> None:
        self._store = store
        self._manager = manager
        self._session_id = session_id
        self._authorizer = authorizer

    async def __call__(self, ctx: Context, vertex: Vertex, writer: VertexWriter) -> Snapshot | Kept:
        """The tree with the blob as its only file.

        Raises:
            BuildkitError: there is no such blob.
        """
        op = vertex.op.source
        try:
            identifier = _identifier(op.identifier, op.attrs)
        except BuildkitError as err:
            raise CacheKeyError(err) from err
        name = safe_file_name(identifier.file.name) if identifier.file.name else identifier.digest.partition(":")[2]
        options = identifier.file
        key = cache_key("blob", identifier.digest, name, options.perm, options.uid, options.gid)
        kept = None if vertex.ignore_cache else self._store.cached(key)
        if kept is not None:
            return Kept(kept)
        size = await self._fetch(ctx, identifier)
        blob = b"" if identifier.digest == digest_of(b"") else blob_key(identifier.digest)
        snapshot = self._store.commit(options.root(name, blob, size), f"blob {identifier.name}@{identifier.digest}")
        self._store.cache(key, snapshot)
        return snapshot

    async def _fetch(self, ctx: Context, identifier: _Identifier) -> int:
        """Put the blob into the store; its size."""
        if not identifier.layout:
            named = reference.parse_normalized_named(f"{identifier.name}@{identifier.digest}")
            return await RemoteImage(named, self._authorizer).fetch_file(ctx, identifier.digest, self._store)

        async def copy(ctx: Context, _: str, caller: Caller) -> int:
            source = new_caller_store(caller, f"oci:{identifier.store_id}")
            info = await source.info(ctx, identifier.digest)
            await fetch_blob(ctx, source, Descriptor("", identifier.digest, info.size), self._store)
            return info.size

        group = new_group(identifier.session_id or self._session_id)
        return await any_session(ctx, self._manager, group, copy)
