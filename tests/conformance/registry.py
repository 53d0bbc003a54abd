"""Debian's `docker-registry` on loopback, open or asking for credentials, and images pushed to it over plain HTTP.

A registry asks in one of two ways: with a htpasswd realm (Basic), or with a token server of this module, which signs
the registry's own kind of JSON Web Token.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import io
import json
import os
import socket
import ssl
import subprocess
import tarfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from tests.conformance.services import program
from tests.daemons import wait_for
from tests.session.auth.tokenserver import Answer, Request, TokenServer, token_server

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG = "application/vnd.docker.container.image.v1+json"
LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
ISSUER, SERVICE = "the test", "the registry"


@dataclass
class Registry:
    """A running registry: its host and port, and headers that let a request in."""

    host: str
    headers: dict[str, str] = field(default_factory=dict)

    def request(self, method: str, path: str, data: bytes | None = None, **headers: str) -> tuple[int, str]:
        """One request: the status, and where it says to go on."""
        url = path if path.startswith("http") else f"http://{self.host}{path}"
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(url, data, {**self.headers, **named}, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=10) as answer:
                return answer.status, answer.headers.get("Location", "")
        except urllib.error.HTTPError as err:
            err.close()
            return err.code, ""

    def content(self, path: str, **headers: str) -> bytes:
        """The body of the answer to a GET that succeeds."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(f"http://{self.host}{path}", headers={**self.headers, **named})
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=10) as answer:
            return bytes(answer.read())

    def push(self, name: str, files: Mapping[str, bytes], command: Sequence[str] = ()) -> str:
        """Push an image of one layer as NAME:latest; what to write behind FROM.

        Args:
            command: what a container of the image runs by default.
        """
        layer, config = _layer(files, command)
        for blob in (layer, config):
            status, location = self.request("POST", f"/v2/{name}/blobs/uploads/", b"")
            assert status == 202
            mark = "&" if "?" in location else "?"
            kind = "application/octet-stream"
            status, _ = self.request("PUT", f"{location}{mark}digest={digest(blob)}", blob, Content_Type=kind)
            assert status == 201
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "size": len(config), "digest": digest(config)},
            "layers": [{"mediaType": LAYER, "size": len(layer), "digest": digest(layer)}],
        }
        data = json.dumps(manifest).encode()
        status, _ = self.request("PUT", f"/v2/{name}/manifests/latest", data, Content_Type=MANIFEST)
        assert status == 201
        return f"{self.host}/{name}:latest"


def digest(data: bytes) -> str:
    """The digest of a blob."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _layer(files: Mapping[str, bytes], command: Sequence[str]) -> tuple[bytes, bytes]:
    """A compressed layer of the files, and the config of an image of it."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o755
            archive.addfile(member, io.BytesIO(content))
    import gzip

    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Env": ["PATH=/bin"], **({"Cmd": [*command]} if command else {})},
        "rootfs": {"type": "layers", "diff_ids": [digest(plain.getvalue())]},
        "history": [{"created_by": "the test"}],
    }
    return gzip.compress(plain.getvalue(), 1, mtime=0), json.dumps(config).encode()


def free_port() -> int:
    """A TCP port of loopback that nobody listens at."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextmanager
def serve(folder: Path, auth: Mapping[str, Mapping[str, str]] | None = None) -> Iterator[Registry]:
    """Run a registry until the block ends; `auth` is that section of its configuration."""
    port = free_port()
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "version": "0.1",
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
        "http": {"addr": f"127.0.0.1:{port}", "secret": "of the test"},
        **({"auth": auth} if auth else {}),
    }
    (folder / "config.yml").write_text(json.dumps(config))  # JSON is YAML
    with (folder / "log").open("wb") as log:
        command = [program("docker-registry"), "serve", str(folder / "config.yml")]
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:

            def answers() -> bool:
                assert process.poll() is None, (folder / "log").read_text()
                with socket.socket() as sock:
                    return sock.connect_ex(("127.0.0.1", port)) == 0

            wait_for(answers, "the registry's start")
            yield Registry(f"127.0.0.1:{port}")
        finally:
            process.terminate()
            process.wait()


def as_bytes(text: str) -> bytes:
    """A text whose surrogates stand for bytes that are no UTF-8."""
    return text.encode("utf-8", "surrogateescape")


def basic(user: str, password: str) -> str:
    """The value of an Authorization header."""
    return f"Basic {base64.b64encode(as_bytes(f'{user}:{password}')).decode()}"


@contextmanager
def htpasswd_registry(folder: Path, user: str, password: str) -> Iterator[Registry]:
    """A registry with a htpasswd realm that lets one user in."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [program("htpasswd"), "-iBn", "-C", "4", user]
    made = subprocess.run(command, input=as_bytes(password), capture_output=True, check=True)
    (folder / "htpasswd").write_bytes(made.stdout)
    with serve(folder, {"htpasswd": {"realm": "the realm", "path": str(folder / "htpasswd")}}) as registry:
        registry.headers["Authorization"] = basic(user, password)
        yield registry


class Signer:
    """Makes the tokens that a registry believes: signed by the key of the certificate it is given."""

    def __init__(self, folder: Path) -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, ISSUER)])
        now = datetime.datetime.now(datetime.UTC)
        self._certificate = (
            x509.CertificateBuilder(name, name, self._key.public_key(), x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.bundle = folder / "bundle.pem"
        self.bundle.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    def token(self, user: str, scopes: list[str]) -> str:
        """A token for scopes such as "repository:NAME:pull,push"."""
        now = int(datetime.datetime.now(datetime.UTC).timestamp())
        access = [
            {"type": kind, "name": name, "actions": actions.split(",")}
            for kind, name, actions in (scope.rsplit(":", 2)[:3] for scope in scopes)
        ]
        der = self._certificate.public_bytes(serialization.Encoding.DER)
        header = {"typ": "JWT", "alg": "RS256", "x5c": [base64.b64encode(der).decode()]}
        times = {"nbf": now - 60, "iat": now, "exp": now + 300}
        claims = {"iss": ISSUER, "aud": SERVICE, "sub": user, "jti": os.urandom(8).hex(), "access": access, **times}
        signed = b".".join(_base64url(json.dumps(part).encode()) for part in (header, claims))
        signature = self._key.sign(signed, padding.PKCS1v15(), hashes.SHA256())
        return (signed + b"." + _base64url(signature)).decode()


def _base64url(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


@dataclass
class TokenRegistry:
    """A registry and its token server: the requests it had, the tokens it gave."""

    registry: Registry
    server: TokenServer
    given: list[str]


@contextmanager
def token_registry(
    folder: Path, user: str, password: str, tls: ssl.SSLContext | None = None
) -> Iterator[TokenRegistry]:
    """A registry that wants a token of a server of this test, which gives one for the user's password.

    Without a user the password is an identity token. The server is behind TLS where that is given; the registry itself
    never is.
    """
    folder.mkdir(parents=True, exist_ok=True)
    signer = Signer(folder)
    given: list[str] = []

    def answer(request: Request) -> Answer:
        asked = request.form or request.query
        by_form = (asked.get("username"), asked.get("password")) == ([user], [password])
        by_identity = user == "" and asked.get("refresh_token") == [password]
        if not (by_form or by_identity) and request.authorization != basic(user, password):
            # a server that shows in its answer what it was sent
            return 401, {}, {"details": f"not {request.form} {request.authorization}"}
        scopes = " ".join(asked.get("scope", [])).split()
        token = signer.token(user, scopes)
        given.append(token)
        return 200, {"Content-Type": "application/json"}, {"token": token, "access_token": token, "expires_in": 300}

    with token_server(answer, tls) as server:
        auth = {"realm": server.url, "service": SERVICE, "issuer": ISSUER, "rootcertbundle": str(signer.bundle)}
        with serve(folder, {"token": auth}) as registry:
            everything = signer.token(user, [f"repository:{name}:pull,push" for name in ("img", "cache")])
            registry.headers["Authorization"] = f"Bearer {everything}"
            yield TokenRegistry(registry, server, given)


def docker_config(folder: Path, entries: Mapping[str, tuple[str, str]]) -> dict[str, str]:
    """Write Docker's configuration with logins by host; the variables that name it."""
    folder.mkdir(parents=True, exist_ok=True)
    auths = {
        host: {"auth": base64.b64encode(as_bytes(f"{user}:{password}")).decode()}
        for host, (user, password) in entries.items()
    }
    (folder / "config.json").write_text(json.dumps({"auths": auths}))
    return {"DOCKER_CONFIG": str(folder)}
