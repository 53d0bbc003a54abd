"""What goes wrong with TLS, in Go's words. Mirrors texts of crypto/tls and crypto/x509, Go 1.26."""

from __future__ import annotations

import sys

from pybuildkit.golang.errors import error_text

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
