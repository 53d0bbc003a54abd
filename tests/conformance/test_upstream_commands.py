"""What BuildKit's own tests of commands, sockets and privileges ask of a client, and no other file here does.

Each test carries the upstream test's name in its docstring.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pybuildkit.client import llb
from pybuildkit.golang.errors import BuildkitError
from pybuildkit.solver.pb import ops_pb2
from tests.conformance.services import build, kind, need, ssh_agent
from tests.conformance.test_services import shell, step
from tests.conformance.test_upstream_frontend import command
from tests.conformance.test_upstream_frontend import shell as options
from tests.conformance.test_upstream_solve import solve
from tests.daemons import run

__all__ = ["shell"]  # the fixture


def test_disk_usage_and_prune(addr: str, tmp_path: Path) -> None:
    """testDiskUsage, testCallDiskUsage, testPrune: a build's record is listed, and is not once it is pruned"""
    if kind(addr) == "docker":
        pytest.skip("the BuildKit in Docker 20.10 gives the records of file operations no description")
    salt = f"s{os.urandom(8).hex()}-"
    dockerfile = f"FROM scratch\nCOPY a /made/{salt}a\n"
    build(addr=addr, cwd=tmp_path, files={"Dockerfile": dockerfile, "a": os.urandom(3000)})
    chosen = ["--filter", f"description~={salt}"]
    listed = run("du", "--verbose", *chosen, addr=addr)
    assert (listed.code, listed.stdout.count(salt.encode())) == (0, 1), listed
    assert b"Size:" in listed.stdout
    pruned = run("prune", "--all", *chosen, addr=addr)
    assert pruned.code == 0, pruned.stderr
    assert pruned.stdout.splitlines()[-1].startswith(b"Total:")
    again = run("du", "--verbose", *chosen, addr=addr)
    assert (again.code, salt.encode() in again.stdout) == (0, False)


@pytest.mark.parametrize("words", [["--help"], [], ["build", "--help"], ["debug", "--help"]])
def test_usage(words: list[str]) -> None:
    """testUsage"""
    result = run(*words)
    assert (result.code, result.stderr) == (0, "")
    assert b"USAGE:" in result.stdout


def test_ssh_socket_params(real_addr: str, tmp_path: Path, shell: Path) -> None:
    """testSSHSocketParams: the socket in the step has the owner and the mode that were asked for"""
    need(real_addr, "run")
    script = "/bin/busybox stat -c '%u %g %f' $SSH_AUTH_SOCK > /said"
    files = {"Dockerfile": step(script, "--mount=type=ssh,mode=741,uid=100,gid=102")}
    with ssh_agent(tmp_path) as agent:
        build("--ssh", "default", addr=real_addr, cwd=tmp_path, files=files, env={"SSH_AUTH_SOCK": agent.socket})
    assert (tmp_path / "out/said").read_text() == "100 102 c1e1\n"


async def test_security_mode_errors(addr: str, busybox: Path, tmp_path: Path) -> None:
    """testSecurityModeErrors: a step that wants all privileges is refused where the caller has not granted them"""
    need(addr, "run")
    insecure = llb.security(ops_pb2.SecurityMode.INSECURE)
    with pytest.raises(BuildkitError, match=r"security\.insecure is not allowed"):
        await solve(addr, command("true", insecure), **options(busybox, tmp_path))


async def test_source_map(addr: str) -> None:
    """testSourceMap: every place that was noted for a failed step is told, with its file"""
    if kind(addr) == "docker":
        pytest.skip("the BuildKit of Docker 20.10 sends no source ranges for this error")
    from pybuildkit.solver.errdefs import sources

    first = llb.new_source_map(None, "foo", "lang1", b"data1")
    second = llb.new_source_map(None, "bar", "lang2", b"data2")
    third = llb.new_source_map(None, "baz", "lang3", b"data3")

    def at(line: int, character: int) -> ops_pb2.Range:
        return ops_pb2.Range(start=ops_pb2.Position(line=line, character=character))

    places = [
        first.location([at(3, 1), at(5, 2)]),
        second.location([at(10, 3), at(1, 0)]),
        third.location([at(4, 7)]),
    ]
    state = llb.scratch().file(llb.mkdir("foo/bar", 0o600), *places)
    with pytest.raises(BuildkitError) as caught:
        await solve(addr, state)
    found = {
        (source.info.filename, source.info.language, source.info.data): [
            (span.start.line, span.start.character) for span in source.ranges
        ]
        for source in sources(caught.value)
    }
    assert found == {
        ("foo", "lang1", b"data1"): [(3, 1), (5, 2)],
        ("bar", "lang2", b"data2"): [(10, 3), (1, 0)],
        ("baz", "lang3", b"data3"): [(4, 7)],
    }
