"""What an authorization server is asked and what counts in its answer, as BuildKit's client was seen to do it."""

from __future__ import annotations

import base64
import warnings
from pathlib import Path

import pytest

from pybuildkit.client._graph import SolveStatus
from pybuildkit.golang import context
from pybuildkit.golang.errors import BuildkitError
from pybuildkit.session.auth import auth_pb2 as pb
from pybuildkit.session.auth.authprovider import AuthTLSConfig
from pybuildkit.third_party.docker_config import AuthConfig, ConfigFile
from tests.session.auth.test_authprovider import HOST, _certificate, config_file, provider, token_request
from tests.session.auth.tokenserver import token_server

BG = context.background()


@pytest.mark.parametrize(
    ("answer", "expires", "issued"),
    [
        ({"access_token": "T", "token": "other"}, 60, 0),
        ({"ACCESS_TOKEN": "T", "Expires_In": 9}, 9, 0),
        ({"access_token": "T", "expires_in": None, "issued_at": None}, 60, 0),
        ({"access_token": "T", "expires_in": -5}, -5, 0),
        ({"access_token": "T", "issued_at": "0001-01-01T00:00:00Z"}, 60, 0),
        ({"access_token": "T", "issued_at": "2024-01-02T03:04:05+05:30"}, 60, 1704144845),
        ({"access_token": "T", "issued_at": "1960-01-02T03:04:05.5Z"}, 60, -315521755),
        (b'{"access_token": "T"} and more', 60, 0),
    ],
)
async def test_members_of_an_answer(answer: object, expires: int, issued: int) -> None:
    for config in (None, ConfigFile()):
        with token_server(lambda request: (200, {}, answer)) as server:
            found = await provider(config).fetch_token(BG, token_request(server.url, "s"))
        assert (found.Token, found.ExpiresIn, found.IssuedAt) == ("T", expires, issued)


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("", {"scope": ["a b", "c&d"], "service": ["svc"]}),
        ("?x=1&scope=pre#part", {"scope": ["pre", "a b", "c&d"], "service": ["svc"], "x": ["1"]}),
        ("?bad=%zz&y=%20", {"scope": ["a b", "c&d"], "service": ["svc"], "y": [" "]}),
    ],
)
async def test_query_of_an_anonymous_request(query: str, wanted: dict[str, list[str]]) -> None:
    with token_server(lambda request: (200, {}, {"token": "T"})) as server:
        await provider(ConfigFile()).fetch_token(BG, token_request(server.url + query, "a b", "c&d"))
    assert server.requests[0].query == wanted


async def test_login_in_the_realm_itself() -> None:
    """It is the server's own, and is sent where the request has no other."""
    login = f"Basic {base64.b64encode(b'a:b').decode()}"
    config = config_file(registry_example=AuthConfig(username="user", password="pw"))
    with token_server(
        lambda request: (200, {}, {"token": "T"}) if request.method == "GET" else (404, {}, {})
    ) as server:
        realm = server.url.replace("//", "//a:b@")
        await provider(ConfigFile()).fetch_token(BG, token_request(realm))
        await provider(config).fetch_token(BG, token_request(realm))
    mine = f"Basic {base64.b64encode(b'user:pw').decode()}"
    assert [request.authorization for request in server.requests] == [login, login, mine]


async def test_server_that_is_not_to_be_verified_is_not_warned_of(tmp_path: Path) -> None:
    import ssl

    pytest.importorskip("cryptography")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(*_certificate(tmp_path))
    service = provider(tls_configs={HOST: AuthTLSConfig(insecure=True)})
    server_of = token_server(lambda request: (200, {}, {"access_token": "T"}), tls)
    with server_of as server, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert (await service.fetch_token(BG, token_request(server.url))).Token == "T"
    assert caught == []


async def test_keys_of_the_authority_are_those_of_buildkit(tmp_path: Path) -> None:
    """Public keys and signatures that BuildKit's own client made, of the same seeds."""
    seeds = {"plain.example": "E+M+vT8T8GRvQeeDBVBfqg==", "token.example": "GQ2RjqE/By7zLcvi+2tyJQ=="}
    content = ", ".join(f'"{host}": {{"Seed": "{seed}"}}' for host, seed in seeds.items())
    (tmp_path / ".token_seed").write_text(f"{{{content}}}")
    config = ConfigFile()
    config.auth_configs = {
        "plain.example": AuthConfig(username="user", password="p:w"),
        "token.example": AuthConfig(identity_token="idtok"),
    }
    service = provider(config, tmp_path)
    for host, salt, key in KEYS:
        request = pb.GetTokenAuthorityRequest(Host=host, Salt=salt)
        assert (await service.get_token_authority(BG, request)).PublicKey.hex() == key
    for host, signature in SIGNATURES:
        asked = pb.VerifyTokenAuthorityRequest(Host=host, Salt=b"s", Payload=b"p" * 32)
        assert (await service.verify_token_authority(BG, asked)).Signed == bytes.fromhex(signature) + b"p" * 32


KEYS = [
    ("plain.example", b"", "e1a1c59547d951eda633c1c3a5a1fcfc4178de28a27b4d911146482e72aa8b28"),
    ("plain.example", b"s" * 32, "3bd3a3c68e1d6b441fb1d8d56fb0563a204d0b86d1116c4fe36204a6a4f5a393"),
    ("unknown.example", b"", "b61a5143178d67b8e6ff9248efca6775d72b4ad38cd1494942967ade83f5847a"),
    ("unknown.example", b"s" * 32, "af92b8e1928608d7742bd42e1699cb806355d2cecd1f12ef4d29261b504b3b08"),
    ("token.example", b"", "6b8e3c7db65912a394f3ae811281691f2ee94041b69c3ce05ca1bdaf538b10f1"),
    ("token.example", b"s" * 32, "8cfe74beb609731c1dd53a1fd716b9ea0fc6c466d055d14213f6ed266a6f011a"),
]
SIGNATURES = [
    (
        "plain.example",
        "0f5cde45a17e6b78895c58d2388876b2f3bf9450ddd0e94f20c97165d4d67f71"
        "8152f66ee2bac4c6534a9f082b8ffc9ea50799ae50674d08f34386197d612401",
    ),
    (
        "unknown.example",
        "c4d245bc2a70723a65c69e966680fd7c3ccd35b5b5eb42833708caea0556d608"
        "6c2b13362b50b6c93066621c2a1615034bc8fee363ae12591b4485754249db04",
    ),
    (
        "token.example",
        "7d1fe479c804addb1604949442967b0526f8f2010ed86d61ae1c0163ac2ec536"
        "0fe07ebf46c32cfebc752aab1ac157dd126566e2b5ba0863257c5b2d1a54e701",
    ),
]


@pytest.mark.parametrize(("realm", "shown"), [("", ""), ("x", ""), ("http://[::1", "asking an invalid realm\n")])
async def test_realm_without_a_host_is_not_shown(realm: str, shown: str) -> None:
    service = provider()
    statuses: list[SolveStatus] = []
    service.set_logger(statuses.append)
    with pytest.raises(BuildkitError):
        await service.fetch_token(BG, token_request(realm))
    assert "".join(log.data.decode() for status in statuses for log in status.logs) == shown
