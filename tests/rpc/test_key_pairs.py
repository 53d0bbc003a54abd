"""Client certificates and their keys: what is wrong with the files, as BuildKit's client was seen to say it."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from pybuildkit.rpc._tls import KeyPairError, load_key_pair


def pem(kind: str, body: str = "AAAA") -> str:
    return f"-----BEGIN {kind}-----\n{body}\n-----END {kind}-----\n"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Contents by name: two pairs, an RSA key, a sealed key, and what is none."""
    pytest.importorskip("cryptography")
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    from tests.conformance.bridges import Authority

    authority = Authority(tmp_path_factory.mktemp("pki"))
    found = {}
    for name in ("one", "two"):
        certificate, key = authority.issue(name)
        found[name], found[f"{name}-key"] = certificate.read_text(), key.read_text()
    form, encoding = serialization.PrivateFormat.PKCS8, serialization.Encoding.PEM
    other = rsa.generate_private_key(65537, 2048)
    found["rsa"] = other.private_bytes(encoding, form, serialization.NoEncryption()).decode()
    loaded = serialization.load_pem_private_key(found["one-key"].encode(), None)
    seal = serialization.BestAvailableEncryption(b"planted")
    found["sealed"] = loaded.private_bytes(encoding, form, seal).decode()
    found |= {"foo": pem("FOO"), "foofoo": pem("FOO") * 2, "junk": "junk", "empty": ""}
    found |= {"bad": pem("CERTIFICATE"), "bad-key": pem("PRIVATE KEY"), "both": found["one"] + found["one-key"]}
    return found


SKIPPED = "after skipping PEM blocks of the following types: "


@pytest.mark.parametrize(
    ("certificate", "key", "text"),
    [
        ("one", "one-key", ""),
        ("both", "both", ""),
        ("one", "two-key", "tls: private key does not match public key"),
        ("one", "rsa", "tls: private key type does not match public key type"),
        ("junk", "one-key", "tls: failed to find any PEM data in certificate input"),
        ("empty", "one-key", "tls: failed to find any PEM data in certificate input"),
        ("one", "junk", "tls: failed to find any PEM data in key input"),
        ("one", "one", "tls: found a certificate rather than a key in the PEM for the private key"),
        (
            *("one-key", "one"),
            "tls: failed to find certificate PEM data in certificate input, but did find a private key; PEM inputs may "
            "have been switched",
        ),
        ("foo", "one-key", f'tls: failed to find "CERTIFICATE" PEM block in certificate input {SKIPPED}[FOO]'),
        ("foofoo", "one-key", f'tls: failed to find "CERTIFICATE" PEM block in certificate input {SKIPPED}[FOO FOO]'),
        ("one", "foo", f'tls: failed to find PEM block with type ending in "PRIVATE KEY" in key input {SKIPPED}[FOO]'),
        ("bad", "one-key", "x509: malformed certificate"),
        ("one", "bad-key", "tls: failed to parse private key"),
        ("one", "sealed", "tls: failed to parse private key"),
    ],
)
def test_pairs(files: dict[str, str], certificate: str, key: str, text: str, tmp_path: Path) -> None:
    (tmp_path / "certificate").write_text(files[certificate])
    (tmp_path / "key").write_text(files[key])
    said = ""
    try:
        load_key_pair(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), str(tmp_path / "certificate"), str(tmp_path / "key"))
    except KeyPairError as err:
        said = str(err)
    assert said == text
