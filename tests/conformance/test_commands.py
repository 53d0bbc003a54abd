"""Every short command on every daemon: usage, workers, the records of builds, and what is asked of no daemon."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.conformance.services import build, need
from tests.daemons import finish, run, start

NOTHING = ["--filter", "id==nothing-has-this-id"]  # other tests use the same daemon


@pytest.fixture(autouse=True)
def _own_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The embedded daemon's records and usage are those of the test alone."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def said(*words: str, addr: str) -> str:
    """What a command that succeeds prints."""
    result = run(*words, addr=addr)
    assert (result.code, result.stderr) == (0, ""), result
    return result.stdout.decode()


def test_usage(addr: str) -> None:
    assert said("du", *NOTHING, addr=addr).split("\n")[0].split() == ["ID", "RECLAIMABLE", "SIZE", "LAST", "ACCESSED"]
    assert said("du", "--verbose", *NOTHING, addr=addr) == ""
    assert said("du", "--format", "{{len .}}", addr=addr).strip().isdigit()
    pruned = said("prune", "--keep-duration", "1000h", "--keep-storage", "1000000", *NOTHING, addr=addr)
    assert pruned == "Total:\t0B\n"


def test_workers(addr: str) -> None:
    assert "linux/" in said("debug", "workers", addr=addr)
    ids = said("debug", "workers", "--format", "{{range .}}{{.ID}}\n{{end}}", addr=addr).split()
    assert ids
    verbose = said("debug", "workers", "--verbose", "--filter", f"id=={ids[0]}", addr=addr)
    assert verbose.startswith(f"ID:\t\t{ids[0]}\nPlatforms:\t")


def test_info(addr: str) -> None:
    need(addr, "info")
    shown = said("debug", "info", addr=addr)
    assert shown.startswith("BuildKit:")
    assert said("debug", "info", "--format", "{{.BuildkitVersion.Version}}", addr=addr).strip() in shown


def test_the_record_of_a_build(addr: str, tmp_path: Path) -> None:
    """Listed, its log shown, its content given out, followed, pinned, deleted."""
    need(addr, "history")
    files = {"Dockerfile": "FROM scratch\nCOPY a /kept\n", "a": os.urandom(20).hex()}
    build("--ref-file", "ref", addr=addr, cwd=tmp_path, files=files)
    ref = (tmp_path / "ref").read_text()

    def listed(format: str) -> list[str]:
        lines = said("debug", "histories", "--format", f"{{{{.Record.Ref}}}} {format}", addr=addr).splitlines()
        return [line.removeprefix(ref).strip() for line in lines if line.startswith(ref)]

    assert listed("{{.Type}}") == ["COMPLETE"]
    digest = listed("{{with .Record.Logs}}{{.Digest}}{{end}}")[0]
    assert len(run("debug", "get", digest, addr=addr).stdout) > 100
    logs = run("debug", "logs", "--progress=plain", ref, addr=addr)
    assert logs.code == 0
    assert "COPY a /kept" in logs.stderr + logs.stdout.decode()
    with start("debug", "monitor", "--completed", "--ref", ref, addr=addr, cwd=tmp_path) as monitor:
        assert monitor.stdout is not None
        assert monitor.stdout.readline() == f"event: COMPLETE ref:{ref}\n".encode()
        monitor.send_signal(signal.SIGINT)
        code, shown, _ = finish(monitor, 20)
    assert (code, shown) == (1, "error: rpc error: code = Canceled desc = context canceled\n")
    said("debug", "ctl", "--pin", ref, addr=addr)
    assert listed("{{.Record.Pinned}}") == ["true"]
    said("debug", "ctl", "--unpin", ref, addr=addr)
    assert listed("{{.Record.Pinned}}") == ["false"]
    said("debug", "ctl", "--delete", ref, addr=addr)
    assert listed("") == []
