"""No secret, password or token in a daemon's record of a build, nor in the exceptions of the library."""

from __future__ import annotations

import os
import re
import shutil
import traceback
from pathlib import Path

import pytest

from pybuildkit import client as buildkit
from pybuildkit import identity
from pybuildkit.client import SolveOpt, llb
from pybuildkit.golang import context
from pybuildkit.golang.chan import Chan
from pybuildkit.golang.errors import BuildkitError, layers
from pybuildkit.session.secrets import secretsprovider
from pybuildkit.sourcepolicy.policysession.policysession_pb2 import CheckPolicyRequest, DecisionResponse
from pybuildkit.third_party import fsutil
from tests.conformance import registry
from tests.conformance.services import build, kind, need
from tests.conformance.test_upstream_session import ALLOW, file_server, policies
from tests.daemons import can_run, run, write_tree

BG = context.background()
SECRET, PASSWORD = "PlantedInAFile", "PlantedPassword"
DIGEST = re.compile(rb"sha256:[0-9a-f]{64}")


def history(addr: str, ref: str) -> dict[str, bytes]:
    """All that a daemon keeps of a build: its record, its logs, and the blobs that the record names."""
    listed = run("debug", "histories", "--format", "{{json .}}", addr=addr)
    record = b"\n".join(line for line in listed.stdout.splitlines() if ref.encode() in line)
    assert record, listed
    logs = run("debug", "logs", "--progress=rawjson", ref, addr=addr)
    assert logs.code == 0, logs.stderr
    found = {"record": record, "logs": logs.stdout + logs.stderr.encode()}
    for digest in sorted(set(DIGEST.findall(record))):
        blob = run("debug", "get", digest.decode(), addr=addr)
        if blob.code == 0:
            found[digest.decode()] = blob.stdout
    return found


def test_a_builds_record(addr: str, tmp_path: Path, busybox: Path) -> None:
    """A secret that a step reads, and a login of a registry with a token server."""
    if kind(addr) == "docker":
        pytest.skip("the BuildKit in Docker 20.10 keeps no history")
    write_tree(tmp_path, {"secret": SECRET, "test/bin/": "", "test/salt": os.urandom(16)})
    shutil.copy(busybox, tmp_path / "test/bin/busybox")
    with registry.token_registry(tmp_path / "registry", "user", PASSWORD) as tokens:
        text = f"FROM {tokens.registry.push('img', {'x': b'x'})}\nCOPY . /\n"
        if can_run(addr) is None:
            text += 'RUN --mount=type=secret,id=file ["/bin/busybox", "wc", "-c", "/run/secrets/file"]\n'
        env = registry.docker_config(tmp_path / "login", {tokens.registry.host: ("user", PASSWORD)})
        flags = ["--secret", "id=file,src=secret", "--ref-file", "ref"]
        result = build(*flags, addr=addr, cwd=tmp_path, files={"Dockerfile": text}, env=env)
    ref = (tmp_path / "ref").read_text().strip()
    kept = history(addr, ref)
    assert len(kept) > 2, kept
    login = registry.basic("user", PASSWORD).split()[1]
    assert tokens.given
    for value in (SECRET, PASSWORD, login, *tokens.given):
        assert [name for name, text in kept.items() if value.encode() in text] == []
    assert can_run(addr) is not None or f"{len(SECRET)} /run/secrets/file" in result.stderr


@pytest.mark.parametrize("allowed", [True, False])
async def test_a_header_in_no_question_of_a_policy(addr: str, allowed: bool) -> None:
    """A secret that an HTTP source is asked with: not in what a policy is asked, nor in what the build tells."""
    need(addr, "http-secrets", "policy-session")
    questions: list[str] = []

    def check(request: CheckPolicyRequest) -> DecisionResponse:
        questions.append(str(request))
        if not allowed:
            raise BuildkitError("not this one")
        return ALLOW

    status: Chan[buildkit.SolveStatus] = Chan(1000)
    error: BaseException | None = None
    with file_server() as server:
        state = llb.http(server.url, llb.auth_header_secret("the-header"))
        session = [secretsprovider.from_map({"the-header": f"Bearer {SECRET}".encode()})]
        opt = SolveOpt(session=session, ref=identity.new_id(), **policies(check))  # type: ignore[arg-type]  # see there
        async with await buildkit.new(BG, addr) as client:
            try:
                await client.solve(BG, await state.marshal(BG), opt, status)
            except BuildkitError as err:
                error = err
        sent = [headers.get("Authorization") for _, headers in server.asked]
    assert questions
    assert "the-header" in questions[0]
    if allowed:
        assert (error, sent) == (None, [f"Bearer {SECRET}"])
    else:
        assert error is not None
        assert "not this one" in str(error)
        assert sent == []
    shown = [*questions, *[message.to_json() async for message in status]]
    shown += traceback.format_exception(error) if error is not None else []
    shown += [text.decode("utf-8", "replace") for text in history(addr, opt.ref).values()]
    assert not [text for text in shown if SECRET in text]


async def test_exceptions_of_the_library(addr: str, tmp_path: Path) -> None:
    """A build that fails with secrets on offer: no layer of its error, and no traceback, holds one."""
    folder = write_tree(tmp_path / "in", {"Dockerfile": "FROM scratch\nCOPY missing /\n"})
    mounts = {name: fsutil.new_fs(str(folder)) for name in ("context", "dockerfile")}
    session = [secretsprovider.from_map({"file": SECRET.encode()})]
    opt = SolveOpt(frontend="dockerfile.v0", local_mounts=mounts, session=session)
    assert SECRET not in repr(opt)
    async with await buildkit.new(BG, addr) as client:
        with pytest.raises(BuildkitError) as caught:
            await client.solve(BG, None, opt)
    shown = [text for err in layers(caught.value) for text in (str(err), repr(err), repr(err.args))]
    shown += traceback.format_exception(caught.value)
    assert any("missing" in text for text in shown)
    assert not any(SECRET in text for text in shown)
