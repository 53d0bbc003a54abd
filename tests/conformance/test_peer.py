"""BuildKit's own client and ours on a standing `fake-buildkitd`: the same results, texts and exit codes.

`PYBUILDKIT_PEER` names BuildKit's `buildctl`. The daemon is fresh for each of the two, so that neither finds what the
other has left.
"""

from __future__ import annotations

import os
import re
import shlex
import stat
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.daemons import Result, environment, tree, write_tree
from tests.standing import Standing

PEER = shlex.split(os.environ.get("PYBUILDKIT_PEER", ""))
OURS = [sys.executable, "-m", "pybuildkit.cmd.buildctl"]
BUILD = [
    "build",
    "--progress=plain",
    "--frontend=dockerfile.v0",
    "--local",
    "context=test",
    "--local",
    "dockerfile=test",
]
FILES = {
    "Dockerfile": "FROM scratch AS base\nCOPY a /a\nFROM base\nADD sub /sub\nLABEL one=two\n",
    "a": "content\n",
    "sub/b": "more\n",
    ".dockerignore": "*.log\n",
    "x.log": "left out",
    "bad/Dockerfile": "FROM scratch\nCOPY missing /\n",
    "worse/Dockerfile": "FROM scratch\nCOPI a /\n",
    "run/Dockerfile": "FROM scratch\nRUN true\n",
    "secret": "planted",
}
"""Every Dockerfile is one chain, so that its steps have one order."""

Words = Sequence[str]

LINES: dict[str, list[Words]] = {
    "local": [[*BUILD, "--output", "type=local,dest=out"]],
    "tar": [[*BUILD, "--output", "type=tar,dest=out.tar"]],
    "tar to standard output": [[*BUILD, "--output", "type=tar"]],
    "oci": [[*BUILD, "--output", "type=oci,dest=out.tar"]],
    "store": [[*BUILD, "--output", "type=oci,dest=out,tar=false,name=example.com/a/b:c"]],
    "two outputs": [[*BUILD, "--output", "type=local,dest=out", "--output", "type=tar,dest=out.tar"]],
    "cached": [[*BUILD, "--output", "type=local,dest=out"]] * 2,
    "no cache": [[*BUILD], [*BUILD, "--no-cache"]],
    "target and arguments": [
        [*BUILD, "--opt", "target=base", "--opt", "build-arg:A=b", "--output", "type=local,dest=out"]
    ],
    "metadata": [[*BUILD, "--metadata-file", "meta.json", "--output", "type=oci,dest=out.tar,name=example.com/a/b:c"]],
    "local cache": [
        [*BUILD, "--export-cache", "type=local,dest=cache,mode=max"],
        ["prune", "--all"],
        [*BUILD, "--import-cache", "type=local,src=cache", "--output", "type=local,dest=out"],
    ],
    "missing file": [[*BUILD[:-1], "dockerfile=test/bad"]],
    "unknown instruction": [[*BUILD[:-1], "dockerfile=test/worse"]],
    "process": [[*BUILD[:-1], "dockerfile=test/run"]],
    "no Dockerfile": [[*BUILD, "--opt", "filename=nothing"]],
    "unknown frontend": [["build", "--progress=plain", "--frontend=nothing.v0"]],
    "unknown exporter": [[*BUILD, "--output", "type=nothing"]],
    "secret that nobody asks for": [[*BUILD, "--secret", "id=s,src=test/secret"]],
    "sub-request": [[*BUILD, "--opt", "requestid=frontend.subrequests.describe"]],
    "outline": [[*BUILD, "--opt", "requestid=frontend.outline"]],
    "rawjson": [[*BUILD, "--progress=rawjson"]],
    "usage": [[*BUILD], ["du"], ["du", "--verbose"], ["prune"], ["du"]],
    "workers": [["debug", "workers"], ["debug", "workers", "--verbose"], ["debug", "info"]],
    "histories": [[*BUILD], ["debug", "histories"], ["prune-histories"], ["debug", "histories"]],
}
"""Runs of the command, one after the other, on one daemon."""

_MASKS = (
    (r"\d{4}-\d\d-\d\d[T ][\d:.]+(Z|[+-]\d\d:?\d\d| \+0000 UTC)?", "TIME"),
    (r"sha256:[0-9a-f]{64}", "DIGEST"),
    (r"\b[0-9a-z]{25}\b", "ID"),
    (r"\b[0-9a-f]{64}\b", "HEX"),
    (r"\b\d+(\.\d+)?(ns|us|µs|ms|s)\b", "DURATION"),
    (r"\b\d+(\.\d+)? (second|minute)s?( ago)?\b", "AGE"),
    (r"\bLess than a second( ago)?\b", "AGE"),
    (r"\b\d+(\.\d+)?[kM]?B( / [\d.]+[kM]?B)?", "SIZE"),
    (r'"(started|completed|timestamp)":"[^"]*"', r'"\1":"TIME"'),
    (r"((?:transferring|copying|sending|exporting) [^:\n]*):.*", r"\1"),
    (r"^(#\d+ copying files.*?) SIZE( DURATION)?( done)?$", r"\1"),
    (r"^(#\d+ .*?)( DURATION)?( done)?$", r"\1"),
    (r"^(#\d+ (?:transferring|copying|sending) .*?)( SIZE)?$", r"\1"),
    (r"\blocal:\d+", "local:KEY"),
    (r"^time=.* msg=\"failed check for fsverity support\".*\n", ""),
    (r"[ \t]+", " "),
)


def masked(text: str) -> list[str]:
    """Lines without what differs from run to run, each where it came first: how often it comes depends on time."""
    for pattern, replacement in _MASKS:
        text = re.sub(pattern, replacement, text, flags=re.MULTILINE)
    return list(dict.fromkeys(line.rstrip() for line in text.splitlines()))


def printed(words: Words, result: Result) -> list[str]:
    """What a run printed; of statuses in JSON, the steps that they name; records of equal age in any order."""
    stdout, stderr = result.stdout, result.stderr
    if words[0] in ("du", "prune"):
        return sorted(masked(stdout.decode() + stderr))
    if stdout.startswith(b'{"vertexes"') or stderr.startswith('{"vertexes"'):
        return sorted(set(re.findall(r'"name":"([^"]*)"', stdout.decode() + stderr)))
    told = masked(stderr)
    return told if b"\0" in stdout else [*masked(stdout.decode("utf-8", "replace")), *told]


def run_in(client: Words, words: Words, addr: str, cwd: Path) -> Result:
    """Run a client on the daemon."""
    done = subprocess.run(
        [*client, "--addr", addr, *words], cwd=cwd, env=environment(), capture_output=True, timeout=90, check=False
    )
    return Result(done.returncode, done.stdout, done.stderr.decode("utf-8", "replace"))


def left(folder: Path) -> dict[str, object]:
    """What the runs left behind: trees, and the names of files in a store and beside it."""
    seen: dict[str, object] = {}
    for path in sorted(folder.iterdir()):
        if path.name in ("test", "cache"):
            continue
        if path.is_dir() and (path / "index.json").exists():
            seen[path.name] = sorted(str(p.relative_to(path)) for p in path.rglob("*") if "blobs" not in p.parts)
        elif path.is_dir():
            seen[path.name] = tree(path)
        else:
            seen[path.name] = "file"
    return seen


@pytest.fixture
def peer() -> list[str]:
    """BuildKit's own client."""
    if not PEER:
        pytest.skip("PYBUILDKIT_PEER names no buildctl")
    return PEER


@pytest.mark.parametrize("name", LINES)
def test_same_as_the_peer(name: str, peer: list[str], tmp_path: Path) -> None:
    """Both clients print the same, end the same and leave the same."""
    found = []
    old = os.umask(0o022)  # BuildKit's client clears its own
    try:
        for number, client in enumerate((peer, OURS)):
            work = tmp_path / f"work{number}"
            write_tree(work / "test", FILES)
            for path in (work / "test").rglob("*"):
                os.utime(path, (1_700_000_000, 1_700_000_000))
            daemon = Standing(work.parent, tmp_path / f"state{number}")
            try:
                assert stat.S_IMODE(os.stat(daemon.addr.removeprefix("unix://")).st_mode) == 0o600
                results = [run_in(client, words, daemon.addr, work) for words in LINES[name]]
            finally:
                assert daemon.stop() == 0
            texts = [printed(words, result) for words, result in zip(LINES[name], results, strict=True)]
            found.append(([result.code for result in results], texts, left(work)))
    finally:
        os.umask(old)
    (codes, texts, files), (our_codes, our_texts, our_files) = found
    assert our_codes == codes
    assert our_texts == texts
    assert our_files == files


def test_interrupted_peer_leaves_the_daemon_alone(peer: list[str], tmp_path: Path) -> None:
    """A client of BuildKit that is killed in a build disturbs nobody: the next one builds."""
    write_tree(tmp_path / "test", FILES)
    (tmp_path / "test" / "big").mkdir()
    for index in range(3000):
        (tmp_path / "test" / "big" / f"{index:04d}").write_bytes(b"x" * 2000)
    daemon = Standing(tmp_path, tmp_path / "state")
    try:
        words = [*peer, "--addr", daemon.addr, *BUILD, "--output", "type=local,dest=first"]
        process = subprocess.Popen(words, cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, text=True)
        assert process.stderr is not None
        for line in process.stderr:
            if "load build context" in line:
                break
        process.kill()
        process.communicate()
        result = run_in(peer, [*BUILD, "--output", "type=local,dest=out"], daemon.addr, tmp_path)
    finally:
        assert daemon.stop() == 0
    assert result.code == 0, result.stderr
    assert (tmp_path / "out" / "a").read_text() == "content\n"
