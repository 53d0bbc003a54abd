"""What a store answers to a daemon, code and text, as BuildKit's client v0.32.2 was seen to answer it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pybuildkit.golang import context
from pybuildkit.rpc import Code, Method, RpcError
from pybuildkit.session import Caller, content
from pybuildkit.third_party.containerd.content import ContentServer, digest_of, new_store
from pybuildkit.third_party.containerd.content import _methods as methods
from pybuildkit.third_party.containerd.content import content_pb2 as pb
from tests.session.pair import session_pair

BG = context.background()
DATA = b"some content"
DIGEST, ABSENT = digest_of(DATA), digest_of(b"absent")
LONG = f"{DIGEST}\n"
FORMAT, LENGTH, UNKNOWN = (
    "invalid checksum digest format",
    "invalid checksum digest length",
    "unsupported digest algorithm",
)
STORE = ((content.GRPC_HEADER_ID, "s"),)
EXPECTED = "calculating expected blob path for writer: cannot calculate blob path from invalid digest: "


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    writer = new_store(str(tmp_path)).writer("ref")
    writer.write(DATA)
    writer.commit()
    return tmp_path


def service(folder: Path) -> ContentServer:
    return content.new_attachable({"s": new_store(str(folder))})


async def status(stream_or_call: object) -> tuple[Code, str]:
    """The status of a call that fails."""
    with pytest.raises(RpcError) as caught:
        await stream_or_call  # type: ignore[misc]  # a call of some method
    return caught.value.code, caught.value.message.removeprefix(f"rpc error: code = {caught.value.code.text} desc = ")


UNARY = [
    (methods.INFO, pb.InfoRequest(digest=ABSENT), Code.NOT_FOUND, f"content {ABSENT}: not found"),
    (methods.INFO, pb.InfoRequest(digest="junk"), Code.INVALID_ARGUMENT, '"junk" failed validation'),
    (methods.INFO, pb.InfoRequest(digest=LONG), Code.INVALID_ARGUMENT, f'"{DIGEST}\\n" failed validation'),
    (methods.UPDATE, pb.UpdateRequest(), Code.INVALID_ARGUMENT, '"" failed validation'),
    (
        methods.UPDATE,
        pb.UpdateRequest(info=pb.Info(digest=DIGEST)),
        Code.FAILED_PRECONDITION,
        "update not supported on immutable content store: failed precondition",
    ),
    (methods.DELETE, pb.DeleteContentRequest(digest=""), Code.INVALID_ARGUMENT, FORMAT),
    (methods.DELETE, pb.DeleteContentRequest(digest="sha256:../../x"), Code.INVALID_ARGUMENT, LENGTH),
    (methods.DELETE, pb.DeleteContentRequest(digest="md5:" + "0" * 32), Code.INVALID_ARGUMENT, UNKNOWN),
    (methods.DELETE, pb.DeleteContentRequest(digest="SHA256:" + "0" * 64), Code.INVALID_ARGUMENT, FORMAT),
    (methods.DELETE, pb.DeleteContentRequest(digest="sha256:" + "G" * 64), Code.INVALID_ARGUMENT, FORMAT),
    (
        methods.LIST_STATUSES,
        pb.ListStatusesRequest(filters=["=="]),
        Code.INVALID_ARGUMENT,
        "filters: parse error: [ >|=|< =]: expected field or quoted: invalid argument",
    ),
]


@pytest.mark.parametrize(("method", "request_", "code", "text"), UNARY)
async def test_unary(method: Method[object, object], request_: object, code: Code, text: str, folder: Path) -> None:
    async with session_pair(service(folder)) as caller:
        assert await status(caller.conn().unary(BG, method, request_, metadata=STORE)) == (code, text)


async def test_text_has_the_code_in_front_once(folder: Path) -> None:
    async with session_pair(service(folder)) as caller:
        with pytest.raises(RpcError) as caught:
            await caller.conn().unary(BG, methods.INFO, pb.InfoRequest(digest=ABSENT), metadata=STORE)
    assert caught.value.message == f"rpc error: code = NotFound desc = content {ABSENT}: not found"


async def test_status_of_an_ingest_that_is_not_there(folder: Path) -> None:
    async with session_pair(service(folder)) as caller:
        call = caller.conn().unary(BG, methods.STATUS, pb.StatusRequest(ref="r"), metadata=STORE)
        code, text = await status(call)
    assert code == Code.NOT_FOUND
    assert text.startswith(f'could not get status for ref "r": stat {folder}/ingest/')
    assert text.endswith("/data: no such file or directory: not found")


async def _read(caller: Caller, digest: str, offset: int = 0) -> None:
    stream = await caller.conn().stream(BG, methods.READ, metadata=STORE)
    await stream.send(pb.ReadContentRequest(digest=digest, offset=offset))
    await stream.close_send()
    while await stream.recv() is not None:
        pass


@pytest.mark.parametrize(
    ("digest", "offset", "code", "text"),
    [
        (ABSENT, 0, Code.NOT_FOUND, f"content {ABSENT}: not found"),
        (LONG, 0, Code.INVALID_ARGUMENT, f"{LONG}: {LENGTH}"),
        ("", 0, Code.INVALID_ARGUMENT, f": {FORMAT}"),
        (DIGEST, 13, Code.OUT_OF_RANGE, "read past object length 12 bytes"),
    ],
)
async def test_read(digest: str, offset: int, code: Code, text: str, folder: Path) -> None:
    async with session_pair(service(folder)) as caller:
        await _read(caller, DIGEST, 12)
        assert await status(_read(caller, digest, offset)) == (code, text)


def message(action: pb.WriteAction.ValueType, **fields: object) -> pb.WriteContentRequest:
    return pb.WriteContentRequest(action=action, **fields)  # type: ignore[arg-type]  # checked at run time


async def _write(caller: Caller, *requests: pb.WriteContentRequest) -> list[pb.WriteContentResponse]:
    """The answers, each request being sent after the answer to the one before."""
    stream = await caller.conn().stream(BG, methods.WRITE, metadata=STORE)
    answers = []
    for request in requests:
        await stream.send(request)
        answer = await stream.recv()
        assert answer is not None
        answers.append(answer)
    await stream.close_send()
    assert await stream.recv() is None
    return answers


@pytest.mark.parametrize(
    ("requests", "code", "text"),
    [
        ([], Code.UNKNOWN, "EOF"),
        ([message(pb.WRITE, data=b"x")], Code.INVALID_ARGUMENT, "first message must have a reference"),
        ([message(pb.STAT, ref="r", expected="junk")], Code.INVALID_ARGUMENT, f"{EXPECTED}{FORMAT}: invalid argument"),
        (
            [message(pb.STAT, ref="r", expected="sha256:00")],
            Code.INVALID_ARGUMENT,
            f"{EXPECTED}{LENGTH}: invalid argument",
        ),
        ([message(pb.STAT, ref="r", expected=DIGEST)], Code.ALREADY_EXISTS, f"content {DIGEST}: already exists"),
        (
            [message(pb.WRITE, ref="r", data=b"x", offset=7)],
            Code.OUT_OF_RANGE,
            "write @7 must occur at current offset 0",
        ),
        ([message(pb.COMMIT, ref="r", data=DATA)], Code.ALREADY_EXISTS, f"content {DIGEST}: already exists"),
        (
            [message(pb.WRITE, ref="r", data=b"x"), message(pb.WRITE, offset=1, expected=DIGEST)],
            Code.ALREADY_EXISTS,
            f"blob with expected digest {DIGEST} exists",
        ),
        (
            [message(pb.WRITE, ref="r", data=b"x"), message(pb.COMMIT, offset=1, total=2)],
            Code.FAILED_PRECONDITION,
            "unexpected commit size 1, expected 2: failed precondition",
        ),
        (
            [message(pb.WRITE, ref="r", data=b"x"), message(pb.COMMIT, offset=1, expected="junk")],
            Code.FAILED_PRECONDITION,
            f"unexpected commit digest {digest_of(b'x')}, expected junk: failed precondition",
        ),
    ],
)
async def test_write(requests: list[pb.WriteContentRequest], code: Code, text: str, folder: Path) -> None:
    async with session_pair(service(folder)) as caller:
        assert await status(_write(caller, *requests)) == (code, text)


async def test_action_that_is_none_writes_nothing(folder: Path) -> None:
    unknown = pb.WriteContentRequest(action=9, ref="r", data=b"x")  # type: ignore[arg-type]  # none of the actions
    async with session_pair(service(folder)) as caller:
        [answer] = await _write(caller, unknown)
    assert (int(answer.action), answer.offset, answer.digest) == (9, 0, "")
    assert new_store(str(folder)).status("r").offset == 0


async def test_two_writers_of_one_ref(folder: Path) -> None:
    async with session_pair(service(folder)) as caller:
        stream = await caller.conn().stream(BG, methods.WRITE, metadata=STORE)
        await stream.send(message(pb.STAT, ref="r"))
        assert await stream.recv() is not None
        code, text = await status(_write(caller, message(pb.STAT, ref="r")))
        stream.cancel()
    assert code == Code.UNAVAILABLE
    assert text.startswith("ref r locked for ")
    assert text.endswith(": unavailable")


@pytest.mark.parametrize("filter_", ["size==12", "size", "created_at"])
async def test_fields_that_a_filter_does_not_know(filter_: str, folder: Path) -> None:
    assert list(new_store(str(folder)).walk([filter_])) == []


async def test_bytes_that_are_no_message(folder: Path) -> None:
    raw = Method.raw(methods.INFO.path, client_streaming=False, server_streaming=False)
    async with session_pair(service(folder)) as caller:
        code, text = await status(caller.conn().unary(BG, raw, b"\xff\xff\xff", metadata=STORE))
        assert code == Code.INTERNAL
        assert "cannot parse invalid wire-format data" in text
        decode = methods.INFO.decode_response
        with pytest.raises(RpcError, match="cannot parse invalid wire-format data"):
            decode(b"\xff\xff\xff")
