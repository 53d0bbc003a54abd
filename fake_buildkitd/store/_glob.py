"""Wildcards in paths, as Go's path.Match reads them.

Mirrors path/match.go of Go and the helpers of fsutil/copy/copy.go.
"""

from __future__ import annotations

from fake_buildkitd.store._tree import join, split
from pybuildkit.third_party import patternmatcher


def contains_wildcards(path: bytes) -> bool:
    """Whether a path has an unescaped `*`, `?` or `[`."""
    position = 0
    while position < len(path):
        char = path[position : position + 1]
        if char == b"\\":
            position += 1
        elif char in (b"*", b"?", b"["):
            return True
        position += 1
    return False


def split_wildcards(path: bytes) -> tuple[bytes, bytes]:
    """The components before the first one with a wildcard, as an absolute path, and the rest."""
    plain, parts = b"/", split(path)
    for position, part in enumerate(parts):
        if contains_wildcards(part):
            return plain, b"/".join(parts[position:])
        plain = join(plain, part)
    return plain, b""


def match(pattern: bytes, name: bytes) -> bool:
    """Whether a whole name matches: `*` and `?` stop at slashes, `[a-z]` and `[^a-z]` are classes.

    Raises:
        patternmatcher.BadPatternError: the pattern is malformed.
    """
    return patternmatcher.match(pattern.decode("utf-8", "surrogateescape"), name.decode("utf-8", "surrogateescape"))
