"""Private keys of ssh in files, and signatures with them.

Mirrors ParseRawPrivateKey and the signers of golang.org/x/crypto/ssh, v0.54.0. The package `cryptography` (the extra
`pybuildkit[keys]`) reads the keys and signs; files that hold no key are told apart without it.

Formats: PEM blocks OPENSSH PRIVATE KEY, RSA PRIVATE KEY, EC PRIVATE KEY, DSA PRIVATE KEY and PRIVATE KEY (PKCS#8), not
encrypted.

Differs: what is wrong inside a damaged key is not told, since the words for it might quote the key.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pybuildkit.golang.errors import BuildkitError
from pybuildkit.golang.strconv import quote

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa

RSA_SHA2_256 = 2
RSA_SHA2_512 = 4

_TYPES = ("RSA PRIVATE KEY", "PRIVATE KEY", "EC PRIVATE KEY", "DSA PRIVATE KEY", "OPENSSH PRIVATE KEY")
_OPENSSH_KEYS = (
    *(b"ssh-rsa", b"ssh-ed25519"),
    *(b"ecdsa-sha2-nistp256", b"ecdsa-sha2-nistp384", b"ecdsa-sha2-nistp521"),
)
"""The keys that are read from OpenSSH's own format."""

_MAGIC = b"openssh-key-v1\0"
_PEM = re.compile(
    rb"^-----BEGIN (?P<type>[^\r\n]*?)-----[ \t]*\r?\n"
    rb"(?P<headers>(?:[^\r\n:]+:[^\r\n]*\r?\n)*)"
    rb"(?P<body>[^-]*?)"
    rb"^-----END (?P=type)-----[ \t]*(?:\r?\n|\Z)",
    re.MULTILINE,
)


class KeyFileError(BuildkitError):
    """A file holds no key that can be used, or a key cannot do what it is asked for."""


class UnsupportedKeyError(KeyFileError):
    """A key that can be read, but is none for ssh."""


@dataclass(frozen=True, repr=False)
class PrivateKey:
    """A key that signs.

    Attributes:
        blob: the public key, as ssh encodes it.
        sign: from data and the flags of a sign request to a signature, as ssh encodes it; raises KeyFileError.
    """

    blob: bytes
    sign: Callable[[bytes, int], bytes]


def pack_string(data: bytes) -> bytes:
    """A string of ssh: its length in four bytes, then the data."""
    return len(data).to_bytes(4, "big") + data


def unpack_string(data: bytes) -> tuple[bytes, bytes]:
    """The string at the beginning, and what follows it; raises KeyFileError where it is cut short."""
    length = int.from_bytes(data[:4], "big")
    if len(data) < 4 or len(data) < 4 + length:
        raise KeyFileError("ssh: short read")
    return data[4 : 4 + length], data[4 + length :]


def _pack_int(value: int) -> bytes:
    return pack_string(value.to_bytes(value.bit_length() // 8 + 1, "big") if value else b"")


def parse_private_key(data: bytes) -> PrivateKey:
    """The first PEM block of a key file as a key.

    Raises:
        UnsupportedKeyError: a key of a kind that ssh does not use.
        KeyFileError: no key there, one that is protected by a passphrase or of an unknown type, or the package
            `cryptography` is not installed.
    """
    kind, headers, body = _pem_block(data)
    if b"Proc-Type: 4,ENCRYPTED" in headers or (kind == "OPENSSH PRIVATE KEY" and _is_encrypted(body)):
        raise KeyFileError("ssh: this private key is passphrase protected")
    if kind not in _TYPES:
        raise KeyFileError(f"ssh: unsupported key type {quote(kind)}")
    try:
        from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
    except ImportError:
        raise KeyFileError(
            "reading private keys needs the package cryptography: install pybuildkit[keys], or use an ssh agent"
        ) from None
    if kind == "OPENSSH PRIVATE KEY" and not body.startswith(_MAGIC):
        raise KeyFileError("ssh: invalid openssh private key format")
    if kind == "OPENSSH PRIVATE KEY" and _openssh_type(body) not in _OPENSSH_KEYS:
        raise KeyFileError("ssh: unhandled key type")
    key = _load(kind, body)
    if isinstance(key, rsa.RSAPrivateKey):
        return _rsa_key(key)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return _ecdsa_key(key)
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return _ed25519_key(key)
    if isinstance(key, dsa.DSAPrivateKey) and kind == "DSA PRIVATE KEY":
        return _dsa_key(key)
    raise UnsupportedKeyError(f"ssh: unsupported key type {type(key).__name__}")


def _pem_block(data: bytes) -> tuple[str, bytes, bytes]:
    for match in _PEM.finditer(data):
        try:
            body = binascii.a2b_base64(b"".join(match["body"].split()), strict_mode=True)
        except binascii.Error:
            continue
        return match["type"].decode("utf-8", "replace"), match["headers"], body
    raise KeyFileError("ssh: no key found")


def _is_encrypted(body: bytes) -> bool:
    return body.startswith(_MAGIC) and unpack_string(body[len(_MAGIC) :])[0] != b"none"


def _openssh_type(body: bytes) -> bytes:
    """The type of the first key in OpenSSH's own format, which stands at the beginning of the public one."""
    _, rest = unpack_string(body[len(_MAGIC) :])  # the cipher
    _, rest = unpack_string(rest)  # how the passphrase becomes a key, and the options of that
    _, rest = unpack_string(rest)
    public, _ = unpack_string(rest[4:])
    return unpack_string(public)[0]


def _load(kind: str, body: bytes) -> object:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    try:
        if kind == "OPENSSH PRIVATE KEY":
            text = binascii.b2a_base64(body)
            pem = b"-----BEGIN OPENSSH PRIVATE KEY-----\n" + text + b"-----END OPENSSH PRIVATE KEY-----\n"
            return serialization.load_ssh_private_key(pem, None)
        return serialization.load_der_private_key(body, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as err:
        # the library's words may quote the file, so they are left out
        raise KeyFileError(f"ssh: malformed or unsupported private key ({type(err).__name__})") from None


def _rsa_key(key: rsa.RSAPrivateKey) -> PrivateKey:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding

    numbers = key.public_key().public_numbers()
    schemes: dict[int, tuple[bytes, hashes.HashAlgorithm]] = {
        0: (b"ssh-rsa", hashes.SHA1()),
        RSA_SHA2_256: (b"rsa-sha2-256", hashes.SHA256()),
        RSA_SHA2_512: (b"rsa-sha2-512", hashes.SHA512()),
    }

    def sign(data: bytes, flags: int) -> bytes:
        if flags not in schemes:
            raise KeyFileError(f"agent: unsupported signature flags: {flags}")
        name, algorithm = schemes[flags]
        return pack_string(name) + pack_string(key.sign(data, padding.PKCS1v15(), algorithm))

    return PrivateKey(pack_string(b"ssh-rsa") + _pack_int(numbers.e) + _pack_int(numbers.n), sign)


def _ecdsa_key(key: ec.EllipticCurvePrivateKey) -> PrivateKey:
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, utils

    curves: dict[str, tuple[bytes, hashes.HashAlgorithm]] = {
        "secp256r1": (b"nistp256", hashes.SHA256()),
        "secp384r1": (b"nistp384", hashes.SHA384()),
        "secp521r1": (b"nistp521", hashes.SHA512()),
    }
    if key.curve.name not in curves:
        raise KeyFileError("x509: unknown elliptic curve")
    curve, algorithm = curves[key.curve.name]
    point = key.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    name = b"ecdsa-sha2-" + curve

    def sign(data: bytes, flags: int) -> bytes:
        _no_flags(flags)
        r, s = utils.decode_dss_signature(key.sign(data, ec.ECDSA(algorithm)))
        return pack_string(name) + pack_string(_pack_int(r) + _pack_int(s))

    return PrivateKey(pack_string(name) + pack_string(curve) + pack_string(point), sign)


def _ed25519_key(key: ed25519.Ed25519PrivateKey) -> PrivateKey:
    from cryptography.hazmat.primitives import serialization

    public = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    name = b"ssh-ed25519"

    def sign(data: bytes, flags: int) -> bytes:
        _no_flags(flags)
        return pack_string(name) + pack_string(key.sign(data))

    return PrivateKey(pack_string(name) + pack_string(public), sign)


def _dsa_key(key: dsa.DSAPrivateKey) -> PrivateKey:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import utils

    public = key.public_key().public_numbers()
    group = public.parameter_numbers
    # ssh knows one size of such keys
    if group.p.bit_length() != 1024:
        raise UnsupportedKeyError(f"ssh: unsupported DSA key size {group.p.bit_length()}")
    if group.q.bit_length() != 160:
        raise UnsupportedKeyError(f"ssh: unsupported DSA sub-prime size {group.q.bit_length()}")
    name = b"ssh-dss"

    def sign(data: bytes, flags: int) -> bytes:
        _no_flags(flags)
        r, s = utils.decode_dss_signature(key.sign(data, hashes.SHA1()))
        return pack_string(name) + pack_string(r.to_bytes(20, "big") + s.to_bytes(20, "big"))

    numbers = (group.p, group.q, group.g, public.y)
    return PrivateKey(pack_string(name) + b"".join(_pack_int(number) for number in numbers), sign)


def _no_flags(flags: int) -> None:
    if flags:
        raise KeyFileError(f"agent: unsupported signature flags: {flags}")
