"""The configuration file and the credentials it gives. Mirrors config/configfile/file.go of github.com/docker/cli.

Where the credentials of a registry come from, the first that applies:

    DOCKER_AUTH_CONFIG    a JSON object {"auths": {HOST: {"auth": base64 of USER:PASSWORD}}}, where it has the host
    credHelpers[HOST]     the helper docker-credential-NAME
    credsStore            the same for every other host
    auths[HOST]           in the file itself; failing that, an entry whose URL has the host

Texts never show a user name, password or token, and neither does the `repr` of an AuthConfig.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pybuildkit.golang.errors import BuildkitError, error_text
from pybuildkit.third_party.docker_config._helper import TOKEN_USERNAME, HelperCall

if TYPE_CHECKING:
    from collections.abc import Mapping

ENV_AUTH_CONFIG = "DOCKER_AUTH_CONFIG"
_HUB_KEY = "https://index.docker.io/v1/"


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
        document = _decode_object(data)
        self.credentials_store = _text(document, "credsStore")
        self.current_context = _text(document, "currentContext")
        helpers = _mapping(document, "credHelpers")
        self.credential_helpers = {host: _text(helpers, host) for host in helpers}
        auths = _mapping(document, "auths")
        for address in auths:
            self.auth_configs[address] = _read_auth(address, _mapping(auths, address))

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
        from urllib.parse import urlsplit

        try:
            parts = urlsplit(maybe_url)
            hostname, port = parts.hostname, parts.port
        except ValueError:
            hostname, port = None, None
        if hostname:
            shown = f"[{hostname}]" if ":" in hostname and port else hostname
            return f"{shown}:{port}" if port else hostname
    return maybe_url.partition("/")[0]


def decode_auth(auth: str) -> tuple[str, str]:
    """The user name and password of a base64 text; raises ConfigError."""
    if not auth:
        return "", ""
    try:
        decoded = base64.b64decode(auth.translate({10: None, 13: None}), validate=True)
    except (binascii.Error, ValueError):
        raise ConfigError("illegal base64 data in auth") from None
    username, colon, password = decoded.decode("utf-8", "surrogateescape").partition(":")
    if not colon or not username:
        raise ConfigError("invalid auth configuration file")
    return username, password.strip("\0")


def _read_auth(address: str, entry: Mapping[str, object]) -> AuthConfig:
    username, password = _text(entry, "username"), _text(entry, "password")
    auth = _text(entry, "auth")
    if auth:
        username, password = decode_auth(auth)
    return AuthConfig(
        username=username,
        password=password,
        server_address=address,
        identity_token=_text(entry, "identitytoken"),
        registry_token=_text(entry, "registrytoken"),
    )


def _decode_object(data: bytes) -> dict[str, object]:
    """The JSON object at the beginning of the data; {} for nothing at all. Never quotes the data."""
    try:
        text = data.decode("utf-8", "replace").lstrip()
        if not text:
            return {}
        document, _ = json.JSONDecoder().raw_decode(text)
    except json.JSONDecodeError as err:
        raise ConfigError(f"no JSON at line {err.lineno}, column {err.colno}") from None
    except RecursionError:
        raise ConfigError("JSON nested too deeply") from None
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ConfigError("not a JSON object")
    return document


def _text(document: Mapping[str, object], key: str) -> str:
    value = document.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ConfigError(f"{key}: not a string")
    return value


def _mapping(document: Mapping[str, object], key: str) -> dict[str, object]:
    value = document.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConfigError(f"{key}: not an object")
    return value


def _env_auth_configs() -> dict[str, AuthConfig]:
    value = os.environ.get(ENV_AUTH_CONFIG, "")
    if not value:
        return {}
    try:
        auths = _mapping(_decode_object(value.encode()), "auths")
        return {address: _env_auth(address, _mapping(auths, address)) for address in auths}
    except BuildkitError as err:
        sys.stderr.write(f"Failed to create credential store from {ENV_AUTH_CONFIG}:  {error_text(err)}\n")
        return {}


def _env_auth(address: str, entry: Mapping[str, object]) -> AuthConfig:
    auth = _text(entry, "auth")
    if not auth:
        raise ConfigError(f"{ENV_AUTH_CONFIG} environment variable is missing key `auth` for {address}")
    username, password = decode_auth(auth)
    return AuthConfig(username=username, password=password, server_address=address)
