"""Files from web servers, uploads and single blobs where only this daemon is at stake: limits, ends, texts."""

from __future__ import annotations

import gzip
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fake_buildkitd import Daemon
from fake_buildkitd.frontend.dockerfile._dockerui import is_archive
from fake_buildkitd.sources._file import MAX_BYTES, safe_file_name
from fake_buildkitd.sources._http import MAX_SECONDS, HTTPSource
from fake_buildkitd.store import DiskStore, MemoryStore
from pybuildkit.client import llb
from pybuildkit.client._solveopt import ExportEntry, SolveOpt
from pybuildkit.golang import context
from pybuildkit.golang.context import Context, DeadlineExceededError
from pybuildkit.golang.errors import BuildkitError
from pybuildkit.session import Manager
from pybuildkit.session.secrets import secretsprovider
from pybuildkit.solver.pb import ops_pb2
from pybuildkit.third_party import fsutil
from tests.conformance.test_web_sources import tar
from tests.fake_buildkitd.helpers import connected, solve, write_tree
from tests.fake_buildkitd.registry.doubles import Registry, digest, served
from tests.fake_buildkitd.registry.servers import Answer, http_server

BG = context.background()


async def describe(url: str, *, ctx: Context = BG, limit: int = MAX_BYTES, seconds: float = MAX_SECONDS) -> str:
    """The digest of a file, fetched by a source of its own."""
    source = HTTPSource(MemoryStore(), Manager(), "", max_bytes=limit, max_seconds=seconds)
    found = await source.describe(ctx, ops_pb2.SourceOp(identifier=url), None)
    return found.Checksum


@pytest.mark.parametrize(
    "answer",
    [
        (200, {}, bytes(1001)),
        (200, {"Content-Encoding": "gzip"}, gzip.compress(bytes(1 << 22), mtime=0)),
        (200, {"Transfer-Encoding": "chunked"}, b"7d0\r\n" + bytes(2000) + b"\r\n0\r\n\r\n"),
    ],
)
async def test_a_file_beyond_the_limit(tmp_path: Path, answer: Answer) -> None:
    status, headers, body = answer
    if "Transfer-Encoding" in headers:
        headers = {**headers, "Content-Length": ""}
    store = DiskStore(str(tmp_path / "state"))
    try:
        with http_server(lambda request: (status, headers, body)) as host:
            source = HTTPSource(store, Manager(), "", max_bytes=1000)
            with pytest.raises(BuildkitError, match="the file has more than 1000 bytes"):
                await source.describe(BG, ops_pb2.SourceOp(identifier=f"http://{host}/x"), None)
            assert await describe(f"http://{host}/x") != ""
        assert list((tmp_path / "state/blobs").iterdir()) == []
        assert store.snapshots() == []
    finally:
        store.close()


@contextmanager
def talking(answer: bytes) -> Iterator[str]:
    """A server that sends some bytes to whoever asks, and hangs up; its address."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        try:
            peer, _ = listener.accept()
        except OSError:
            return
        with peer:
            peer.settimeout(20)
            peer.recv(65536)
            peer.sendall(answer)
            peer.shutdown(socket.SHUT_WR)
            while peer.recv(65536):
                pass

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/x"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(20)
        listener.close()


@contextmanager
def stalling(sent: bytes) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """A server that sends no more than `sent`; its address, and what it read until the client went away."""
    listener = socket.create_server(("127.0.0.1", 0))
    read = bytearray()

    def serve() -> None:
        peer, _ = listener.accept()
        with peer:
            peer.settimeout(20)
            read.extend(peer.recv(65536))
            peer.sendall(sent)
            begun.set()
            while data := peer.recv(65536):
                read.extend(data)

    begun = threading.Event()
    thread = threading.Thread(target=serve)
    thread.start()

    def gone() -> bytes:
        thread.join(20)
        assert not thread.is_alive()
        return bytes(read)

    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/x", gone
    finally:
        listener.close()
        thread.join(20)


BEGUN = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegun"


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", "EOF"),
        (b"hello\r\n\r\n", 'net/http: HTTP/1.x transport connection broken: malformed HTTP response "hello"'),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nabc",
            'net/http: HTTP/1.x transport connection broken: bad Content-Length "-5"',
        ),
        (
            b"HTTP/1.1 302 F\r\nContent-Length: 0\r\nLocation: http://[/x\r\n\r\n",
            'failed to parse Location header "http://[/x": parse "http://[/x": missing \']\' in host',
        ),
        (b"HTTP/1.1 200 OK\r\nX: " + 70000 * b"y", "got more than 65536 bytes when reading header line"),
    ],
)
async def test_answers_that_are_none(answer: bytes, error: str) -> None:
    with talking(answer) as url, pytest.raises(BuildkitError) as caught:
        await describe(url)
    assert str(caught.value) == f'Get "{url}": {error}'


@pytest.mark.parametrize(
    "body",
    [
        b"Content-Length: 10\r\n\r\nabc",
        b"Transfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(bytes(1000), mtime=0)[:15],
        b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(bytes(1000), mtime=0)[:-1],
    ],
)
async def test_a_body_that_breaks_off(body: bytes) -> None:
    with talking(b"HTTP/1.1 200 OK\r\n" + body) as url, pytest.raises(BuildkitError, match="unexpected EOF") as caught:
        await describe(url)
    assert str(caught.value) == "unexpected EOF"


@pytest.mark.parametrize("size", [0, 1, 1 << 20, (1 << 20) + 1, 5 << 20])
async def test_what_was_packed_for_the_way(size: int) -> None:
    """However much there is, in one member or several."""
    content = bytes(range(256)) * (size // 256) + bytes(size % 256)
    packed = gzip.compress(content[: size // 3]) + gzip.compress(content[size // 3 :])
    with http_server(lambda request: (200, {"Content-Encoding": "gzip"}, packed)) as host:
        assert await describe(f"http://{host}/x") == digest(content)


async def test_a_server_that_stalls_has_an_end() -> None:
    with stalling(BEGUN) as (url, gone):
        with pytest.raises(DeadlineExceededError):
            await describe(url, seconds=0.3)
        assert gone().startswith(b"GET /x HTTP/1.1\r\n")


async def test_a_build_that_ends_leaves_the_server() -> None:
    with stalling(BEGUN) as (url, gone):
        ctx, cancel = context.with_cancel(BG)
        timed, stop = context.with_timeout(BG, 0.3)
        context.after_func(timed, cancel)
        with pytest.raises(context.CanceledError):
            await describe(url, ctx=ctx)
        stop()
        gone()


async def test_nothing_of_a_login_is_in_a_text() -> None:
    with pytest.raises(BuildkitError) as caught:
        await describe("http://user:planted@127.0.0.1:1/x")
    assert str(caught.value) == 'Get "http://127.0.0.1:1/x": dial tcp 127.0.0.1:1: connect: connection refused'


@pytest.mark.parametrize("attr", ["context", "context:base"])
@pytest.mark.parametrize("path", ["x", "x.git"])
async def test_a_contexts_password_is_in_no_steps_name(tmp_path: Path, attr: str, path: str) -> None:
    write_tree(tmp_path, {"Dockerfile": "FROM base\n"})
    fs = fsutil.new_fs(str(tmp_path))
    opt = SolveOpt(
        frontend="dockerfile.v0",
        frontend_attrs={attr: f"http://me:planted@127.0.0.1:1/{path}"},
        local_mounts={"context": fs, "dockerfile": fs},
    )
    async with Daemon() as daemon, connected(daemon) as client:
        built = await solve(client, opt)
    assert "127.0.0.1" in str(built.error)
    assert "planted" not in f"{built.error} {built.names()} {built.errors()}"


async def test_a_secret_that_cannot_be_a_header() -> None:
    async with Daemon() as daemon, connected(daemon) as client:
        secrets = secretsprovider.from_map({"mine": b"planted\r\nX-More: yes"})
        state = llb.http("http://127.0.0.1:1/x", llb.auth_header_secret("mine"))
        built = await solve(client, SolveOpt(session=[secrets]), await state.marshal(BG))
    assert 'net/http: invalid header field value for "Authorization"' in str(built.error)
    assert "planted" not in str(built.error)


async def test_a_web_server_cannot_lead_to_an_upload() -> None:
    there = "http://buildkit-session/id"
    with http_server(lambda request: (302, {"Location": there}, b"")) as host, pytest.raises(BuildkitError) as caught:
        await describe(f"http://{host}/x")
    assert str(caught.value) == f'Get "{there}": dial tcp: lookup buildkit-session: no such host'


async def test_signatures_are_refused() -> None:
    info = llb.HTTPSignatureInfo(pub_key=b"key", signature=b"signature")
    async with Daemon() as daemon, connected(daemon) as client:
        state = llb.http("http://127.0.0.1:1/x", llb.verify_pgp_signature(info))
        built = await solve(client, SolveOpt(), await state.marshal(BG))
    assert "http://127.0.0.1:1/x: this daemon verifies no signatures" in str(built.error)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("foo", "foo"),
        ("foo.txt", "foo.txt"),
        ("資料.txt", "資料.txt"),
        ("name with spaces.txt", "name with spaces.txt"),
        ("  foo.txt  ", "foo.txt"),
        ("a/b/c.txt", "c.txt"),
        ("a/b/", "b"),
        ("..\\", "..\\"),
        *((text, "download") for text in ("", ".", "..", "../", "/", "a\x00b", "a\nb", "a\x7f", "a\x85b")),
    ],
)
def test_safe_file_name(text: str, name: str) -> None:
    """TestSafeFileName, and what Go's package says of controls"""
    assert safe_file_name(text) == name


@pytest.mark.parametrize(
    ("head", "known"),
    [
        (tar({"a": b"1"}), True),
        (tar({"a": b"1"}, "w:gz"), True),
        (tar({"a": b"1"}, "w:bz2"), True),
        (tar({"a": b"1"}, "w:xz"), True),
        (b"FROM scratch\n", False),
        (b"", False),
        (bytes(1024), False),
        (b"\x1f\x8b", False),
    ],
)
def test_is_archive(head: bytes, known: bool) -> None:
    assert is_archive(head[:1024]) == known


# Single blobs


async def test_a_blob_that_is_there_is_not_asked_for(tmp_path: Path) -> None:
    async with Daemon() as daemon, connected(daemon) as client:
        with served() as registry:
            blob = registry.blob(b"of the blob")["digest"]
            definition = await llb.image_blob(f"{registry.host}/img@{blob}").marshal(BG)
            exports = [ExportEntry(type="local", output_dir=str(tmp_path / "out"))]
            first = await solve(client, SolveOpt(exports=exports), definition)
        second = await solve(client, SolveOpt(exports=exports), definition)
    assert first.error is None
    assert second.error is None
    assert first.cached() == set()
    assert second.cached() == {f"docker-image+blob://{registry.host}/img@{blob}"}
    name = blob.removeprefix("sha256:")
    assert (tmp_path / "out" / name).read_text() == "of the blob"
    assert (tmp_path / "out" / name).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("ref", "error"),
    [
        (f"HOST/img@sha256:{64 * 'a'}", "unexpected commit digest sha256:"),
        (f"HOST/none@sha256:{64 * 'a'}", f"/v2/none/blobs/sha256:{64 * 'a'} not found: not found"),
        (f"HOST/img@sha512:{128 * 'a'}", "failed to load cache key: unsupported digest sha512:"),
    ],
)
async def test_a_blob_that_cannot_be(ref: str, error: str) -> None:
    with served() as registry:
        wrong = f"/v2/img/blobs/sha256:{64 * 'a'}"
        registry.content[wrong] = ("application/octet-stream", b"another content")
        async with Daemon() as daemon, connected(daemon) as client:
            state = llb.image_blob(ref.replace("HOST", registry.host))
            built = await solve(client, SolveOpt(), await state.marshal(BG))
    assert error in str(built.error)


async def test_a_blob_of_a_layout_that_nobody_offers(tmp_path: Path) -> None:
    write_tree(tmp_path, {"a": "1"})
    registry = Registry()
    blob = registry.blob(b"x")["digest"]
    assert blob == digest(b"x")
    async with Daemon() as daemon, connected(daemon) as client:
        state = llb.oci_layout_blob(f"a/b@{blob}", llb.image_blob_oci_store("", "none"))
        built = await solve(client, SolveOpt(), await state.marshal(BG))
    assert "unknown service containerd.services.content.v1.Content" in str(built.error)
