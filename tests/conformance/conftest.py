"""Fixtures of the conformance tests."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """An empty folder to run the command in, apart from what the test itself keeps."""
    folder = tmp_path / "work"
    folder.mkdir()
    return folder
