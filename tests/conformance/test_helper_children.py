"""A client that is killed leaves no program of its connection helper behind."""

from __future__ import annotations

import asyncio
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conformance.faulty import BUILD, Build, Script, serve
from tests.daemons import COMMAND, environment, wait_for, write_tree


class Waiting(Script):
    """A build that is under way until the client goes."""

    async def frontend(self, build: Build) -> None:
        build.daemon.reach()
        await asyncio.sleep(3600)


def runs(pid: int) -> bool:
    """Whether a process is there; one that has ended and waits for its parent is not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel ends them on Linux alone")
@pytest.mark.parametrize("rest", ["exec sleep 1000", "exec sleep 1000 2>&-", "exec sleep 1000 < /dev/null"])
def test_killed_client_of_a_program_that_stays(tmp_path: Path, work: Path, rest: str) -> None:
    """A program that does not look at its standard input, nor keep its standard error, ends with the client too."""
    write_tree(
        tmp_path, {"bin/ssh": f"#!/bin/sh\necho $$ > {tmp_path}/part\nmv {tmp_path}/part {tmp_path}/pid\n{rest}\n"}
    )
    (tmp_path / "bin/ssh").chmod(0o755)
    env = environment({"PATH": f"{tmp_path}/bin:{os.environ['PATH']}"})
    client = subprocess.Popen([*COMMAND, "--addr", "ssh://host", *BUILD], cwd=work, env=env, stderr=subprocess.DEVNULL)
    wait_for((tmp_path / "pid").exists, "the start of the helper's program")
    child = int((tmp_path / "pid").read_text())
    assert runs(child)
    client.kill()
    client.wait()
    wait_for(lambda: not runs(child), "the end of the helper's program")


@pytest.mark.parametrize(
    ("address", "program"),
    [("ssh://host", "ssh"), ("docker-container://box", "docker"), ("kube-pod://pod", "kubectl")],
)
def test_killed_client(tmp_path: Path, work: Path, address: str, program: str) -> None:
    with serve(Waiting(), tmp_path) as daemon:
        words = [sys.executable, "-m", "pybuildkit.cmd.buildctl", "--addr", daemon.addr, "dial-stdio"]
        script = f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec {shlex.join(words)}\n"
        write_tree(tmp_path, {f"bin/{program}": script})
        (tmp_path / "bin" / program).chmod(0o755)
        env = environment({"PATH": f"{tmp_path}/bin:{os.environ['PATH']}"})
        client = subprocess.Popen([*COMMAND, "--addr", address, *BUILD], cwd=work, env=env, stderr=subprocess.DEVNULL)
        daemon.wait_reached()
        child = int((tmp_path / "pid").read_text())
        assert runs(child)
        client.kill()
        client.wait()
        wait_for(lambda: not runs(child), "the end of the helper's program")
