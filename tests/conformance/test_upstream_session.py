"""What BuildKit's own tests of secrets, policies and history ask of a session, and no other file here does.

Each test carries the upstream test's name in its docstring.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pybuildkit import client as buildkit
from pybuildkit import identity
from pybuildkit.api.services.control import _methods as control
from pybuildkit.api.services.control import control_pb2
from pybuildkit.client import SolveOpt, llb
from pybuildkit.client.llb.sourceresolver import Opt, ResolveImageOpt
from pybuildkit.frontend.gateway import client as gateway
from pybuildkit.frontend.gateway.pb import gateway_pb2
from pybuildkit.golang import context
from pybuildkit.golang.context import Context
from pybuildkit.golang.errors import BuildkitError
from pybuildkit.session.secrets import secretsprovider
from pybuildkit.solver.pb import ops_pb2
from pybuildkit.sourcepolicy.pb import policy_pb2
from pybuildkit.sourcepolicy.policysession import new_policy_provider
from pybuildkit.sourcepolicy.policysession.policysession_pb2 import CheckPolicyRequest, DecisionResponse
from pybuildkit.third_party.platforms import Platform
from tests.conformance import registry
from tests.conformance.services import build, copy_program, kind, need, ssh_agent
from tests.conformance.test_services import step
from tests.conformance.test_upstream_solve import made, run_build, solve
from tests.daemons import write_tree

BG = context.background()
ALLOW = DecisionResponse(action=policy_pb2.PolicyAction.ALLOW)
NOTHING = "docker-image://docker.io/library/nothing:latest"


class FileServer(ThreadingHTTPServer):
    """Serves one content under every path, and keeps what it was asked with."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.asked: list[tuple[str, Mapping[str, str]]] = []
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        """The address of a file."""
        return f"http://127.0.0.1:{self.server_address[1]}/{os.urandom(6).hex()}"


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, FileServer)
        self.server.asked.append((self.command, dict(self.headers)))
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.server.content)))
        self.end_headers()
        self.wfile.write(self.server.content)

    def log_message(self, format: str, *args: object) -> None:
        """Standard error is the test's."""


@contextmanager
def file_server(content: bytes = b"content") -> Iterator[FileServer]:
    with FileServer(content) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


# Secrets and agents


@pytest.mark.parametrize(
    ("secret", "options", "sent"),
    [
        ("http-secret", [llb.auth_header_secret("http-secret")], "Bearer foo"),
        ("HTTP_AUTH_TOKEN_127.0.0.1", [], "Bearer Bearer foo"),
    ],
)
async def test_build_http_source_secrets(addr: str, secret: str, options: list[llb.HTTPOption], sent: str) -> None:
    """testBuildHTTPSourceAuthHeaderSecret, testBuildHTTPSourceHostTokenSecret"""
    need(addr, "http", "http-secrets")
    with file_server() as server:
        session = [secretsprovider.from_map({secret: b"Bearer foo"})]
        await solve(addr, llb.http(server.url, *options), session=session)
    assert [(method, headers.get("Authorization")) for method, headers in server.asked] == [("GET", sent)]


def test_secret_file_params(real_addr: str, tmp_path: Path, busybox: Path) -> None:
    """testSecretFileParams: mode and owner of the file; nothing is left of it behind the step"""
    need(real_addr, "run")
    root = write_tree(tmp_path / "test", {"bin/": "", "salt": os.urandom(16)})
    shutil.copy(busybox, root / "bin/busybox")
    (tmp_path / "pw").write_text("pw")
    mount = "--mount=type=secret,required=false,id=mysecret,mode=741,uid=100,gid=102,target=/mysecret"
    text = step("/bin/busybox stat -c '%u %g %f' /mysecret > /seen", mount)
    text += 'RUN ["/bin/busybox", "sh", "-c", "if /bin/busybox test -f /mysecret; then exit 9; fi"]\n'
    build("--secret", "id=mysecret,src=pw", addr=real_addr, cwd=tmp_path, files={"Dockerfile": text})
    assert (tmp_path / "out/seen").read_text() == "100 102 81e1\n"


class Counting:
    """Stands before an agent's socket, and counts the connections that are open at a time."""

    def __init__(self, path: Path, agent: str) -> None:
        self.most = self.all = self._open = 0
        self._agent = agent
        self._lock = threading.Lock()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self.all += 1
                self._open += 1
                self.most = max(self.most, self._open)
            thread = threading.Thread(target=self._relay, args=(near,))
            self._threads.append(thread)
            thread.start()

    def _relay(self, near: socket.socket) -> None:
        with near, socket.socket(socket.AF_UNIX) as far:
            far.connect(self._agent)
            while data := near.recv(65536):
                far.sendall(data)
                near.sendall(far.recv(65536))  # an agent answers each question at once
        with self._lock:
            self._open -= 1

    def close(self) -> int:
        """Stop listening, wait for all; how many connections are left open."""
        self._listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(20)
        self._listener.close()
        return self._open


def test_ssh_file_descriptors_closed(real_addr: str, tmp_path: Path, busybox: Path) -> None:
    """testSSHFileDescriptorsClosed: a connection to the agent ends with its client"""
    need(real_addr, "run")
    root = write_tree(tmp_path / "test", {"bin/": "", "salt": os.urandom(16)})
    shutil.copy(busybox, root / "bin/busybox")
    ssh_add = copy_program("ssh-add", root)
    with ssh_agent(tmp_path) as agent:
        counting = Counting(tmp_path / "counting.sock", agent.socket)
        try:
            files = {"Dockerfile": step(f"for i in 1 2 3; do {ssh_add} -l; done > /keys", "--mount=type=ssh")}
            given = ["--ssh", f"default={tmp_path}/counting.sock"]
            build(*given, addr=real_addr, cwd=tmp_path, files=files)
        finally:
            left = counting.close()
    assert (tmp_path / "out/keys").read_text().count(agent.comment) == 3
    assert left == 0
    assert counting.all >= 3
    assert counting.most <= 2  # the last one's end may still be on its way when the next one comes


# Source policies


Check = Callable[[CheckPolicyRequest], "DecisionResponse | gateway_pb2.ResolveSourceMetaRequest"]


def policies(check: Check) -> dict[str, object]:
    """Options of a solve whose sources the function judges."""

    async def decide(
        ctx: Context, request: CheckPolicyRequest
    ) -> tuple[DecisionResponse | None, gateway_pb2.ResolveSourceMetaRequest | None]:
        answer = check(request)
        return (answer, None) if isinstance(answer, DecisionResponse) else (None, answer)

    return {"source_policy_provider": new_policy_provider(decide)}


async def test_source_meta_policy_session(addr: str, tmp_path: Path) -> None:
    """testSourceMetaPolicySession: also a question about a source is judged, with its platform"""
    need(addr, "policy-session")
    asked: list[tuple[str, str, str]] = []

    def check(request: CheckPolicyRequest) -> DecisionResponse:
        source = request.Source.Source.identifier
        asked.append((source, request.Platform.OS, request.Platform.Architecture))
        if source == NOTHING:
            raise BuildkitError("policy denied")
        return ALLOW

    async def ask(identifier: str) -> None:
        async def frontend(ctx: Context, client: gateway.Client) -> None:
            opt = Opt(image_opt=ResolveImageOpt(platform=Platform(os="linux", architecture="amd64")))
            await client.resolve_source_metadata(ctx, ops_pb2.SourceOp(identifier=identifier), opt)

        await run_build(addr, frontend, **policies(check))

    with registry.serve(tmp_path / "registry") as where:
        ref = "docker-image://" + where.push("img", {"file": b"x"})
        await ask(ref)
    with pytest.raises(BuildkitError, match="policy denied"):
        await ask(NOTHING)
    assert asked == [(ref, "linux", "amd64"), (NOTHING, "linux", "amd64")]


async def test_source_policy_parallel_session(addr: str, tmp_path: Path) -> None:
    """testSourcePolicyParallelSession: a question waits for another one's answer; metadata is given when asked for"""
    need(addr, "policy-session")
    started, decided = asyncio.Event(), asyncio.Event()
    counts = {"one": 0, "two": 0}

    async def decide(
        ctx: Context, request: CheckPolicyRequest
    ) -> tuple[DecisionResponse | None, gateway_pb2.ResolveSourceMetaRequest | None]:
        name = "one" if "/one:" in request.Source.Source.identifier else "two"
        counts[name] += 1
        if name == "two":
            started.set()
            await decided.wait()
            return ALLOW, None
        if counts["one"] == 1:
            await started.wait()
            assert not request.Source.HasField("Image")
            return None, gateway_pb2.ResolveSourceMetaRequest(Source=request.Source.Source, Platform=request.Platform)
        assert request.Source.Image.Digest.startswith("sha256:")
        decided.set()
        return ALLOW, None

    with registry.serve(tmp_path / "registry") as where:
        one, two = (where.push(name, {f"{name}-file": os.urandom(9)}) for name in ("one", "two"))
        state = llb.image(one).file(llb.copy(llb.image(two), "/two-file", "copied"))
        await asyncio.wait_for(solve(addr, state, source_policy_provider=new_policy_provider(decide)), 60)
    assert counts == {"one": 2, "two": 1}


SHA256 = gateway_pb2.ChecksumRequest.CHECKSUM_ALGO_SHA256


@pytest.mark.parametrize(
    ("algorithm", "suffix", "error"),
    [
        (SHA256, b"signed suffix", ""),
        (SHA256, bytes(4097), "suffix exceeds max size"),
        (99, b"\x01\x02\x03", "unsupported checksum algorithm"),
    ],
)
async def test_source_policy_session_http_checksum_assist(addr: str, algorithm: int, suffix: bytes, error: str) -> None:
    """testSourcePolicySessionHTTPChecksumAssist: the daemon hashes a download with a suffix that a policy chooses"""
    need(addr, "policy-session", "http")
    payload = os.urandom(2000)
    seen: list[gateway_pb2.ResolveSourceHTTPResponse] = []

    def check(request: CheckPolicyRequest) -> DecisionResponse | gateway_pb2.ResolveSourceMetaRequest:
        seen.append(request.Source.HTTP)
        if len(seen) == 2:
            return ALLOW
        wanted = gateway_pb2.ChecksumRequest(Suffix=suffix)
        wanted.Algo = algorithm  # type: ignore[assignment]  # one that does not exist is a case
        return gateway_pb2.ResolveSourceMetaRequest(
            Source=request.Source.Source,
            Platform=request.Platform,
            HTTP=gateway_pb2.ResolveSourceHTTPRequest(ChecksumRequest=wanted),
        )

    with file_server(payload) as server:
        state = llb.scratch().file(llb.copy(llb.http(server.url, llb.filename("a")), "a", "/b"))
        if error:
            with pytest.raises(BuildkitError, match=error):
                await solve(addr, state, **policies(check))
            assert len(seen) == 1
            return
        await solve(addr, state, **policies(check))
    assert len(seen) == 2
    answer = seen[1].ChecksumResponse
    assert (answer.Digest, answer.Suffix) == ("sha256:" + hashlib.sha256(payload + suffix).hexdigest(), suffix)


# History


async def test_listen_build_history_excludes_soft_deleted_records(addr: str) -> None:
    """testListenBuildHistoryExcludesSoftDeletedRecords: a record deleted while it is followed is listed no more"""
    if kind(addr) == "docker":
        pytest.skip("the BuildKit in Docker 20.10 keeps no history")
    refs = [identity.new_id() for _ in range(3)]
    async with await buildkit.new(BG, addr) as client:
        for ref in refs:
            await client.solve(BG, await made(ref).marshal(BG), SolveOpt(ref=ref))
        ctx, cancel = context.with_cancel(BG)
        following = await client.stream(ctx, control.LISTEN_BUILD_HISTORY)
        await following.send(control_pb2.BuildHistoryRequest(Ref=refs[1]))
        await following.close_send()
        first = await following.recv()
        assert first is not None
        assert first.record.Ref == refs[1]
        await client.unary(
            BG, control.UPDATE_BUILD_HISTORY, control_pb2.UpdateBuildHistoryRequest(Ref=refs[1], Delete=True)
        )
        listing = await client.stream(BG, control.LISTEN_BUILD_HISTORY)
        await listing.send(control_pb2.BuildHistoryRequest(EarlyExit=True, Limit=1000))
        await listing.close_send()
        found = {event.record.Ref async for event in listing}
        cancel()
        following.cancel()
    assert refs[1] not in found
    assert {refs[0], refs[2]} <= found
