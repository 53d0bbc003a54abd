"""Inputs and records that the user may not read or write, each named in the error; the tests' root counts as a user."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.conformance.services import BUILD, LOCAL, last_line
from tests.conformance.test_faults_destination import run_unprivileged
from tests.daemons import Result, write_tree

CONTEXT = {"test/Dockerfile": "FROM scratch\nCOPY Dockerfile /\n", "locked/": "", "closed": "planted"}

REFUSED = [
    (["--secret", "id=x,src=locked/x"], "failed to stat locked/x: stat locked/x: permission denied"),
    (["--ssh", "default=locked/x"], "stat locked/x: permission denied"),
    (["--ssh", "default=closed"], "failed to open closed: open closed: permission denied"),
    (["--source-policy-file", "closed"], "open closed: permission denied"),
    (["--oci-layout", "x=locked/x"], "locked/x: permission denied"),
    (["--export-cache", "type=local,dest=locked/x"], "locked/x: permission denied"),
    (["--trace", "closed"], "open closed: permission denied"),
    (["--debug-json-cache-metrics", "closed"], "open closed: permission denied"),
    (["--output", "type=tar,dest=locked/x"], "invalid destination file: locked/x: stat locked/x: permission denied"),
    (["--output", "type=oci,dest=locked/x"], "invalid destination file: locked/x: stat locked/x: permission denied"),
]


def refused(work: Path, argv: list[str], addr: str = "") -> Result:
    """Run a command that may not enter the folder `locked` nor open the file `closed`."""
    write_tree(work, CONTEXT)
    (work / "locked").chmod(0)
    (work / "closed").chmod(0)
    try:
        result = run_unprivileged(argv, addr or f"embedded://{work}/state", work)
    finally:
        (work / "locked").chmod(0o700)
    assert "Traceback" not in result.stderr
    assert "planted" not in result.stderr
    assert list((work / "locked").iterdir()) == []
    return result


@pytest.mark.parametrize(("flags", "text"), REFUSED, ids=[flags[-1] for flags, _ in REFUSED])
def test_refused_input_or_record(work: Path, flags: list[str], text: str) -> None:
    output = [] if "--output" in flags else LOCAL
    result = refused(work, [*BUILD, *flags, *output])
    assert result.code == 1, result.stderr
    assert text in last_line(result)


def test_refused_context(work: Path) -> None:
    result = refused(work, [*BUILD, "--local", "context=locked/x"])
    assert (result.code, last_line(result)) == (1, "error: invalid local: resolve : lstat locked/x: permission denied")


def test_refused_definition(work: Path) -> None:
    result = refused(work, ["debug", "dump-llb", "closed"])
    assert (result.code, result.stderr) == (1, "error: open closed: permission denied\n")


def test_refused_socket(work: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(work / "s"))
        listener.listen()
        (work / "s").chmod(0)
        result = refused(work, ["debug", "info"], f"unix://{work}/s")
    assert result.code == 1
    assert f"dial unix {work}/s: connect: permission denied" in last_line(result)


def test_refused_docker_configuration_is_a_warning(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tree(work, {"login/config.json": "{}"})
    (work / "login/config.json").chmod(0)
    monkeypatch.setenv("DOCKER_CONFIG", "unused")
    words = [*BUILD, *LOCAL]
    write_tree(work, {"home/.docker/config.json": "{}"})
    (work / "home/.docker/config.json").chmod(0)
    monkeypatch.setenv("HOME", str(work / "home"))
    result = refused(work, words)
    assert result.code == 0, result.stderr
    assert "WARNING: Error loading config file: open " in result.stderr
