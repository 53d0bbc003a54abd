"""The configuration file and the credentials it gives. Mirrors config/configfile/file.go of github.com/docker/cli,
v29.6.2.

Where the credentials of a registry come from, the first that applies:

    DOCKER_AUTH_CONFIG    a JSON object {"auths": {HOST: {"auth": base64 of USER:PASSWORD}}}, where it has the host
    credHelpers[HOST]     the helper docker-credential-NAME
    credsStore            the same for every other host
    auths[HOST]           in the file itself; failing that, an entry whose URL has the host

Texts never show a user name, password or token, and neither does the `repr` of an AuthConfig.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pybuildkit.golang import json
from pybuildkit.golang.errors import BuildkitError, error_text
from pybuildkit.golang.jsontypes import STRING, Base64Error, List, Map, Struct, convert, decode_base64, text
from pybuildkit.golang.url import URLError, parse, redacted
from pybuildkit.third_party.docker_config._helper import TOKEN_USERNAME, HelperCall

if TYPE_CHECKING:
    from collections.abc import Mapping

ENV_AUTH_CONFIG = "DOCKER_AUTH_CONFIG"
_HUB_KEY = "https://index.docker.io/v1/"


_TEXTS = (
    *("psFormat", "imagesFormat", "networksFormat", "pluginsFormat", "volumesFormat", "statsFormat", "detachKeys"),
    *("serviceInspectFormat", "servicesFormat", "tasksFormat", "secretFormat", "configFormat", "nodesFormat"),
)
_PROXIES = ("httpProxy", "httpsProxy", "noProxy", "ftpProxy", "allProxy")
_AUTHS = ("username", "password", "auth", "serveraddress", "identitytoken", "registrytoken")
_CONFIG = Struct(
    "configfile.ConfigFile",
    (
        ("auths", Map(Struct("types.AuthConfig", tuple((name, STRING, True) for name in _AUTHS))), True),
        ("HttpHeaders", Map(STRING), True),
        *((name, STRING, True) for name in _TEXTS),
        ("credsStore", STRING, True),
        ("credHelpers", Map(STRING), True),
        ("pruneFilters", List(STRING), True),
        ("proxies", Map(Struct("configfile.ProxyConfig", tuple((name, STRING, True) for name in _PROXIES))), True),
        ("currentContext", STRING, True),
        ("cliPluginsExtraDirs", List(STRING), True),
        ("plugins", Map(Map(STRING)), True),
        ("aliases", Map(STRING), True),
        ("features", Map(STRING), True),
    ),
)
_ENV = Struct(
    "configfile.configEnv",
    (("auths", Map(Struct("configfile.configEnvAuth", (("auth", STRING, True),), strict=True)), True),),
    strict=True,
)


class ConfigError(BuildkitError):
    """The configuration is malformed."""


@dataclass(frozen=True, kw_only=True, repr=False)
class AuthConfig:
    """The credentials for one registry; all empty where there are none.

    Attributes:
        username, password: of a login.
        server_address: what they are for, as the configuration writes it.
        identity_token: a token that stands for a login.
        registry_token: a bearer token to send to the registry as it is.
    """

    username: str = ""
    password: str = ""
    server_address: str = ""
    identity_token: str = ""
    registry_token: str = ""

    def __repr__(self) -> str:
        return f"AuthConfig(server_address={self.server_address!r}, …)"


class ConfigFile:
    """What `config.json` says, as far as a build needs it.

    Args:
        filename: where it is; only for messages.
    """

    def __init__(self, filename: str = "") -> None:
        self.filename = filename
        self.auth_configs: dict[str, AuthConfig] = {}
        self.credentials_store = ""
        self.credential_helpers: dict[str, str] = {}
        self.current_context = ""

    def load_bytes(self, data: bytes) -> None:
        """Read the file's content.

        Raises:
            ConfigError: it is no such JSON object; what was understood until then counts.
        """
        try:
            document = json.decode(data)
        except json.SyntaxError as err:
            if not data.strip():
                return
            raise ConfigError(str(err)) from None
        found, error = convert(_CONFIG, document)
        self.credentials_store = text(found, "credsStore")
        self.current_context = text(found, "currentContext")
        self.credential_helpers = {
            host: text(helpers, host) for helpers in _maps(found, "credHelpers") for host in helpers
        }
        entries = {address: entry for auths in _maps(found, "auths") for address, entry in auths.items()}
        self.auth_configs = {address: _read_auth(entry) for address, entry in entries.items()}
        if error is not None:
            raise ConfigError(redacted(str(error))) from None
        for address, entry in entries.items():
            self.auth_configs[address] = _decoded(self.auth_configs[address], address, entry)

    def contains_auth(self) -> bool:
        """Whether there are any credentials, or ways to them."""
        return bool(self.credentials_store or self.credential_helpers or self.auth_configs)

    def get_auth_config(self, host: str, call: HelperCall | None = None) -> AuthConfig:
        """The credentials for a registry; blocks while a helper runs.

        Args:
            host: the registry's host and port, or Docker Hub's key "https://index.docker.io/v1/".
            call: runs the helper, so that another thread can end it; default: one with the usual time limit.

        Raises:
            CredentialHelperError: the helper is missing, fails, gives no JSON or no answer in time.
        """
        key = _HUB_KEY if host in ("docker.io", "index.docker.io") else host
        from_env = _env_auth_configs()
        if key in from_env:
            return from_env[key]
        stored = self._from_file(key)
        helper = self.credential_helpers.get(key, self.credentials_store)
        if not helper:
            return stored
        found = (call or HelperCall()).get(helper, key)
        if found is None:
            return replace(stored, username="", password="", identity_token="", server_address="")
        username, secret = found
        if username == TOKEN_USERNAME:
            return replace(stored, username="", password="", identity_token=secret, server_address=key)
        return replace(stored, username=username, password=secret, identity_token="", server_address=key)

    def _from_file(self, key: str) -> AuthConfig:
        if key in self.auth_configs:
            return self.auth_configs[key]
        for address, config in self.auth_configs.items():
            if key == convert_to_hostname(address):
                return config
        return AuthConfig()


def convert_to_hostname(maybe_url: str) -> str:
    """The host (and port) of an address that may be a URL, as old configurations have it."""
    if "://" in maybe_url:
        try:
            parsed = parse(maybe_url)
        except URLError:
            return maybe_url.partition("/")[0]
        hostname, port = parsed.hostname(), parsed.port()
        if hostname:
            shown = f"[{hostname}]" if ":" in hostname and port else hostname
            return f"{shown}:{port}" if port else hostname
    return maybe_url.partition("/")[0]


def decode_auth(auth: str) -> tuple[str, str]:
    """The user name and password of a base64 text; raises ConfigError."""
    if not auth:
        return "", ""
    try:
        decoded = decode_base64(auth)
    except Base64Error as err:
        raise ConfigError(str(err)) from None
    username, colon, password = decoded.decode("utf-8", "surrogateescape").partition(":")
    if not colon or not username:
        raise ConfigError("invalid auth configuration file")
    return username, password.strip("\0")


def _maps(found: Mapping[str, object], name: str) -> list[dict[str, Any]]:
    """The member that is a map, or nothing where it was left out."""
    value = found.get(name)
    return [value] if isinstance(value, dict) else []


def _read_auth(entry: Mapping[str, object]) -> AuthConfig:
    """An entry as it is written."""
    return AuthConfig(
        username=text(entry, "username"),
        password=text(entry, "password"),
        identity_token=text(entry, "identitytoken"),
        registry_token=text(entry, "registrytoken"),
    )


def _decoded(config: AuthConfig, address: str, entry: Mapping[str, object]) -> AuthConfig:
    """An entry for an address, with the login that its member `auth` holds; raises ConfigError."""
    auth = text(entry, "auth")
    if not auth:
        return replace(config, server_address=address)
    username, password = decode_auth(auth)
    return replace(config, server_address=address, username=username, password=password)


def _env_auth_configs() -> dict[str, AuthConfig]:
    value = os.environ.get(ENV_AUTH_CONFIG, "")
    if not value:
        return {}
    try:
        return _read_env(value)
    except BuildkitError as err:
        sys.stderr.write(f"Failed to create credential store from {ENV_AUTH_CONFIG}:  {redacted(error_text(err))}\n")
        return {}


def _read_env(value: str) -> dict[str, AuthConfig]:
    """The logins of DOCKER_AUTH_CONFIG; unlike in the file, nothing else may be in it."""
    if not value.strip():
        return {}
    found, error = convert(
        _ENV, json.decode_only(value, f"{ENV_AUTH_CONFIG} does not support more than one JSON object")
    )
    if error is not None:
        raise error
    configs = {}
    for auths in _maps(found, "auths"):
        for address, entry in auths.items():
            if not text(entry, "auth"):
                raise ConfigError(f"{ENV_AUTH_CONFIG} environment variable is missing key `auth` for {address}")
            configs[address] = _decoded(AuthConfig(), address, entry)
    return configs
