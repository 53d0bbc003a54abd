"""TLS settings for one registry's authorization server.

Mirrors session/auth/authprovider/authconfig.go, v0.32.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pybuildkit.golang.errors import BuildkitError, wrap

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

        from pybuildkit.golang.os import read_file
        from pybuildkit.rpc._tls import KeyPairError, load_key_pair

        tls = ssl.create_default_context()
        for path in self.root_cas:
            try:
                tls.load_verify_locations(cadata=read_file(path).decode("ascii", "replace"))
            except (ssl.SSLError, ValueError) as err:
                raise wrap(BuildkitError("no certificate in PEM form"), f"failed to read {path}") from err
            except OSError as err:
                raise wrap(err, f"failed to read {path}") from err
        for pair in self.key_pairs:
            try:
                load_key_pair(tls, pair.certificate, pair.key)
            except (OSError, KeyPairError) as err:
                raise wrap(err, f"failed to load keypair for {pair.certificate}") from err
        if self.insecure:
            tls.check_hostname = False
            tls.verify_mode = ssl.CERT_NONE
        return tls
