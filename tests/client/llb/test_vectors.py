"""The vectors `llb`, all of them."""

from __future__ import annotations

import json
from pathlib import Path

from tests.golden.areas import llb

VECTORS = Path(__file__).parents[2] / "golden" / "vectors" / "llb.json"


def test_vectors(tmp_path: Path) -> None:
    cases = json.loads(VECTORS.read_text())["cases"]
    failures = {name: text for name, text in llb.run(cases, tmp_path) if text is not None}
    assert failures == {}
    assert len(cases) > 200
