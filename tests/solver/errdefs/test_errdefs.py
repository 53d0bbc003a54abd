"""How a source range is shown."""

from __future__ import annotations

import pytest

from pybuildkit.solver.errdefs import print_source
from pybuildkit.solver.errdefs.errdefs_pb2 import Source
from pybuildkit.solver.pb.ops_pb2 import Position, Range, SourceInfo

TEN = b"\n".join(b"line %d" % n for n in range(1, 11))
RULE = "--------------------\n"


def source(*spans: tuple[int, int], data: bytes = TEN) -> Source:
    """A source with the given ranges of lines."""
    ranges = [Range(start=Position(line=start), end=Position(line=end)) for start, end in spans]
    return Source(info=SourceInfo(filename="Dockerfile", data=data), ranges=ranges)


def shown(first: int, last: int, marked: set[int]) -> str:
    """The expected lines."""
    return "".join(f" {n:3d} | {'>>>' if n in marked else '   '} line {n}\n" for n in range(first, last + 1))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (source((5, 5)), "Dockerfile:5\n" + RULE + shown(3, 7, {5}) + RULE),
        (source((1, 1)), "Dockerfile:1\n" + RULE + shown(1, 3, {1}) + RULE),
        (source((10, 10)), "Dockerfile:10\n" + RULE + shown(8, 10, {10}) + RULE),
        (source((4, 6)), "Dockerfile:4\n" + RULE + shown(3, 7, {4, 5, 6}) + RULE),
        (source((2, 0)), "Dockerfile:2\n" + RULE + shown(1, 4, {2}) + RULE),
        (source((9, 99)), "Dockerfile:9\n" + RULE + shown(8, 10, {9, 10}) + RULE),
        (source((11, 12)), ""),
        (source((0, 0)), ""),
        (source(), ""),
        (Source(ranges=[Range(start=Position(line=1))]), ""),
    ],
)
def test_print_source(given: Source, expected: str) -> None:
    assert print_source(given) == expected
