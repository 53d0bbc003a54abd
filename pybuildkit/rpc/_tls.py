"""Loading certificates and keys, and faults of TLS in Go's words. Mirrors crypto/tls and crypto/x509, Go 1.26."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from pybuildkit.golang.errors import BuildkitError, error_text

if TYPE_CHECKING:
    import ssl

_VERIFY = {
    10: "x509: certificate has expired or is not yet valid",
    9: "x509: certificate has expired or is not yet valid",
    18: "x509: certificate signed by unknown authority",
    19: "x509: certificate signed by unknown authority",
    20: "x509: certificate signed by unknown authority",
    21: "x509: certificate signed by unknown authority",
}
_ALERTS = {
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "remote error: tls: certificate required",
    "SSLV3_ALERT_BAD_CERTIFICATE": "remote error: tls: bad certificate",
    "TLSV1_ALERT_UNKNOWN_CA": "remote error: tls: unknown certificate authority",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "remote error: tls: handshake failure",
    "TLSV1_ALERT_PROTOCOL_VERSION": "remote error: tls: protocol version not supported",
    "WRONG_VERSION_NUMBER": "tls: first record does not look like a TLS handshake",
    "HTTP_REQUEST": "tls: first record does not look like a TLS handshake",
}


_MISMATCHES = {
    "KEY_VALUES_MISMATCH": "tls: private key does not match public key",
    "KEY_TYPE_MISMATCH": "tls: private key type does not match public key type",
    "NO_CERTIFICATE_ASSIGNED": "tls: private key type does not match public key type",
}


class KeyPairError(BuildkitError):
    """A certificate and a key that cannot be used: "tls: …" or "x509: …"."""


def load_key_pair(tls: ssl.SSLContext, certificate: str, key: str) -> None:
    """Use a client certificate and its key.

    Args:
        tls: takes them.
        certificate, key: their files, in PEM form.

    Raises:
        OSError: a file cannot be read ("open PATH: …").
        KeyPairError: they are no certificate and key, or none of one another; a key with a passphrase is an error, and
            no reason to ask on the terminal.
    """
    import ssl

    from pybuildkit.golang.os import read_file

    first, second = read_file(certificate), read_file(key)
    _check_certificate(first)
    _check_key(second)
    try:
        tls.load_cert_chain(certificate, key, password=lambda: b"")
    except (ssl.SSLError, ValueError) as err:
        reason = _MISMATCHES.get(getattr(err, "reason", None) or "")
        raise KeyPairError(reason or _what_is_malformed(first)) from err


def _blocks(data: bytes) -> list[str]:
    """The types of the PEM blocks in a file."""
    import re

    found = re.findall(rb"^-----BEGIN ([^\r\n]*?)-----[ \t]*\r?\n.*?^-----END \1-----", data, re.DOTALL | re.MULTILINE)
    return [kind.decode("utf-8", "replace") for kind in found]


def _check_certificate(data: bytes) -> None:
    found = _blocks(data)
    if "CERTIFICATE" in found:
        return
    where = "in certificate input"
    if not found:
        raise KeyPairError(f"tls: failed to find any PEM data {where}")
    if len(found) == 1 and found[0].endswith("PRIVATE KEY"):
        raise KeyPairError(
            f"tls: failed to find certificate PEM data {where}, but did find a private key; PEM inputs may have been "
            "switched"
        )
    skipped = f"after skipping PEM blocks of the following types: [{' '.join(found)}]"
    raise KeyPairError(f'tls: failed to find "CERTIFICATE" PEM block {where} {skipped}')


def _check_key(data: bytes) -> None:
    found = _blocks(data)
    if any(kind == "PRIVATE KEY" or kind.endswith(" PRIVATE KEY") for kind in found):
        return
    if not found:
        raise KeyPairError("tls: failed to find any PEM data in key input")
    if found == ["CERTIFICATE"]:
        raise KeyPairError("tls: found a certificate rather than a key in the PEM for the private key")
    skipped = f"after skipping PEM blocks of the following types: [{' '.join(found)}]"
    raise KeyPairError(f'tls: failed to find PEM block with type ending in "PRIVATE KEY" in key input {skipped}')


def _what_is_malformed(certificate: bytes) -> str:
    import ssl

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=certificate.decode("ascii", "replace"))
    except (ssl.SSLError, ValueError):
        return "x509: malformed certificate"
    return "tls: failed to parse private key"


def handshake_text(err: OSError) -> str:
    """Why a handshake failed."""
    import ssl

    if isinstance(err, ssl.SSLCertVerificationError):
        known = _VERIFY.get(err.verify_code)
        return f"tls: failed to verify certificate: {known or 'x509: ' + str(err.verify_message)}"
    if isinstance(err, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return "EOF"
    if isinstance(err, ssl.SSLError):
        if err.reason in _ALERTS:
            return _ALERTS[err.reason]
        return f"tls: {(err.reason or 'handshake failed').replace('_', ' ').lower()}"
    if isinstance(err, (ConnectionResetError, EOFError)) and not err.strerror:
        return "EOF"
    return error_text(err)


def broken_text(err: OSError) -> str | None:
    """Why a TLS connection broke after the handshake; None for an error that is not TLS's own."""
    if "ssl" not in sys.modules:
        return None
    import ssl

    return handshake_text(err) if isinstance(err, ssl.SSLError) else None
