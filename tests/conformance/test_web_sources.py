"""Files from web servers as sources, in ADD and as contexts: what the tree has, what the server is asked, failures."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import io
import os
import re
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pybuildkit import client as buildkit
from pybuildkit.client import ExportEntry, SolveOpt, llb
from pybuildkit.client.llb.sourceresolver import MetaResponse, Opt
from pybuildkit.frontend.gateway import client as gateway
from pybuildkit.golang import context
from pybuildkit.golang.chan import Chan
from pybuildkit.golang.context import Context
from pybuildkit.golang.errors import BuildkitError, error_text
from pybuildkit.session.secrets import secretsprovider
from pybuildkit.session.upload import uploadprovider
from pybuildkit.solver.pb import ops_pb2
from pybuildkit.third_party import fsutil
from tests.conformance.services import kind, need
from tests.conformance.test_upstream_solve import Memory, run_build
from tests.daemons import write_tree
from tests.fake_buildkitd.registry.servers import Answer, Request, http_server

BG = context.background()
DATA = b"what the server gives"
DIGEST = "sha256:" + hashlib.sha256(DATA).hexdigest()
OTHER = "sha256:" + 64 * "a"
DATE = "Wed, 21 Oct 2015 07:28:00 GMT"
File = tuple[str, int, int, int, int, bytes]
"""Name, mode, owner, group, time, content."""


@dataclass
class Web:
    """A server whose pages all lie below a folder that no earlier test has asked for."""

    host: str = ""
    salt: str = field(default_factory=lambda: os.urandom(6).hex())
    pages: dict[str, Answer] = field(default_factory=dict)
    asked: list[Request] = field(default_factory=list)
    hook: Callable[[Request], Answer | None] = lambda request: None

    def answer(self, request: Request) -> Answer:
        self.asked.append(request)
        page = request.path.removeprefix(f"/{self.salt}/")
        return self.hook(request) or self.pages.get(page, (404, {}, b"not here"))

    def url(self, page: str) -> str:
        return f"http://{self.host}/{self.salt}/{page}"

    def methods(self) -> list[str]:
        """The methods of the requests so far, which are then forgotten."""
        found = [request.method for request in self.asked]
        self.asked.clear()
        return found

    def plain(self, text: str) -> str:
        """A text without what is different in every run."""
        text = text.replace(self.host, "HOST").replace(self.salt, "SALT")
        return re.sub(r"ref [a-z0-9]+::[a-z0-9]+", "ref X", text)


@contextmanager
def web(**pages: bytes | Answer) -> Iterator[Web]:
    found = Web()
    for name, page in pages.items():
        found.pages[name] = page if isinstance(page, tuple) else (200, {}, page)
    with http_server(found.answer) as host:
        found.host = host
        yield found


def files(archive: Memory) -> list[File]:
    """The files of a tar export, without directories."""
    with tarfile.open(fileobj=io.BytesIO(bytes(archive.data))) as tar:
        return [
            (m.name, m.mode, m.uid, m.gid, int(m.mtime), tar.extractfile(m).read())  # type: ignore[union-attr]  # a file
            for m in tar
            if m.isfile()
        ]


@dataclass
class Outcome:
    """What became of a build."""

    files: list[File]
    error: str
    cached: set[str]
    steps: dict[str, str]


async def make(addr: str, opt: SolveOpt, archive: Memory, state: llb.State | None = None) -> Outcome:
    status: Chan[buildkit.SolveStatus] = Chan()
    steps: dict[str, str] = {}
    cached: set[str] = set()

    async def watch() -> None:
        async for message in status:
            for vertex in message.vertexes:
                steps[vertex.name] = vertex.error
                cached.update([vertex.name] if vertex.cached else [])

    async with await buildkit.new(BG, addr) as client:
        watching = asyncio.ensure_future(watch())
        error = ""
        try:
            await client.solve(BG, await state.marshal(BG) if state is not None else None, opt, status)
        except BuildkitError as err:
            error = error_text(err)
        await watching
    return Outcome(files(archive) if not error else [], error, cached, steps)


def options_of(archive: Memory, **options: object) -> SolveOpt:
    exports = [ExportEntry(type="tar", output=archive.open)]
    return SolveOpt(exports=exports, **options)  # type: ignore[arg-type]  # checked at run time


async def fetch(addr: str, state: llb.State, **options: object) -> Outcome:
    """The tree of a state."""
    archive = Memory()
    return await make(addr, options_of(archive, **options), archive, state)


async def build(addr: str, folder: Path | None, attrs: Mapping[str, str]) -> Outcome:
    """The tree of a Dockerfile's build."""
    archive = Memory()
    fs = fsutil.new_fs(str(folder)) if folder is not None else None
    mounts = {"context": fs, "dockerfile": fs} if fs is not None else {}
    opt = options_of(archive, frontend="dockerfile.v0", frontend_attrs=dict(attrs), local_mounts=mounts)
    return await make(addr, opt, archive)


# The source


SERVED: dict[str, Answer] = {
    "plain": (200, {}, DATA),
    "dated": (200, {"Last-Modified": DATE}, DATA),
    "undated": (200, {"Last-Modified": "yesterday"}, DATA),
    "named": (200, {"Content-Disposition": 'attachment; filename="a/b.txt"'}, DATA),
    "folder": (200, {"Content-Disposition": 'attachment; filename="a/"'}, DATA),
    "moved": (302, {"Location": "plain"}, b""),
    "packed": (200, {"Content-Encoding": "gzip"}, gzip.compress(DATA, mtime=0)),
    "empty": (204, {}, b""),
    "odd": (399, {}, DATA),
    "short": (200, {"Content-Length": "100"}, DATA),
    "gone": (404, {}, DATA),
    "broken": (500, {}, DATA),
    "same": (304, {}, b""),
    "loop": (302, {"Location": "loop"}, b""),
    "local": (302, {"Location": "file:///etc/passwd"}, b""),
}


@pytest.mark.parametrize(
    ("page", "options", "expected"),
    [
        ("plain", [], ("plain", 0o600, 0, 0, 0, DATA)),
        ("plain", [llb.filename("../x/y"), llb.chmod(0o711), llb.chown(3, 4)], ("y", 0o711, 3, 4, 0, DATA)),
        ("plain?a=b#c", [llb.filename(" .. ")], ("download", 0o600, 0, 0, 0, DATA)),
        ("dated", [], ("dated", 0o600, 0, 0, 1445412480, DATA)),
        ("undated", [], ("undated", 0o600, 0, 0, 0, DATA)),
        ("named", [], ("b.txt", 0o600, 0, 0, 0, DATA)),
        ("folder", [], ("folder", 0o600, 0, 0, 0, DATA)),
        ("moved", [], ("moved", 0o600, 0, 0, 0, DATA)),
        ("packed", [], ("packed", 0o600, 0, 0, 0, DATA)),
        ("empty", [], ("empty", 0o600, 0, 0, 0, b"")),
        ("odd", [llb.checksum(DIGEST)], ("odd", 0o600, 0, 0, 0, DATA)),
        ("plain", [llb.checksum(DIGEST), llb.filename("pinned")], ("pinned", 0o600, 0, 0, 0, DATA)),
    ],
)
async def test_a_file(addr: str, page: str, options: Sequence[llb.HTTPOption], expected: File) -> None:
    if page == "folder" or expected[0] in ("y", "download"):
        need(addr, "file-names")
    with web(**SERVED) as server:
        found = await fetch(addr, llb.http(server.url(page), *options))
    assert found.error == ""
    assert found.files == [expected]


@pytest.mark.parametrize(
    ("page", "options", "error"),
    [
        ("gone", [], "failed to load cache key: invalid response status 404"),
        ("broken", [], "failed to load cache key: invalid response status 500"),
        ("same", [], "failed to load cache key: invalid not-modified ETag: "),
        ("loop", [], 'failed to load cache key: Get "loop": stopped after 10 redirects'),
        ("local", [], 'failed to load cache key: Get "file:///etc/passwd": unsupported protocol scheme "file"'),
        ("plain", [llb.checksum(OTHER)], f"digest mismatch {DIGEST}: {OTHER}"),
        ("plain", [llb.checksum("sha256:abc")], "failed to load cache key: invalid checksum digest length"),
        ("plain", [llb.checksum("none")], "failed to load cache key: invalid checksum digest format"),
        ("plain", [llb.checksum("md5:" + 32 * "a")], "failed to load cache key: unsupported digest algorithm"),
        ("short", [], "failed to load cache key: unexpected EOF"),
    ],
)
async def test_a_file_that_cannot_be(addr: str, page: str, options: Sequence[llb.HTTPOption], error: str) -> None:
    with web(**SERVED) as server:
        found = await fetch(addr, llb.http(server.url(page), *options))
        assert server.plain(found.error) == f"failed to solve: {error}"
        shown = error.removeprefix("failed to load cache key: ")
        assert [server.plain(text) for text in found.steps.values()] == [shown]


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("http://127.0.0.1:1/x", 'Get "http://127.0.0.1:1/x": dial tcp 127.0.0.1:1: connect: connection refused'),
        ("http://[/x", "parse \"http://[/x\": missing ']' in host"),
    ],
)
async def test_an_address_without_server(addr: str, url: str, error: str) -> None:
    found = await fetch(addr, llb.http(url))
    assert found.error == f"failed to solve: failed to load cache key: {error}"


async def test_the_server_speaks_no_tls(addr: str) -> None:
    with web() as server:
        found = await fetch(addr, llb.http(server.url("x").replace("http:", "https:")))
        assert server.plain(found.error).endswith(
            'Get "https://HOST/SALT/x": tls: first record does not look like a TLS handshake'
        ) or (kind(addr) == "docker" and "http: server gave HTTP response to HTTPS client" in found.error)


async def test_headers(addr: str) -> None:
    """Only the two that a build may set go out."""
    need(addr, "http-headers")
    with web(**SERVED) as server:
        headers = llb.HTTPHeader(accept="a/b", user_agent="mine/1")
        found = await fetch(addr, llb.http(server.url("plain"), llb.header(headers)))
        (request,) = server.asked
    assert found.error == ""
    assert (request.headers["accept"], request.headers["user-agent"]) == ("a/b", "mine/1")


async def test_what_has_not_changed_is_not_sent_again(addr: str) -> None:
    need(addr, "http-etags")
    with web() as server:
        state = llb.http(server.url("x"))
        server.pages["x"] = (200, {"ETag": 'W/"1"', "Last-Modified": DATE}, DATA)
        first = await fetch(addr, state)
        assert server.methods() == ["GET"]
        second = await fetch(addr, state)
        assert server.methods() == ["HEAD"]
        assert second.files == first.files
        assert second.cached == {server.url("x")}
        server.pages["x"] = (200, {"ETag": '"2"'}, b"changed")
        third = await fetch(addr, state)
        assert server.methods() == ["HEAD", "GET"]
        assert [file[-2:] for file in third.files] == [(0, b"changed")]


async def test_a_server_that_answers_head_wrongly(addr: str) -> None:
    """The file itself is asked for, and may then be said to be the same."""
    need(addr, "http-etags")

    def hook(request: Request) -> Answer | None:
        if request.method == "HEAD":
            return 405, {}, b""
        if request.headers.get("if-none-match") == '"1"':
            return 304, {}, b""
        return None

    with web(x=(200, {"ETag": '"1"'}, DATA)) as server:
        server.hook = hook
        state = llb.http(server.url("x"))
        first = await fetch(addr, state)
        second = await fetch(addr, state)
        assert server.methods() == ["GET", "HEAD", "GET"]
    assert second.files == first.files


async def test_a_pinned_file_is_asked_for_once(addr: str) -> None:
    content = os.urandom(30)
    with web(x=content) as server:
        state = llb.http(server.url("x"), llb.checksum("sha256:" + hashlib.sha256(content).hexdigest()))
        first = await fetch(addr, state)
        second = await fetch(addr, state)
        assert server.methods() == ["GET"]
    assert first.error == second.error == ""
    assert first.files == second.files
    assert second.cached


async def test_a_login_goes_to_its_host_only(addr: str) -> None:
    need(addr, "http-secrets")
    with web(there=DATA) as server:
        port = server.host.rpartition(":")[2]
        server.pages["here"] = (302, {"Location": f"http://localhost:{port}/{server.salt}/there"}, b"")
        secrets = [secretsprovider.from_map({"HTTP_AUTH_HEADER_127.0.0.1": b"Basic secret"})]
        found = await fetch(addr, llb.http(server.url("here")), session=secrets)
        asked = [(r.path.rpartition("/")[2], r.headers.get("authorization")) for r in server.asked]
    assert found.error == ""
    assert asked == [("here", "Basic secret"), ("there", None)]


async def test_a_secret_that_is_not_there(addr: str) -> None:
    need(addr, "http-secrets")
    with web(x=DATA) as server:
        secrets = [secretsprovider.from_map({"other": b"x"})]
        found = await fetch(addr, llb.http(server.url("x"), llb.auth_header_secret("mine")), session=secrets)
        assert server.asked == []
    assert found.error.endswith(": failed to retrieve HTTP auth secret mine: secret mine: not found")


async def test_what_is_known_of_a_file(addr: str) -> None:
    """A frontend asks for a file's digest, name and time; the build then takes it without asking again."""
    need(addr, "policy-session")
    answers: list[MetaResponse] = []

    async def frontend(ctx: Context, client: gateway.Client) -> gateway.Result:
        answers.append(await client.resolve_source_metadata(ctx, ops_pb2.SourceOp(identifier=url), Opt()))
        definition = (await llb.http(url).marshal(ctx)).to_pb()
        return await client.solve(ctx, gateway.SolveRequest(definition=definition, evaluate=True))

    with web(dated=(200, {"Last-Modified": DATE}, DATA)) as server:
        url = server.url("dated")
        await run_build(addr, frontend)
        assert server.methods() == ["GET"]
    (answer,) = answers
    assert answer.http is not None
    assert (answer.http.digest, answer.http.filename) == (DIGEST, "dated")


# ADD


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("ADD {plain} /", ("plain", 0o600, 0, 0, 0, DATA)),
        ("ADD {plain} /x/y", ("x/y", 0o600, 0, 0, 0, DATA)),
        ("ADD --chmod=711 --chown=3:4 {plain}?q=1#f /x/", ("x/plain", 0o711, 3, 4, 0, DATA)),
        ("ADD {a%20b} /x/", ("x/a b", 0o600, 0, 0, 0, DATA)),
        ("ADD --link {dated} /x/", ("x/dated", 0o600, 0, 0, 1445412480, DATA)),
        (f"ADD --checksum={DIGEST} {{plain}} /sum", ("sum", 0o600, 0, 0, 0, DATA)),
        ("ADD {packed.tar.gz} /", ("packed.tar.gz", 0o600, 0, 0, 0, b"")),
        ("ADD --unpack {packed.tar.gz} /x/", ("x/in", 0o644, 0, 0, 0, b"1")),
        ("ARG U={plain}\nADD $U /arg", ("arg", 0o600, 0, 0, 0, DATA)),
    ],
)
async def test_add(addr: str, tmp_path: Path, line: str, expected: File) -> None:
    if kind(addr) == "docker" and any(flag in line for flag in ("--link", "--checksum", "--unpack", "--chmod")):
        pytest.skip("the BuildKit in Docker 20.10 does not know the flag")
    packed = gzip.compress(tar({"in": b"1"}), mtime=0)
    pages = {**SERVED, "a b": (200, {}, DATA), "a%20b": (200, {}, DATA), "packed.tar.gz": (200, {}, packed)}
    with web(**pages) as server:
        text = re.sub(r"\{([^}]*)\}", lambda found: server.url(found[1]), line)
        folder = write_tree(tmp_path / "in", {"Dockerfile": f"FROM scratch\n{text}\n"})
        found = await build(addr, folder, {})
        assert found.error == ""
        assert f"[1/1] {text.rpartition(chr(10))[2].replace('$U', server.url('plain'))}" in found.steps
    if expected[-1] == b"":
        expected = (*expected[:-1], packed)
    assert found.files == [expected]


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("ADD {none} /", "failed to load cache key: invalid response status 404"),
        (f"ADD --checksum={OTHER} {{plain}} /", f"digest mismatch {DIGEST}: {OTHER}"),
        ("ADD --checksum=sha256:b {plain} /", "invalid checksum digest length"),
        ("ADD --checksum=x {plain} {plain} /", "checksum can't be specified for multiple sources"),
        (f"ADD --checksum={DIGEST} Dockerfile /", "checksum requires HTTP(S) or Git sources"),
        ("COPY {plain} /", "source can't be a URL for COPY"),
        ("COPY {x.git} /", "source can't be a git ref for COPY"),
        ("ADD {x.git}?a=b /", 'unexpected query "a"'),
        ("ADD --keep-git-dir=true {x.git}?keep-git-dir=false /", "inconsistent keep-git-dir configuration"),
        ("ADD --checksum=abc {x.git}?checksum=def /", 'checksum mismatch "abc" != "def"'),
    ],
)
async def test_add_that_cannot_be(addr: str, tmp_path: Path, line: str, error: str) -> None:
    if kind(addr) == "docker" and "{none}" not in line:
        pytest.skip("the BuildKit in Docker 20.10 does not know the flag, or has another text")
    with web(**SERVED) as server:
        text = re.sub(r"\{([^}]*)\}", lambda found: server.url(found[1]), line)
        folder = write_tree(tmp_path / "in", {"Dockerfile": f"FROM scratch\n{text}\n"})
        found = await build(addr, folder, {})
    assert found.error == f"failed to solve: {error}"


# Contexts


def tar(members: Mapping[str, bytes], mode: str = "w") -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode=mode) as archive:  # type: ignore[call-overload]  # a mode of the table
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return data.getvalue()


TREE = {
    "Dockerfile": b"FROM scratch\nCOPY f /\n",
    "f": b"1",
    "sub/f": b"2",
    ".dockerignore": b"f\n",
    "other": b"FROM scratch\nCOPY f /g\n",
}


@pytest.mark.parametrize(
    ("page", "attrs", "expected"),
    [
        (tar(TREE), {}, {"f": b"1"}),
        (tar(TREE, "w:gz"), {}, {"f": b"1"}),
        (tar(TREE, "w:bz2"), {}, {"f": b"1"}),
        (tar(TREE, "w:xz"), {}, {"f": b"1"}),
        (tar(TREE), {"filename": "other"}, {"g": b"1"}),
        (tar(TREE), {"contextsubdir": "sub"}, {"f": b"2"}),
        (b"FROM scratch\nCOPY context /\n", {}, {"context": b"FROM scratch\nCOPY context /\n"}),
        (b"FROM scratch\nCOPY context /c\n", {"filename": "x"}, {"c": b"FROM scratch\nCOPY context /c\n"}),
    ],
)
async def test_a_context_from_the_web(
    addr: str, page: bytes, attrs: Mapping[str, str], expected: Mapping[str, bytes]
) -> None:
    with web(page=page) as server:
        found = await build(addr, None, {"context": server.url("page"), **attrs})
    assert found.error == ""
    assert {file[0]: file[-1] for file in found.files} == expected
    assert "[internal] load remote build context" in found.steps


@pytest.mark.parametrize(
    ("page", "attrs", "error"),
    [
        (b"", {}, "the Dockerfile cannot be empty"),
        (tar({"f": b"1"}), {}, "failed to read dockerfile: open Dockerfile: no such file or directory"),
        (
            tar(TREE),
            {"contextsubdir": "none"},
            'failed to compute cache key: failed to calculate checksum of ref X: "/none": not found',
        ),
        (None, {}, "failed to read downloaded context: failed to load cache key: invalid response status 404"),
    ],
)
async def test_a_context_that_cannot_be(addr: str, page: bytes | None, attrs: Mapping[str, str], error: str) -> None:
    need(addr, "modern-texts")
    with web(**({"page": page} if page is not None else {})) as server:
        found = await build(addr, None, {"context": server.url("page"), **attrs})
        assert server.plain(found.error) == f"failed to solve: {error}"


async def test_a_named_context_from_the_web(addr: str, tmp_path: Path) -> None:
    need(addr, "named-contexts")
    text = "FROM base AS whole\nCOPY f /\nFROM scratch\nCOPY --from=whole / /\nCOPY --from=base context /again\n"
    folder = write_tree(tmp_path / "in", {"Dockerfile": text, "f": "of the context"})
    with web(page=DATA) as server:
        found = await build(addr, folder, {"context:base": server.url("page")})
        assert f"[context base] {server.url('page')}" in found.steps
        assert server.methods() == ["GET"]
    assert found.error == ""
    expected = [("again", 0o600, DATA), ("context", 0o600, DATA), ("f", 0o644, b"of the context")]
    assert [(name, mode, content) for name, mode, _, _, _, content in found.files] == expected


async def test_an_upload_is_read_once(addr: str) -> None:
    """What a session offers under an address can be given once; asking about it before the build does not use it up."""
    need(addr, "policy-session")
    uploads = uploadprovider.new()
    url = uploads.add(io.BytesIO(DATA))

    async def frontend(ctx: Context, client: gateway.Client) -> gateway.Result:
        answer = await client.resolve_source_metadata(ctx, ops_pb2.SourceOp(identifier=url), Opt())
        assert answer.http is not None
        assert answer.http.digest == DIGEST
        definition = (await llb.http(url).marshal(ctx)).to_pb()
        return await client.solve(ctx, gateway.SolveRequest(definition=definition, evaluate=True))

    archive = Memory()
    exports = [ExportEntry(type="tar", output=archive.open)]
    await run_build(addr, frontend, exports=exports, session=[uploads])
    assert [file[-1] for file in files(archive)] == [DATA]


@pytest.mark.parametrize(
    ("ref", "error"),
    [
        ("127.0.0.1:1/x:y", 'failed to do request: Head "http://127.0.0.1:1/v2/x/manifests/y": dial tcp 127.0.0.1:1: '),
        ("HOST/x:y", "HOST/x:y: not found"),
    ],
)
async def test_an_image_that_is_not_there(addr: str, ref: str, error: str) -> None:
    need(addr, "modern-texts")
    with web() as server:
        found = await fetch(addr, llb.image(ref.replace("HOST", server.host)))
        assert server.plain(found.error).startswith(f"failed to solve: failed to load cache key: {error}")
        assert [server.plain(text)[: len(error)] for text in found.steps.values()] == [error]
