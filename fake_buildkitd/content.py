"""Blobs that the daemon keeps for clients to read, by digest, and the content service over them.

Mirrors roContentStore of control/control.go, v0.32.2. Clients may read and list; everything else is refused.

Errors reach a client with their code before the text, `rpc error: code = NotFound desc = …`, as BuildKit's do.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Protocol, TypeVar

from pybuildkit.golang.errors import BuildkitError
from pybuildkit.rpc import Code, Method, RpcError, Server, ServerStream
from pybuildkit.third_party.containerd import filters as filter_language
from pybuildkit.third_party.containerd.content import ContentServer, Info, ReaderAt, Status, Store, Writer, digest_of
from pybuildkit.third_party.containerd.content.local import LocalStore
from pybuildkit.third_party.containerd.errdefs import NotFoundError, to_grpc

Req = TypeVar("Req")
Resp = TypeVar("Resp")


class ReadOnlyError(BuildkitError):
    """A client tried to change the daemon's blobs."""

    def __init__(self) -> None:
        super().__init__("read-only content store")


class ContentError(BuildkitError):
    """An error of the content service: its code is part of its text."""

    def __init__(self, status: RpcError) -> None:
        super().__init__(str(status))
        self.grpc_code: Code = status.code


class Blobs(Store, Protocol):
    """A content store that the daemon itself adds to."""

    def put(self, data: bytes) -> str:
        """Keep a blob; its digest."""

    def drop(self, digest: str) -> None:
        """Forget a blob."""


class _ReadOnly:
    """What every store of the daemon answers to a client that wants to write."""

    def update(self, info: Info, fieldpaths: Sequence[str] = ()) -> Info:
        raise ReadOnlyError

    def delete(self, digest: str) -> None:
        raise ReadOnlyError

    def status(self, ref: str) -> Status:
        raise NotFoundError(f"status for ref {ref}")

    def list_statuses(self, filters: Sequence[str] = ()) -> list[Status]:
        return []

    def abort(self, ref: str) -> None:
        raise ReadOnlyError

    def writer(self, ref: str, total: int = 0, expected: str = "") -> Writer:
        raise ReadOnlyError


class MemoryBlobs(_ReadOnly):
    """Blobs in memory.

    Args:
        clock: gives the time in nanoseconds.
    """

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._blobs: dict[str, tuple[bytes, int]] = {}

    def put(self, data: bytes) -> str:
        """Keep a blob; its digest."""
        digest = digest_of(data)
        self._blobs.setdefault(digest, (data, self._clock()))
        return digest

    def drop(self, digest: str) -> None:
        """Forget a blob."""
        self._blobs.pop(digest, None)

    def info(self, digest: str) -> Info:
        """What is known of a blob; raises NotFoundError."""
        data, created = self._find(digest)
        return Info(digest=digest, size=len(data), created_at=created, updated_at=created)

    def _find(self, digest: str) -> tuple[bytes, int]:
        found = self._blobs.get(digest)
        if found is None:
            raise NotFoundError(f"content digest {digest}")
        return found

    def walk(self, filters: Sequence[str] = ()) -> Iterator[Info]:
        """Every blob that matches."""
        wanted = filter_language.parse_all(filters)
        for info in [self.info(digest) for digest in sorted(self._blobs)]:
            values = {"digest": info.digest, "size": str(info.size)}
            if wanted.match(lambda path: values.get(".".join(path))):  # noqa: B023 - used at once
                yield info

    def open(self, digest: str) -> ReaderAt:
        """A blob's content; raises NotFoundError."""
        return _BytesReader(self.read_blob(digest))

    def read_blob(self, digest: str) -> bytes:
        """A blob's whole content; raises NotFoundError."""
        return self._find(digest)[0]


class _BytesReader:
    def __init__(self, data: bytes) -> None:
        self._data = data

    @property
    def size(self) -> int:
        return len(self._data)

    def read_at(self, n: int, offset: int) -> bytes:
        return self._data[offset : offset + n]

    def close(self) -> None:
        pass


class FolderBlobs(_ReadOnly):
    """Blobs in a folder, `blobs/sha256/DIGITS` as in an image layout; a blob has its name once it is whole.

    Args:
        root: the folder; made when the first blob comes.
    """

    def __init__(self, root: str) -> None:
        self._folder = os.path.join(root, "blobs", "sha256")
        self._local = LocalStore(root, read_only=True)

    def put(self, data: bytes) -> str:
        """Keep a blob; its digest. Raises OSError."""
        digest = digest_of(data)
        path = os.path.join(self._folder, digest.partition(":")[2])
        if not os.path.exists(path):
            os.makedirs(self._folder, mode=0o700, exist_ok=True)
            write_whole(path, data)
        return digest

    def drop(self, digest: str) -> None:
        """Forget a blob."""
        path = os.path.join(self._folder, digest.partition(":")[2])
        if os.path.exists(path):
            os.unlink(path)

    def sweep(self, kept: set[str]) -> None:
        """Forget every blob but these, and what a killed process left half-written."""
        for name in os.listdir(self._folder) if os.path.isdir(self._folder) else ():
            if f"sha256:{name}" not in kept:
                os.unlink(os.path.join(self._folder, name))

    def info(self, digest: str) -> Info:
        """What is known of a blob; raises NotFoundError."""
        try:
            return self._local.info(digest)
        except NotFoundError:
            raise NotFoundError(f"content digest {digest}") from None

    def walk(self, filters: Sequence[str] = ()) -> Iterator[Info]:
        """Every blob that matches."""
        return self._local.walk(filters) if os.path.isdir(self._folder) else iter(())

    def open(self, digest: str) -> ReaderAt:
        """A blob's content; raises NotFoundError."""
        self.info(digest)
        return self._local.open(digest)

    def read_blob(self, digest: str) -> bytes:
        """A blob's whole content; raises NotFoundError."""
        self.info(digest)
        return self._local.read_blob(digest)


def write_whole(path: str, data: bytes) -> None:
    """Write a file that has its name only when it is whole. Raises OSError."""
    temporary = f"{path}.{secrets.token_hex(4)}.tmp"
    try:
        with open(temporary, "xb") as file:
            file.write(data)
        os.replace(temporary, path)
    except BaseException:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise


class AllBlobs(_ReadOnly):
    """Several stores as one; the first that has a blob gives it.

    Args:
        stores: in the order in which they are asked; more may be added to the list.
    """

    def __init__(self, stores: list[Store]) -> None:
        self.stores = stores

    def _first(self, digest: str) -> Store:
        for store in self.stores:
            try:
                store.info(digest)
            except NotFoundError:
                continue
            return store
        raise NotFoundError(f"content digest {digest}")

    def info(self, digest: str) -> Info:
        """What is known of a blob; raises NotFoundError."""
        return self._first(digest).info(digest)

    def walk(self, filters: Sequence[str] = ()) -> Iterator[Info]:
        """Every blob that matches, once."""
        seen: set[str] = set()
        for store in self.stores:
            for info in store.walk(filters):
                if info.digest not in seen:
                    seen.add(info.digest)
                    yield info

    def open(self, digest: str) -> ReaderAt:
        """A blob's content; raises NotFoundError."""
        return self._first(digest).open(digest)

    def read_blob(self, digest: str) -> bytes:
        """A blob's whole content; raises NotFoundError."""
        return self._first(digest).read_blob(digest)


def register_content(server: Server, store: Store) -> None:
    """Offer a store's blobs on the daemon's server."""
    ContentServer(lambda metadata: store).register(_Worded(server))  # type: ignore[arg-type]  # has what is called


class _Worded:
    """A server whose handlers' errors have their code in the text."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def add_unary(self, method: Method[Req, Resp], handler: Callable[..., Awaitable[Resp]]) -> None:
        async def handle(ctx: object, request: Req) -> Resp:
            try:
                return await handler(ctx, request)
            except BuildkitError as err:
                raise ContentError(to_grpc(err)) from err

        self._server.add_unary(method, handle)

    def add_stream(
        self, method: Method[Req, Resp], handler: Callable[[ServerStream[Req, Resp]], Awaitable[None]]
    ) -> None:
        async def handle(stream: ServerStream[Req, Resp]) -> None:
            try:
                await handler(stream)
            except BuildkitError as err:
                raise ContentError(to_grpc(err)) from err

        self._server.add_stream(method, handle)
