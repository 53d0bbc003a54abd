"""Stores over a session. Ports TestContentAttachable of session/content."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pybuildkit.golang import context
from pybuildkit.golang.errors import BuildkitError, find
from pybuildkit.rpc import RpcError
from pybuildkit.session import content
from pybuildkit.third_party.containerd.content import Store, digest_of, new_store
from pybuildkit.third_party.containerd.content import _methods as methods
from pybuildkit.third_party.containerd.content import content_pb2 as pb
from pybuildkit.third_party.containerd.errdefs import (
    AlreadyExistsError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    OutOfRangeError,
    PermissionDeniedError,
    UnavailableError,
)
from tests.session.pair import session_pair

BG = context.background()
DATA = os.urandom(3 << 20)
DIGEST = digest_of(DATA)
ABSENT = digest_of(b"absent")


def add(store: Store, data: bytes) -> str:
    writer = store.writer("ref")
    writer.write(data)
    writer.commit()
    return digest_of(data)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return new_store(str(tmp_path / "store"))


async def test_stores_are_told_apart(tmp_path: Path) -> None:
    stores: dict[str, Store] = {name: new_store(str(tmp_path / name)) for name in ("store-id-0", "store-id-1")}
    digests = {name: add(store, f"blob of {name}".encode()) for name, store in stores.items()}
    async with session_pair(content.new_attachable(stores)) as caller:
        for name, digest in digests.items():
            remote = content.new_caller_store(caller, name)
            assert await remote.read_blob(BG, digest) == f"blob of {name}".encode()
            other = next(found for found in digests.values() if found != digest)
            with pytest.raises(NotFoundError):
                await remote.info(BG, other)
        with pytest.raises(NotFoundError, match="unknown store nothere: not found"):
            await content.new_caller_store(caller, "nothere").info(BG, digests["store-id-0"])
        with pytest.raises(RpcError, match='request lacks metadata "buildkit-attachable-store-id"'):
            await caller.conn().unary(BG, methods.INFO, pb.InfoRequest(digest=DIGEST))


async def test_reading(store: Store) -> None:
    add(store, DATA)
    add(store, b"")
    async with session_pair(content.new_attachable({"s": store})) as caller:
        remote = content.new_caller_store(caller, "s")
        assert await remote.info(BG, DIGEST) == store.info(DIGEST)
        assert await remote.read_blob(BG, DIGEST) == DATA
        assert await remote.read_blob(BG, digest_of(b"")) == b""
        for offset, size in ((0, 10), (5, 0), (1 << 20, 1 << 21), (len(DATA), 0), (7, 1 << 30)):
            got = b"".join([piece async for piece in remote.read(BG, DIGEST, offset, size)])
            assert got == (DATA[offset : offset + size] if size else DATA[offset:])
        with pytest.raises(OutOfRangeError, match=f"read past object length {len(DATA)} bytes"):
            [piece async for piece in remote.read(BG, DIGEST, len(DATA) + 1)]
        for digest, cls in ((ABSENT, NotFoundError), ("junk", InvalidArgumentError)):
            with pytest.raises(cls):
                await remote.read_blob(BG, digest)
            with pytest.raises(cls):
                [piece async for piece in remote.read(BG, digest)]


async def test_listing_in_blocks(store: Store) -> None:
    wanted = sorted(add(store, str(number).encode()) for number in range(205))
    async with session_pair(content.new_attachable({"s": store})) as caller:
        remote = content.new_caller_store(caller, "s")
        assert [info.digest async for info in remote.walk(BG)] == wanted
        assert [info.digest async for info in remote.walk(BG, [f"digest=={wanted[3]}"])] == [wanted[3]]
        await remote.delete(BG, wanted[0])
        assert [info.digest async for info in remote.walk(BG)] == wanted[1:]


async def test_bad_filters(store: Store) -> None:
    async with session_pair(content.new_attachable({"s": store})) as caller:
        remote = content.new_caller_store(caller, "s")
        with pytest.raises(InvalidArgumentError, match=r"filters: parse error: .*: invalid argument"):
            [info async for info in remote.walk(BG, ["digest=bad"])]
        with pytest.raises(InvalidArgumentError, match=r"filters: parse error: .*: invalid argument"):
            await remote.list_statuses(BG, ["=="])


async def test_writing(store: Store) -> None:
    async with session_pair(content.new_attachable({"s": store})) as caller:
        remote = content.new_caller_store(caller, "s")
        writer = await remote.writer(BG, "ref", total=len(DATA), expected=DIGEST)
        assert await writer.write(DATA[:100]) == 100
        assert writer.digest() == digest_of(DATA[:100])
        assert (await writer.status()).offset == 100
        with pytest.raises(UnavailableError):
            await remote.writer(BG, "ref")
        await writer.write(DATA[100:])
        await writer.commit(len(DATA), DIGEST)
        assert store.read_blob(DIGEST) == DATA
        with pytest.raises(AlreadyExistsError):
            await remote.writer(BG, "again", expected=DIGEST)
        late = await remote.writer(BG, "late")
        await late.write(DATA)
        with pytest.raises(BuildkitError, match=r"commit failed: .*already exists") as caught:
            await late.commit(len(DATA), DIGEST)
        assert find(caught.value, AlreadyExistsError) is not None
        assert await remote.list_statuses(BG) == []


async def test_resuming_and_aborting(store: Store) -> None:
    async with session_pair(content.new_attachable({"s": store})) as caller:
        remote = content.new_caller_store(caller, "s")
        writer = await remote.writer(BG, "ref")
        await writer.write(DATA[:1000])
        await writer.close()
        assert (await remote.status(BG, "ref")).offset == 1000
        writer = await remote.writer(BG, "ref")
        assert writer.offset == 1000
        await writer.write(DATA[1000:])
        with pytest.raises(BuildkitError, match="unexpected commit digest") as caught:
            await writer.commit(0, ABSENT)
        assert find(caught.value, FailedPreconditionError) is not None
        await remote.abort(BG, "ref")
        with pytest.raises(NotFoundError, match='could not get status for ref "ref"'):
            await remote.status(BG, "ref")


async def test_truncating(store: Store) -> None:
    async with session_pair(content.new_attachable({"s": store})) as caller:
        remote = content.new_caller_store(caller, "s")
        writer = await remote.writer(BG, "ref")
        await writer.write(b"wrong")
        writer.truncate(0)
        await writer.write(b"right")
        await writer.commit(5, digest_of(b"right"))
        assert store.read_blob(digest_of(b"right")) == b"right"


async def test_cut_connection_leaves_the_ingest_to_be_resumed(store: Store) -> None:
    async with session_pair(content.new_attachable({"s": store})) as caller:
        writer = await content.new_caller_store(caller, "s").writer(BG, "ref")
        await writer.write(DATA[:1000])
    assert store.status("ref").offset == 1000
    async with session_pair(content.new_attachable({"s": store})) as caller:
        writer = await content.new_caller_store(caller, "s").writer(BG, "ref", total=len(DATA))
        assert (writer.offset, writer.digest()) == (1000, digest_of(DATA[:1000]))
        await writer.write(DATA[1000:])
        await writer.commit(len(DATA), DIGEST)
    assert store.read_blob(DIGEST) == DATA
    assert store.list_statuses() == []


async def test_protocol_errors(store: Store) -> None:
    async with session_pair(content.new_attachable({"s": store})) as caller:
        metadata = [(content.GRPC_HEADER_ID, "s")]
        stream = await caller.conn().stream(BG, methods.WRITE, metadata=metadata)
        await stream.send(pb.WriteContentRequest(action=pb.WRITE, data=b"x"))
        with pytest.raises(RpcError, match="first message must have a reference"):
            await stream.recv()
        stream = await caller.conn().stream(BG, methods.WRITE, metadata=metadata)
        await stream.send(pb.WriteContentRequest(action=pb.WRITE, ref="r", offset=7, data=b"x"))
        with pytest.raises(RpcError, match="write @7 must occur at current offset 0"):
            await stream.recv()
    store.writer("r").close()


async def test_inputs_cannot_be_changed(store: Store, tmp_path: Path) -> None:
    add(store, DATA)
    inputs = new_store(str(tmp_path / "store"), read_only=True)
    async with session_pair(content.new_attachable({"s": inputs})) as caller:
        remote = content.new_caller_store(caller, "s")
        assert await remote.read_blob(BG, DIGEST) == DATA
        with pytest.raises(PermissionDeniedError):
            await remote.delete(BG, DIGEST)
        with pytest.raises(PermissionDeniedError):
            await remote.writer(BG, "ref")
        with pytest.raises(PermissionDeniedError):
            await remote.abort(BG, "ref")
    assert store.read_blob(DIGEST) == DATA
    assert not (tmp_path / "store/ingest" / "x").exists()
