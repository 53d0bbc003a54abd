"""Images in registries: which one a name means, its blobs, and putting new ones there.

Mirrors core/remotes/docker of github.com/containerd/containerd and util/push, v0.32.2.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit, urlunsplit

from fake_buildkitd.image._spec import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    INDEX_TYPES,
    MANIFEST_TYPES,
    OCI_INDEX,
    OCI_MANIFEST,
    Descriptor,
    ImageError,
    blob_key,
    check_small,
    digest_of,
    manifest_type,
)
from fake_buildkitd.registry._auth import Authorizer
from fake_buildkitd.registry._client import ImageNotFoundError, Repository
from fake_buildkitd.store import Store
from pybuildkit.golang.context import Context
from pybuildkit.third_party.distribution.reference import Reference

_ACCEPT = ", ".join([DOCKER_MANIFEST, DOCKER_LIST, OCI_MANIFEST, OCI_INDEX, "*/*"])
_MAX_MANIFEST = 8 << 20
_NO_HEAD = (405, 501)

Report = Callable[[int, bool], None]


class RemoteImage:
    """A repository as a place where images are taken from and put.

    Args:
        ref: the image's name.
        authorizer: logs in.
        insecure: plain HTTP also off loopback.
        push: whether images are put there.
    """

    def __init__(self, ref: Reference, authorizer: Authorizer, *, insecure: bool = False, push: bool = False) -> None:
        self.ref = ref
        self._repository = Repository(ref, authorizer, insecure=insecure, push=push)

    async def resolve(self, ctx: Context) -> Descriptor:
        """What the image's name means now.

        Raises:
            ImageNotFoundError: nothing. BuildkitError: no useful answer.
        """
        repository = self._repository
        url = repository.url("manifests", self.ref.digest or self.ref.tag)
        answer = await repository.request(ctx, "HEAD", url, headers={"Accept": _ACCEPT})
        if answer.status == 404:
            raise ImageNotFoundError(f"{self.ref}: not found")
        if answer.status != 200 and answer.status not in _NO_HEAD:
            raise answer.error()
        digest = self.ref.digest or answer.headers.get("docker-content-digest", "")
        kind = answer.headers.get("content-type", "").partition(";")[0].strip()
        size = answer.headers.get("content-length", "")
        if answer.status == 200 and digest and size.isdigit() and kind in MANIFEST_TYPES | INDEX_TYPES:
            return Descriptor(kind, digest, int(size))
        data = await self._get_manifest(ctx, self.ref.digest or self.ref.tag)
        return Descriptor(manifest_type(data), digest or digest_of(data), len(data))

    async def manifest(self, ctx: Context, descriptor: Descriptor) -> bytes:
        """The text of a manifest or an index.

        Raises:
            ImageError: another text than the digest's.
        """
        data = await self._get_manifest(ctx, descriptor.digest)
        _check(descriptor.digest, digest_of(data))
        return data

    async def _get_manifest(self, ctx: Context, name: str) -> bytes:
        repository = self._repository
        url = repository.url("manifests", name)
        answer = await repository.request(ctx, "GET", url, headers={"Accept": _ACCEPT}, limit=_MAX_MANIFEST)
        if answer.status == 404:
            raise ImageNotFoundError(f"content at {url} not found: not found")
        if answer.status != 200:
            raise answer.error()
        return answer.body

    async def blob(self, ctx: Context, descriptor: Descriptor) -> bytes:
        """The content of a small blob.

        Raises:
            ImageError: another content than the digest's.
        """
        if descriptor.media_type in MANIFEST_TYPES | INDEX_TYPES:
            return await self.manifest(ctx, descriptor)
        check_small(descriptor)
        pieces: list[bytes] = []
        await self._read(ctx, descriptor, pieces.append)
        data = b"".join(pieces)
        _check(descriptor.digest, digest_of(data))
        return data

    async def fetch(self, ctx: Context, descriptor: Descriptor, store: Store, report: Report) -> None:
        """Put a blob into the store.

        Raises:
            ImageError: another content than the digest's.
        """
        writer = store.blob_writer()
        try:
            await self._read(ctx, descriptor, writer.write)
        except BaseException:
            writer.abort()
            raise
        digest, size = writer.finish()
        _check(descriptor.digest, f"sha256:{digest.hex()}" if digest else digest_of(b""))
        report(size, True)

    async def fetch_file(self, ctx: Context, digest: str, store: Store) -> int:
        """Put any blob of the repository into the store; its size.

        Raises:
            ImageNotFoundError: there is none. ImageError: another content than the digest's.
        """
        url = self._repository.url("blobs", digest)
        answer = await self._repository.request(ctx, "HEAD", url, headers={"Accept": "*/*"})
        if answer.status == 404:
            raise ImageNotFoundError(f"content at {url} not found: not found")
        size = answer.headers.get("content-length", "")
        if answer.status != 200 or not size.isdigit():
            raise answer.error()
        await self.fetch(ctx, Descriptor("", digest, int(size)), store, lambda current, last: None)
        return int(size)

    async def _read(self, ctx: Context, descriptor: Descriptor, take: Callable[[bytes], None]) -> None:
        blob_key(descriptor.digest)
        repository = self._repository
        url = repository.url("blobs", descriptor.digest)
        left = descriptor.size

        def bounded(piece: bytes) -> None:
            nonlocal left
            left -= len(piece)
            if left < 0:
                raise ImageError(f"{descriptor.digest} has more than its {descriptor.size} bytes")
            take(piece)

        answer = await repository.request(ctx, "GET", url, sink=bounded)
        if answer.status == 404:
            raise ImageNotFoundError(f"content at {url} not found: not found")
        if answer.status != 200:
            raise answer.error()

    async def push_blob(self, ctx: Context, descriptor: Descriptor, open_blob: Callable[[str], BinaryIO]) -> None:
        """Put a blob into the repository, unless it is there.

        Args:
            open_blob: opens it by its digest.

        Raises:
            BuildkitError: the registry does not take it.
        """
        repository = self._repository
        there = repository.url("blobs", descriptor.digest)
        answer = await repository.request(ctx, "HEAD", there, headers={"Accept": f"{descriptor.media_type}, */*"})
        if answer.status == 200:
            return
        if answer.status != 404:
            raise answer.error()
        begun = await repository.request(ctx, "POST", repository.url("blobs", "uploads/"), body=lambda: b"")
        if begun.status not in (200, 202, 204):
            raise begun.error()
        parts = urlsplit(urljoin(begun.url, begun.headers.get("location", "")))
        query = urlencode([*parse_qsl(parts.query, keep_blank_values=True), ("digest", descriptor.digest)])
        target = urlunsplit(parts._replace(query=query))
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(descriptor.size)}

        def body() -> object:
            return open_blob(descriptor.digest)

        put = await repository.request(ctx, "PUT", target, headers=headers, body=body)
        if put.status not in (200, 201, 204):
            raise put.error()

    async def push_manifest(self, ctx: Context, media_type: str, data: bytes, name: str) -> None:
        """Put a manifest into the repository under a tag or its digest.

        Raises:
            BuildkitError: the registry does not take it.
        """
        repository = self._repository
        url = repository.url("manifests", name)
        answer = await repository.request(ctx, "PUT", url, headers={"Content-Type": media_type}, body=lambda: data)
        if answer.status not in (200, 201, 204):
            raise answer.error()


def _check(wanted: str, found: str) -> None:
    if wanted != found:
        raise ImageError(f"unexpected commit digest {found}, expected {wanted}: failed precondition")
