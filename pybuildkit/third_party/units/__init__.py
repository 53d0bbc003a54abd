"""Byte counts for people, in decimal or binary units.

Mirrors github.com/tonistiigi/units (6950e57). Differs on purpose: where its units overflow 64 bits and it panics
("PANIC=Format method: …" in the text), the largest unit that a count of bytes can reach is used, EB.
"""

from __future__ import annotations

_DECIMAL = ("B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB")
_EXA = 6
_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB")


def format_bytes(count: int) -> str:
    """A count of bytes with two decimals and its unit, `1.50MB`; below 1000 without decimals, `999B`."""
    return format(count, "f", 2)


def format(count: int, verb: str = "g", precision: int | None = None, *, sharp: bool = False) -> str:
    """A count of bytes under one of Go's verbs.

    Args:
        count: the bytes, a number of 64 bits.
        verb: f, g (as few digits as are needed) or d (always whole bytes, without a unit unless `sharp`);
            any other prints as g.
        precision: digits, for f and g; None for the verb's default.
        sharp: binary units for f and g.
    """
    if verb == "d":
        return f"{count}B" if sharp else str(count)
    if verb not in ("f", "g"):
        if sharp:
            return f"bytes({count})"
        verb, precision = "g", None
    scaled = _scale(count, sharp)
    if scaled is None:
        return f"{count}B"
    value, unit = scaled
    from pybuildkit.golang.strconv import format_float

    if precision is None:
        precision = 6 if verb == "f" else -1
    return format_float(value, verb, precision) + unit


def _scale(count: int, binary: bool) -> tuple[float, str] | None:
    """The count in the largest unit that fits, None for plain bytes; units overflow 64 bits as in Go."""
    names = _BINARY if binary else _DECIMAL
    factor = 1024 if binary else 1000
    base = -1 if count < 0 else 1
    index = 0
    while True:
        grown = _int64(base * factor)
        if not ((base > 0 and count >= grown) or (base < 0 and count <= grown)):
            break
        index, base = index + 1, grown
        if index == len(names):
            index, base = _EXA, factor**_EXA
            break
    if index == 0:
        return None
    if base == 0:
        return (float("inf") if count > 0 else float("-inf")), names[index]
    return float(count) / abs(float(base)), names[index]


def _int64(value: int) -> int:
    return (value + (1 << 63)) % (1 << 64) - (1 << 63)
