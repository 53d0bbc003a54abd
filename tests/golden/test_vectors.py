"""Every golden case of every area, through `scripts/vectors`: a test an area."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Cases of `cli` that need a buildkitd: on the embedded daemon, which is used where PYBUILDKIT_VECTORS_DAEMON names no
# other, these show what that daemon lacks (filters, build history, the content service), not what the client does.
NEED_BUILDKITD = {f"daemon-{number:03d}" for number in (8, 14, 20, 23, 25, 31, 32, 35, 38)}
AREAS = sorted(path.stem for path in (ROOT / "tests/golden/vectors").glob("*.json"))


@pytest.mark.timeout(400)
@pytest.mark.parametrize("area", AREAS)
def test_vectors(area: str) -> None:
    done = subprocess.run(
        [sys.executable, "scripts/vectors", area], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stdout.startswith(f"{area}: "), done.stderr[-4000:]
    failing = {line.strip().partition(":")[0] for line in done.stdout.splitlines()[1:]}
    if area == "cli" and "PYBUILDKIT_VECTORS_DAEMON" not in os.environ:
        failing -= NEED_BUILDKITD
    assert not failing, done.stdout[-4000:]


def test_a_failing_case_is_reported(tmp_path: Path) -> None:
    """The runner fails where a case does."""
    text = (ROOT / "tests/golden/vectors/legacy.json").read_text()
    (tmp_path / "legacy.json").write_text(text.replace("output directory is required", "something else", 1))
    done = subprocess.run(
        [sys.executable, "scripts/vectors", "--dir", str(tmp_path), "legacy"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "legacy: 125/126" in done.stdout


def test_an_unknown_area_is_an_error() -> None:
    done = subprocess.run(
        [sys.executable, "scripts/vectors", "nothing"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "no such area: nothing" in done.stderr
