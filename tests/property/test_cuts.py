"""The build command on a connection that breaks at a frame, in every way, with every kind of result.

    it ends · a build that says that it succeeded has given everything · one that failed says so in one line, exits
    with 1 and leaves nothing half written under a final name, and no task, descriptor or temporary file

The daemon is the real one of the tree, so the frames are those of the upload, the solve and the export. CI breaks
every few frames, shifted for each way; PYBUILDKIT_ALL_FRAMES=1 breaks every single one.
"""

from __future__ import annotations

import io
import json
import os
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fake_buildkitd.faults import Direction, Fault, FaultKind
from tests.fake_buildkitd.helpers import write_tree
from tests.property.command import Seen, Stage, play

FILES = {"Dockerfile": "FROM scratch\nCOPY d /d/\n", "d/small": "1", "d/large": "x" * 70_000, "d/empty": ""}
WANT = {"d/small": b"1", "d/large": b"x" * 70_000, "d/empty": b""}
LONGEST_SECONDS = dict.fromkeys(FaultKind, 6.0) | {FaultKind.SILENCE: 25.0}
"""How long a command may take; a silence is noticed after 15 s."""
STEP = 1 if os.environ.get("PYBUILDKIT_ALL_FRAMES") else 23


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("cuts")
    write_tree(folder / "src", FILES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(folder))
        patch.setenv("TTY_DISPLAY_RATE", "1000")
        patch.delenv("DOCKER_CONFIG", raising=False)
        yield Stage(folder / "work")


def run(stage: Stage, output: str, fault: Fault) -> Seen:
    """Build with that fault."""
    source = stage.folder.parent / "src"
    argv = ["--frontend", "dockerfile.v0", "--local", f"context={source}", "--local", f"dockerfile={source}"]
    argv += ["--progress", "plain", "--ref-file", stage.path("ref"), "--metadata-file", stage.path("metadata")]
    return play([*argv, "--output", f"type={output},dest={stage.path('out')}"], None, fault=fault)


def check(stage: Stage, output: str, kind: FaultKind, seen: Seen) -> None:
    """Whether what is there fits what was said."""
    assert seen.code in (0, 1)
    assert seen.seconds < LONGEST_SECONDS[kind]
    assert "Traceback" not in seen.stderr
    assert (seen.tasks, seen.descriptors) == ([], {})
    out = Path(stage.path("out"))
    found = _tar_files(out) if output == "tar" else _local_files(out)
    if seen.code == 0:
        assert found == WANT
        assert seen.error == ""
    else:
        assert re.fullmatch(r"[^\n]*\w{4}[^\n]*", seen.error), seen.stderr
        assert found.items() <= WANT.items(), "half a file, or a temporary one"
        assert output != "tar" or not out.exists() or found == WANT, "half a tar file"
    if os.path.exists(stage.path("metadata")):
        json.loads(Path(stage.path("metadata")).read_text())
    assert re.fullmatch(r"[0-9a-z]{25}", Path(stage.path("ref")).read_text())
    assert stage.files() <= {"out", "ref", "metadata"}


def _tar_files(path: Path) -> dict[str, bytes]:
    if not path.exists():
        return {}
    with tarfile.open(fileobj=io.BytesIO(path.read_bytes())) as archive:
        members = [member for member in archive if member.isfile()]
        return {member.name: archive.extractfile(member).read() for member in members}  # type: ignore[union-attr]  # files


def _local_files(path: Path) -> dict[str, bytes]:
    return {str(each.relative_to(path)): each.read_bytes() for each in path.rglob("*") if each.is_file()}


@pytest.mark.parametrize("direction", list(Direction))
@pytest.mark.parametrize("kind", list(FaultKind))
@pytest.mark.parametrize("output", ["local", "tar"])
def test_cut(stage: Stage, output: str, kind: FaultKind, direction: Direction) -> None:
    shift = list(FaultKind).index(kind) * 4 + ["local", "tar"].index(output) * 2 + list(Direction).index(direction)
    frame = shift % STEP
    failed = 0
    while True:
        fault = Fault(kind, frame, direction, seed=frame)
        with stage:
            seen = run(stage, output, fault)
            try:
                check(stage, output, kind, seen)
            except BaseException as err:
                err.add_note(f"{kind.value} at frame {frame} {direction.value}: {seen}")
                raise
        failed += seen.code
        if not fault.hit:
            assert seen.code == 0
            break
        frame += STEP
    assert failed > 0
