"""Private keys: reading files, the blobs and the signatures."""

from __future__ import annotations

import base64
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pybuildkit.golang.errors import BuildkitError
from pybuildkit.session.sshforward.sshprovider import AgentConfig, KeyFileError, new_ssh_agent_provider
from pybuildkit.session.sshforward.sshprovider._keys import parse_private_key, unpack_string

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import dsa

needs_keygen = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="no ssh-keygen (openssh-client)")

KINDS = [
    pytest.param(["-t", "ed25519"], [(0, b"ssh-ed25519")], id="ed25519"),
    pytest.param(["-t", "ecdsa", "-b", "256"], [(0, b"ecdsa-sha2-nistp256")], id="p256"),
    pytest.param(["-t", "ecdsa", "-b", "521"], [(0, b"ecdsa-sha2-nistp521")], id="p521"),
    pytest.param(["-t", "rsa", "-b", "2048"], [(0, b"ssh-rsa"), (2, b"rsa-sha2-256"), (4, b"rsa-sha2-512")], id="rsa"),
    pytest.param(["-t", "rsa", "-b", "2048", "-m", "PEM"], [(4, b"rsa-sha2-512")], id="rsa-pem"),
    pytest.param(["-t", "ecdsa", "-b", "384", "-m", "PEM"], [(0, b"ecdsa-sha2-nistp384")], id="p384-pem"),
    pytest.param(["-t", "rsa", "-b", "2048", "-m", "PKCS8"], [(2, b"rsa-sha2-256")], id="rsa-pkcs8"),
]


def keygen(path: Path, *args: str, passphrase: str = "") -> bytes:
    """Make a key with ssh-keygen; its public blob."""
    subprocess.run(["ssh-keygen", "-q", "-N", passphrase, "-f", str(path), *args], check=True)
    return base64.b64decode(path.with_name(path.name + ".pub").read_text().split()[1])


@needs_keygen
@pytest.mark.parametrize(("args", "signatures"), KINDS)
def test_blob_and_signatures(args: list[str], signatures: list[tuple[int, bytes]], tmp_path: Path) -> None:
    pytest.importorskip("cryptography")
    blob = keygen(tmp_path / "key", *args)
    key = parse_private_key((tmp_path / "key").read_bytes())
    assert key.blob == blob
    for flags, name in signatures:
        found, rest = unpack_string(key.sign(b"data", flags))
        signature, rest = unpack_string(rest)
        assert (found, rest) == (name, b"")
        assert signature


def _dsa(size: int, form: str) -> tuple[bytes, dsa.DSAPrivateKey]:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import dsa

    key = dsa.generate_private_key(size)
    how = getattr(serialization.PrivateFormat, form)
    return key.private_bytes(serialization.Encoding.PEM, how, serialization.NoEncryption()), key


def test_dsa() -> None:
    """Old keys, which OpenSSH no longer makes: the blob, and a signature of two numbers of 20 bytes."""
    pytest.importorskip("cryptography")
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import utils

    data, private = _dsa(1024, "TraditionalOpenSSL")
    key = parse_private_key(data)
    public = private.public_key()
    numbers = public.public_numbers()
    parts = []
    rest = key.blob
    while rest:
        part, rest = unpack_string(rest)
        parts.append(part)
    group = numbers.parameter_numbers
    assert parts[0] == b"ssh-dss"
    assert [int.from_bytes(part, "big") for part in parts[1:]] == [group.p, group.q, group.g, numbers.y]
    name, rest = unpack_string(key.sign(b"data", 0))
    signature, rest = unpack_string(rest)
    assert (name, len(signature), rest) == (b"ssh-dss", 40, b"")
    r, s = (int.from_bytes(half, "big") for half in (signature[:20], signature[20:]))
    public.verify(utils.encode_dss_signature(r, s), b"data", hashes.SHA1())


@pytest.mark.parametrize(
    ("size", "form", "text"),
    [
        (2048, "TraditionalOpenSSL", "ssh: unsupported DSA key size 2048"),
        (1024, "PKCS8", "ssh: unsupported key type DSAPrivateKey"),
        (1024, "OpenSSH", "ssh: unhandled key type"),
    ],
)
def test_dsa_that_is_not_taken(size: int, form: str, text: str) -> None:
    pytest.importorskip("cryptography")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data, _ = _dsa(size, form)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # no word of the library's own on standard error
        with pytest.raises(KeyFileError) as caught:
            parse_private_key(data)
    assert str(caught.value) == text


def test_key_that_is_none_for_ssh(tmp_path: Path) -> None:
    pytest.importorskip("cryptography")
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import x25519

    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    key = x25519.X25519PrivateKey.generate().private_bytes(pem, form, serialization.NoEncryption())
    (tmp_path / "key").write_bytes(key)
    with pytest.raises(BuildkitError) as caught:
        new_ssh_agent_provider([AgentConfig(id="", paths=[str(tmp_path / "key")])])
    assert str(caught.value).endswith(
        f"failed to add {tmp_path}/key to agent: ssh: unsupported key type X25519PrivateKey"
    )


@needs_keygen
def test_flags_that_a_key_does_not_know(tmp_path: Path) -> None:
    pytest.importorskip("cryptography")
    keygen(tmp_path / "key", "-t", "ed25519")
    key = parse_private_key((tmp_path / "key").read_bytes())
    with pytest.raises(KeyFileError, match="unsupported signature flags: 4"):
        key.sign(b"data", 4)


@needs_keygen
@pytest.mark.parametrize("form", [[], ["-m", "PEM"]])
def test_passphrase(form: list[str], tmp_path: Path) -> None:
    keygen(tmp_path / "key", "-t", "rsa", "-b", "2048", *form, passphrase="hunter2")
    with pytest.raises(KeyFileError, match="ssh: this private key is passphrase protected"):
        parse_private_key((tmp_path / "key").read_bytes())


def _pem(kind: str, body: str = "Zm9v") -> bytes:
    return f"-----BEGIN {kind}-----\n{body}\n-----END {kind}-----\n".encode()


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "ssh: no key found"),
        (b"not a key", "ssh: no key found"),
        (_pem("OPENSSH PRIVATE KEY", "bad"), "ssh: no key found"),
        (_pem("OPENSSH PRIVATE KEY"), "ssh: invalid openssh private key format"),
        (_pem("OPENSSH PUBLIC KEY"), 'ssh: unsupported key type "OPENSSH PUBLIC KEY"'),
        (_pem("CERTIFICATE"), 'ssh: unsupported key type "CERTIFICATE"'),
        (b"-----BEGIN RSA PRIVATE KEY-----\nZm9v\n", "ssh: no key found"),
    ],
)
def test_no_key(data: bytes, text: str) -> None:
    with pytest.raises(KeyFileError) as caught:
        parse_private_key(data)
    assert str(caught.value) == text


def test_curve_that_ssh_does_not_know() -> None:
    pytest.importorskip("cryptography")
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL
    data = ec.generate_private_key(ec.SECP256K1()).private_bytes(pem, form, serialization.NoEncryption())
    with pytest.raises(KeyFileError) as caught:
        parse_private_key(data)
    assert str(caught.value) == "x509: unknown elliptic curve"


@needs_keygen
def test_key_is_found_among_other_text(tmp_path: Path) -> None:
    pytest.importorskip("cryptography")
    blob = keygen(tmp_path / "key", "-t", "ed25519")
    text = (tmp_path / "key").read_bytes()
    for data in (b"before\n" + text + b"after\n", text.replace(b"\n", b"\r\n"), _pem("NOISE", "-") + text):
        assert parse_private_key(data).blob == blob


@pytest.mark.parametrize("kind", ["RSA PRIVATE KEY", "EC PRIVATE KEY", "DSA PRIVATE KEY", "PRIVATE KEY"])
def test_malformed_key(kind: str) -> None:
    pytest.importorskip("cryptography")
    with pytest.raises(KeyFileError, match="malformed or unsupported private key"):
        parse_private_key(_pem(kind))


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.asymmetric", None)
    with pytest.raises(KeyFileError, match=r"install pybuildkit\[keys\], or use an ssh agent"):
        parse_private_key(_pem("RSA PRIVATE KEY"))
