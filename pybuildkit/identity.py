"""Random identifiers for sessions and builds. Mirrors identity/randomid.go, v0.32.2."""

from __future__ import annotations

import os

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_LENGTH = 25


def new_id() -> str:
    """A random id: 25 digits and lower-case letters, the first of them well filled."""
    value = int.from_bytes(os.urandom(17), "big") | 1 << 135
    digits = []
    while value:
        value, rest = divmod(value, 36)
        digits.append(_DIGITS[rest])
    return "".join(reversed(digits))[1 : _LENGTH + 1]
