"""TLS settings for one registry's authorization server.

Mirrors session/auth/authprovider/authconfig.go, v0.32.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pybuildkit.golang.errors import BuildkitError, error_text, wrap

if TYPE_CHECKING:
    import ssl


@dataclass(frozen=True, kw_only=True)
class TLSKeyPair:
    """The files of a client certificate and its key, in PEM form."""

    key: str
    certificate: str


@dataclass(frozen=True, kw_only=True)
class AuthTLSConfig:
    """TLS settings.

    Attributes:
        root_cas: files of certificates to trust besides the system's.
        insecure: do not verify the server.
        key_pairs: client certificates.
    """

    root_cas: Sequence[str] = ()
    insecure: bool = False
    key_pairs: Sequence[TLSKeyPair] = ()

    def ssl_context(self) -> ssl.SSLContext:
        """The settings as a context; reads the files, and blocks.

        Raises:
            BuildkitError: "failed to read PATH: …", "failed to load keypair for PATH: …".
        """
        import ssl

        tls = ssl.create_default_context()
        for path in self.root_cas:
            try:
                tls.load_verify_locations(cafile=path)
            except (OSError, ValueError) as err:
                raise wrap(_named(err, path), f"failed to read {path}") from err
        for pair in self.key_pairs:
            try:
                # a key with a passphrase is an error, and no reason to ask on the terminal
                tls.load_cert_chain(pair.certificate, pair.key, password=lambda: b"")
            except (OSError, ValueError) as err:
                raise wrap(_named(err, None), f"failed to load keypair for {pair.certificate}") from err
        if self.insecure:
            tls.check_hostname = False
            tls.verify_mode = ssl.CERT_NONE
        return tls


def _named(err: Exception, path: str | None) -> Exception:
    """The error as Go would word it: a file's with its name, OpenSSL's without its numbers."""
    import ssl

    if isinstance(err, ssl.SSLError):
        return BuildkitError(err.reason or error_text(err))
    if isinstance(err, OSError) and err.errno:
        return OSError(err.errno, err.strerror, path)
    return err
