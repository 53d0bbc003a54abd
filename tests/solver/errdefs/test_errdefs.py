"""How a source range is shown."""

from __future__ import annotations

import pytest

from pybuildkit.rpc import Code
from pybuildkit.solver.errdefs import UnsupportedSubrequestError, print_source
from pybuildkit.solver.errdefs.errdefs_pb2 import Source, Subrequest
from pybuildkit.solver.pb.ops_pb2 import Position, Range, SourceInfo
from pybuildkit.util.grpcerrors import StatusError

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
        (Source(info=source().info, ranges=[Range()]), ""),
        (Source(info=source().info, ranges=[Range(end=Position(line=3))]), ""),
    ],
)
def test_print_source(given: Source, expected: str) -> None:
    assert print_source(given) == expected


def test_bytes_that_are_no_utf8() -> None:
    given = source((1, 1), data=b"a\xff")
    assert " >>> a\ufffd\n" in print_source(given)
    assert b" >>> a\xff\n" in print_source(given, errors="surrogateescape").encode("utf-8", "surrogateescape")


def test_a_text_in_front_of_an_error_without_one() -> None:
    err = UnsupportedSubrequestError(StatusError(Code.UNKNOWN, ""), Subrequest(name="x"))
    assert str(err) == "unsupported request x: "
    assert str(UnsupportedSubrequestError(None, Subrequest(name="x"))) == "unsupported request x"
