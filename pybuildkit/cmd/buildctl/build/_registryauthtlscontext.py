"""`--registry-auth-tlscontext`. Mirrors cmd/buildctl/build/registryauthtlscontext.go, v0.32.2."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pybuildkit.cmd.buildctl.build._build import FlagValueError, csv_fields
from pybuildkit.golang import strconv
from pybuildkit.golang.errors import BuildkitError
from pybuildkit.session.auth.authprovider import AuthTLSConfig, TLSKeyPair

_FLAG = "--registry-auth-tlscontext"


@dataclass(slots=True)
class _Entry:
    host: str = ""
    ca: str = ""
    cert: str = ""
    key: str = ""
    insecure: bool = False

    def check(self) -> None:
        """Raise FlagValueError where the entry says too little."""
        if not self.host:
            raise FlagValueError(f"{_FLAG} requires host=<host>")
        if not self.ca:
            if not self.insecure and not (self.cert and self.key):
                raise FlagValueError(f"{_FLAG} requires ca=<ca> or cert=<cert>,key=<key> or insecure=true")
        elif bool(self.cert) != bool(self.key):
            raise FlagValueError(f"{_FLAG} requires cert=<cert>,key=<key>")


def _parse_bool(text: str) -> bool:
    """The truth value, False for a text that is none."""
    try:
        return strconv.parse_bool(text)
    except (BuildkitError, ValueError):
        return False


def _parse_entry(value: str) -> _Entry:
    entry = _Entry()
    for key, text, _ in csv_fields(value):
        if key == "insecure":
            entry.insecure = _parse_bool(text)
        elif key in ("host", "ca", "cert", "key"):
            setattr(entry, key, text)
    entry.check()
    return entry


def parse_registry_auth_tls_context(values: Iterable[str]) -> dict[str, AuthTLSConfig]:
    """The TLS settings for each registry host, several values of one host taken together.

    Raises:
        FlagValueError, csvvalue.ParseError, csvvalue.EmptyLineError: a malformed or incomplete value.
    """
    entries = [_parse_entry(value) for value in values]
    configs: dict[str, AuthTLSConfig] = {}
    for host in dict.fromkeys(entry.host for entry in entries):
        mine = [entry for entry in entries if entry.host == host]
        configs[host] = AuthTLSConfig(
            root_cas=[entry.ca for entry in mine if entry.ca],
            key_pairs=[TLSKeyPair(key=e.key, certificate=e.cert) for e in mine if e.cert and e.key],
            insecure=any(entry.insecure for entry in mine),
        )
    return configs
