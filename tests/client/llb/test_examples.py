"""The programs in `examples/` write definitions that hold together; what they build is for the daemons to show."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest

from pybuildkit.client import llb

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("program", "kinds"),
    [
        (["static_binary.py", "--busybox"], {"source", "file", "exec"}),
        (["multi_stage.py"], {"file"}),
        (["merge_trees.py"], {"file", "merge", "diff"}),
        (["platform_matrix.py", "linux/amd64", "linux/riscv64"], {"file"}),
        (["nested_build.py"], {"file", "build"}),
        (["busybox_image.py"], {"source", "file", "exec"}),
    ],
)
def test_example(program: list[str], kinds: set[str]) -> None:
    command = [sys.executable, str(ROOT / "examples" / program[0]), *program[1:]]
    done = subprocess.run(command, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, capture_output=True, check=False)
    assert done.stderr == b""
    definition = llb.read_from(io.BytesIO(done.stdout))
    found = {op.WhichOneof("op") for _, op in definition.ops()} - {None}
    assert found == kinds
    state = llb.new_state(llb.new_definition_op(definition.to_pb()).output())
    assert set(state.marshal_sync(llb.linux_amd64).def_) == set(definition.def_)
