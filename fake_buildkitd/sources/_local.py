"""Local sources: a client's directory, pulled over its session.

Mirrors source/local/source.go, v0.32.2.

What came is kept under a shared key made of the source's name, the hint in its attributes and the key that the
client shares between its sessions, so that the next build is sent only what changed. A source with an id of another
session takes the files from that one; where it is gone, any session of the build may answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fake_buildkitd.progress import VertexWriter
from fake_buildkitd.solver import Vertex
from fake_buildkitd.sources._receive import receive_tree
from fake_buildkitd.store import Snapshot, Store
from pybuildkit.golang import context, json
from pybuildkit.golang.context import Context
from pybuildkit.golang.errors import BuildkitError, wrap
from pybuildkit.golang.strconv import parse_bool, quote
from pybuildkit.session import Caller, Manager
from pybuildkit.session.filesync._filesync import DIFF_COPY, encode_opts
from pybuildkit.solver import pb
from pybuildkit.third_party import fsutil, patternmatcher

_WAIT_SECONDS = 5.0


@dataclass(frozen=True)
class _Identifier:
    name: str
    session_id: str = ""
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    follow: tuple[str, ...] = ()
    shared_key_hint: str = ""
    compare: bool = True
    metadata_only: bool = False
    metadata_exceptions: tuple[str, ...] = ()


def _identifier(name: str, attrs: Mapping[str, str]) -> _Identifier:
    session_id = attrs.get(pb.ATTR_LOCAL_SESSION_ID, "")
    prefix, colon, rest = session_id.partition(":")
    if colon:
        name, session_id = f"{prefix}-{name}", rest
    metadata_only = attrs.get(pb.ATTR_METADATA_TRANSFER)
    try:
        only = parse_bool(metadata_only) if metadata_only is not None else False
    except BuildkitError as err:
        raise wrap(err, f"invalid value for local.metadatatransfer {quote(metadata_only or '')}") from err
    return _Identifier(
        name,
        session_id,
        _patterns(attrs, pb.ATTR_INCLUDE_PATTERNS),
        _patterns(attrs, pb.ATTR_EXCLUDE_PATTERNS),
        _patterns(attrs, pb.ATTR_FOLLOW_PATHS),
        attrs.get(pb.ATTR_SHARED_KEY_HINT, ""),
        attrs.get(pb.ATTR_LOCAL_DIFFER) != pb.ATTR_LOCAL_DIFFER_NONE,
        only,
        _patterns(attrs, pb.ATTR_METADATA_TRANSFER_EXCLUDE),
    )


def _patterns(attrs: Mapping[str, str], key: str) -> tuple[str, ...]:
    text = attrs.get(key)
    if text is None:
        return ()
    try:
        values = json.unmarshal(text)
    except ValueError as err:
        raise BuildkitError(f"invalid value for {key}: {err}") from err
    if values is None:
        return ()
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise BuildkitError(f"invalid value for {key}: not a list of strings")
    return tuple(value for value in values if isinstance(value, str))


class LocalSource:
    """Fetches `local://` sources for one build.

    Args:
        store: keeps what came.
        manager: knows the sessions.
        session_id: the build's session.
    """

    def __init__(self, store: Store, manager: Manager, session_id: str) -> None:
        self._store = store
        self._manager = manager
        self._session_id = session_id

    async def __call__(self, ctx: Context, vertex: Vertex, writer: VertexWriter) -> Snapshot:
        """The tree of a source.

        Raises:
            BuildkitError: no session, or the transfer failed.
        """
        op = vertex.op.source
        identifier = _identifier(op.identifier.partition("://")[2], op.attrs)
        caller = await self._caller(ctx, identifier.session_id)
        return await self._fetch(ctx, identifier, caller, writer)

    async def _caller(self, ctx: Context, session_id: str) -> Caller:
        wanted = session_id or self._session_id
        if not wanted:
            raise BuildkitError("could not access local files without session")
        timed, stop = context.with_timeout(ctx, _WAIT_SECONDS)
        try:
            return await self._manager.get(timed, wanted)
        except BuildkitError:
            if wanted == self._session_id or not self._session_id or ctx.is_done():
                raise
            return await self._manager.get(timed, self._session_id, no_wait=True)
        finally:
            stop()

    async def _fetch(self, ctx: Context, identifier: _Identifier, caller: Caller, writer: VertexWriter) -> Snapshot:
        report = writer.transfer(f"transferring {identifier.name}:")
        if not caller.supports(DIFF_COPY.path):
            raise BuildkitError("no local sources enabled")
        parts = [identifier.name, identifier.shared_key_hint, caller.shared_key()]
        if identifier.metadata_only:
            parts.append("metadata")
        shared_key = ":".join(parts)
        before = self._store.source(shared_key) if identifier.compare else None
        metadata = encode_opts(
            {
                "include-patterns": identifier.include,
                "exclude-patterns": identifier.exclude,
                "followpaths": identifier.follow,
                "dir-name": [identifier.name],
            }
        )
        ctx = caller.context(ctx)
        stream = await caller.conn().stream(ctx, DIFF_COPY, metadata=metadata)
        try:
            root = await receive_tree(
                ctx,
                stream,
                self._store,
                before.root if before is not None else None,
                report,
                _wants(identifier),
            )
            await stream.close_send()
        finally:
            stream.cancel()
        unchanged = before is not None and (before.root.children or {}).keys() == (root.children or {}).keys()
        root.mtime = before.root.mtime if before is not None and unchanged else self._store.clock()
        snapshot = self._store.commit(root, f"local source for {identifier.name}", "source.local")
        self._store.set_source(shared_key, snapshot)
        return snapshot


def _wants(identifier: _Identifier):  # type: ignore[no-untyped-def]  # the receiver's parameter has the type
    if not identifier.metadata_only:
        return None
    matcher = patternmatcher.new(list(identifier.metadata_exceptions)) if identifier.metadata_exceptions else None

    def wants(path: bytes, stat: fsutil.Stat) -> bool:
        return matcher is not None and matcher.matches_or_parent_matches(path.decode("utf-8", "surrogateescape"))

    return wants
