"""Byte counts for people."""

from __future__ import annotations

import pytest

from pybuildkit.third_party.units import format_bytes


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0B"),
        (999, "999B"),
        (-999, "-999B"),
        (1000, "1.00kB"),
        (1005, "1.00kB"),
        (1015, "1.01kB"),
        (999_999, "1000.00kB"),
        (1_500_000, "1.50MB"),
        (-1_500_000, "-1.50MB"),
        (10**9, "1.00GB"),
        (10**18, "1.00EB"),
        (3 * 10**18, "3.00EB"),
        (3_900_000_000_000_000_000, "3.90EB"),
        (2**63 - 1, "9.22EB"),
        (-(2**63), "-9.22EB"),
    ],
)
def test_format_bytes(count: int, text: str) -> None:
    assert format_bytes(count) == text
