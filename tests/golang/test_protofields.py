"""Repeated fields are known with every release of protobuf: those that have `label` alone, and those without it."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from google.protobuf.descriptor import FieldDescriptor

from pybuildkit.golang.protofields import is_repeated
from pybuildkit.solver.pb import ops_pb2

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(("name", "want"), [("inputs", True), ("platform", False), ("constraints", False)])
def test_fields_of_a_message(name: str, want: bool) -> None:
    assert is_repeated(ops_pb2.Op.DESCRIPTOR.fields_by_name[name]) is want


def test_a_map_is_repeated() -> None:
    assert is_repeated(ops_pb2.Definition.DESCRIPTOR.fields_by_name["metadata"])


@pytest.mark.parametrize(
    ("field", "want"),
    [
        (SimpleNamespace(label=3), True),
        (SimpleNamespace(label=1), False),
        (SimpleNamespace(is_repeated=True), True),
        (SimpleNamespace(is_repeated=False), False),
    ],
    ids=["old repeated", "old single", "new repeated", "new single"],
)
def test_old_and_new_releases(field: SimpleNamespace, want: bool) -> None:
    assert is_repeated(cast("FieldDescriptor", field)) is want


def test_nothing_else_reads_labels() -> None:
    """`label` is gone from protobuf 7, which the tests do not run with."""
    for package in ("pybuildkit", "fake_buildkitd"):
        for path in (ROOT / package).rglob("*.py"):
            if not path.stem.endswith("_pb2") and path.stem != "protofields":
                assert not re.search(r"\.LABEL_|\.label\s*[!=]=", path.read_text()), path
