"""Every golden case of every area, through `scripts/vectors`: a test an area."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
AREAS = sorted(path.stem for path in (ROOT / "tests/golden/vectors").glob("*.json"))


@pytest.mark.timeout(400)
@pytest.mark.parametrize("area", AREAS)
def test_vectors(area: str) -> None:
    done = subprocess.run(
        [sys.executable, "scripts/vectors", area], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stdout.startswith(f"{area}: "), done.stderr[-4000:]
    assert done.returncode == 0, done.stdout[-4000:]


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
