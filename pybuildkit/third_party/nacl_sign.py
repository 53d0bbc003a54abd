"""Signed messages: the signature by Ed25519 (RFC 8032) followed by the message.

Mirrors golang.org/x/crypto/nacl/sign, v0.54.0. The package `cryptography` does the work where it is installed;
without it the arithmetic below does, which is slow (milliseconds) and not of constant time: good enough for keys that
a client derives for one daemon, and nothing else.
"""

from __future__ import annotations

import hashlib

_P = 2**255 - 19
_ORDER = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, -1, _P) % _P
_ROOT = pow(2, (_P - 1) // 4, _P)

_Point = tuple[int, int, int, int]
"""Extended coordinates X, Y, Z, T with x = X/Z, y = Y/Z, x·y = T/Z."""

_IDENTITY: _Point = (0, 1, 1, 0)
SIGNATURE_SIZE = 64


def public_key(seed: bytes) -> bytes:
    """The public key, 32 bytes, of a seed of 32 bytes."""
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    except ImportError:
        return _compress(_multiply(_expand(seed)[0], _base()))
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def sign(message: bytes, seed: bytes) -> bytes:
    """The signed message: 64 bytes of signature, then the message."""
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    except ImportError:
        return sign_plain(message, seed)
    return Ed25519PrivateKey.from_private_bytes(seed).sign(message) + message


def open_signed(signed: bytes, key: bytes) -> bytes | None:
    """The message of a signed one, or None where its signature is not that of the public key's owner."""
    if len(signed) < SIGNATURE_SIZE or len(key) != 32:
        return None
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ImportError:
        return open_plain(signed, key)
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signed[:SIGNATURE_SIZE], signed[SIGNATURE_SIZE:])
    except (InvalidSignature, ValueError):
        return None
    return signed[SIGNATURE_SIZE:]


def sign_plain(message: bytes, seed: bytes) -> bytes:
    """`sign` by the arithmetic of this module."""
    scalar, prefix = _expand(seed)
    key = _compress(_multiply(scalar, _base()))
    nonce = _hash_int(prefix, message) % _ORDER
    commitment = _compress(_multiply(nonce, _base()))
    challenge = _hash_int(commitment, key, message) % _ORDER
    response = (nonce + challenge * scalar) % _ORDER
    return commitment + response.to_bytes(32, "little") + message


def open_plain(signed: bytes, key: bytes) -> bytes | None:
    """`open_signed` by the arithmetic of this module."""
    commitment, message = signed[:32], signed[SIGNATURE_SIZE:]
    response = int.from_bytes(signed[32:SIGNATURE_SIZE], "little")
    owner, point = _decompress(key), _decompress(commitment)
    if owner is None or point is None or response >= _ORDER:
        return None
    challenge = _hash_int(commitment, key, message) % _ORDER
    left = _multiply(response, _base())
    right = _add(point, _multiply(challenge, owner))
    return message if _same(left, right) else None


def _hash_int(*parts: bytes) -> int:
    return int.from_bytes(hashlib.sha512(b"".join(parts)).digest(), "little")


def _expand(seed: bytes) -> tuple[int, bytes]:
    """The secret scalar and the prefix of the nonce's hash."""
    if len(seed) != 32:
        raise ValueError("a seed has 32 bytes")
    digest = hashlib.sha512(seed).digest()
    scalar = int.from_bytes(digest[:32], "little")
    return scalar & ((1 << 254) - 8) | 1 << 254, digest[32:]


def _add(p: _Point, q: _Point) -> _Point:
    a = (p[1] - p[0]) * (q[1] - q[0]) % _P
    b = (p[1] + p[0]) * (q[1] + q[0]) % _P
    c = 2 * p[3] * q[3] * _D % _P
    d = 2 * p[2] * q[2] % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _multiply(scalar: int, point: _Point) -> _Point:
    result = _IDENTITY
    while scalar:
        if scalar & 1:
            result = _add(result, point)
        point = _add(point, point)
        scalar >>= 1
    return result


def _same(p: _Point, q: _Point) -> bool:
    return (p[0] * q[2] - q[0] * p[2]) % _P == 0 and (p[1] * q[2] - q[1] * p[2]) % _P == 0


def _recover_x(y: int, odd: int) -> int | None:
    """The x of a point's y, with the parity given, or None where the curve has no such point."""
    square = (y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P
    if square == 0:
        return None if odd else 0
    x = pow(square, (_P + 3) // 8, _P)
    if (x * x - square) % _P:
        x = x * _ROOT % _P
    if (x * x - square) % _P:
        return None
    return x if x & 1 == odd else _P - x


def _base() -> _Point:
    y = 4 * pow(5, -1, _P) % _P
    x = _recover_x(y, 0)
    assert x is not None
    return x, y, 1, x * y % _P


def _compress(point: _Point) -> bytes:
    inverse = pow(point[2], -1, _P)
    x, y = point[0] * inverse % _P, point[1] * inverse % _P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def _decompress(data: bytes) -> _Point | None:
    value = int.from_bytes(data, "little")
    y = value & ((1 << 255) - 1)
    if y >= _P:
        return None
    x = _recover_x(y, value >> 255)
    return None if x is None else (x, y, 1, x * y % _P)
