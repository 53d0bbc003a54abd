"""Files from web servers, and what a client uploads over its session.

Mirrors source/http, v0.32.2.

What a server says of a file (its ETag) is kept with it: the next build asks with HEAD first, and takes the file again
only where that has changed. A file whose digest the build names is not asked for at all once it is there. The host
`buildkit-session` is no server: the client's session gives the content, once.

Differs on purpose: one ETag for each address is kept; a file has a size limit and a request a time limit; a login in
the address or in a secret goes to the very host and port it is for, and never into a text; signatures are refused,
since nothing here can verify them.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from fake_buildkitd.errors import UnsupportedError
from fake_buildkitd.progress import VertexWriter
from fake_buildkitd.registry._request import Answer, Attempt, look_up, request_text
from fake_buildkitd.solver import CacheKeyError, Kept, Vertex
from fake_buildkitd.sources._file import MAX_BYTES, FileOptions, cache_key, content_digest, safe_file_name
from fake_buildkitd.store import BlobWriter, Snapshot, Store
from pybuildkit.golang import context, threads
from pybuildkit.golang.context import Context
from pybuildkit.golang.errors import BuildkitError, wrap
from pybuildkit.golang.url import URLError, parse
from pybuildkit.session import Caller, Manager
from pybuildkit.session._group import any_session, new_group
from pybuildkit.session.secrets import get_secret
from pybuildkit.solver import pb
from pybuildkit.third_party.containerd.remotes.docker._http import check_url, shown_url, with_login
from pybuildkit.third_party.opencontainers import digest as digests

if TYPE_CHECKING:
    from pybuildkit.frontend.gateway.pb import gateway_pb2
    from pybuildkit.solver.pb import ops_pb2

SESSION_HOST = "buildkit-session"
MAX_SECONDS = 3600.0
MAX_SUFFIX = 4096
_USER_AGENT = "fake-buildkitd"
_USER_HEADERS = ("accept", "user-agent")
_HEADER_SECRET = "HTTP_AUTH_HEADER_"  # the name of a secret
_TOKEN_SECRET = "HTTP_AUTH_TOKEN_"  # the name of a secret
_SECOND = 1_000_000_000


class HTTPSourceError(BuildkitError):
    """A file that cannot be fetched, or is not the wanted one."""


@dataclass(frozen=True, kw_only=True)
class _Identifier:
    url: str
    checksum: str
    file: FileOptions
    secret: str
    headers: tuple[tuple[str, str], ...]

    def key(self) -> str:
        """What makes two sources the same request."""
        file = self.file
        return cache_key("http-url", self.url, file.name, file.perm, file.uid, file.gid, self.secret, self.headers)

    def check(self, digest: str) -> None:
        """Refuse another content than the wanted one."""
        if self.checksum and digest != self.checksum:
            url = shown_url(self.url)
            raise HTTPSourceError(f"digest mismatch for {url}: {digest} (expected: {self.checksum})")


def _identifier(url: str, attrs: Mapping[str, str]) -> _Identifier:
    checksum = attrs.get(pb.ATTR_HTTP_CHECKSUM)
    if checksum is not None:
        digests.parse(checksum)
    prefix = pb.ATTR_HTTP_HEADER_PREFIX
    named = {key.removeprefix(prefix).lower(): value for key, value in attrs.items() if key.startswith(prefix)}
    found = _Identifier(
        url=url,
        checksum=checksum or "",
        file=FileOptions.read(attrs),
        secret=attrs.get(pb.ATTR_HTTP_AUTH_HEADER_SECRET, ""),
        headers=tuple((name, named[name]) for name in _USER_HEADERS if name in named),
    )
    key, signature = (
        attrs.get(name, "") for name in (pb.ATTR_HTTP_SIGNATURE_VERIFY_PUB_KEY, pb.ATTR_HTTP_SIGNATURE_VERIFY)
    )
    if bool(key) != bool(signature):
        raise HTTPSourceError("http signature verification requires both pubkey and signature")
    if key:
        raise UnsupportedError(f"{shown_url(url)}: this daemon verifies no signatures")
    return found


@dataclass(frozen=True, kw_only=True)
class _Resolved:
    """A file: its digest and name, when the server says that it changed (its own words), its tree."""

    digest: str
    name: str
    modified: str
    snapshot: Snapshot
    kept: bool


class HTTPSource:
    """The files from web servers of one build.

    Args:
        store: keeps them.
        manager: knows the sessions.
        session_id: the build's session: secrets and uploads.
        max_bytes, max_seconds: of one file, and of one request.
    """

    def __init__(
        self,
        store: Store,
        manager: Manager,
        session_id: str,
        *,
        max_bytes: int = MAX_BYTES,
        max_seconds: float = MAX_SECONDS,
    ) -> None:
        self._store = store
        self._manager = manager
        self._group = new_group(session_id)
        self._max_bytes = max_bytes
        self._max_seconds = max_seconds
        self._resolved: dict[str, _Resolved] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def __call__(self, ctx: Context, vertex: Vertex, writer: VertexWriter) -> Snapshot | Kept:
        """The tree with the file.

        Raises:
            CacheKeyError: there is no such file. BuildkitError: it is not the one that the build names.
        """
        op = vertex.op.source
        try:
            identifier = _identifier(op.identifier, op.attrs)
            if not identifier.checksum:
                return _result(await self._resolve(ctx, identifier))
        except (BuildkitError, OSError) as err:
            raise CacheKeyError(err) from err
        return await self._pinned(ctx, identifier, vertex.ignore_cache)

    async def _pinned(self, ctx: Context, identifier: _Identifier, again: bool) -> Snapshot | Kept:
        """A file whose digest is known."""
        known = self._resolved.get(identifier.key())
        if known is not None and known.digest == identifier.checksum:
            return _result(known)
        name = _file_name(identifier, {})
        kept = None if again else self._store.cached(_cache_key(identifier, identifier.checksum, name, ""))
        if kept is not None:
            return Kept(kept)
        fetched = await self._fetch(ctx, identifier, await self._headers(ctx, identifier), any_status=True)
        if fetched.digest != identifier.checksum:
            raise HTTPSourceError(f"digest mismatch {fetched.digest}: {identifier.checksum}")
        self._store.cache(_cache_key(identifier, identifier.checksum, name, ""), fetched.snapshot)
        return fetched.snapshot

    async def describe(
        self, ctx: Context, source: ops_pb2.SourceOp, wanted: gateway_pb2.ChecksumRequest | None
    ) -> gateway_pb2.ResolveSourceHTTPResponse:
        """What is known of a file.

        Args:
            wanted: a digest of the content with something behind it.

        Raises:
            BuildkitError: there is no such file, or no such digest.
        """
        from pybuildkit.frontend.gateway.pb import gateway_pb2

        if wanted is not None:
            _check_request(wanted)
        identifier = _identifier(source.identifier, source.attrs)
        response = gateway_pb2.ResolveSourceHTTPResponse(Checksum=identifier.checksum)
        if identifier.checksum and wanted is None:
            response.Filename = _file_name(identifier, {})
            return response
        try:
            found = await self._resolve(ctx, identifier)
        except (BuildkitError, OSError) as err:
            if identifier.checksum:
                raise wrap(err, "failed to resolve source reference for checksum request") from err
            raise
        response.Checksum, response.Filename = found.digest, found.name
        seconds = _seconds(found.modified)
        if seconds is not None:
            response.LastModified.seconds = seconds
        if wanted is not None:
            response.ChecksumResponse.Digest = await asyncio.to_thread(self._digest, found, wanted)
            response.ChecksumResponse.Suffix = wanted.Suffix
        return response

    def _digest(self, found: _Resolved, wanted: gateway_pb2.ChecksumRequest) -> str:
        (node,) = (found.snapshot.root.children or {}).values()
        algorithm = _ALGORITHMS[wanted.Algo]
        hashed = hashlib.new(algorithm)
        with self._store.open_blob(node.blob) as file:
            while piece := file.read(1 << 20):
                hashed.update(piece)
        hashed.update(wanted.Suffix)
        return f"{algorithm}:{hashed.hexdigest()}"

    async def _resolve(self, ctx: Context, identifier: _Identifier) -> _Resolved:
        """The file, asked for once in a build."""
        key = identifier.key()
        async with self._locks.setdefault(key, asyncio.Lock()):
            found = self._resolved.get(key)
            if found is None:
                found = await self._ask(ctx, identifier)
                identifier.check(found.digest)
                self._resolved[key] = found
            return found

    async def _ask(self, ctx: Context, identifier: _Identifier) -> _Resolved:
        headers = await self._headers(ctx, identifier)
        known = self._known(identifier)
        if known is None:
            return await self._fetch(ctx, identifier, headers)
        etag, before = known
        headers = {**headers, "If-None-Match": etag}
        try:
            answer = await self._request(ctx, _Download("HEAD", identifier.url, headers, None), identifier.url)
        except BuildkitError:
            if ctx.is_done():
                raise
            return await self._fetch(ctx, identifier, headers, known)
        said = _etag(answer) or (etag if answer.status == 304 else "")
        if answer.status in (200, 304) and said == etag and _file_name(identifier, answer.headers) == before.name:
            return before
        return await self._fetch(ctx, identifier, headers, known)

    def _known(self, identifier: _Identifier) -> tuple[str, _Resolved] | None:
        """The ETag of the file that an earlier build has fetched, and that file."""
        note = self._store.note(identifier.key())
        if note is None:
            return None
        etag, digest, name, modified, snapshot_id = json.loads(note)
        snapshot = self._store.get(snapshot_id)
        if snapshot is None:
            return None
        return etag, _Resolved(digest=digest, name=name, modified=modified, snapshot=snapshot, kept=True)

    async def _fetch(
        self,
        ctx: Context,
        identifier: _Identifier,
        headers: Mapping[str, str],
        known: tuple[str, _Resolved] | None = None,
        *,
        any_status: bool = False,
    ) -> _Resolved:
        writer = self._store.blob_writer()
        try:
            if parse(identifier.url).host == SESSION_HOST:
                answer = await self._upload(ctx, identifier.url, writer)
            else:
                take = _Bounded(writer, self._max_bytes, any_status)
                download = _Download("GET", identifier.url, headers, take)
                answer = await self._request(ctx, download, identifier.url)
        except BaseException:
            writer.abort()
            raise
        if not any_status and not _good(answer.status):
            writer.abort()
            if known is not None and answer.status == 304 and _etag(answer) in ("", known[0]):
                return known[1]
            said = f"invalid not-modified ETag: {_etag(answer)}"
            raise HTTPSourceError(said if answer.status == 304 else f"invalid response status {answer.status}")
        return self._save(identifier, answer, *writer.finish())

    def _save(self, identifier: _Identifier, answer: Answer, blob: bytes, size: int) -> _Resolved:
        digest = content_digest(self._store, blob)
        name = _file_name(identifier, answer.headers)
        said = answer.headers.get("last-modified", "")
        seconds = _seconds(said)
        modified = said if seconds is not None else ""
        key = _cache_key(identifier, digest, name, modified)
        snapshot = self._store.cached(key)
        kept = snapshot is not None
        if snapshot is None:
            root = identifier.file.root(name, blob, size, (seconds or 0) * _SECOND)
            snapshot = self._store.commit(root, f"http url {shown_url(identifier.url)}")
            if digest == (identifier.checksum or digest):
                self._store.cache(key, snapshot)
        etag = _etag(answer)
        if etag:
            note = json.dumps([etag, digest, name, modified, snapshot.id])
            self._store.set_note(identifier.key(), note, snapshot)
        return _Resolved(digest=digest, name=name, modified=modified, snapshot=snapshot, kept=kept)

    async def _request(self, ctx: Context, download: _Download, url: str) -> Answer:
        await look_up(ctx, url, lambda reason: download.failure(url, reason))
        timed, stop = context.with_timeout(ctx, self._max_seconds)
        try:
            return await threads.call(timed, download.run, interrupt=download.interrupt)
        finally:
            stop()

    async def _upload(self, ctx: Context, url: str, writer: BlobWriter) -> Answer:
        """Take what the session offers under an address."""
        from pybuildkit.session.upload import new

        take = _Bounded(writer, self._max_bytes, True)

        async def pull(ctx: Context, _: str, caller: Caller) -> Answer:
            async for piece in await new(ctx, caller, url):
                take(piece)
            return Answer("GET", url, 200, "OK")

        return await any_session(ctx, self._manager, self._group, pull)

    async def _headers(self, ctx: Context, identifier: _Identifier) -> dict[str, str]:
        """The headers of a request, with the login that the session or the address has for it."""
        try:
            url = parse(identifier.url)
        except URLError as err:
            raise HTTPSourceError(str(err)) from err
        headers = {"User-Agent": _USER_AGENT, "Accept-Encoding": "gzip"}
        headers.update((name.title(), value) for name, value in identifier.headers)
        if identifier.secret:
            try:
                headers["Authorization"] = await self._secret(ctx, identifier.secret)
            except BuildkitError as err:
                raise wrap(err, f"failed to retrieve HTTP auth secret {identifier.secret}") from err
        else:
            for prefix, word in ((_HEADER_SECRET, ""), (_TOKEN_SECRET, "Bearer ")):
                try:
                    headers["Authorization"] = word + await self._secret(ctx, prefix + url.hostname())
                except BuildkitError:
                    if ctx.is_done():
                        raise
        for name, value in headers.items():
            if any((ord(char) < 0x20 and char != "\t") or ord(char) == 0x7F for char in value):
                reason = f'net/http: invalid header field value for "{name}"'
                raise HTTPSourceError(request_text("GET", identifier.url, reason))
        if url.host == SESSION_HOST:
            return headers
        check_url("GET", identifier.url, False)
        return with_login(headers, url)

    async def _secret(self, ctx: Context, name: str) -> str:
        async def ask(ctx: Context, _: str, caller: Caller) -> bytes:
            return await get_secret(ctx, caller, name)

        return (await any_session(ctx, self._manager, self._group, ask)).decode("latin-1")


def _result(found: _Resolved) -> Snapshot | Kept:
    return Kept(found.snapshot) if found.kept else found.snapshot


def _cache_key(identifier: _Identifier, digest: str, name: str, modified: str) -> str:
    file = identifier.file
    login = (identifier.secret, identifier.headers)
    return cache_key("http", digest, name, file.perm, file.uid, file.gid, modified, *login)


_ALGORITHMS = ("sha256", "sha384", "sha512")


def _check_request(wanted: gateway_pb2.ChecksumRequest) -> None:
    if len(wanted.Suffix) > MAX_SUFFIX:
        raise HTTPSourceError(f"http checksum request suffix exceeds max size {MAX_SUFFIX}")
    if not 0 <= wanted.Algo < len(_ALGORITHMS):
        raise HTTPSourceError(f"unsupported checksum algorithm {wanted.Algo}")


def _good(status: int) -> bool:
    return 200 <= status < 400 and status != 304


def _etag(answer: Answer) -> str:
    return answer.headers.get("etag", "").removeprefix("W/")


def _seconds(text: str) -> int | None:
    """A Last-Modified as seconds since the epoch; None where there is none that can be read."""
    try:
        return int(parsedate_to_datetime(text).timestamp()) if text.endswith(" GMT") else None
    except (ValueError, OverflowError):
        return None


def _text(header: str) -> str:
    """A header as the server means it: its bytes are UTF-8 where they can be."""
    try:
        return header.encode("latin-1").decode()
    except UnicodeError:
        return header


def _file_name(identifier: _Identifier, headers: Mapping[str, str]) -> str:
    """The name of the file: the build's, the server's, or the address's."""
    if identifier.file.name:
        return safe_file_name(identifier.file.name)
    message = Message()
    message["Content-Disposition"] = _text(headers.get("content-disposition", ""))
    said = message.get_filename("")
    if said and not said.endswith("/"):
        return safe_file_name(said)
    try:
        return safe_file_name(parse(identifier.url).path)
    except URLError:
        return safe_file_name("")


class _Bounded:
    """Writes pieces of a body, up to a limit."""

    def __init__(self, writer: BlobWriter, limit: int, any_status: bool) -> None:
        self.any_status = any_status
        self._writer = writer
        self._left = self._limit = limit

    def __call__(self, piece: bytes) -> None:
        self._left -= len(piece)
        if self._left < 0:
            raise HTTPSourceError(f"the file has more than {self._limit} bytes")
        self._writer.write(piece)


class _Download(Attempt):
    """One request for a file."""

    def __init__(self, method: str, url: str, headers: Mapping[str, str], take: _Bounded | None) -> None:
        super().__init__(method, url, headers, sink=take, decode=True)
        self._any_status = take is not None and take.any_status

    def takes(self, status: int) -> bool:
        """A body without a good status is wanted only where its digest decides."""
        return self._any_status or _good(status)

    def refusal(self, target: str) -> str:
        """A server cannot lead to what the session offers."""
        if parse(target).host == SESSION_HOST:
            return f"dial tcp: lookup {SESSION_HOST}: no such host"
        return super().refusal(target)

    def failure(self, url: str, reason: str) -> BuildkitError:
        """As Go's client says it."""
        return HTTPSourceError(request_text(self._method, url, reason))

    def body_failure(self, url: str, reason: str) -> BuildkitError:
        """As Go says it where the body breaks off."""
        return HTTPSourceError(reason)
