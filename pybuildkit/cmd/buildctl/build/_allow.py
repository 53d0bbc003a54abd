"""`--allow`. Mirrors cmd/buildctl/build/allow.go, v0.32.2."""

from __future__ import annotations

from collections.abc import Iterable

from pybuildkit.util import entitlements


def validate_allow(values: Iterable[str]) -> None:
    """Check that each value names a privilege; raises entitlements.EntitlementError or csvvalue's errors."""
    for value in values:
        entitlements.parse(value)
