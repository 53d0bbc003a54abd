"""docs/upstream_tests.md and docs/compatibility.md name tests that exist."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = re.compile(r"`(?:(C:|tests/)?([\w/]+\.py)::)?(test_\w+)`")


@cache
def functions(path: Path) -> frozenset[str]:
    return frozenset(re.findall(r"^\s*(?:async )?def (test_\w+)", path.read_text(), re.MULTILINE))


@pytest.mark.parametrize("document", ["docs/upstream_tests.md", "docs/compatibility.md"])
def test_named_tests_exist(document: str) -> None:
    found = 0
    for line in (ROOT / document).read_text().splitlines():
        path: Path | None = None
        for prefix, file, name in REFERENCE.findall(line):
            if file:
                path = ROOT / ("tests" if prefix == "tests/" else "tests/conformance") / file
                assert path.is_file(), f"{document} names {file}, which is not there: {line}"
            assert path is not None, f"{document} names {name} without a file: {line}"
            assert name in functions(path), f"{document} names {name}, which {path.name} has not"
            found += 1
    assert found > 30
