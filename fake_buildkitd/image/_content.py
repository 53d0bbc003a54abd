"""Blobs to and from the content stores that a client offers over its session.

Mirrors util/contentutil (copy.go) of BuildKit v0.32.2, and MakeRefKey of containerd's core/remotes.
"""

from __future__ import annotations

from collections.abc import Sequence

from fake_buildkitd.image._archive import Opener
from fake_buildkitd.image._spec import INDEX_TYPES, MANIFEST_TYPES, Descriptor, ImageError, check_small, digest_of
from fake_buildkitd.store import Store
from pybuildkit.golang import threads
from pybuildkit.golang.context import Context
from pybuildkit.golang.errors import find
from pybuildkit.session.content import CallerStore
from pybuildkit.third_party.containerd.errdefs import AlreadyExistsError

_CHUNK = 1 << 20


def ref_key(descriptor: Descriptor) -> str:
    """The name of the ingest of a blob."""
    kind = descriptor.media_type
    if kind in MANIFEST_TYPES:
        return f"manifest-{descriptor.digest}"
    if kind in INDEX_TYPES:
        return f"index-{descriptor.digest}"
    if "layer" in kind or "rootfs" in kind:
        return f"layer-{descriptor.digest}"
    if "config" in kind or "container.image" in kind:
        return f"config-{descriptor.digest}"
    return f"unknown-{descriptor.digest}"


async def write_blob(ctx: Context, store: CallerStore, descriptor: Descriptor, open_blob: Opener) -> None:
    """Put a blob into a client's store, unless it is there.

    Raises:
        BuildkitError: the store does not take it. OSError: the blob cannot be read.
    """
    try:
        writer = await store.writer(ctx, ref_key(descriptor), descriptor.size, descriptor.digest)
    except AlreadyExistsError:
        return
    try:
        file = open_blob(descriptor.digest)
        with file:
            file.seek(writer.offset)
            while data := await threads.call(ctx, lambda: file.read(_CHUNK)):
                await writer.write(data)
        await writer.commit(descriptor.size, descriptor.digest)
    except BaseException as err:
        if find(err, AlreadyExistsError) is not None:
            return
        await writer.close()
        raise


async def copy_chain(ctx: Context, store: CallerStore, blobs: Sequence[Descriptor], open_blob: Opener) -> None:
    """Put all blobs of an image into a client's store, in their order.

    Raises:
        BuildkitError: the store does not take one.
    """
    for blob in blobs:
        await write_blob(ctx, store, blob, open_blob)


async def read_blob(ctx: Context, store: CallerStore, descriptor: Descriptor) -> bytes:
    """A small blob of a client's store.

    Raises:
        ImageError: another content than the digest's. BuildkitError: the store does not give it.
    """
    check_small(descriptor)
    data = await store.read_blob(ctx, descriptor.digest)
    found, wanted = digest_of(data), descriptor.digest
    if found != wanted:
        raise ImageError(f"unexpected commit digest {found}, expected {wanted}: failed precondition")
    return data


async def fetch_blob(ctx: Context, source: CallerStore, descriptor: Descriptor, store: Store) -> None:
    """Put a blob of a client's store into the daemon's.

    Raises:
        ImageError: another content than the digest's. BuildkitError: the store does not give it.
    """
    writer = store.blob_writer()
    try:
        left = descriptor.size
        async for piece in source.read(ctx, descriptor.digest):
            left -= len(piece)
            if left < 0:
                raise ImageError(f"{descriptor.digest} has more than its {descriptor.size} bytes")
            writer.write(piece)
    except BaseException:
        writer.abort()
        raise
    key, _ = writer.finish()
    found = f"sha256:{key.hex()}" if key else digest_of(b"")
    if found != descriptor.digest:
        raise ImageError(f"unexpected commit digest {found}, expected {descriptor.digest}: failed precondition")
