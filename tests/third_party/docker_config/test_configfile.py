"""Docker's configuration: what it says, and where credentials come from."""

from __future__ import annotations

import base64
import io
import json
import os
import threading
import time
from pathlib import Path

import pytest

from pybuildkit.golang.errors import BuildkitError, error_text
from pybuildkit.third_party.docker_config import (
    AuthConfig,
    ConfigError,
    ConfigFile,
    CredentialHelperError,
    HelperCall,
    config_dir,
    load,
    load_default_config_file,
)
from pybuildkit.third_party.docker_config._configfile import convert_to_hostname

HUB = "https://index.docker.io/v1/"


def _auth(user: str, password: str) -> str:
    return base64.b64encode(f"{user}:{password}".encode()).decode()


def _config(document: object) -> ConfigFile:
    config = ConfigFile("config.json")
    config.load_bytes(json.dumps(document).encode())
    return config


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOCKER_AUTH_CONFIG", raising=False)


@pytest.fixture
def helpers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on PATH for credential helpers."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


def _helper(folder: Path, name: str, script: str) -> None:
    path = folder / f"docker-credential-{name}"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_auths() -> None:
    config = _config(
        {
            "auths": {
                "plain.example": {"auth": _auth("user", "p:w")},
                "split.example": {"username": "u", "password": "p"},
                "token.example": {"identitytoken": "id"},
                "bearer.example": {"registrytoken": "reg"},
                "https://old.example/v1/": {"auth": _auth("old", "pw\0")},
                HUB: {"auth": _auth("hub", "pw")},
            }
        }
    )
    wanted = {
        "plain.example": AuthConfig(username="user", password="p:w", server_address="plain.example"),
        "split.example": AuthConfig(username="u", password="p", server_address="split.example"),
        "token.example": AuthConfig(identity_token="id", server_address="token.example"),
        "bearer.example": AuthConfig(registry_token="reg", server_address="bearer.example"),
        "old.example": AuthConfig(username="old", password="pw", server_address="https://old.example/v1/"),
        "docker.io": AuthConfig(username="hub", password="pw", server_address=HUB),
        "index.docker.io": AuthConfig(username="hub", password="pw", server_address=HUB),
        "nowhere.example": AuthConfig(),
    }
    assert {host: config.get_auth_config(host) for host in wanted} == wanted


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("https://r.example/v1/", "r.example"),
        ("http://r.example:5000", "r.example:5000"),
        ("https://[::1]:5000/", "[::1]:5000"),
        ("r.example/path", "r.example"),
        ("https://R.Example/", "R.Example"),
        ("https://r.example:99999/", "r.example:99999"),
        ("https://r.example:/", "r.example"),
        ("https://u:p@r.example/", "r.example"),
        ("https://[::1]/", "::1"),
        ("https://r.example:x/", "https:"),
        ("//r.example", ""),
        ("r.example:5000", "r.example:5000"),
    ],
)
def test_convert_to_hostname(address: str, host: str) -> None:
    assert convert_to_hostname(address) == host


FIELD = "json: cannot unmarshal {} into Go struct field ConfigFile.{} of type {}"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"{", "unexpected EOF"),
        (b"junk", "invalid character 'j' looking for beginning of value"),
        (b'{"auths" {}}', "invalid character '{' after object key"),
        (b"[]", "json: cannot unmarshal array into Go value of type configfile.ConfigFile"),
        (b'"text"', "json: cannot unmarshal string into Go value of type configfile.ConfigFile"),
        (b"\xff\xfe", "looking for beginning of value"),
        (b'{"auths": []}', FIELD.format("array", "auths", "map[string]types.AuthConfig")),
        (b'{"auths": {"h": "planted"}}', FIELD.format("string", "auths.h", "types.AuthConfig")),
        (b'{"auths": {"h": {"auth": 12345}}}', FIELD.format("number", "auths.h.auth", "string")),
        (b'{"auths": {"h": {"password": ["planted"]}}}', FIELD.format("array", "auths.h.password", "string")),
        (b'{"auths": {"https://u:planted@h": 1}}', "auths.https://u:xxxxx@h of type types.AuthConfig"),
        (b'{"auths": {"h": {"auth": "!planted-secret!"}}}', "illegal base64 data at input byte 0"),
        (b'{"auths": {"h": {"auth": "dTpwQ"}}}', "illegal base64 data at input byte 4"),
        (b'{"auths": {"h": {"auth": "dTpw===="}}}', "illegal base64 data at input byte 4"),
        (b'{"auths": {"h": {"auth": "bm8tY29sb24="}}}', "invalid auth configuration file"),
        (b'{"auths": {"h": {"auth": "OnA="}}}', "invalid auth configuration file"),
        (b'{"credsStore": 1}', FIELD.format("number", "credsStore", "string")),
        (b'{"credHelpers": {"h": 1}}', FIELD.format("number", "credHelpers.h", "string")),
        (b'{"features": {"a": true}}', FIELD.format("bool", "features.a", "string")),
        (b"[" * 100_000, "unexpected EOF"),
    ],
)
def test_malformed_without_quoting_it(data: bytes, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ConfigFile().load_bytes(data)
    assert text in str(caught.value)
    assert "planted" not in str(caught.value)
    assert "no-colon" not in str(caught.value)


def test_rest_of_a_malformed_file_counts() -> None:
    config = ConfigFile()
    with pytest.raises(ConfigError, match="credsStore"):
        config.load_bytes(
            b'{"credsStore": 5, "credHelpers": {"x": "y"}, "auths": {"h": {"username": "u", "password": "p"}}}'
        )
    found = config.get_auth_config("h")
    assert (found.username, found.password, config.credential_helpers) == ("u", "p", {"x": "y"})


def test_names_whatever_their_case() -> None:
    config = _config({"AUTHS": {"h": {"Auth": _auth("user", "pw")}}, "credsstore": "", "CredHelpers": {"other": "x"}})
    assert config.get_auth_config("h").password == "pw"
    assert config.credential_helpers == {"other": "x"}


@pytest.mark.parametrize("data", [b"", b"  \n", b"null", b"{}", b'{"auths": null} trailing'])
def test_empty(data: bytes) -> None:
    config = ConfigFile()
    config.load_bytes(data)
    assert not config.contains_auth()


def test_repr_hides_credentials() -> None:
    assert "secret" not in repr(AuthConfig(username="u", password="secret", identity_token="secret"))


def test_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", "/elsewhere")
    assert config_dir() == "/elsewhere"
    monkeypatch.setenv("DOCKER_CONFIG", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert config_dir() == str(tmp_path / ".docker")


def test_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not load(str(tmp_path)).contains_auth()
    (tmp_path / "config.json").write_text('{"credsStore": "x", "currentContext": "c"}')
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    assert load().credentials_store == "x"
    loaded = load(str(tmp_path))
    assert (loaded.credentials_store, loaded.current_context) == ("x", "c")
    (tmp_path / "config.json").write_text("junk")
    with pytest.raises(BuildkitError, match=r"^parsing config file \(.*config.json\): "):
        load(str(tmp_path))
    (tmp_path / "config.json").unlink()
    (tmp_path / "config.json").mkdir()
    name = tmp_path / "config.json"
    with pytest.raises(BuildkitError) as caught:
        load(str(tmp_path))
    assert str(caught.value) == f"parsing config file ({name}): read {name}: is a directory"
    name.rmdir()
    name.symlink_to("config.json")
    with pytest.raises(BuildkitError) as caught:
        load(str(tmp_path))
    assert str(caught.value) == f"loading config file: open {name}: too many levels of symbolic links"


def test_default_file_warns_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, helpers: Path) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    (tmp_path / "config.json").write_text("junk")
    stderr = io.StringIO()
    _helper(helpers, "pass", "")
    _helper(helpers, "secretservice", "")
    config = load_default_config_file(stderr)
    assert stderr.getvalue().startswith("WARNING: Error parsing config file (")
    assert config.credentials_store in ("pass", "secretservice", "osxkeychain")
    for text in ('{"auths": {"h": {}}}', '{"credHelpers": {"h": "x"}}'):
        (tmp_path / "config.json").write_text(text)
        assert load_default_config_file(stderr).credentials_store == ""


def test_environment_wins_and_is_named_when_malformed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = _config({"auths": {"a": {"auth": _auth("file", "pw")}, "b": {"auth": _auth("file", "pw")}}})
    monkeypatch.setenv("DOCKER_AUTH_CONFIG", json.dumps({"auths": {"a": {"auth": _auth("env", "pw")}}}))
    assert config.get_auth_config("a").username == "env"
    assert config.get_auth_config("b").username == "file"
    monkeypatch.setenv("DOCKER_AUTH_CONFIG", json.dumps({"AUTHS": {"a": {"AUTH": _auth("folded", "pw")}}}))
    assert config.get_auth_config("a").username == "folded"
    for value in (" ", "null", "{}", "{}]", "{} }"):
        monkeypatch.setenv("DOCKER_AUTH_CONFIG", value)
        assert config.get_auth_config("a").username == "file"
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ('{"auths": {"a": {}}}', "DOCKER_AUTH_CONFIG environment variable is missing key `auth` for a"),
        ("{", "unexpected EOF"),
        ("[]", "json: cannot unmarshal array into Go value of type configfile.configEnv"),
        ("{} {}", "DOCKER_AUTH_CONFIG does not support more than one JSON object"),
        ('{"auths": {}, "credsStore": "x"}', 'json: unknown field "credsStore"'),
        ('{"auths": {"a": {"auth": "dTpw", "password": "planted"}}}', 'json: unknown field "password"'),
        ('{"auths": {"a": {"auth": "!planted"}}}', "illegal base64 data at input byte 0"),
    ],
)
def test_malformed_variable(
    value: str, text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DOCKER_AUTH_CONFIG", value)
    assert _config({"auths": {"a": {"auth": _auth("file", "pw")}}}).get_auth_config("a").username == "file"
    assert capsys.readouterr().err == f"Failed to create credential store from DOCKER_AUTH_CONFIG:  {text}\n"


def test_helpers(helpers: Path, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    answer = '{"ServerURL":"x","Username":"%s","Secret":"%s"}'
    _helper(helpers, "login", f"cat > {seen}; echo $# $* >> {seen}; echo '{answer % ('u', 's')}'")
    _helper(helpers, "token", f"echo '{answer % ('<token>', 'id')}'")
    _helper(helpers, "none", "echo 'credentials not found in native keychain'; exit 1")
    config = _config({"credsStore": "login", "credHelpers": {"t": "token", "n": "none"}})
    assert config.get_auth_config("docker.io") == AuthConfig(username="u", password="s", server_address=HUB)
    assert seen.read_text() == f"{HUB}1 get\n", "a build reads credentials and neither stores nor erases any"
    assert config.get_auth_config("index.docker.io").server_address == HUB
    assert config.get_auth_config("t") == AuthConfig(identity_token="id", server_address="t")
    assert config.get_auth_config("n") == AuthConfig()


@pytest.mark.parametrize(
    ("output", "username"),
    [("null", ""), ("{}", ""), ('{"username": "u", "SECRET": "s"}', "u"), ('{"Username": "u"} trailing', "u")],
)
def test_helper_answers(output: str, username: str, helpers: Path) -> None:
    _helper(helpers, "h", f"echo '{output}'")
    found = _config({"credsStore": "h"}).get_auth_config("r.example")
    assert (found.username, found.server_address) == (username, "r.example")


@pytest.mark.parametrize(
    ("script", "text"),
    [
        (None, 'err: exec: "docker-credential-h": executable file not found in $PATH, out: ``'),
        ("echo no luck; exit 3", "err: exit status 3, out: `no luck`"),
        (
            "echo 'no credentials server URL'; exit 1",
            "err: no credentials server URL, out: `no credentials server URL`",
        ),
        ("kill -9 $$", "err: signal: killed, out: ``"),
        (
            'echo \'{"Username": "u", "Secret": "planted\\"-secret"}\'; exit 1',
            'err: exit status 1, out: `{"Username": "u", "Secret": "xxxxx"}`',
        ),
        ('printf \'{"secret" : "planted-se\'; exit 1', 'err: exit status 1, out: `{"secret" : "xxxxx`'),
        ("echo planted-secret", "err: docker-credential-h wrote no JSON object"),
        ("echo '[\"planted-secret\"]'", "err: docker-credential-h wrote no JSON object"),
        ('echo \'{"Username": 1, "Secret": "planted-secret"}\'', "err: docker-credential-h wrote no credentials"),
    ],
)
def test_helper_failures(script: str | None, text: str, helpers: Path) -> None:
    if script is not None:
        _helper(helpers, "h", script)
    with pytest.raises(CredentialHelperError) as caught:
        _config({"credsStore": "h"}).get_auth_config("r.example")
    assert error_text(caught.value) == f"error getting credentials - {text}"


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("bin", "cannot run executable found relative to current directory"),
        (":/nowhere", "cannot run executable found relative to current directory"),
        ("", "executable file not found in $PATH"),
    ],
)
def test_helper_below_the_current_directory_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, reason: str
) -> None:
    """Whoever wrote into the current directory does not get to answer for a registry."""
    for folder in (tmp_path, tmp_path / "bin"):
        folder.mkdir(exist_ok=True)
        _helper(folder, "secretservice", f"touch {tmp_path}/ran")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", path)
    with pytest.raises(CredentialHelperError) as caught:
        _config({"credsStore": "secretservice"}).get_auth_config("r.example")
    text = f'error getting credentials - err: exec: "docker-credential-secretservice": {reason}, out: ``'
    assert error_text(caught.value) == text
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "none"))
    assert load_default_config_file(io.StringIO()).credentials_store == ""
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("../x", "fork/exec docker-credential-../x: no such file or directory"),
        ("a\0b", 'exec: "docker-credential-a\\x00b": executable file not found in $PATH'),
        ("/\0", "fork/exec docker-credential-/\0: invalid argument"),
    ],
)
def test_helper_whose_name_is_none(name: str, text: str) -> None:
    with pytest.raises(CredentialHelperError) as caught:
        _config({"credsStore": name}).get_auth_config("r.example")
    assert error_text(caught.value) == f"error getting credentials - err: {text}, out: ``"


@pytest.mark.parametrize("script", ["exec sleep 100", "sleep 100"], ids=["itself", "its child"])
def test_helper_that_hangs(script: str, helpers: Path) -> None:
    _helper(helpers, "slow", script)
    started = time.monotonic()
    with pytest.raises(CredentialHelperError, match=r"docker-credential-slow gave no answer within 0\.2s"):
        _config({"credsStore": "slow"}).get_auth_config("r", HelperCall(0.2))
    assert time.monotonic() - started < 10


def test_helper_is_interrupted(helpers: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "started")
    _helper(helpers, "slow", f"echo > {tmp_path}/started; exec sleep 100")
    call = HelperCall()
    failures: list[BuildkitError] = []

    def ask() -> None:
        try:
            _config({"credsStore": "slow"}).get_auth_config("r", call)
        except BuildkitError as err:
            failures.append(err)

    asking = threading.Thread(target=ask)
    asking.start()
    (tmp_path / "started").read_text()
    call.interrupt()
    asking.join(10)
    assert not asking.is_alive()
    assert "signal: killed" in str(failures[0])
    with pytest.raises(CredentialHelperError, match="interrupted"):
        call.get("slow", "r")
    early = HelperCall()
    early.interrupt()
    with pytest.raises(CredentialHelperError, match="docker-credential-slow was interrupted"):
        early.get("slow", "r")
