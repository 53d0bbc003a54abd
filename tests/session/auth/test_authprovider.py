"""Registry credentials: both ends, and a real authorization server. Ports TestFetchTokenCaching of authprovider."""

from __future__ import annotations

import asyncio
import base64
import datetime
import ipaddress
import os
import select
import ssl
import time
from pathlib import Path
from typing import cast

import pytest

from pybuildkit.client._graph import SolveStatus
from pybuildkit.golang import context
from pybuildkit.golang.errors import BuildkitError, error_text
from pybuildkit.rpc import Code, RpcError, Server
from pybuildkit.session import Manager, auth
from pybuildkit.session.auth import auth_pb2 as pb
from pybuildkit.session.auth.authprovider import (
    DOCKER_HUB_CONFIGFILE_KEY,
    DOCKER_HUB_REGISTRY_HOST,
    AuthTLSConfig,
    DockerAuthProvider,
    DockerAuthProviderConfig,
    TLSKeyPair,
    load_auth_config,
    new_docker_auth_provider,
)
from pybuildkit.third_party.docker_config import AuthConfig, ConfigFile
from pybuildkit.util import bklog
from tests.session.auth.tokenserver import Answer, Request, token_server
from tests.session.pair import SESSION_ID, OneSession, session_pair

BG = context.background()
SECRET = "planted-secret"
HOST = "registry.example"


def config_file(**hosts: AuthConfig) -> ConfigFile:
    config = ConfigFile()
    config.auth_configs = {name.replace("_", "."): found for name, found in hosts.items()}
    return config


def provider(config: ConfigFile | None = None, folder: Path | None = None, **options: object) -> DockerAuthProvider:
    if config is None:
        config = config_file(registry_example=AuthConfig(username="user", password=SECRET))
    settings: dict[str, object] = {"auth_config_provider": load_auth_config(config), "seed_folder": str(folder or "")}
    return new_docker_auth_provider(DockerAuthProviderConfig(**{**settings, **options}))  # type: ignore[arg-type]  # checked at run time


DECODE = "unable to decode token response"
FIELD = DECODE + ": json: cannot unmarshal {} into Go struct field OAuthTokenResponse."


def token_request(realm: str, *scopes: str) -> pb.FetchTokenRequest:
    return pb.FetchTokenRequest(Host=HOST, Realm=realm, Service="svc", Scopes=scopes)


async def test_fetch_token_caching() -> None:
    def with_token(token: str) -> AuthConfig:
        return AuthConfig(username="user", registry_token=token)

    request = pb.FetchTokenRequest(Host=DOCKER_HUB_REGISTRY_HOST)
    for expired, wanted in ((None, "hunter2"), (lambda created, host: host == DOCKER_HUB_REGISTRY_HOST, "hunter3")):
        config = ConfigFile()
        config.auth_configs[DOCKER_HUB_CONFIGFILE_KEY] = with_token("hunter2")
        service = provider(config, expire_cached_auth=expired)
        assert (await service.fetch_token(BG, request)).Token == "hunter2"
        config.auth_configs[DOCKER_HUB_CONFIGFILE_KEY] = with_token("hunter3")
        assert (await service.fetch_token(BG, request)).Token == wanted


async def test_credentials_are_kept_where_nobody_says_for_how_long() -> None:
    config = config_file(registry_example=AuthConfig(username="user", password="first"))
    look_up = load_auth_config(config)
    assert (await look_up(BG, HOST, [], None)).password == "first"
    config.auth_configs[HOST] = AuthConfig(username="user", password="second")
    assert (await look_up(BG, HOST, [], None)).password == "first"


async def test_helpers_are_asked_one_at_a_time_and_once_a_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the builds of one client that all begin at once; some keychains hang when they are asked twice at once."""
    helper = tmp_path / "docker-credential-slow"
    answer = '{"Username": "u", "Secret": "s"}'
    alone = f"mkdir {tmp_path}/here || exit 1; echo asked >> {tmp_path}/asked; rmdir {tmp_path}/here"
    helper.write_text(f"#!/bin/sh\n{alone}; echo '{answer}'\n")
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    config = ConfigFile()
    config.credentials_store = "slow"
    service = provider(config)
    hosts = [f"{number % 3}.example" for number in range(12)]
    found = await asyncio.gather(*(service.credentials(BG, pb.CredentialsRequest(Host=host)) for host in hosts))
    assert {(each.Username, each.Secret) for each in found} == {("u", "s")}
    assert (tmp_path / "asked").read_text() == "asked\n" * 3


async def test_credentials_are_looked_up_again_after_nearly_five_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "time", lambda: now[0])
    config = config_file(registry_example=AuthConfig(username="user", password="first"))
    service = provider(config)

    async def password() -> str:
        return (await service.credentials(BG, pb.CredentialsRequest(Host=HOST))).Secret

    assert await password() == "first"
    config.auth_configs[HOST] = AuthConfig(username="user", password="second")
    now[0] += 289
    assert await password() == "first"
    now[0] += 2
    assert await password() == "second"


async def test_credentials_reach_the_daemon_and_are_shown_once() -> None:
    service = provider(
        config_file(
            registry_example=AuthConfig(username="user", password=SECRET), token_example=AuthConfig(identity_token="id")
        )
    )
    shown: list[SolveStatus] = []
    service.set_logger(shown.append)
    async with session_pair(service) as caller:
        credentials = auth.credentials_func(BG, cast("Manager", OneSession(caller)), (SESSION_ID,))
        for _ in range(2):
            assert await credentials(HOST) == (SESSION_ID, "user", SECRET)
        assert await credentials("token.example") == (SESSION_ID, "", "id")
        assert await credentials("other.example") == (SESSION_ID, "", "")
    names = [vertex.name for status in shown for vertex in status.vertexes if vertex.completed]
    assert names == [f"[auth] sharing credentials for {host}" for host in (HOST, "token.example")]
    assert SECRET not in "".join(status.to_json() for status in shown)


LATIN = "p\udce9ss-planted"
"""A password whose bytes are no UTF-8, as a terminal of Latin 1 gives it."""


async def test_login_that_is_no_utf_8() -> None:
    """Its bytes reach the daemon and an authorization server as they are, and no text of an error."""
    service = provider(config_file(registry_example=AuthConfig(username="us\udcffer", password=LATIN)))
    async with session_pair(service) as caller:
        credentials = auth.credentials_func(BG, cast("Manager", OneSession(caller)), (SESSION_ID,))
        assert await credentials(HOST) == (SESSION_ID, "us\udcffer", LATIN)
    quoted = LATIN.encode("utf-8", "surrogateescape")
    bodies = [b"you sent " + quoted, b"you sent p%E9ss-planted", {"access_token": "T"}]
    texts = []
    for body in bodies:
        with token_server(lambda request, body=body: (200 if isinstance(body, dict) else 403, {}, body)) as server:  # type: ignore[misc]  # the default binds it
            try:
                await service.fetch_token(BG, token_request(server.url))
            except BuildkitError as err:
                texts.append(error_text(err))
            assert "p%E9ss-planted" in server.raw[0]
    assert [text.rpartition(": ")[2] for text in texts] == ["you sent …", "you sent …"]


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", ("", "")),
        (b"\x0a\x01u\x12\x02\xe9x", ("u", "\udce9x")),
        (b"\x12\x01\xff\x18\x05\x0a\x01u", ("u", "\udcff")),
        (b"\x12\x01\xff\x12\x01s", ("", "s")),
    ],
)
def test_answers_to_credentials(data: bytes, found: tuple[str, str]) -> None:
    answer = auth.CREDENTIALS.decode_response(data)
    assert (answer.Username, answer.Secret) == found
    encoded = auth.CREDENTIALS.encode_response(answer)
    assert isinstance(encoded, bytes)
    assert bool(encoded) == any(found)
    again = auth.CREDENTIALS.decode_response(encoded)
    assert (again.Username, again.Secret) == found


@pytest.mark.parametrize("data", [b"\x12\x05\xff", b"\x12\x01\xff\x0b", b"\x12\x01\xff\x00", b"\xff"])
def test_what_is_no_answer_to_credentials(data: bytes) -> None:
    with pytest.raises(RpcError) as caught:
        auth.CREDENTIALS.decode_response(data)
    assert caught.value.code == Code.INTERNAL


async def test_session_without_the_service() -> None:
    async with session_pair() as caller:
        manager = cast("Manager", OneSession(caller))
        assert await auth.credentials_func(BG, manager, (SESSION_ID,))(HOST) == ("", "", "")
        assert await auth.get_token_authority(BG, HOST, manager, (SESSION_ID,)) is None
        assert await auth.verify_token_authority(BG, HOST, bytes(32), manager, (SESSION_ID,)) == ("", False)


class OddAuthority:
    """A session that answers questions for its key with anything."""

    def __init__(self, answer: bytes | Code) -> None:
        self.answer = answer

    def register(self, server: Server) -> None:
        server.add_unary(auth.GET_TOKEN_AUTHORITY, self.get_token_authority)

    async def get_token_authority(
        self, ctx: context.Context, request: pb.GetTokenAuthorityRequest
    ) -> pb.GetTokenAuthorityResponse:
        if isinstance(self.answer, Code):
            raise RpcError(self.answer, "what the session says")
        return pb.GetTokenAuthorityResponse(PublicKey=self.answer)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (bytes(5), "invalid pubkey length 5"),
        (b"", "invalid pubkey length 0"),
        (Code.INTERNAL, "what the session says"),
        (Code.UNAVAILABLE, None),
        (Code.UNIMPLEMENTED, None),
    ],
)
async def test_answers_for_a_key(answer: bytes | Code, text: str | None) -> None:
    async with session_pair(OddAuthority(answer)) as caller:
        question = auth.get_token_authority(BG, HOST, cast("Manager", OneSession(caller)), (SESSION_ID,))
        if text is None:
            assert await question is None
        else:
            with pytest.raises(BuildkitError, match=text):
                await question


async def test_allowed_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    monkeypatch.setattr(bklog, "_sink", lambda level, message, fields: lines.append(message))
    hub = AuthConfig(username="hub", password=SECRET)
    config = config_file(registry_example=AuthConfig(username="user", password=SECRET))
    config.auth_configs[DOCKER_HUB_CONFIGFILE_KEY] = hub
    service = provider(config, allow_hosts=["docker.io"])
    shown: list[SolveStatus] = []
    service.set_logger(shown.append)
    allowed = await service.credentials(BG, pb.CredentialsRequest(Host=DOCKER_HUB_REGISTRY_HOST))
    assert allowed.Username == "hub"
    for _ in range(2):
        refused = await service.credentials(BG, pb.CredentialsRequest(Host=HOST))
        assert (refused.Username, refused.Secret) == ("", "")
    assert lines == [f"refusing credentials for {HOST}: not allowed by --registry-auth-allow"]
    names = [vertex.name for status in shown for vertex in status.vertexes if vertex.completed]
    assert names == [f"[auth] sharing credentials for {DOCKER_HUB_REGISTRY_HOST}", f"[auth] {lines[0]}"]


async def test_token_authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    service = provider(folder=tmp_path)
    async with session_pair(service) as caller:
        manager, group = cast("Manager", OneSession(caller)), (SESSION_ID,)
        found = await auth.get_token_authority(BG, HOST, manager, group)
        assert found is not None
        assert found == await auth.get_token_authority(BG, HOST, manager, group)
        other = await auth.get_token_authority(BG, "other.example", manager, group)
        assert other is not None
        assert other[1] != found[1]
        assert await auth.verify_token_authority(BG, HOST, found[1], manager, group) == (SESSION_ID, True)
        assert await auth.verify_token_authority(BG, HOST, other[1], manager, group) == (SESSION_ID, False)
        monkeypatch.setenv("BUILDKIT_NO_CLIENT_TOKEN", "1")
        assert await auth.get_token_authority(BG, HOST, manager, group) is None
        with pytest.raises(RpcError, match="client side tokens disabled") as caught:
            await auth.verify_token_authority(BG, HOST, found[1], manager, group)
        assert caught.value.code == Code.UNAVAILABLE
    assert (tmp_path / ".token_seed").stat().st_mode & 0o777 == 0o600


async def test_key_is_the_same_for_a_new_process_and_shared_without_credentials(tmp_path: Path) -> None:
    request = pb.GetTokenAuthorityRequest(Host=HOST, Salt=b"salt")
    keys = [(await provider(folder=tmp_path).get_token_authority(BG, request)).PublicKey for _ in range(2)]
    assert keys[0] == keys[1]
    elsewhere = await provider(folder=tmp_path / "other").get_token_authority(BG, request)
    assert elsewhere.PublicKey != keys[0]
    anonymous = [
        (await provider(ConfigFile(), folder=tmp_path / name).get_token_authority(BG, request)).PublicKey
        for name in ("a", "b")
    ]
    assert anonymous[0] == anonymous[1]


async def test_oauth_with_password_and_with_identity_token() -> None:
    def answer(request: Request) -> Answer:
        return 200, {}, {"access_token": "T", "expires_in": 300, "issued_at": "2024-01-02T03:04:05.123456789Z"}

    with token_server(answer) as server:
        service = provider()
        shown: list[SolveStatus] = []
        service.set_logger(shown.append)
        async with session_pair(service) as caller:
            manager = cast("Manager", OneSession(caller))
            request = token_request(server.url, "repository:a/b:pull", "repository:c:push")
            response = await auth.fetch_token(BG, request, manager, (SESSION_ID,))
        assert (response.Token, response.ExpiresIn, response.IssuedAt) == ("T", 300, 1704164645)
        identity = provider(config_file(registry_example=AuthConfig(identity_token="id")))
        await identity.fetch_token(BG, token_request(server.url))
    first, second = server.requests
    wanted = {
        "client_id": ["buildkit-client"],
        "grant_type": ["password"],
        "password": [SECRET],
        "scope": ["repository:a/b:pull repository:c:push"],
        "service": ["svc"],
        "username": ["user"],
    }
    assert (first.method, first.form, first.authorization) == ("POST", wanted, "")
    assert second.form == {
        "client_id": ["buildkit-client"],
        "grant_type": ["refresh_token"],
        "refresh_token": ["id"],
        "service": ["svc"],
    }
    text = "".join(status.to_json() for status in shown)
    assert f"[auth] a/b:pull c:push token for {HOST}" in text
    assert base64.b64encode(f"asking {server.url.split('/')[2]}\n".encode()).decode() in text
    assert SECRET not in text


async def test_no_service_and_no_scopes() -> None:
    """A POST names the service always, a GET only where there is one."""
    with token_server(lambda request: (200, {}, {"token": "T", "access_token": "T"})) as server:
        for config in (None, ConfigFile()):
            await provider(config).fetch_token(BG, pb.FetchTokenRequest(Host=HOST, Realm=server.url))
    post, get = server.requests
    assert (post.form["service"], "scope" in post.form) == ([""], False)
    assert (get.method, get.query) == ("GET", {})


@pytest.mark.parametrize("status", [401, 404, 405])
async def test_server_without_post_is_asked_by_get(status: int) -> None:
    def answer(request: Request) -> Answer:
        return (200, {}, {"token": "G"}) if request.method == "GET" else (status, {}, {})

    with token_server(answer) as server:
        response = await provider().fetch_token(BG, token_request(server.url + "?x=1", "s1", "s2"))
    assert (response.Token, response.ExpiresIn) == ("G", 60)
    got = server.requests[1]
    assert got.query == {"scope": ["s1", "s2"], "service": ["svc"], "x": ["1"]}
    assert base64.b64decode(got.authorization.removeprefix("Basic ")) == f"user:{SECRET}".encode()


async def test_identity_token_is_not_tried_by_get_after_405() -> None:
    with token_server(lambda request: (405, {}, {})) as server, pytest.raises(BuildkitError, match="405 Method"):
        await provider(config_file(registry_example=AuthConfig(identity_token="id"))).fetch_token(
            BG, token_request(server.url)
        )
    assert [request.method for request in server.requests] == ["POST"]


async def test_secret_that_is_quoted_where_the_text_is_cut_or_in_the_url() -> None:
    with token_server(lambda request: (403, {}, b"z" * 250 + SECRET.encode())) as server:
        with pytest.raises(BuildkitError) as cut:
            await provider().fetch_token(BG, token_request(server.url))
        with pytest.raises(BuildkitError) as named:
            await provider().fetch_token(BG, token_request(f"{server.url}?k={SECRET}"))
    assert "zzz…" in error_text(cut.value)
    assert SECRET[:6] not in error_text(cut.value)
    assert "token?k=…: 403 Forbidden" in error_text(named.value)


async def test_anonymous() -> None:
    with token_server(lambda request: (200, {}, {"token": "A", "access_token": "B"})) as server:
        response = await provider(ConfigFile()).fetch_token(BG, token_request(server.url, "s"))
    assert response.Token == "B"
    assert (server.requests[0].method, server.requests[0].authorization) == ("GET", "")


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ((200, {}, {}), "authorization server did not include a token in the response"),
        ((200, {}, b"null"), "authorization server did not include a token in the response"),
        ((200, {}, b"<html>"), f"{DECODE}: invalid character '<' looking for beginning of value"),
        ((200, {}, b""), f"{DECODE}: EOF"),
        ((200, {}, b'{"access_token'), f"{DECODE}: unexpected EOF"),
        ((200, {}, [1]), f"{DECODE}: json: cannot unmarshal array into Go value of type auth.OAuthTokenResponse"),
        ((200, {}, {"access_token": 5}), f"{FIELD.format('number')}access_token of type string"),
        ((200, {}, {"access_token": "T", "expires_in": "x"}), f"{FIELD.format('string')}expires_in of type int"),
        ((200, {}, {"access_token": "T", "expires_in": True}), f"{FIELD.format('bool')}expires_in of type int"),
        ((200, {}, {"access_token": "T", "expires_in": 1.5}), f"{FIELD.format('number 1.5')}expires_in of type int"),
        ((200, {}, b'{"access_token":"T","expires_in":1%s}' % (b"0" * 20)), "expires_in of type int"),
        ((200, {}, {"access_token": "T", "issued_at": 5}), f"{DECODE}: Time.UnmarshalJSON: input is not a JSON string"),
        ((200, {}, {"access_token": "T", "issued_at": "now"}), f'{DECODE}: parsing time "now" as "2006-'),
        (
            (200, {}, {"access_token": "T", "issued_at": "2024-W01-2T03:04:05Z"}),
            'cannot parse "W01-2T03:04:05Z" as "01"',
        ),
        ((200, {}, {"access_token": "T", "issued_at": "2024-01-02 03:04:05Z"}), 'cannot parse " 03:04:05Z" as "T"'),
        ((200, {}, {"access_token": "T", "issued_at": f"you sent {SECRET}"}), 'parsing time "you sent …"'),
        ((400, {}, {"access_token": "T"}), '400 Bad Request: {"access_token": "T"}'),
        ((500, {}, b""), "unexpected status from POST request to URL: 500 Internal Server Error"),
        ((599, {}, b"x"), "unexpected status from POST request to URL: 599 : x"),
        ((403, {}, {"errors": [{"code": "DENIED"}]}), "failed to fetch oauth token: denied"),
        (
            (403, {}, {"errors": [{"code": "UNAUTHORIZED", "message": "authentication required"}]}),
            "token: unauthorized",
        ),
        ((403, {}, {"errors": ["text"]}), '403 Forbidden: {"errors": ["text"]}'),
        ((403, {}, {"errors": []}), '403 Forbidden: {"errors": []}'),
        (
            (403, {}, {"errors": [{"code": "DENIED"}, {"message": "x", "detail": ""}, {"message": "y"}]}),
            "errors:\ndenied\nunknown: x\nunknown: y\n",
        ),
        ((403, {}, {"errors": [{"code": 5}]}), '403 Forbidden: {"errors": [{"code": 5}]}'),
        ((403, {}, {"errors": [{"code": "A", "message": 5}], "details": "no"}), "403 Forbidden: no"),
        ((403, {}, {"errors": [{"code": "A", "detail": 0}]}), "token: unknown: "),
        ((403, {}, {"ERRORS": [{"CODE": "DENIED", "Message": "no"}]}), "token: denied: no"),
        ((403, {}, {"Details": "no"}), "unexpected status from POST request to URL: 403 Forbidden: no"),
        ((403, {}, b'{"errors":[{"code":"DENIED"}]} x'), '403 Forbidden: {"errors":[{"code":"DENIED"}]} x'),
        ((403, {}, {"details": "no"}), "unexpected status from POST request to URL: 403 Forbidden: no"),
        ((403, {}, {"errors": [{"code": "DENIED", "message": "no", "detail": "d"}]}), "denied: no - d"),
        (
            (403, {}, {"errors": [{"code": "A", "message": "x"}, {"code": "UNAVAILABLE", "message": "y"}]}),
            "errors:\nunknown: x\nunavailable: y\n",
        ),
        ((403, {}, f"you sent {SECRET}".encode()), "403 Forbidden: you sent …"),
        ((403, {}, b"z" * 300), "z... (44 bytes truncated)"),
        ((302, {"Location": "/token"}, b""), 'Post "/token": stopped after 10 redirects'),
        ((302, {"Location": "http://["}, b""), 'Post "URL": failed to parse Location header "http://[": parse '),
        ((307, {"Location": "http://192.0.2.1/x"}, b""), "refusing to send credentials without TLS to 192.0.2.1"),
        ((302, {"Location": "ftp://127.0.0.1/x"}, b""), 'Post "ftp://127.0.0.1/x": unsupported protocol scheme "ftp"'),
    ],
)
async def test_failures(answer: Answer, text: str) -> None:
    with token_server(lambda request: answer) as server, pytest.raises(BuildkitError) as caught:
        await provider().fetch_token(BG, token_request(server.url))
    message = error_text(caught.value)
    assert message.startswith("failed to fetch oauth token: ")
    assert text.replace("URL", server.url) in message
    assert SECRET not in message


@pytest.mark.parametrize(
    ("realm", "text"),
    [
        ("http://192.0.2.1/token", "refusing to send credentials without TLS to 192.0.2.1"),
        (f"http://x:{SECRET}@192.0.2.1/token", "refusing to send credentials without TLS to 192.0.2.1"),
        ("file:///etc/passwd", 'unsupported protocol scheme "file"'),
        ("https:///token", "no Host in request URL"),
        ("http://[", """parse "http://[": missing ']' in host"""),
        ("://", 'parse "://": missing protocol scheme'),
        ("http://127.0.0.1/a\n", "net/url: invalid control character in URL"),
        ("http://127.0.0.1:99999/", "dial tcp: address 99999: invalid port"),
        (f"http://x:{SECRET}@[", "missing ']' in host"),
        (f"http://x:{SECRET}@127.0.0.1:1/token", "dial tcp 127.0.0.1:1: connect: connection refused"),
        ("https://no-such-host.invalid/", "dial tcp: lookup no-such-host.invalid: no such host"),
    ],
)
async def test_realms(realm: str, text: str) -> None:
    with pytest.raises(BuildkitError) as caught:
        await provider().fetch_token(BG, token_request(realm))
    assert text in error_text(caught.value)
    assert SECRET not in error_text(caught.value)


async def test_no_authorization_for_another_host() -> None:
    with token_server(lambda request: (200, {}, {"token": "T"})) as other:

        def answer(request: Request) -> Answer:
            if request.method == "POST":
                return 404, {}, {}
            return 302, {"Location": other.url.replace("127.0.0.1", "localhost")}, {}

        with token_server(answer) as server:
            assert (await provider().fetch_token(BG, token_request(server.url))).Token == "T"
    assert server.requests[1].authorization != ""
    assert other.requests[0].authorization == ""


def _certificate(folder: Path) -> tuple[str, str]:
    """Files of a certificate for 127.0.0.1, signed by itself, and of its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(
        now + datetime.timedelta(days=1)
    )
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = builder.add_extension(address, critical=False).sign(key, hashes.SHA256())
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (folder / "key.pem").write_bytes(key.private_bytes(pem, form, serialization.NoEncryption()))
    return str(folder / "cert.pem"), str(folder / "key.pem")


async def test_tls_settings_are_for_their_host_alone(tmp_path: Path) -> None:
    pytest.importorskip("cryptography")
    certificate, key = _certificate(tmp_path)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, key)
    tls.load_verify_locations(certificate)
    tls.verify_mode = ssl.CERT_REQUIRED
    mine = AuthTLSConfig(root_cas=[certificate], key_pairs=[TLSKeyPair(key=key, certificate=certificate)])
    insecure = AuthTLSConfig(insecure=True, key_pairs=mine.key_pairs)
    with token_server(lambda request: (200, {}, {"access_token": "T"}), tls) as server:
        for settings in (mine, insecure):
            service = provider(tls_configs={HOST: settings})
            assert (await service.fetch_token(BG, token_request(server.url))).Token == "T"
        stranger = provider(tls_configs={HOST: AuthTLSConfig(key_pairs=mine.key_pairs)})
        with pytest.raises(BuildkitError, match="certificate signed by unknown authority"):
            await stranger.fetch_token(BG, token_request(server.url))
        with pytest.raises(BuildkitError, match=r"failed to verify certificate: x509: .* not valid for 'localhost'"):
            await provider(tls_configs={HOST: mine}).fetch_token(
                BG, token_request(server.url.replace("127.0.0.1", "localhost"))
            )
        assert len(server.requests) == 2
        nobody = provider(tls_configs={HOST: AuthTLSConfig(root_cas=[certificate])})
        with pytest.raises(BuildkitError, match=r'token": remote error: tls: certificate required$'):
            await nobody.fetch_token(BG, token_request(server.url))
        elsewhere = provider(tls_configs={"other.example": mine})
        with pytest.raises(BuildkitError, match="certificate signed by unknown authority"):
            await elsewhere.fetch_token(BG, token_request(server.url))


async def test_tls_settings_that_cannot_be_loaded(tmp_path: Path) -> None:
    (tmp_path / "junk").write_text("junk")
    gone, junk = (str(tmp_path / name) for name in ("gone", "junk"))
    cases = [
        (AuthTLSConfig(root_cas=[gone]), f"failed to read {gone}: open {gone}: no such file or directory"),
        (AuthTLSConfig(root_cas=[junk]), f"failed to read {junk}: no certificate in PEM form"),
        (
            AuthTLSConfig(key_pairs=[TLSKeyPair(certificate=junk, key=gone)]),
            f"failed to load keypair for {junk}: open {gone}: no such file or directory",
        ),
        (
            AuthTLSConfig(key_pairs=[TLSKeyPair(certificate=junk, key=junk)]),
            f"failed to load keypair for {junk}: tls: failed to find any PEM data in certificate input",
        ),
    ]
    for settings, text in cases:
        with pytest.raises(BuildkitError) as caught:
            await provider(tls_configs={HOST: settings}).fetch_token(BG, token_request("https://127.0.0.1/"))
        assert error_text(caught.value) == f"failed to fetch oauth token: {text}"


async def test_nothing_at_all() -> None:
    service = new_docker_auth_provider(DockerAuthProviderConfig())
    response = await service.credentials(BG, pb.CredentialsRequest(Host=HOST))
    assert (response.Username, response.Secret) == ("", "")


async def test_hanging_helper_is_ended_when_the_daemon_stops_asking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "pid")
    helper = tmp_path / "docker-credential-slow"
    helper.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid; exec sleep 100\n")
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    config = ConfigFile()
    config.credentials_store = "slow"
    service = provider(config)
    ctx, cancel = context.with_cancel(BG)
    asking = asyncio.ensure_future(service.credentials(ctx, pb.CredentialsRequest(Host=HOST)))
    process = os.pidfd_open(int(await asyncio.to_thread((tmp_path / "pid").read_text)))
    try:
        cancel()
        with pytest.raises(context.CanceledError):
            await asking
        ended, _, _ = await asyncio.to_thread(select.select, [process], [], [], 10)
        assert ended == [process]
    finally:
        os.close(process)
