"""Digests: `algorithm:hex`.

Mirrors github.com/opencontainers/go-digest, v1.0.0.
"""

from __future__ import annotations

import re

from pybuildkit.golang.errors import BuildkitError

_HEX_LENGTHS = {"sha256": 64, "sha384": 96, "sha512": 128}
_ANY = re.compile(r"[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[a-zA-Z0-9=_-]+")
_HEX = frozenset("0123456789abcdef")


class DigestError(BuildkitError):
    """A text that is no digest, or one of an algorithm that is not known."""


def parse(text: str) -> str:
    """The digest itself, checked.

    Raises:
        DigestError: the form, the algorithm or the length is wrong.
    """
    algorithm, colon, encoded = text.partition(":")
    if not algorithm or not colon or not encoded:
        raise DigestError("invalid checksum digest format")
    length = _HEX_LENGTHS.get(algorithm)
    if length is None:
        if not _ANY.fullmatch(text):
            raise DigestError("invalid checksum digest format")
        raise DigestError("unsupported digest algorithm")
    if len(encoded.encode("utf-8", "surrogateescape")) != length:
        raise DigestError("invalid checksum digest length")
    if any(char not in _HEX for char in encoded):
        raise DigestError("invalid checksum digest format")
    return text


def from_bytes(data: bytes) -> str:
    """The SHA-256 digest of some bytes."""
    import hashlib

    return "sha256:" + hashlib.sha256(data).hexdigest()
