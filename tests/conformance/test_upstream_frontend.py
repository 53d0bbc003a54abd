"""What BuildKit's own tests of frontends, policies and processes ask of a client, and no other file here does.

Each test carries the upstream test's name in its docstring.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

import pytest

from pybuildkit import client as buildkit
from pybuildkit.client import ExportEntry, SolveOpt, llb
from pybuildkit.frontend.gateway import client as gateway
from pybuildkit.frontend.gateway.pb import gateway_pb2
from pybuildkit.golang import context
from pybuildkit.golang.context import Context
from pybuildkit.golang.errors import BuildkitError
from pybuildkit.rpc import Buffer, ByteStream
from pybuildkit.session.secrets import secretsprovider
from pybuildkit.solver.pb import ops_pb2
from pybuildkit.sourcepolicy.pb import policy_pb2
from pybuildkit.sourcepolicy.policysession import PolicyProvider, deny_messages, new_policy_provider
from pybuildkit.sourcepolicy.policysession.policysession_pb2 import CheckPolicyRequest, DecisionResponse, DenyMessage
from pybuildkit.third_party import fsutil
from tests.conformance.services import kind, need
from tests.conformance.test_upstream_solve import Memory, local, made, names, run_build, solve, solved
from tests.daemons import write_tree

BG = context.background()
ALLOW = policy_pb2.PolicyAction.ALLOW
NOTHING = "docker-image://docker.io/library/nothing:latest"
Decide = Callable[[CheckPolicyRequest], "DecisionResponse | gateway_pb2.ResolveSourceMetaRequest"]


# Source policies of the session


def policy(*decisions: Decide) -> tuple[PolicyProvider, list[str]]:
    """A provider that answers each question with the next function, and what it was asked."""
    asked: list[str] = []
    left = list(decisions)

    async def decide(
        ctx: Context, request: CheckPolicyRequest
    ) -> tuple[DecisionResponse | None, gateway_pb2.ResolveSourceMetaRequest | None]:
        asked.append(request.Source.Source.identifier)
        answer = (left.pop(0) if len(left) > 1 else left[0])(request)
        return (answer, None) if isinstance(answer, DecisionResponse) else (None, answer)

    return new_policy_provider(decide), asked


def act(action: int) -> Decide:
    return lambda request: DecisionResponse(action=action)  # type: ignore[arg-type]  # an enum's value


def convert(identifier: str, **attrs: str) -> Decide:
    def decide(request: CheckPolicyRequest) -> DecisionResponse:
        source = request.Source.Source
        source.identifier = identifier
        source.attrs.update(attrs)
        return DecisionResponse(action=policy_pb2.PolicyAction.CONVERT, update=source)

    return decide


@pytest.fixture
def source(tmp_path: Path) -> Mapping[str, object]:
    """Options of a solve that has a local source."""
    return {"local_mounts": {"ctx": fsutil.new_fs(str(write_tree(tmp_path / "ctx", {"foo": "bar"})))}}


async def test_source_policy_session(addr: str, tmp_path: Path, source: Mapping[str, object]) -> None:
    """testSourcePolicySession: asked for each source with its platform; allowed"""
    need(addr, "policy-session")
    provider, asked = policy(act(ALLOW))
    out = tmp_path / "out"
    await solve(addr, llb.local("ctx"), source_policy_provider=provider, exports=local(out), **source)
    assert asked == ["local://ctx"]
    assert names(out) == ["foo"]


async def test_source_policy_session_deny_messages(addr: str) -> None:
    """testSourcePolicySessionDenyMessages"""
    need(addr, "policy-session")
    messages = [DenyMessage(message="policy blocked it"), DenyMessage(message="use another instead")]

    def deny(request: CheckPolicyRequest) -> DecisionResponse:
        return DecisionResponse(action=policy_pb2.PolicyAction.DENY, denyMessages=messages)

    provider, asked = policy(deny)
    with pytest.raises(BuildkitError, match="not allowed by policy") as caught:
        await solve(addr, llb.image("nothing"), source_policy_provider=provider)
    assert [message.message for message in deny_messages(caught.value)] == [message.message for message in messages]
    assert asked == [NOTHING]


async def test_source_policy_session_raises(addr: str) -> None:
    """testSourcePolicySession, "deny alpine": the callback's own error"""
    need(addr, "policy-session")

    def broken(request: CheckPolicyRequest) -> DecisionResponse:
        raise BuildkitError("policy denied")

    provider, _ = policy(broken)
    with pytest.raises(BuildkitError, match="policy denied"):
        await solve(addr, llb.image("nothing"), source_policy_provider=provider)


async def test_source_policy_session_convert(addr: str, tmp_path: Path, source: Mapping[str, object]) -> None:
    """testSourcePolicySessionConvert: the new source is asked for again, and used once it is allowed"""
    need(addr, "policy-session")
    state = llb.scratch().file(llb.copy(llb.image("nothing"), "foo", "one"))
    state = state.file(llb.copy(llb.local("ctx"), "foo", "two"))  # a client offers what the definition names
    provider, asked = policy(
        lambda request: (
            convert("local://ctx")(request) if request.Source.Source.identifier == NOTHING else act(ALLOW)(request)
        )
    )
    out = tmp_path / "out"
    await solve(addr, state, source_policy_provider=provider, exports=local(out), **source)
    assert set(asked) == {NOTHING, "local://ctx"}
    assert names(out) == ["one", "two"]


async def test_source_policy_session_convert_and_deny(addr: str) -> None:
    """testSourcePolicySessionConvert, "convert and deny" and "convert loop"."""
    need(addr, "policy-session")
    provider, asked = policy(convert(NOTHING, foo="bar"), act(policy_pb2.PolicyAction.DENY))
    with pytest.raises(BuildkitError, match="not allowed by policy"):
        await solve(addr, llb.image("nothing"), source_policy_provider=provider)
    assert asked == [NOTHING, NOTHING]
    provider, asked = policy(convert(NOTHING))
    with pytest.raises(BuildkitError, match="too many policy requests"):
        await solve(addr, llb.image("nothing"), source_policy_provider=provider)
    assert len(asked) > 3


# Frontends


async def test_frontend_use_solve_results(addr: str, tmp_path: Path) -> None:
    """testFrontendUseSolveResults: a result becomes a state again"""

    async def build(ctx: Context, client: gateway.Client) -> gateway.Result:
        ref = (await solved(ctx, client, made("foo", b"data"))).single_ref()
        assert ref is not None
        return await solved(ctx, client, llb.scratch().file(llb.copy(ref.to_state(), "foo", "foo2")))

    await run_build(addr, build, exports=local(tmp_path))
    assert names(tmp_path) == ["foo2"]
    assert (tmp_path / "foo2").read_bytes() == b"data"


@pytest.mark.parametrize(
    ("platforms", "text"),
    [
        ([{"ID": "", "Platform": {"architecture": "", "os": ""}}], "invalid empty platform key for exporter"),
        ([{"ID": "foo", "Platform": {"architecture": "", "os": ""}}], "invalid platform value"),
        ([], "invalid empty platforms index for exporter"),
    ],
)
async def test_validate_platforms(addr: str, platforms: Sequence[object], text: str) -> None:
    """testValidatePlatformsInvalid, testValidatePlatformsEmpty"""
    need(addr, "oci")

    async def build(ctx: Context, client: gateway.Client) -> gateway.Result:
        result = await solved(ctx, client, llb.scratch(), evaluate=True)
        result.add_meta("refs.platforms", json.dumps({"Platforms": platforms}).encode())
        return result

    with pytest.raises(BuildkitError, match=text):
        await run_build(addr, build, exports=[ExportEntry(type="oci", output=Memory().open)])


async def test_export_attestations(addr: str) -> None:
    """testExportAttestations: attestations of a frontend here come out as a manifest of their own"""
    need(addr, "oci", "attestations")

    async def build(ctx: Context, client: gateway.Client) -> gateway.Result:
        ref = (await solved(ctx, client, made("/greeting"))).single_ref()
        proof = (await solved(ctx, client, made("/attestation.json", b'{"success": true}'))).single_ref()
        result = gateway.Result()
        result.add_ref("linux/amd64", ref)
        platform = {"ID": "linux/amd64", "Platform": {"os": "linux", "architecture": "amd64"}}
        result.add_meta("refs.platforms", json.dumps({"Platforms": [platform]}).encode())
        result.add_attestation(
            "linux/amd64",
            gateway.Attestation(
                kind=gateway_pb2.AttestationKind.InToto,
                ref=proof,
                path="/attestation.json",
                in_toto_predicate_type="https://example.com/attestations/v1.0",
            ),
        )
        return result

    archive = Memory()
    await run_build(addr, build, exports=[ExportEntry(type="oci", output=archive.open)])
    blobs = {name: archive.read(name) for name in archive.members() if name.startswith("blobs/sha256/")}
    statements = [json.loads(data) for data in blobs.values() if b"predicateType" in data and b"_type" in data]
    assert [statement["predicate"] for statement in statements] == [{"success": True}]
    assert statements[0]["predicateType"] == "https://example.com/attestations/v1.0"
    assert any(b'"unknown"' in data and b"manifests" in data for data in blobs.values())


# Processes and the session's health


def shell(busybox: Path, folder: Path) -> Mapping[str, object]:
    """Options of a solve that may run programs, its root file system in the folder."""
    (folder / "bin").mkdir(parents=True)
    shutil.copy(busybox, folder / "bin/busybox")
    return {"local_mounts": {"root": fsutil.new_fs(str(folder))}, "allowed_entitlements": ["network.host"]}


def command(text: str, *options: llb.RunOption) -> llb.State:
    host = llb.network(ops_pb2.NetMode.HOST)
    words = llb.args(["/bin/busybox", "sh", "-c", f": {os.urandom(6).hex()}; {text}"])
    return llb.local("root").run(words, host, *options).root()


@pytest.mark.parametrize(
    ("code", "valid", "error"),
    [(0, None, ""), (1, None, "exit code: 1"), (0, [], ""), (1, [1], ""), (3, [2, 3], ""), (0, [1], "exit code: 0")],
)
async def test_run_valid_exit_codes(
    addr: str, busybox: Path, tmp_path: Path, code: int, valid: list[int] | None, error: str
) -> None:
    """testRunValidExitCodes"""
    need(addr, "run")
    if kind(addr) == "docker" and valid:
        pytest.skip("the BuildKit in Docker 20.10 knows no valid exit codes")
    options = shell(busybox, tmp_path)
    state = command(f"exit {code}", *([] if valid is None else [llb.valid_exit_codes(*valid)]))
    if not error:
        await solve(addr, state, **options)
        return
    with pytest.raises(BuildkitError, match=error):
        await solve(addr, state, **options)


async def test_stdin_closed(addr: str, busybox: Path, tmp_path: Path) -> None:
    """testStdinClosed: a step that reads its standard input ends"""
    need(addr, "run")
    await solve(addr, command("/bin/busybox cat"), **shell(busybox, tmp_path))


async def test_security_mode_errors(addr: str, busybox: Path, tmp_path: Path) -> None:
    """testSecurityModeErrors: a privilege that was not granted is refused by name"""
    need(addr, "run")
    options = {**shell(busybox, tmp_path), "allowed_entitlements": []}
    with pytest.raises(BuildkitError, match=r"network\.host is not allowed"):
        await solve(addr, command("true"), **options)


class Gate:
    """A byte stream whose writes stop once the gate is shut."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self.shut = asyncio.Event()
        self.blocked = asyncio.Event()

    async def read(self, n: int) -> bytes:
        return await self._stream.read(n)

    async def write_buffers(self, buffers: list[Buffer]) -> None:
        if self.shut.is_set():
            self.blocked.set()
            await asyncio.Event().wait()
        await self._stream.write_buffers(buffers)

    async def close(self) -> None:
        await self._stream.close()


async def test_session_health_monitor_fails_blocked_secret_response(addr: str, busybox: Path, tmp_path: Path) -> None:
    """testSessionHealthMonitorFailsBlockedSecretResponse: a session that stalls ends the build"""
    need(addr, "run", "health-timeout")
    gates: list[Gate] = []

    class Store:
        async def get_secret(self, ctx: Context, secret_id: str) -> bytes:
            gates[0].shut.set()
            return b"foo-secret"

    opt = SolveOpt(session=[secretsprovider.new_secret_provider(Store())], **shell(busybox, tmp_path))  # type: ignore[arg-type]  # checked at run time
    state = command("test -s /run/secrets/mysecret", llb.add_secret("/run/secrets/mysecret"))
    async with await buildkit.new(BG, addr) as plain:

        async def dial(ctx: Context, protocol: str, meta: Mapping[str, Sequence[str]]) -> ByteStream:
            meta = {**meta, "X-Buildkit-Session-Health-Custom-Timeout": ["2000"]}
            gates.append(Gate(await plain.session_dialer()(ctx, protocol, meta)))
            return gates[-1]

        async with await buildkit.new(BG, addr, buildkit.with_session_dialer(dial)) as client:
            with pytest.raises(BuildkitError):
                await asyncio.wait_for(client.solve(BG, await state.marshal(BG), opt), 60)
    assert gates[0].blocked.is_set()


async def test_parallel_local_builds(addr: str, tmp_path: Path) -> None:
    """testParallelLocalBuilds: builds of one source name at a time do not mix"""

    async def one(number: int) -> None:
        folder = write_tree(tmp_path / f"in-{number}", {"Dockerfile": f"FROM scratch\nCOPY foo /\n# {number}\n"})
        (folder / "foo").write_text(f"contents-{number}")
        out = tmp_path / f"out-{number}"
        mounts = {name: fsutil.new_fs(str(folder)) for name in ("context", "dockerfile")}
        opt = SolveOpt(frontend="dockerfile.v0", local_mounts=mounts, exports=local(out))
        async with await buildkit.new(BG, addr) as client:
            await client.solve(BG, None, opt)
        assert (out / "foo").read_text() == f"contents-{number}"

    running: list[Awaitable[None]] = [one(number) for number in range(3)]
    await asyncio.gather(*running)
